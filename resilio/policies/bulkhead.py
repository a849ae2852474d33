"""Bulkhead: at most so many calls at once, so that one slow dependency cannot take all of a service's time.

**About.** ``max_concurrent`` calls run at once. Up to ``max_queue`` others wait, first come first served, for at most
``max_wait`` seconds each; the rest fail at once with `BulkheadFullError`.

**Usage.** ::

    @Bulkhead(20, max_queue=100, max_wait=2)
    async def render(report: Report) -> bytes: ...

    async with bulkhead:
        ...

**Fair.** A free place goes to whoever has waited longest, in whichever event loop or thread; nobody overtakes. A waiter
that is cancelled gives its place in the line up, and the place itself if it had just been given one.

**At run time.** ``bulkhead.resize(max_concurrent=40)``: more places are handed out at once, fewer take effect as calls
end.

**Defaults.** No queue: a call that finds no place fails at once. A queue without ``max_wait`` lets calls wait for as
long as it takes.

**Events.** `BulkheadRejected`.

**Patterns.**

- *One per dependency,* with about as many places as its connection pool has.
- *Outside of the retry:* one place a call. Inside of it a call gives its place up while it waits, and queues again.

**Anti-patterns.**

- *A long queue without max_wait.* Bad: ``Bulkhead(20, max_queue=10_000)``. Good: ``max_queue=100, max_wait=2``. Why:
  every caller waits longer than any user does; refuse early instead.
- *Calls inside of calls.* Bad: a guarded function that calls another one guarded by the same bulkhead. Good: guard the
  outer one. Why: when all places are taken by outer calls, all of them wait for a second one, for ever, or fail.
"""

from __future__ import annotations

import functools
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import durations, events
from resilio._core.colour import FINISHED, is_unfinished
from resilio._core.drive import drive, refuse_in_event_loop
from resilio._core.pauses import async_pause, blocking_pause, haste
from resilio.errors import BulkheadFullError
from resilio.policies.description import Description
from resilio.policies.events import BulkheadRejected
from resilio.policies.places import Places
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio._core.waiter import Waiter
    from resilio.policies.policy import AsyncCall, PlainCall


class BulkheadBase(Policy):
    """A bulkhead without the forms that have a colour; see `Bulkhead`."""

    __slots__ = ("_lock", "_max_wait", "_places")

    def __init__(self, max_concurrent: int, max_queue: int = 0, max_wait: Duration | None = None) -> None:
        self._places = Places(
            durations.whole("max_concurrent", max_concurrent, at_least=1),
            durations.whole("max_queue", max_queue, at_least=0),
        )
        self._max_wait = durations.optional(durations.seconds, "max_wait", max_wait)
        # Re-entrant, because the garbage collector may run inside it and close a guarded stream or an abandoned call,
        # which then gives its place back.
        self._lock = threading.RLock()
        self._prepare()

    @property
    def max_concurrent(self) -> int:
        """How many calls may run at once."""
        return self._places.capacity

    @property
    def running(self) -> int:
        """How many calls run now."""
        return self._places.taken

    @property
    def waiting(self) -> int:
        """How many calls wait for a place now."""
        return self._places.waiting

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.running}/{self.max_concurrent} running, {self.waiting} waiting>"

    def describe(self) -> Description:
        places = self._places
        return Description(
            type(self).__name__,
            (("max_concurrent", places.capacity), ("max_queue", places.max_queue), ("max_wait", self._max_wait)),
        )

    def resize(self, max_concurrent: int | None = None, max_queue: int | None = None) -> None:
        """Change the number of places, or of those who may wait; calls under way go on.

        Raises:
            TypeError: An argument is no whole number.
            ValueError: It is out of range; nothing is changed.
        """
        capacity = durations.optional(durations.whole, "max_concurrent", max_concurrent, at_least=1)
        line = durations.optional(durations.whole, "max_queue", max_queue, at_least=0)
        with self._lock:
            self._places.capacity = self._places.capacity if capacity is None else capacity
            self._places.max_queue = self._places.max_queue if line is None else line
            called = self._call_in()
        self._wake(called)

    # -- taking and giving back ------------------------------------------------------------------------------------

    def try_acquire(self) -> bool:
        """Take a place if one is free now; give it back with `release`."""
        with self._lock:
            return self._places.take()

    def release(self) -> None:
        """Give a place back; whoever waits longest gets it.

        Raises:
            RuntimeError: No place is taken: it was given back twice.
        """
        places = self._places
        with self._lock:
            if not places.taken:
                msg = "no place of this bulkhead is taken, so none can be given back"
                raise RuntimeError(msg)
            places.taken -= 1
            if not places.waiting:
                return
            called = self._call_in()
        self._wake(called)

    def _call_in(self) -> list[Waiter]:
        """Give the free places to those who wait longest, under the lock that freed them: nobody overtakes."""
        called: list[Waiter] = []
        while (waiter := self._places.next_in_line()) is not None:
            called.append(waiter)
        return called

    def _wake(self, called: list[Waiter]) -> None:
        while called:
            waiter = called.pop(0)
            if not waiter.wake():  # its event loop is gone: the place is for the next one
                with self._lock:
                    self._places.take_back(waiter)
                    called += self._call_in()

    async def _queue_up(self, pause: Pause) -> None:
        waiter = pause.waiter()
        with self._lock:
            if self._places.take():
                return
            is_queued = haste.get() is None and self._places.queue_up(waiter)
        if not is_queued:
            raise self._rejection("its queue is full" if self._places.max_queue else "it has no queue")
        try:
            if pause is blocking_pause:
                refuse_in_event_loop("waiting for a place in a bulkhead")
            await waiter.wait(self._max_wait)
        except BaseException:
            if self._left_queue(waiter):  # a place came in the moment in which we were cancelled: pass it on
                self.release()
            raise
        if not self._left_queue(waiter):
            patience = f"{self._max_wait or 0.0:g} s"
            raise self._rejection("none became free within " + patience)

    def _left_queue(self, waiter: Waiter) -> bool:
        with self._lock:
            return self._places.leave_queue(waiter)

    def _rejection(self, why: str) -> BulkheadFullError:
        if events.listeners:
            events.emit(BulkheadRejected(running=self.running, waiting=self.waiting))
        return BulkheadFullError(
            f"all {self._places.capacity} places are taken, and {why}", max_concurrent=self._places.capacity
        )

    # -- guarding --------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        lock, places, release = self._lock, self._places, self.release

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            with lock:
                has_place = places.take()
            if not has_place:
                await self._queue_up(async_pause)
            try:
                return await fn(*args, **kwargs)
            finally:
                release()

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if not self.try_acquire():
                drive(self._queue_up(blocking_pause))
            try:
                result = fn(*args, **kwargs)
            finally:
                self.release()
            if type(result) not in FINISHED and is_unfinished(result):
                return self.guard_returned(fn, result, args, kwargs)
            return result

        return guarded

    async def open_block(self, pause: Pause) -> AbstractContextManager[object]:
        if not self.try_acquire():
            await self._queue_up(pause)
        return Place(self.release)

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        with await self.open_block(async_pause):
            yield await Stream.begin(fn(*args, **kwargs))

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        with drive(self.open_block(blocking_pause)):
            yield Iteration(fn(*args, **kwargs))


class Place:
    """A taken place, given back when the block ends."""

    __slots__ = ("_release",)

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def __enter__(self) -> None:
        """The place is taken already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()


class Bulkhead(AsyncForms, BulkheadBase):
    """Lets at most so many calls run at once; see this module for the whole story.

    Args:
        max_concurrent: Calls that may run at once, at least 1.
        max_queue: Calls that may wait for a place, at least 0.
        max_wait: Seconds that a call may wait; None for as long as it takes.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to create at import time and to share between tasks, threads and event loops; first come, first served.

        >>> Bulkhead(20, max_queue=100, max_wait=2)
        <Bulkhead 0/20 running, 0 waiting>
    """

    __slots__ = ()
