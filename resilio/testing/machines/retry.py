"""A retry, played against a count of attempts and the bounds of each wait."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from resilio.errors import RetryExhaustedError
from resilio.policies.backoff import BackoffStrategy, BackoffStrategyBase
from resilio.testing.machines.by_hand import HandTask, Wait, suspend
from resilio.testing.machines.machine import NUMBERS, Cancelled, PolicyMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CLOSE = 1e-6


class RetryModel:
    """How long to wait after which attempt, at the least and at the most. Times in seconds."""

    def __init__(
        self,
        *,
        base_delay: float,
        max_delay: float,
        max_retries: int,
        exponential_base: float,
        jitter: str | bool | None,
        max_duration: float | None,
        max_retry_after: float,
        reraise: bool,
    ) -> None:
        self.base: float = base_delay
        self.longest: float = max_delay
        self.retries: int = max_retries
        self.growth: float = exponential_base
        self.jitter: str | None = "equal" if jitter is True else jitter or None
        self.duration: float = math.inf if max_duration is None else max_duration
        self.longest_asked: float = max_retry_after
        self.reraise: bool = reraise

    def delay(self, attempt: int, previous: float) -> tuple[float, float]:
        """The bounds of the wait that follows ``attempt``, before anybody asked for more or had less."""
        capped = min(self.base * self.growth ** (attempt - 1), self.longest)
        if self.jitter == "full":
            return 0.0, capped
        if self.jitter == "equal":
            return capped / 2, capped
        if self.jitter == "decorrelated":
            low = min(self.base, self.longest)
            return low, min(3 * max(previous, low), self.longest)
        return capped, capped


class RetriedCall:
    """A call under way, as the model sees it."""

    def __init__(self, began: float) -> None:
        self.began: float = began
        self.attempt: int = 0  # that was begun last
        self.is_asked: bool = False  # whether the dependency has been asked and has not answered
        self.previous: float = 0.0


_SETTINGS: st.SearchStrategy[Mapping[str, Any]] = st.fixed_dictionaries(
    {
        "base_delay": st.sampled_from([0.0, 0.5, 1.0]),
        "max_delay": st.sampled_from([0.75, 60.0]),
        "max_retries": st.integers(0, 4),
        "exponential_base": st.sampled_from([1.0, 2.0]),
        "jitter": st.sampled_from(["full", "equal", "decorrelated", None]),
        "max_duration": st.sampled_from([None, 1.0, 10.0]),
        "max_retry_after": st.sampled_from([0.0, 5.0]),
        "reraise": st.booleans(),
    }
)


class RetryMachine(PolicyMachine):
    """Plays several calls at once, their answers, their cancellation and time against one retry strategy.

    What is worth another attempt is `transient`, what is not is `permanent`.
    """

    policy: ClassVar[Callable[..., BackoffStrategyBase]] = BackoffStrategy
    transient: ClassVar[Callable[[], Exception]] = ConnectionError
    permanent: ClassVar[Callable[[], Exception]] = ValueError
    defaults: ClassVar[Mapping[str, Any]] = {
        "base_delay": 1.0,
        "max_delay": 60.0,
        "max_retries": 5,
        "exponential_base": 2.0,
        "jitter": "full",
        "max_duration": None,
        "max_retry_after": 300.0,
        "reraise": False,
    }

    @initialize(drawn=_SETTINGS)
    def begin(self, drawn: Mapping[str, Any]) -> None:
        """Make the strategy and its model."""
        settings = self.settings_for(drawn)
        self.strategy: BackoffStrategyBase = self.make(settings)
        self.model: RetryModel = RetryModel(**settings)
        self.calls: dict[HandTask, RetriedCall] = {}

        async def ask(call: RetriedCall) -> Any:
            call.attempt += 1
            call.is_asked = True
            answer = await suspend(Wait())
            call.is_asked = False
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.guarded: Callable[..., Any] = self.strategy(ask)

    @rule()
    def call(self) -> None:
        """A call begins."""
        call = RetriedCall(self.clock.now)
        task = HandTask(self.guarded(call), f"call {len(self.tasks) + 1}")
        self.tasks.append(task)
        self.calls[task] = call

    @precondition(lambda self: self.asked)
    @rule(which=NUMBERS)
    def answer_well(self, which: int) -> None:
        """The dependency answers."""
        task = self.pick(self.asked, which)
        answer = object()
        task.step(answer)
        assert task.result is answer, f"{task} ended with {task.result!r} {task.error!r}"

    @precondition(lambda self: self.asked)
    @rule(which=NUMBERS)
    def answer_with_a_permanent_error(self, which: int) -> None:
        """The dependency answers with an error that another attempt would not change."""
        task = self.pick(self.asked, which)
        error = type(self).permanent()
        task.step(error)
        assert task.error is error, f"{task} ended with {task.error!r}"

    @precondition(lambda self: self.asked)
    @rule(which=NUMBERS, retry_after=st.sampled_from([None, None, 0.1, 3.0, 1000.0]))
    def answer_with_a_transient_error(self, which: int, retry_after: float | None) -> None:
        """The dependency answers with an error that may be gone soon; it may say when to ask again."""
        task = self.pick(self.asked, which)
        call, model, now = self.calls[task], self.model, self.clock.now
        attempt = call.attempt
        error = type(self).transient()
        if retry_after is not None:
            error.retry_after = retry_after  # type: ignore[attr-defined]
        task.step(error)
        left = call.began + model.duration - now
        if attempt > model.retries or left <= 0:
            self._check_given_up(task, error, attempt)
            return
        assert not task.is_over, f"{task} ended after {attempt} attempts: {task.error!r}"
        low, high = model.delay(attempt, call.previous)
        asked_for = 0.0 if retry_after is None else min(retry_after, model.longest_asked)
        low, high = min(max(low, asked_for), left), min(max(high, asked_for), left)
        assert task.wait is not None
        delay = 0.0 if call.is_asked else task.wait.deadline - now
        assert low - _CLOSE <= delay <= high + _CLOSE, f"{task} waits {delay:g} s, not {low:g} to {high:g} s"
        call.previous = delay

    @precondition(lambda self: self.waiting)
    @rule(which=NUMBERS)
    def cancel(self, which: int) -> None:
        """A call is cancelled, while the dependency is asked or between attempts."""
        task = self.pick(self.waiting, which)
        attempt = self.calls[task].attempt
        task.throw(Cancelled())
        assert isinstance(task.error, Cancelled), f"the cancellation of {task} became {task.error!r}"
        assert self.calls[task].attempt == attempt, f"{task} made another attempt after it was cancelled"

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._wait_until(self.clock.now + seconds)

    @precondition(lambda self: self.asleep)
    @rule()
    def wait_for_the_next_attempt(self) -> None:
        """Time passes to the very moment of the next attempt."""
        self._wait_until(min(task.wait.deadline for task in self.asleep if task.wait is not None))

    @invariant()
    def nobody_makes_too_many_attempts(self) -> None:
        """No call has begun more attempts than it may."""
        for task, call in getattr(self, "calls", {}).items():
            assert call.attempt <= self.model.retries + 1, f"{task} began {call.attempt} attempts"

    @property
    def asked(self) -> list[HandTask]:
        """The calls whose dependency has been asked and has not answered."""
        return [task for task in self.waiting if self.calls[task].is_asked]

    @property
    def asleep(self) -> list[HandTask]:
        """The calls that wait for their next attempt."""
        return [task for task in self.waiting if not self.calls[task].is_asked]

    def _wait_until(self, moment: float) -> None:
        self.clock.now = max(self.clock.now, moment)
        for task in [task for task in self.asleep if task.is_ready(self.clock.now)]:
            attempt = self.calls[task].attempt
            task.step()
            assert self.calls[task].is_asked, f"{task} did not ask again: {task.error!r}"
            assert self.calls[task].attempt == attempt + 1

    def _check_given_up(self, task: HandTask, error: Exception, attempts: int) -> None:
        assert task.is_over, f"{task} goes on after {attempts} attempts"
        if self.model.reraise:
            assert task.error is error, f"{task} ended with {task.error!r}, not with its last error"
            return
        assert isinstance(task.error, RetryExhaustedError), f"{task} ended with {task.error!r}"
        assert task.error.attempts == attempts
        assert task.error.last_exception is error
        assert task.error.__cause__ is error
