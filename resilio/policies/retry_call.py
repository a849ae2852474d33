"""One call that is being retried: what its attempts came to, what tenacity's strategies say, and how it ends.

It exists only after a first failure. Errors and results are held no longer than the call takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilio._core import clock, dice, events
from resilio._core.colour import UnguardableError
from resilio._core.pauses import haste
from resilio.errors import CircuitBreakerOpenError, RetryExhaustedError
from resilio.policies.events import RetryGivenUp, RetryScheduled, RetrySucceeded
from resilio.policies.policy import Iteration, Stream, operation_of
from resilio.policies.retry_after import retry_after
from resilio.policies.retry_plan import RetryRun, is_plain
from resilio.policies.tenacity_bridge import TenacityBridge
from resilio.policies.wording import shown, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.policies.backoff import BackoffStrategyBase
    from resilio.policies.retry_plan import BackoffPlan, Failure


class RetryCall(RetryRun):
    """The attempts of one call under one strategy."""

    __slots__ = ("_args", "_bridge", "_fn", "_strategy")

    def __init__(
        self,
        strategy: BackoffStrategyBase,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        started_at: float,
    ) -> None:
        # What RetryRun.__init__ does: one call less where a few hundred nanoseconds are all there is.
        self.plan: BackoffPlan = strategy.plan
        self.started_at: float = started_at
        self.attempt: int = 1
        self.previous_delay: float = 0.0
        self._earlier = []
        self._strategy = strategy
        self._fn = fn
        self._args = args
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

    # -- what follows ----------------------------------------------------------------------------------------------

    def next_delay(self, error: Exception | None, result: object = None) -> float | None:
        """Book that the present attempt failed with ``error``, or gave a ``result`` that is not good enough.

        Returns:
            Seconds until the next attempt; None if there is none and the strategy raises the last error itself.

        Raises:
            RetryExhaustedError: There is no next attempt.
        """
        strategy, plan, bridge = self._strategy, self.plan, self._bridge
        hasty = haste.get()
        failure: Failure
        if error is None:
            failure, asked = ("refused result", (shown(result),)), retry_after(result)
        elif is_plain(error):  # its text is made only if somebody asks for it
            failure, asked = (type(error).__name__, error.args), None
        else:
            failure, asked = (type(error).__name__, (told(error).partition(": ")[2],)), retry_after(error)
        now = clock.monotonic() if plan.max_duration is not None or bridge is not None else 0.0
        step = self.decide(
            failure,
            now,
            dice.random() if plan.is_random else 0.0,
            asked,
            None if bridge is None else self._tenacity_wait(bridge, error, result, now),
            None if hasty is None else hasty.max_attempts,
            None if bridge is None and strategy.budget is None else self._limits(error, result, now),
        )
        if isinstance(step, str):
            self._give_up(step, error, result)
            return None
        if bridge is not None:
            bridge.slept(step)
        if events.listeners:
            operation = operation_of(self._fn, self._args)
            text = _text_of(error, result)
            events.emit(RetryScheduled(operation=operation, attempt=self.attempt - 1, error=text, delay=step))
        return step

    def succeeded(self) -> None:
        """Tell that an attempt after the first one ended well."""
        events.emit(RetrySucceeded(operation=operation_of(self._fn, self._args), attempts=self.attempt))

    def _give_up(self, reason: str, error: Exception | None, result: object) -> None:
        text, operation = _text_of(error, result), operation_of(self._fn, self._args)
        if events.listeners:
            events.emit(RetryGivenUp(operation=operation, attempt=self.attempt, error=text, reason=reason))
        if error is not None and self._strategy.reraise:
            return
        many = "1 attempt" if self.attempt == 1 else f"{self.attempt} attempts"
        exhausted = RetryExhaustedError(
            f"{operation} failed after {many}: {text}",
            attempts=self.attempt,
            last_exception=error,
            last_result=result,
            operation=operation,
            reason=reason,
        )
        for line in self.history():
            exhausted.add_note(line)
        try:
            raise exhausted from error
        finally:
            del exhausted, error

    def _tenacity_wait(
        self, bridge: TenacityBridge, error: Exception | None, result: object, now: float
    ) -> float | None:
        wait = self._strategy.wait
        if wait is None:
            return None
        with bridge.shown(self, error=error, result=result, now=now) as state:
            return float(wait(state))

    def _limits(self, error: Exception | None, result: object, now: float) -> Callable[[float], str | None]:
        """The limits besides the plan's: tenacity's ``stop``, and then the budget."""
        stop, bridge, budget = self._strategy.stop, self._bridge, self._strategy.budget

        def refuses(delay: float) -> str | None:
            if stop is not None and bridge is not None:
                with bridge.shown(self, error=error, result=result, now=now) as state:
                    state.upcoming_sleep = delay
                    if stop(state):
                        return "stop"
            return None if budget is None or budget.withdraw() else "budget"

        return refuses


def _text_of(error: Exception | None, result: object) -> str:
    return told(error) if error is not None else f"refused result {shown(result)}"
