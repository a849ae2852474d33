"""Rate limiter: at most so many calls in so much time, evenly, first come first served.

**About.** A token bucket: ``rate`` tokens come in ``per`` seconds, up to ``burst`` may lie in it, each call takes one.
Without a token a call waits its turn, or fails with `RateLimitExceededError` if that would take longer than
``max_wait``.

**Usage.** ::

    @RateLimiter(10)                              # 10 a second
    async def send_sms(to: str, body: str) -> None: ...

    limiter = RateLimiter(100, per=60, burst=5, max_wait=2)
    async with limiter: ...
    if limiter.try_acquire(): ...

**Exact.** In any stretch of T seconds at most ``burst + T * rate / per`` calls pass. Only the first in line watches the
clock; the others wait for it, so that a cancelled waiter's token goes to the next one in line, and a thousand waiters
cost no more than one.

**Defaults.** Per second; ``burst`` is ``rate``, rounded down; a call waits for as long as its turn takes.

**Events.** `RateLimited`.

**Patterns.**

- *A provider's quota:* a little below it, ``RateLimiter(95, per=60)`` for 100 a minute, and a small ``burst``.
- *Work that can wait* without ``max_wait``; *users who cannot* with ``max_wait=0`` or `try_acquire`.

**Anti-patterns.**

- *A limiter inside the retry.* Bad: ``Pipeline(BackoffStrategy(), RateLimiter(10))``. Good: the other way round. Why:
  attempts queue behind each other's calls; outside, a call takes one token. (Where the provider counts attempts, inside
  is right, with ``max_wait``.)
- *A rate for what is really a number at once.* Bad: ``RateLimiter(20)`` before a pool of 20 connections. Good:
  ``Bulkhead(20)``. Why: when calls become slow, a rate lets ever more of them pile up.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from resilio._core import clock, durations, events
from resilio._core.colour import refuse_lazy
from resilio._core.drive import drive, refuse_in_event_loop
from resilio._core.pauses import async_pause, blocking_pause, haste
from resilio.errors import RateLimitExceededError
from resilio.policies.description import Description
from resilio.policies.events import RateLimited
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream
from resilio.policies.token_bucket import ROUNDING, TokenBucket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio._core.waiter import Waiter
    from resilio.policies.policy import AsyncCall, PlainCall


class RateLimiterBase(Policy):
    """A limiter without the forms that have a colour; see `RateLimiter`."""

    __slots__ = ("_bucket", "_line", "_lock", "_max_wait", "burst", "per", "rate")

    def __init__(
        self, rate: float, per: Duration = 1.0, burst: int | None = None, max_wait: Duration | None = None
    ) -> None:
        self.rate: float = durations.number("rate", rate, above=0)
        self.per: float = durations.seconds("per", per, above=0)
        self.burst: int = max(int(self.rate), 1) if burst is None else durations.whole("burst", burst, at_least=1)
        self._max_wait = durations.optional(durations.seconds, "max_wait", max_wait)
        self._bucket = TokenBucket(self.per / self.rate, self.burst)
        self._line: OrderedDict[Waiter, None] = OrderedDict()  # first in line first; that one watches the clock
        # Re-entrant, because the garbage collector may run inside it and close an abandoned call that waits in line.
        self._lock = threading.RLock()
        self._prepare()

    @property
    def waiting(self) -> int:
        """How many calls wait for a token now."""
        return len(self._line)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.rate:g} per {self.per:g} s, burst {self.burst}>"

    def describe(self) -> Description:
        return Description(
            "RateLimiter",
            (("rate", self.rate), ("per", self.per), ("burst", self.burst), ("max_wait", self._max_wait)),
        )

    # -- tokens ----------------------------------------------------------------------------------------------------

    def try_acquire(self) -> bool:
        """Take a token if there is one now and nobody waits for it."""
        now = clock.monotonic()
        with self._lock:
            return not self._line and self._bucket.take(now)

    async def _wait_in_line(self, pause: Pause) -> None:
        waiter = pause.waiter()
        now = clock.monotonic()
        with self._lock:
            if not self._line and self._bucket.take(now):
                return
            wait = self._bucket.wait(now, ahead=len(self._line))
            is_hasty = haste.get() is not None
            is_refused = not is_hasty and self._max_wait is not None and wait > self._max_wait + ROUNDING
            if not is_refused and not is_hasty:
                self._line[waiter] = None
                is_first = len(self._line) == 1
        if is_hasty:
            return
        if is_refused:
            raise self._rejection(wait)
        try:
            if pause is blocking_pause:
                refuse_in_event_loop("waiting for a rate limiter's turn")
            if not is_first:
                await waiter.wait(None)
            while (left := self._take_as_first(waiter)) is not None:
                await pause(left)
        except BaseException:
            self._step_out(waiter)
            raise

    def _take_as_first(self, waiter: Waiter) -> float | None:
        """Take a token as the first in line and make room for the next; else the seconds until there is one."""
        now = clock.monotonic()
        with self._lock:
            if not self._bucket.take(now):
                return self._bucket.wait(now, ahead=0)
            del self._line[waiter]
        self._call_next()
        return None

    def _step_out(self, waiter: Waiter) -> None:
        with self._lock:
            was_first = next(iter(self._line), None) is waiter
            self._line.pop(waiter, None)
        if was_first:
            self._call_next()

    def _call_next(self) -> None:
        while True:
            with self._lock:
                first = next(iter(self._line), None)
            if first is None or first.wake():
                return
            with self._lock:  # its event loop is gone, and it with it
                self._line.pop(first, None)

    def _rejection(self, wait: float) -> RateLimitExceededError:
        if events.listeners:
            events.emit(RateLimited(limiter=type(self).__name__, retry_after=wait))
        return RateLimitExceededError(
            f"more than {self.rate:g} calls per {self.per:g} s; the next free turn is in {wait:.3g} s", retry_after=wait
        )

    # -- guarding --------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        lock, line, bucket = self._lock, self._line, self._bucket

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            now = clock.monotonic()
            with lock:
                has_token = not line and bucket.take(now)
            if not has_token:
                await self._wait_in_line(async_pause)
            return await fn(*args, **kwargs)

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not self.try_acquire():
                drive(self._wait_in_line(blocking_pause))
            result = fn(*args, **kwargs)
            refuse_lazy(fn, result)
            return result

        return guarded

    async def open_block(self, pause: Pause) -> AbstractContextManager[object]:
        if not self.try_acquire():
            await self._wait_in_line(pause)
        return nullcontext()

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        await self.open_block(async_pause)
        yield await Stream.begin(fn(*args, **kwargs))

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        drive(self.open_block(blocking_pause))
        yield Iteration(fn(*args, **kwargs))


class RateLimiter(AsyncForms, RateLimiterBase):
    """Lets at most so many calls through in so much time; see this module for the whole story.

    Args:
        rate: Calls per ``per`` seconds, above 0.
        per: Seconds, above 0.
        burst: Calls that may pass at once after a quiet time, at least 1; by default ``rate``, rounded down.
        max_wait: Seconds that a call may wait for its turn; None for as long as it takes.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to create at import time and to share between tasks, threads and event loops; first come, first served.

        >>> limiter = RateLimiter(2)
        >>> [limiter.try_acquire() for _ in range(3)]
        [True, True, False]
    """

    __slots__ = ()
