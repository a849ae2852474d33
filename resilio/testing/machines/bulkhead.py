"""A bulkhead, played against a number and a queue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from resilio.errors import BulkheadFullError
from resilio.policies.bulkhead import Bulkhead, BulkheadBase
from resilio.testing.machines.by_hand import HandTask
from resilio.testing.machines.machine import NUMBERS, Cancelled, PolicyMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


class BulkheadModel:
    """Who is in and who waits: calls by their tasks, first come first served."""

    def __init__(self, *, max_concurrent: int, max_queue: int, max_wait: float | None) -> None:
        self.places: int = max_concurrent
        self.longest_queue: int = max_queue
        self.patience: float = math.inf if max_wait is None else max_wait
        self.inside: int = 0  # with a place, whether they have noticed or not
        self.queue: list[HandTask] = []

    def leave(self) -> HandTask | None:
        """A place becomes free; who gets it."""
        if self.queue and self.inside <= self.places:
            return self.queue.pop(0)
        self.inside -= 1
        return None


_SETTINGS: st.SearchStrategy[Mapping[str, Any]] = st.fixed_dictionaries(
    {
        "max_concurrent": st.integers(1, 3),
        "max_queue": st.integers(0, 3),
        "max_wait": st.sampled_from([None, 0.5, 2.0]),
    }
)


class BulkheadMachine(PolicyMachine):
    """Plays calls that come, wait, lose patience, are cancelled and leave against a bulkhead.

    A waiter that was given a place notices it some moves later; what happens to it in between is part of the game.
    """

    policy: ClassVar[Callable[..., BulkheadBase]] = Bulkhead
    defaults: ClassVar[Mapping[str, Any]] = {"max_concurrent": 10, "max_queue": 0, "max_wait": None}

    @initialize(drawn=_SETTINGS)
    def begin(self, drawn: Mapping[str, Any]) -> None:
        """Make the bulkhead and its model."""
        settings = self.settings_for(drawn)
        self.bulkhead: BulkheadBase = self.make(settings)
        self.model: BulkheadModel = BulkheadModel(**settings)
        self.called: set[HandTask] = set()  # waiters that were given a place and have not noticed
        self.running: list[AbstractContextManager[object]] = []

    @rule()
    def come(self) -> None:
        """A call comes: it gets a place, waits, or is refused."""
        model = self.model
        expected = "gets a place" if model.inside < model.places else "waits"
        if expected == "waits" and len(model.queue) >= model.longest_queue:
            expected = "is refused"
        task = HandTask(self.bulkhead.open_block(self.pause), f"call {len(self.tasks) + 1}")
        self.tasks.append(task)
        found = "waits" if not task.is_over else "gets a place" if task.error is None else "is refused"
        assert found == expected, f"{task} {found}, and should not: it {expected}"
        if found == "waits":
            model.queue.append(task)
        elif found == "gets a place":
            model.inside += 1
            self.running.append(task.result)
        else:
            assert isinstance(task.error, BulkheadFullError)

    @rule()
    def try_to_come(self) -> None:
        """A call takes a place if there is one, and goes again."""
        expected = self.model.inside < self.model.places
        assert self.bulkhead.try_acquire() is expected
        if expected:
            self.model.inside += 1
            self.bulkhead.release()
            self._gave_back()

    @precondition(lambda self: self.running)
    @rule(which=NUMBERS)
    def leave(self, which: int) -> None:
        """A call ends."""
        self.running.pop(which % len(self.running)).__exit__(None, None, None)
        self._gave_back()

    @precondition(lambda self: self.waiting)
    @rule(which=NUMBERS)
    def cancel(self, which: int) -> None:
        """A waiter is cancelled: in line, or just when it was given a place."""
        task = self.pick(self.waiting, which)
        task.throw(Cancelled())
        assert isinstance(task.error, Cancelled), f"the cancellation of {task} became {task.error!r}"
        if task in self.called:
            self.called.remove(task)
            self._gave_back()
        else:
            self.model.queue.remove(task)

    @precondition(lambda self: self.ready)
    @rule(which=NUMBERS)
    def go_on(self, which: int) -> None:
        """A waiter notices that it was given a place, or loses its patience."""
        task = self.pick(self.ready, which)
        task.step()
        if task in self.called:
            assert task.error is None, f"{task} had been given a place: {task.error!r}"
            assert task.is_over
            self.called.remove(task)
            self.running.append(task.result)
        else:
            assert isinstance(task.error, BulkheadFullError), f"{task} should have been refused, not {task.error!r}"
            self.model.queue.remove(task)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @rule(places=st.integers(1, 4))
    def resize(self, places: int) -> None:
        """Somebody changes the number of places."""
        self.bulkhead.resize(places)
        self.model.places = places
        while self.model.queue and self.model.inside < places:
            self.model.inside += 1
            self._called(self.model.queue.pop(0))

    @invariant()
    def the_bulkhead_holds_whom_the_model_holds(self) -> None:
        """As many run and wait as in the model, each waits for as long as it may, and the right ones were called."""
        if not hasattr(self, "model"):
            return
        assert self.bulkhead.running == self.model.inside
        assert self.bulkhead.waiting == len(self.model.queue)
        for task in self.waiting:
            assert task.wait is not None
            assert task.wait.is_woken == (task in self.called), f"{task} was called out of turn, or not at all"

    @property
    def ready(self) -> list[HandTask]:
        """Those who wait and can go on."""
        return [task for task in self.waiting if task.is_ready(self.clock.now)]

    def _gave_back(self) -> None:
        task = self.model.leave()
        if task is not None:
            self._called(task)

    def _called(self, task: HandTask) -> None:
        self.called.add(task)
