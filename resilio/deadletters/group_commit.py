"""Many senders, one fsync.

Senders on any event loop, on trio and on plain threads put their items into one buffer. Whoever finds no commit running
starts one in a worker thread: through aiofiles on asyncio, through anyio on trio. That thread takes the whole buffer,
commits it at once, wakes the senders, and goes on with what has gathered meanwhile. It is nobody's task, so that a
sender that is cancelled strands no other.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import defaultdict
from concurrent.futures import Executor, Future
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

from resilio._core import clock, logs
from resilio.deadletters.worker import hop_on_asyncio, in_trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractContextManager

__all__ = ("GroupCommit",)

Item = TypeVar("Item")

# Seconds that an idle thread waits for the next item. A lone sender that sends one after the other then pays for waking
# a thread and not for starting one, which takes as long as a fast disk's fsync.
_LINGER: Final = 0.02


class _Phase(Enum):
    IDLE = "no thread"
    STARTING = "a thread was asked for and has not come yet"
    BUSY = "a thread commits"
    LINGERING = "a thread waits for the next item"


class _Waiter(Generic[Item]):
    """One item, and who waits for it.

    Attributes:
        item: What is to be committed.
        place: Where its sender waits: an asyncio event loop, a trio token, or None for a plain thread.
        bell: What is rung there: a future, or an event.
        outcome: What became of the item.
        is_withdrawn: Whether its sender was cancelled and wants it no more.
    """

    __slots__ = ("bell", "is_withdrawn", "item", "outcome", "place")

    def __init__(self, item: Item, place: Any, bell: Any) -> None:
        self.item = item
        self.place = place
        self.bell = bell
        self.outcome: object = None
        self.is_withdrawn = False

    def result(self) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class _ThreadOfItsOwn(Executor):
    """An executor for aiofiles whose thread may outlive the call: it lingers, and no event loop waits for that."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # nobody can cancel it any more
        threading.Thread(target=fn, args=(*args, future), name="resilio group commit").start()
        return future


class GroupCommit(Generic[Item]):
    """Gathers items and commits them in batches. Safe from any event loop, from trio and from threads at once.

    Args:
        commit: Takes a batch, in the order of arrival, and returns as many outcomes, each the value or the exception
            for one sender. What it raises goes to every sender of the batch. It runs in one thread at a time.
        tidy: Called in between, in the same thread, as ``tidy(is_idle=...)``: does a little of what has to be done
            besides, and tells whether there is more to do just now. After a batch it is called once; when nothing has
            come for a while, for as long as there is more and nothing comes.
    """

    def __init__(
        self, commit: Callable[[list[Item]], Sequence[object]], *, tidy: Callable[..., bool] | None = None
    ) -> None:
        self._commit = commit
        self._tidy = tidy
        self._lock = threading.Lock()
        self._pending: list[_Waiter[Item]] = []
        self._phase = _Phase.IDLE
        self._call = 0  # numbers the threads asked for: one that comes after another was asked for instead goes home
        self._door = threading.Lock()  # the lingering thread waits at it
        self._door.acquire()
        self._hops: set[asyncio.Task[None]] = set()

    def submit(self, item: Item, *, withdraw: bool = False) -> Coroutine[Any, Any, Any]:
        """Have ``item`` committed once this is awaited, which returns its outcome.

        Args:
            item: What ``commit`` gets.
            withdraw: Whether cancellation takes the item back if its batch has not begun. Otherwise it is committed all
                the same, with nobody left to tell.

        Raises:
            Exception: What ``commit`` gave for it, or raised.
        """
        hold = getattr(clock.current(), "hold", None)
        return self._submit(item, withdraw) if hold is None else self._submit_held(item, withdraw, hold)

    async def _submit_held(self, item: Item, withdraw: bool, hold: Callable[[], AbstractContextManager[object]]) -> Any:  # noqa: FBT001
        with hold():  # a virtual clock cannot see that a thread works for this task, and would jump over it
            return await self._submit(item, withdraw)

    async def _submit(self, item: Item, withdraw: bool) -> Any:  # noqa: FBT001 -- our own call, and often
        ring: Awaitable[object]
        if in_trio():
            import trio  # noqa: PLC0415 -- only where it runs already

            event = trio.Event()
            waiter = _Waiter(item, trio.lowlevel.current_trio_token(), event)
            ring = event.wait()
            call = self._enqueue(waiter)
            if call:
                trio.lowlevel.spawn_system_task(self._hop_on_trio, call)
        else:
            loop = asyncio.get_running_loop()
            ring = future = loop.create_future()
            waiter = _Waiter(item, loop, future)
            call = self._enqueue(waiter)
            if call:
                hop = loop.create_task(hop_on_asyncio(_ThreadOfItsOwn(), self._run, call))
                self._hops.add(hop)
                hop.add_done_callback(partial(self._hopped, call))
        try:
            await ring
        except BaseException:
            waiter.is_withdrawn = withdraw
            raise
        return waiter.result()

    def submit_blocking(self, item: Item) -> Any:
        """The same on a plain thread, which does the committing itself if nobody else is at it.

        Raises:
            Exception: What ``commit`` gave for it, or raised.
        """
        bell = threading.Event()
        waiter = _Waiter(item, None, bell)
        call = self._enqueue(waiter)
        if call:
            try:
                with self._lock:
                    self._phase = _Phase.BUSY
                    batch = self._take()
                self._process(batch)
            finally:
                with self._lock:
                    self._phase = _Phase.STARTING if self._pending else _Phase.IDLE
                    is_more = bool(self._pending)
                if is_more:
                    self._start_thread(call)
        bell.wait()
        return waiter.result()

    # -- getting a thread ----------------------------------------------------------------------------------------------

    def _enqueue(self, waiter: _Waiter[Item]) -> int:
        """Put an item into the buffer; a number other than 0 asks the caller to get a thread to commit it."""
        with self._lock:
            self._pending.append(waiter)
            if self._phase is _Phase.LINGERING:
                self._phase = _Phase.BUSY
                self._door.release()
            elif self._phase is _Phase.IDLE:
                self._phase = _Phase.STARTING
                self._call += 1
                return self._call
            return 0

    async def _hop_on_trio(self, call: int) -> None:
        try:
            limiter = anyio.CapacityLimiter(1)  # the default one would count a thread that lingers
            with suppress(RuntimeError):  # no thread is left; the next line finds out for itself
                await anyio.to_thread.run_sync(self._run, call, None, abandon_on_cancel=True, limiter=limiter)
        finally:
            self._see_to(call)

    def _hopped(self, call: int, hop: asyncio.Task[None]) -> None:
        self._hops.discard(hop)
        if not hop.cancelled():
            hop.exception()  # whatever kept it from starting, the next line makes up for
        self._see_to(call)

    def _see_to(self, call: int) -> None:
        """Where an event loop ended before the thread that it was to start had come, start one without it."""
        with self._lock:
            if self._phase is not _Phase.STARTING or self._call != call:
                return
        self._start_thread(call)

    def _start_thread(self, call: int) -> None:
        try:
            threading.Thread(target=self._run, args=(call, None), name="resilio group commit").start()
        except RuntimeError as error:  # the system has no thread left
            with self._lock:
                batch = self._take()
                self._phase = _Phase.IDLE
            self._answer(batch, [error] * len(batch))

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _run(self, call: int, hop: Future[None] | None) -> None:
        """Commit until nothing comes any more."""
        with self._lock:
            is_wanted = self._phase is _Phase.STARTING and self._call == call
            if is_wanted:
                self._phase = _Phase.BUSY
        if hop is not None:
            hop.set_result(None)  # the event loop has done its part; it need not wait for a thread that lingers
        while is_wanted:
            with self._lock:
                batch = self._take()
                if not batch:
                    self._phase = _Phase.LINGERING
            if batch:
                self._process(batch)
                self._tidy_up(is_idle=False)
            else:
                is_wanted = self._linger()

    def _tidy_up(self, *, is_idle: bool) -> bool:
        if self._tidy is None:
            return False
        try:
            return self._tidy(is_idle=is_idle)
        except Exception as error:
            self._tidy = None  # it is broken, but no sender is the worse for it
            logs.write("error", "tidying up failed", {"error": repr(error)}, logger="resilio.deadletters")
            return False

    def _linger(self) -> bool:
        """Wait a little for the next item, and tell whether one came; otherwise the thread ends."""
        if self._door.acquire(timeout=_LINGER):
            return True
        while self._tidy_up(is_idle=True):
            if self._door.acquire(blocking=False):
                return True
        with self._lock:
            if self._phase is _Phase.BUSY:  # it came at the last moment
                self._door.acquire()
                return True
            self._phase = _Phase.IDLE
            return False

    def _take(self) -> list[_Waiter[Item]]:
        taken, self._pending = self._pending, []
        return [each for each in taken if not each.is_withdrawn]

    def _process(self, batch: list[_Waiter[Item]]) -> None:
        outcomes: Sequence[object] = [RuntimeError("the commit was interrupted")] * len(batch)
        try:
            found = self._commit([each.item for each in batch])
            if len(found) != len(batch):
                outcomes = [RuntimeError(f"{len(batch)} items, but {len(found)} outcomes")] * len(batch)
            else:
                outcomes = found
        except Exception as error:
            outcomes = [_copy_of(error) for _ in batch]
        finally:
            self._answer(batch, outcomes)

    def _answer(self, batch: list[_Waiter[Item]], outcomes: Sequence[object]) -> None:
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.outcome = outcome
        _wake(batch)


def _copy_of(error: Exception) -> Exception:
    """One error raised in many tasks would gather all their tracebacks: each gets its own."""
    try:
        own = copy.copy(error)
    except Exception:
        return error
    own.__cause__ = error.__cause__
    return own


def _wake(batch: Iterable[_Waiter[Any]]) -> None:
    """Ring the senders' bells, with one call for each event loop."""
    places: defaultdict[Any, list[Any]] = defaultdict(list)
    for waiter in batch:
        places[waiter.place].append(waiter.bell)
    for place, bells in places.items():
        try:
            if place is None:
                _ring_events(bells)
            elif isinstance(place, asyncio.AbstractEventLoop):
                place.call_soon_threadsafe(_ring_futures, bells)
            else:
                place.run_sync_soon(_ring_events, bells)
        except RuntimeError:
            continue  # that event loop has ended, and its senders with it


def _ring_futures(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _ring_events(bells: Iterable[Any]) -> None:
    for bell in bells:
        bell.set()
