"""Hedge: when an answer is late, ask again beside it, and take whichever comes first.

**About.** After ``delay`` seconds without an answer the call is made once more, up to ``max_hedges`` times. The first
success wins; the others are cancelled and awaited, and a result that comes too late is closed if it can be. If all
fail, the first call's error is raised.

**Usage.** ::

    @Hedge(0.2)
    async def lookup(key: str) -> Record: ...

    Hedge(LatencyQuantile(0.95), budget=budget)   # hedge the slowest twentieth, within a budget

**Defaults.** One further call, no budget; when to make it is yours to say. A `LatencyQuantile` hedges nothing before it
has seen 100 successes, and looks at the last 1000.

**Tail latency, not errors.** A call that fails quickly is not hedged: trying again is the retry's business.

**Blocking code.** Each call runs in a thread; losers cannot be cancelled, and end on their own.

**Events.** `Hedged`.

**Patterns.**

- *Learn the delay, bound the load:* ``Hedge(LatencyQuantile(0.95), budget=RetryBudget(0.05, min_per_second=1))``.
- *Reads from replicas:* the second call meets another machine.
- *Say no:* a ``delay`` function that returns None hedges nothing, in the hours when the dependency is full.

**Anti-patterns.**

- *Hedging what is not idempotent.* Bad: around ``charge(card)``. Good: around ``get(key)``. Why: both calls may take
  effect.
- *A fixed delay below the usual latency.* Bad: ``Hedge(0.01)`` before a call of 50 ms. Good: ``LatencyQuantile(0.95)``.
  Why: it doubles the load on every call.
- *Against overload.* Bad: a hedge without a budget before a dependency that is slow because it is full. Good: a budget.
  Why: the more it is hedged, the slower it gets.

Source: Dean and Barroso, "The Tail at Scale" (Communications of the ACM, 2013).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

from resilio._core import clock, durations, events
from resilio._core.colour import is_unfinished, name_of
from resilio._core.pauses import haste
from resilio.policies.description import Description
from resilio.policies.events import Hedged
from resilio.policies.hedge_delay import LatencyQuantile, checked
from resilio.policies.policy import AsyncForms, Policy, operation_of
from resilio.policies.retry_budget import RetryBudget
from resilio.policies.threaded_call import Race
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from resilio._core.durations import Duration
    from resilio.policies.policy import AsyncCall, Iteration, PlainCall, Stream


class HedgeBase(Policy):
    """A hedge without the forms that have a colour; see `Hedge`."""

    __slots__ = ("_budget", "_delay", "_given", "_max_hedges")

    def __init__(
        self,
        delay: Duration | Callable[[], float | None],
        max_hedges: int = 1,
        budget: RetryBudget | None = None,
    ) -> None:
        self._given = delay
        self._delay = checked(delay)
        self._max_hedges = durations.whole("max_hedges", max_hedges, at_least=1)
        if budget is not None and not isinstance(budget, RetryBudget):
            msg = f"budget must be a RetryBudget or None, not {budget!r}"
            raise TypeError(msg)
        self._budget = budget
        self._prepare()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} delay={self._given!r} max_hedges={self._max_hedges}>"

    def describe(self) -> Description:
        return Description(
            "Hedge", (("delay", self._given), ("max_hedges", self._max_hedges), ("budget", self._budget))
        )

    # -- deciding --------------------------------------------------------------------------------------------------

    def _next_delay(self) -> float | None:
        delay = self._delay()
        return delay if delay is None or haste.get() is None else 0.0

    def _may_hedge(self, operation: str, calls: int, delay: float) -> bool:
        if self._budget is not None and not self._budget.withdraw():
            return False
        if events.listeners:
            events.emit(Hedged(operation=operation, calls=calls + 1, delay=delay))
        return True

    def _learn(self, started: float) -> None:
        if isinstance(self._given, LatencyQuantile):
            self._given.learn(clock.monotonic() - started)

    # -- guarding --------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        return self._guard_coroutine(fn, self._budget)

    def _guard_begun(self, fn: AsyncCall) -> AsyncCall:
        return self._guard_coroutine(fn, None)

    def _guard_coroutine(self, fn: AsyncCall, paid_into: RetryBudget | None) -> AsyncCall:
        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            if paid_into is not None:
                paid_into.deposit()
            delay = self._next_delay()
            if delay is None:  # nothing is known yet: no race to set up
                started = clock.monotonic()
                result = await fn(*args, **kwargs)
                self._learn(started)
                return result
            return await self._race(fn, args, kwargs, delay)

        return guarded

    async def _race(self, fn: AsyncCall, args: tuple[Any, ...], kwargs: dict[str, Any], delay: float | None) -> Any:
        finish = _Finish()
        started = clock.monotonic()

        async def run(number: int) -> None:
            try:
                result = await fn(*args, **kwargs)
            except Exception as error:
                finish.fail(number, error)
            except BaseException as error:  # raised again where the caller waits; a loser's cancellation is our own
                finish.stop(error)
            else:
                if not finish.win(result):
                    await _close_late(result)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(run, finish.enter())
                hedges = 0
                while hedges < self._max_hedges and delay is not None:
                    with anyio.move_on_after(delay):
                        await finish.over.wait()
                    if finish.over.is_set() or not self._may_hedge(operation_of(fn, args), hedges + 1, delay):
                        break
                    hedges += 1
                    group.start_soon(run, finish.enter())
                    delay = self._next_delay()
                await finish.over.wait()
                group.cancel_scope.cancel()
        except BaseException:  # cancelled from outside, perhaps with the answer in hand
            await finish.abandon()
            raise
        if finish.is_won:
            self._learn(started)  # all that the caller waited: of a hedge's own time alone, ever more would be hedged
        return finish.outcome()

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self._budget is not None:
                self._budget.deposit()
            race = Race(functools.partial(fn, *args, **kwargs))
            started = clock.monotonic()
            hedges, delay = 0, self._next_delay()
            race.start()
            while hedges < self._max_hedges and delay is not None and not race.is_over_within(delay):
                if not self._may_hedge(operation_of(fn, args), hedges + 1, delay):
                    break
                hedges += 1
                race.start()
                delay = self._next_delay()
            race.is_over_within(None)
            result = race.outcome()
            if is_unfinished(result):
                return self.guard_returned(fn, result, args, kwargs)
            self._learn(started)
            return result

        return guarded

    def open_stream(self, fn: Callable[..., Any], *_: object) -> AbstractAsyncContextManager[Stream]:
        _refuse_generator(fn)

    def open_iterator(self, fn: Callable[..., Any], *_: object) -> AbstractContextManager[Iteration]:
        _refuse_generator(fn)

    def _guard_async_generator(self, fn: Callable[..., Any]) -> PlainCall:
        _refuse_generator(fn)

    def _guard_generator(self, fn: Callable[..., Any]) -> PlainCall:
        _refuse_generator(fn)


class Hedge(AsyncForms, HedgeBase):
    """Asks again when an answer is late; see this module for the whole story.

    Args:
        delay: Seconds to wait for an answer; or a function that says so, None meaning not to hedge this time; or a
            `LatencyQuantile`.
        max_hedges: Further calls beside the first, at least 1.
        budget: A `RetryBudget` that each further call is taken from.

    Raises:
        TypeError: An argument is of the wrong type, or a generator function is decorated.
        ValueError: An argument is out of range.

    Safe to share between tasks, threads and event loops. Each call runs in a task of its own: what it does to context
    variables stays there.

        >>> Hedge(0.2)
        <Hedge delay=0.2 max_hedges=1>
    """

    __slots__ = ()


class _Finish:
    """How a race ends: with the first success, with an interruption, or with the last failure."""

    __slots__ = ("_error", "_errors", "_runs", "is_won", "over", "result")

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.is_won = False
        self.result: object = None
        self._error: BaseException | None = None
        self._errors: dict[int, Exception] = {}
        self._runs = 0

    def enter(self) -> int:
        self._runs += 1
        return self._runs - 1

    def win(self, result: object) -> bool:
        if self.over.is_set():
            return False
        self.is_won, self.result = True, result
        self._end()
        return True

    def fail(self, number: int, error: Exception) -> None:
        self._errors[number] = error
        if len(self._errors) == self._runs:
            self.stop(self._errors[0])

    def stop(self, error: BaseException) -> None:
        if not self.over.is_set():
            self._error = error
            self._end()

    async def abandon(self) -> None:
        """Nobody waits for the outcome any more."""
        self._errors, self._error = {}, None
        if self.is_won:
            await _close_late(self.result)

    def _end(self) -> None:
        self._errors = {}  # an error's traceback holds its frame, and that frame this object
        self.over.set()

    def outcome(self) -> Any:
        if self.is_won:
            return self.result
        error, self._error = self._error, None
        if error is None:
            msg = "a race ended without a result and without an error"
            raise AssertionError(msg)
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


async def _close_late(result: object) -> None:
    # Whoever comes late is cancelled already; what it holds must be given back all the same.
    with anyio.move_on_after(_CLOSING, shield=True):
        await close_unseen(result, may_await=True)


_CLOSING = 5.0
"""Seconds that closing a late result may take."""


def _refuse_generator(fn: Callable[..., Any]) -> NoReturn:
    msg = f"Hedge cannot guard {name_of(fn)}: a generator belongs to the task that iterates it, so it cannot be raced"
    raise TypeError(msg)
