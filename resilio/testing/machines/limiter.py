"""A rate limiter, played against a bucket that is refilled, and against the promise it makes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from resilio.errors import RateLimitExceededError
from resilio.policies.rate_limiter import RateLimiter, RateLimiterBase
from resilio.testing.machines.by_hand import HandTask
from resilio.testing.machines.machine import NUMBERS, Cancelled, PolicyMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CLOSE = 1e-6  # a token that is so near may be there or not


class BucketModel:
    """A bucket of tokens: refilled evenly, never more than it holds. Times in seconds."""

    def __init__(self, *, rate: float, per: float, burst: int | None, now: float) -> None:
        self.interval: float = per / rate
        self.size: int = max(int(rate), 1) if burst is None else burst
        self.tokens: float = float(self.size)
        self.filled_at: float = now

    def fill(self, now: float) -> float:
        """The tokens there are at ``now``."""
        self.tokens = min(self.tokens + (now - self.filled_at) / self.interval, float(self.size))
        self.filled_at = now
        return self.tokens


_SETTINGS: st.SearchStrategy[Mapping[str, Any]] = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.5, 1, 3, 10]),
        "per": st.sampled_from([1.0, 60.0]),
        "burst": st.sampled_from([None, 1, 2, 5]),
        "max_wait": st.sampled_from([None, 0.0, 1.0, 30.0]),
    }
)


class LimiterMachine(PolicyMachine):
    """Plays calls that come, wait in line and are cancelled, and time, against a rate limiter."""

    policy: ClassVar[Callable[..., RateLimiterBase]] = RateLimiter
    defaults: ClassVar[Mapping[str, Any]] = {"rate": 10, "per": 1.0, "burst": None, "max_wait": None}

    @initialize(drawn=_SETTINGS)
    def begin(self, drawn: Mapping[str, Any]) -> None:
        """Make the limiter and its model."""
        settings = self.settings_for(drawn)
        self.limiter: RateLimiterBase = self.make(settings)
        self.patience: float = math.inf if settings["max_wait"] is None else float(settings.pop("max_wait"))
        settings.pop("max_wait", None)
        self.model: BucketModel = BucketModel(**settings, now=self.clock.now)
        self.line: list[HandTask] = []
        self.passed_at: list[float] = []

    @rule()
    def try_to_come(self) -> None:
        """A call passes if it can at once."""
        tokens = self.model.fill(self.clock.now)
        passed = self.limiter.try_acquire()
        if self.line:
            assert not passed, "a call overtook those who wait"
        elif abs(tokens - 1) > _CLOSE:
            assert passed is (tokens > 1), f"{tokens:g} tokens, and passed: {passed}"
        if passed:
            self._passed()

    @rule()
    def come(self) -> None:
        """A call comes: it passes, waits in line, or is refused because its turn is too far away."""
        tokens = self.model.fill(self.clock.now)
        wait = max(len(self.line) + 1 - tokens, 0.0) * self.model.interval
        task = HandTask(self.limiter.open_block(self.pause), f"call {len(self.tasks) + 1}")
        self.tasks.append(task)
        near = abs(len(self.line) + 1 - tokens) < _CLOSE
        if isinstance(task.error, RateLimitExceededError):
            assert wait + _CLOSE > self.patience, f"{task} was refused, and could have passed in {wait:g} s"
            assert task.error.retry_after is not None
            assert abs(task.error.retry_after - wait) < _CLOSE
        elif task.is_over:
            assert task.error is None, f"{task} ended with {task.error!r}"
            assert not self.line, f"{task} overtook those who wait"
            assert wait == 0 or near, f"{task} passed, and should have waited {wait:g} s"
            self._passed()
        else:
            assert wait > 0 or near, f"{task} waits, and could have passed"
            assert wait - _CLOSE <= self.patience, f"{task} waits {wait:g} s, and would wait {self.patience:g} s"
            self.line.append(task)

    @precondition(lambda self: self.line)
    @rule(which=NUMBERS)
    def cancel(self, which: int) -> None:
        """One who waits is cancelled."""
        task = self.line.pop(which % len(self.line))
        task.throw(Cancelled())
        assert isinstance(task.error, Cancelled), f"the cancellation of {task} became {task.error!r}"
        self._let_pass()

    @rule(turns=st.sampled_from([0.25, 0.5, 1.0, 1.5, 4.0]))
    def wait(self, turns: float) -> None:
        """Time passes, measured in turns; whoever's turn has come goes on."""
        self.clock.now += turns * self.model.interval
        self._let_pass()

    @precondition(lambda self: self.line)
    @rule()
    def wait_for_the_next_turn(self) -> None:
        """Time passes to the very moment for which the first in line waits."""
        first = self.line[0].wait
        assert first is not None
        if first.deadline < math.inf:
            self.clock.now = max(first.deadline, self.clock.now)
        self._let_pass()

    @invariant()
    def as_many_wait_as_in_the_model(self) -> None:
        """The limiter's line is the model's, and somebody in it watches the clock."""
        if not hasattr(self, "model"):
            return
        assert self.limiter.waiting == len(self.line)
        if self.line:
            first = self.line[0].wait
            assert first is not None
            assert first.deadline < math.inf, "nobody in line watches the clock"

    def _let_pass(self) -> None:
        while ready := [task for task in self.line if task.is_ready(self.clock.now)]:
            task = ready[0]
            tokens = self.model.fill(self.clock.now)
            task.step()
            if not task.is_over:
                continue
            assert task.error is None, f"{task} ended with {task.error!r}"
            assert task is self.line[0], f"{task} overtook {self.line[0]}"
            assert tokens > 1 - _CLOSE, f"{task} passed, with {tokens:g} tokens"
            self.line.pop(0)
            self._passed()
        tokens = self.model.fill(self.clock.now)
        assert not self.line or tokens < 1 + _CLOSE, f"{self.line[0]} waits, with {tokens:g} tokens"

    def _passed(self) -> None:
        now = self.clock.now
        self.model.tokens -= 1
        self.passed_at.append(now)
        for place, since in enumerate(self.passed_at):
            passed = len(self.passed_at) - place
            allowed = self.model.size + (now - since) / self.model.interval
            assert passed <= allowed + _CLOSE, f"{passed} calls in {now - since:g} s"
