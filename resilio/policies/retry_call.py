"""One call that is being retried: what its attempts came to, what tenacity's strategies say, and how it ends.

It exists only after a first failure. Errors and results are held no longer than the call takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from resilio._core import clock, dice, events
from resilio._core.colour import UnguardableError
from resilio._core.pauses import haste
from resilio.errors import CircuitBreakerOpenError, RetryExhaustedError
from resilio.policies.events import RetryGivenUp, RetryScheduled, RetrySucceeded, shown, told
from resilio.policies.policy import Iteration, Stream, operation_of
from resilio.policies.retry_after import retry_after
from resilio.policies.retry_plan import Failure, RetryRun
from resilio.policies.tenacity_bridge import TenacityBridge
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.policies.backoff import BackoffStrategyBase


class RetryCall(RetryRun):
    """The attempts of one call under one strategy."""

    __slots__ = ("_bridge", "_error", "_result", "_strategy", "_unseen", "args", "fn", "is_waiting", "kwargs")

    def __init__(
        self,
        strategy: BackoffStrategyBase,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        started_at: float,
    ) -> None:
        self.fn: Callable[..., Any] = fn
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self._strategy = strategy
        super().__init__(strategy.plan, started_at)
        self.is_waiting: bool = False  # whether an attempt has failed and the next one has not begun
        self._error: Exception | None = None
        self._result: object = None
        self._unseen: object = None  # a refused result that another attempt follows
        self._bridge = TenacityBridge(fn, args, kwargs, started_at) if strategy.uses_tenacity else None

    # -- is it worth another try? ----------------------------------------------------------------------------------

    async def asks(self, error: Exception) -> bool:
        """Ask the strategy's tenacity predicate whether ``error`` is worth another attempt."""
        if isinstance(error, (CircuitBreakerOpenError, UnguardableError)):
            return self._strategy.wants(error)
        retry, bridge = self._strategy.retry, self._bridge
        return retry is not None and bridge is not None and await bridge.asks(retry, self, error=error)

    async def refuses(self, result: object) -> bool:
        """Tell whether ``result`` is worth another attempt. A stream that has begun is no result."""
        if isinstance(result, (Stream, Iteration)):
            return False
        refuses, retry = self._strategy.retry_result, self._strategy.retry
        if refuses is not None and refuses(result):
            return True
        if retry is None or self._bridge is None:
            return False
        return await self._bridge.asks(retry, self, result=result)

    def failed(self, error: Exception) -> None:
        """The present attempt failed with ``error``."""
        self._error, self._result, self.is_waiting = error, None, True

    def refused(self, result: object) -> None:
        """The present attempt gave a ``result`` that is not good enough."""
        self._error, self._result, self.is_waiting = None, result, True

    # -- what follows ----------------------------------------------------------------------------------------------

    def next_delay(self) -> float:
        """Seconds until the next attempt.

        Raises:
            RetryExhaustedError: There is no next attempt.
            Exception: The last error itself, if the strategy re-raises.
        """
        # The error stays out of this frame, which will be part of its traceback if it is raised again.
        strategy, plan, bridge = self._strategy, self.plan, self._bridge
        hasty = haste.get()
        now = clock.monotonic() if plan.max_duration is not None or bridge is not None else 0.0
        step = self.decide(
            now,
            dice.random() if plan.jitter is not None else 0.0,
            retry_after(self._result if self._error is None else self._error),
            None if bridge is None else self._tenacity_wait(bridge, now),
            None if hasty is None else hasty.max_attempts,
            None if bridge is None else self._tenacity_stop(bridge, now),
        )
        if isinstance(step, str):
            self._give_up(step)
        if strategy.budget is not None and not strategy.budget.withdraw():
            self._give_up("budget")
        if events.listeners:
            events.emit(
                RetryScheduled(
                    operation=operation_of(self.fn, self.args),
                    attempt=self.attempt,
                    error=self._failure_text(),
                    delay=step,
                )
            )
        if bridge is not None:
            bridge.slept(step)
        self.go_on(step, self._failure())
        self._unseen, self.is_waiting, self._error, self._result = self._result, False, None, None
        return step

    async def close_unseen(self, *, may_await: bool) -> None:
        """Close the refused result that another attempt is about to replace; the last one is left to the caller."""
        unseen, self._unseen = self._unseen, None
        await close_unseen(unseen, may_await=may_await)

    def succeeded(self) -> None:
        """Tell that an attempt after the first one ended well."""
        events.emit(RetrySucceeded(operation=operation_of(self.fn, self.args), attempts=self.attempt))

    def forget(self) -> None:
        """Let go of everything: an error's traceback holds the frames that hold this call."""
        self._error = self._result = self._unseen = self._bridge = None
        self.args, self.kwargs = (), {}

    def _failure_text(self) -> str:
        return told(self._error) if self._error is not None else f"refused result {shown(self._result)}"

    def _failure(self) -> Failure:
        error = self._error
        if error is None:
            return "refused result", (shown(self._result),)
        if type(error).__str__ is BaseException.__str__:
            return type(error).__name__, error.args
        return type(error).__name__, (told(error).partition(": ")[2],)

    def _give_up(self, reason: str) -> NoReturn:
        error, text = self._error, self._failure_text()
        operation = operation_of(self.fn, self.args)
        if events.listeners:
            events.emit(RetryGivenUp(operation=operation, attempt=self.attempt, error=text, reason=reason))
        if error is not None and self._strategy.reraise:
            self._error = None
            try:
                raise error
            finally:
                del error
        many = "1 attempt" if self.attempt == 1 else f"{self.attempt} attempts"
        exhausted = RetryExhaustedError(
            f"{operation} failed after {many}: {text}",
            attempts=self.attempt,
            last_exception=error,
            last_result=self._result,
            operation=operation,
            reason=reason,
        )
        for line in self.history():
            exhausted.add_note(line)
        try:
            raise exhausted from error
        finally:
            del exhausted, error

    def _tenacity_wait(self, bridge: TenacityBridge, now: float) -> float | None:
        wait = self._strategy.wait
        if wait is None:
            return None
        return float(wait(bridge.show(self, error=self._error, result=self._result, now=now)))

    def _tenacity_stop(self, bridge: TenacityBridge, now: float) -> Callable[[float], bool] | None:
        stop = self._strategy.stop
        if stop is None:
            return None

        def stops(delay: float) -> bool:
            state = bridge.show(self, error=self._error, result=self._result, now=now)
            state.upcoming_sleep = delay
            return bool(stop(state))

        return stops
