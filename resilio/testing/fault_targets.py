"""A function under fault injection: its rules, how often it was called, and what stands in for it."""

from __future__ import annotations

import inspect
import random
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from resilio.testing.fault_actions import Step
from resilio.testing.fault_wrappers import kind_of, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.colour import Colour
    from resilio.testing.fault_actions import Wait
    from resilio.testing.fault_log import FaultLog
    from resilio.testing.fault_places import Place
    from resilio.testing.fault_rules import FaultRule


class Target:
    """What the rules of one function decide, call by call. Safe to use from any thread.

    Args:
        named: What the user named it by.
        fn: The function itself.
        title: Its name; several functions may have it.
        name: Its name, unique within the injector.
        seed: The injector's seed.
        log: The injector's log.

    Raises:
        TypeError: ``fn`` is a shape that cannot be guarded.
    """

    def __init__(
        self, named: object, fn: Callable[..., Any], *, title: str, name: str, seed: int | str, log: FaultLog
    ) -> None:
        self.colour: Colour = kind_of(fn)
        self.title = title
        self.name = name
        self.rules: tuple[FaultRule, ...] = ()
        self.calls: int = 0
        self.wrapper: Callable[..., Any] | None = None
        self._named = named
        self._fn = fn
        self._seed = seed
        self._log = log
        self._lock = threading.Lock()
        self._place: Place | None = None
        self._inert = False

    def wrapped(self) -> Callable[..., Any]:
        """What to call in the place of the function; always the same."""
        if self.wrapper is None:
            self.wrapper = stand_in(self._fn, self.decide)
        return self.wrapper

    def put_in(self, place: Place) -> None:
        """Replace the function where it is looked up."""
        place.put(self.wrapped())
        self._place = place

    def undo(self) -> None:
        """Put the function back, and let what stood in for it pass all calls on. Twice does no harm."""
        self._inert = True
        place, self._place = self._place, None
        if place is not None:
            place.restore()

    def stands_for(self, fn: object) -> bool:
        """Tell whether ``fn`` is what the user named, or what stands in for it."""
        if fn is self._named or (self.wrapper is not None and fn is self.wrapper):
            return True
        if not inspect.isroutine(fn):
            return False
        # A bound method is a new object each time it is looked up.
        owner = None if self._place is None else self._place.owner
        replaced = inspect.ismethod(fn) and fn.__func__ is self.wrapper and fn.__self__ is owner
        return replaced or (inspect.isroutine(self._named) and fn == self._named)

    def stands_at(self, place: Place) -> bool:
        """Tell whether this target is in that place already."""
        return place.original is self.wrapper and (
            self._place is None or (self._place.owner is place.owner and self._place.name == place.name)
        )

    def decide(self, pause: Wait) -> tuple[Step, ...]:
        """Count a call, and return what to do to it.

        Raises:
            RuntimeError: A rule has no action.
        """
        if self._inert:
            return ()
        rules = tuple(rule for rule in self.rules if not rule.in_the_making)
        for rule in rules:
            rule.check_complete()
        elapsed = self._log.elapsed()
        answers = {condition: condition.ask() for rule in rules for condition in rule.conditions}
        steps: list[Step] = []
        with self._lock:
            self.calls += 1
            call = self.calls
            for rule in rules:
                dice = random.Random(f"{self._seed}/{self.name}/{rule.number}/{call}")  # noqa: S311 -- seeded on purpose
                actions = rule.decide(elapsed=elapsed, dice=dice, answers=answers)
                record = partial(self._record, call, rule.number)
                where = f"call {call} of {self.name}"
                steps += [Step(action=each, where=where, dice=dice, pause=pause, record=record) for each in actions]
        return tuple(steps)

    def _record(self, call: int, rule: int, action: str) -> None:
        self._log.add(target=self.name, call=call, rule=rule, action=action)
