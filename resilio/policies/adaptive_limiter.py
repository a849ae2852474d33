"""Adaptive limiter: a bulkhead that finds its own size.

**About.** The right number of concurrent calls is the largest that does not make them slower, and it changes with the
dependency's day. The limiter watches the latency of calls that succeed, and moves its limit with it.

**Usage.** ::

    @AdaptiveLimiter(initial=20, maximum=200)
    async def query(sql: str) -> list[Row]: ...

**Defaults.** From 20, between 1 and 200; calls beyond the limit fail at once with `BulkheadFullError`, or wait in a
queue as a `Bulkhead`'s do.

**Events.** `BulkheadRejected`.

**At rest.** Calls are compared with what they take when few others run, not with what they took lately: a latency that
follows the load is never taken for usual. Where no quiet moment comes by itself, one is made: after some fifty rounds
among many, only about a third of the limit runs at once for a few rounds, and calls beyond that wait or are refused,
though they would find a place at any other time. It costs some hundredths of the throughput. A dependency that is
slower for good gets a limit that suits it after a few such rests. ``maximum`` is the limit that always holds.

**Patterns.**

- *Begin low:* ``initial`` below what the dependency surely bears, ``maximum`` where its own limit is.
- *Inside of the retry,* where a refusal is retried later, and each attempt teaches by its own length.

**Anti-patterns.**

- *In front of calls of very different length.* Bad: one limiter around ``get`` and ``export``. Good: one for each kind.
  Why: a long one looks like trouble.
- *Around a retry.* Bad: ``Pipeline(AdaptiveLimiter(), BackoffStrategy())``. Good: the other way round. Why: the waits
  between attempts look like the dependency's slowness.

Sources: Gradient2Limit of Netflix's concurrency-limits; the rests are those of Envoy's adaptive concurrency filter.
"""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import clock, durations
from resilio._core.colour import is_unfinished
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.policies.bulkhead import BulkheadBase
from resilio.policies.description import Description
from resilio.policies.gradient import GradientLimit
from resilio.policies.policy import AsyncForms, Iteration, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall


class AdaptiveLimiterBase(BulkheadBase):
    """An adaptive limiter without the forms that have a colour; see `AdaptiveLimiter`."""

    __slots__ = ("_gradient", "_settings")

    def __init__(
        self,
        *,
        initial: int = 20,
        minimum: int = 1,
        maximum: int = 200,
        tolerance: float = 1.5,
        smoothing: float = 0.2,
        max_queue: int = 0,
        max_wait: Duration | None = None,
    ) -> None:
        low = durations.whole("minimum", minimum, at_least=1)
        high = durations.whole("maximum", maximum, at_least=low)
        self._gradient = GradientLimit(
            initial=durations.whole("initial", initial, at_least=low, at_most=high),
            minimum=low,
            maximum=high,
            tolerance=durations.number("tolerance", tolerance, at_least=1),
            smoothing=durations.number("smoothing", smoothing, above=0, at_most=1),
        )
        self._settings = (
            ("initial", initial),
            ("minimum", low),
            ("maximum", high),
            ("tolerance", tolerance),
            ("smoothing", smoothing),
        )
        super().__init__(initial, max_queue, max_wait)

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return self._gradient.limit

    def describe(self) -> Description:
        queue = (("max_queue", self._places.max_queue), ("max_wait", self._max_wait))
        return Description("AdaptiveLimiter", (*self._settings, *queue))

    def resize(self, max_concurrent: int | None = None, max_queue: int | None = None) -> None:
        """Let the limit move on from ``max_concurrent``, or change the number of those who may wait.

        Raises:
            TypeError: An argument is no whole number.
            ValueError: It is out of range, which for the limit is ``minimum`` to ``maximum``; nothing is changed.
        """
        low, high = self._gradient.bounds
        limit = durations.optional(durations.whole, "max_concurrent", max_concurrent, at_least=low, at_most=high)
        durations.optional(durations.whole, "max_queue", max_queue, at_least=0)
        if limit is not None:
            with self._lock:
                self._gradient.go_on_from(limit)
        super().resize(limit, max_queue)

    def _learn(self, started: float) -> None:
        ended = clock.monotonic()
        with self._lock:
            self._places.capacity = self._gradient.sample(started, ended, self._places.taken)
            called = self._call_in()
        self._wake(called)

    async def _queue_up(self, pause: Pause) -> None:
        now = clock.monotonic()
        with self._lock:
            self._places.capacity = self._gradient.limit_at(now)
            called = self._call_in()
        self._wake(called)
        await super()._queue_up(pause)

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        @functools.wraps(fn)
        async def measured(*args: Any, **kwargs: Any) -> Any:
            started = clock.monotonic()
            result = await fn(*args, **kwargs)
            self._learn(started)
            return result

        return super().guard_coroutine(measured)

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def measured(*args: Any, **kwargs: Any) -> Any:
            started = clock.monotonic()
            result = fn(*args, **kwargs)
            if not is_unfinished(result):
                self._learn(started)
            return result

        return super().guard_plain(measured)

    async def open_block(self, pause: Pause) -> _MeasuredPlace:
        if not self.try_acquire():
            await self._queue_up(pause)
        return _MeasuredPlace(self)

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        with await self.open_block(async_pause) as place:
            stream = await Stream.begin(fn(*args, **kwargs))
            place.answered()  # how long a body lasts is its consumer's doing
            yield stream

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        with drive(self.open_block(blocking_pause)) as place:
            iteration = Iteration(fn(*args, **kwargs))
            place.answered()
            yield iteration


class _MeasuredPlace:
    """A taken place; how long it was needed teaches the limiter."""

    __slots__ = ("_limiter", "_started")

    def __init__(self, limiter: AdaptiveLimiterBase) -> None:
        self._limiter = limiter
        self._started: float | None = clock.monotonic()

    def answered(self) -> None:
        """The dependency has answered; what follows is not its time."""
        started, self._started = self._started, None
        if started is not None:
            self._limiter._learn(started)  # noqa: SLF001 -- its own limiter

    def __enter__(self) -> _MeasuredPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.answered()
        self._limiter.release()


class AdaptiveLimiter(AsyncForms, AdaptiveLimiterBase):
    """A bulkhead whose size follows latency; see this module for the whole story.

    Args:
        initial: Calls at once to begin with.
        minimum: The limit never falls below this, at least 1.
        maximum: The limit never rises above this.
        tolerance: How many times longer than at rest a call may take before the limit shrinks, at least 1.
        smoothing: How much of each change is taken over, above 0 and at most 1.
        max_queue: Calls that may wait for a place.
        max_wait: Seconds that a call may wait; None for as long as it takes.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to create at import time and to share between tasks, threads and event loops.

        >>> AdaptiveLimiter(initial=20).limit
        20
    """

    __slots__ = ()
