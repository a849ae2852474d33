"""One call that is being retried: what its attempts came to, what tenacity's strategies say, and how it ends.

It exists only after a first failure. Errors and results are held no longer than the call takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from resilio._core import clock, dice, events
from resilio._core.pauses import haste
from resilio.errors import RetryExhaustedError
from resilio.policies.events import RetryGivenUp, RetryScheduled, RetrySucceeded, told
from resilio.policies.policy import operation_of
from resilio.policies.retry_after import retry_after
from resilio.policies.retry_plan import GiveUp, RetryRun
from resilio.policies.tenacity_bridge import TenacityBridge
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.policies.backoff import BackoffStrategyBase


class RetryCall:
    """The attempts of one call under one strategy."""

    __slots__ = ("_bridge", "_error", "_result", "_run", "_strategy", "args", "fn", "is_waiting", "kwargs")

    def __init__(
        self,
        strategy: BackoffStrategyBase,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        started_at: float | None,
    ) -> None:
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self._strategy = strategy
        self._run = RetryRun(strategy.plan, clock.monotonic() if started_at is None else started_at)
        self.is_waiting = False  # whether an attempt has failed and the next one has not begun
        self._error: Exception | None = None
        self._result: object = None
        self._bridge = (
            TenacityBridge(fn, args, kwargs, self._run.started_at)
            if strategy.wait is not None or strategy.stop is not None or strategy.retry is not None
            else None
        )

    @property
    def attempt(self) -> int:
        """The number of the present attempt, from 1."""
        return self._run.attempt

    # -- is it worth another try? ----------------------------------------------------------------------------------

    async def wants(self, error: Exception) -> bool:
        """Tell whether ``error`` is worth another attempt."""
        retry = self._strategy.retry
        if retry is None or self._bridge is None:
            return self._strategy.wants(error)
        return await self._bridge.asks(retry, self._run, error=error)

    async def refuses(self, result: object) -> bool:
        """Tell whether ``result`` is worth another attempt."""
        refuses, retry = self._strategy.retry_result, self._strategy.retry
        if refuses is not None and refuses(result):
            return True
        if retry is None or self._bridge is None:
            return False
        return await self._bridge.asks(retry, self._run, result=result)

    def failed(self, error: Exception) -> None:
        """The present attempt failed with ``error``."""
        self._error, self._result, self.is_waiting = error, None, True

    def refused(self, result: object) -> None:
        """The present attempt gave a ``result`` that is not good enough."""
        self._error, self._result, self.is_waiting = None, result, True

    # -- what follows ----------------------------------------------------------------------------------------------

    async def next_delay(self, *, close: bool) -> float:
        """Seconds until the next attempt.

        Args:
            close: Whether a refused result may be closed by awaiting its ``aclose``.

        Raises:
            RetryExhaustedError: There is no next attempt.
            Exception: The last error itself, if the strategy re-raises.
        """
        now = clock.monotonic()
        hasty = haste.get()
        error = self._error
        step = self._run.decide(
            now,
            roll=dice.random(),
            retry_after=retry_after(self._result if error is None else error),
            delay=self._tenacity_wait(now),
            max_attempts=None if hasty is None else hasty.max_attempts,
            stop=self._tenacity_stop(now),
        )
        text = told(error) if error is not None else f"refused result {self._result!r:.200}"
        if isinstance(step, GiveUp):
            self._give_up(step.reason, text)
        budget = self._strategy.budget
        if budget is not None and not budget.withdraw():
            self._give_up("budget", text)
        if events.listeners:
            events.emit(
                RetryScheduled(
                    operation=operation_of(self.fn, self.args), attempt=self._run.attempt, error=text, delay=step.delay
                )
            )
        if self._bridge is not None:
            self._bridge.slept(step.delay)
        self._run.go_on(step.delay, text)
        self.is_waiting = False
        result, self._error, self._result = self._result, None, None
        if error is None:
            await close_unseen(result, may_await=close)
        return step.delay

    def succeeded(self) -> None:
        """An attempt after the first one ended well."""
        if events.listeners:
            events.emit(RetrySucceeded(operation=operation_of(self.fn, self.args), attempts=self._run.attempt))

    def forget(self) -> None:
        """Let go of everything: an error's traceback holds the frames that hold this call."""
        self._error = self._result = self._bridge = None
        self.args, self.kwargs = (), {}

    def _give_up(self, reason: str, text: str) -> NoReturn:
        run, error = self._run, self._error
        operation = operation_of(self.fn, self.args)
        if events.listeners:
            events.emit(RetryGivenUp(operation=operation, attempt=run.attempt, error=text, reason=reason))
        if error is not None and self._strategy.reraise:
            self._error = None
            try:
                raise error
            finally:
                del error
        many = "1 attempt" if run.attempt == 1 else f"{run.attempt} attempts"
        exhausted = RetryExhaustedError(
            f"{operation} failed after {many}: {text}",
            attempts=run.attempt,
            last_exception=error,
            last_result=self._result,
            operation=operation,
            reason=reason,
        )
        for line in run.history():
            exhausted.add_note(line)
        try:
            raise exhausted from error
        finally:
            del exhausted, error

    def _tenacity_wait(self, now: float) -> float | None:
        wait, bridge = self._strategy.wait, self._bridge
        if wait is None or bridge is None:
            return None
        return float(wait(bridge.show(self._run, error=self._error, result=self._result, now=now)))

    def _tenacity_stop(self, now: float) -> Callable[[float], bool] | None:
        stop, bridge = self._strategy.stop, self._bridge
        if stop is None or bridge is None:
            return None

        def stops(delay: float) -> bool:
            state = bridge.show(self._run, error=self._error, result=self._result, now=now)
            state.upcoming_sleep = delay
            return bool(stop(state))

        return stops
