"""Letting tenacity's strategies speak in our engine: ``wait=``, ``stop=``, ``retry=``.

A strategy looks at a ``RetryCallState``. It gets one, filled from our own run, with times from our clock: under a
test's clock ``stop_after_delay`` obeys that clock, which tenacity's own loop does not.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import clock
from resilio._core.colour import is_awaitable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import tenacity

    from resilio.policies.retry_plan import RetryRun


class TenacityBridge:
    """One call's view for tenacity strategies. Made after the first failure, and only if there is a strategy."""

    __slots__ = ("_state",)

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], started_at: float
    ) -> None:
        import tenacity  # noqa: PLC0415 -- 7 ms that only those pay who brought a strategy, and so the module, along

        self._state = tenacity.RetryCallState(tenacity.Retrying(), fn, args, kwargs)
        self._state.start_time = started_at

    @contextmanager
    def shown(
        self, run: RetryRun, *, error: BaseException | None, result: object, now: float
    ) -> Iterator[tenacity.RetryCallState]:
        """The state after the present attempt, as tenacity's own loop would show it, for one question."""
        import tenacity  # noqa: PLC0415 -- see above

        state = self._state
        state.attempt_number = run.attempt
        outcome = tenacity.Future(run.attempt)
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)
        state.outcome, state.outcome_timestamp = outcome, now
        try:
            yield state
        finally:
            state.outcome = None  # it holds the error, whose traceback holds our caller's frame, which holds us

    async def asks(
        self, retry: Callable[..., Any], run: RetryRun, *, error: BaseException | None = None, result: object = None
    ) -> bool:
        """What the ``retry`` strategy, plain or async, says of the present attempt."""
        with self.shown(run, error=error, result=result, now=clock.monotonic()) as state:
            verdict = retry(state)
            return bool(await verdict if is_awaitable(verdict) else verdict)

    def slept(self, delay: float) -> None:
        """Book a wait."""
        self._state.idle_for += delay
