"""A clock that jumps: an hour of sleep takes milliseconds."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import anyio

from resilio._core import clock, durations
from resilio._core.drive import in_trio_run, running_asyncio_loop
from resilio.testing._asyncio_time import AsyncioTime
from resilio.testing._thread_time import ThreadTime
from resilio.testing._threads_at_work import ThreadsAtWork
from resilio.testing._timeline import Timeline, aligned
from resilio.testing._wire import Wire
from resilio.testing._worker_jobs import anyio_jobs, trio_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio._core.durations import Duration
    from resilio.testing._trio_time import TrioTime


class VirtualClock:
    """Time that moves by itself, in one jump to the next instant anyone waits for, when nobody has anything to do.

    While it is in force, ``with VirtualClock() as clock:`` or through the fixture ``virtual_clock``:

    * the running event loop lives on it: ``asyncio.sleep``, ``anyio.sleep``, ``trio.sleep``, ``call_later``, timeouts,
      deadlines and cancel scopes, whoever set them;
    * so do all of this package's timers and timestamps, on every loop and thread of the process, async or blocking;
    * nothing else does: ``time.time``, ``time.monotonic`` and ``time.sleep`` stay what they are.

    Time stands still while

    * a task can run, or a thread works for a loop (``anyio.to_thread``, ``asyncio.to_thread``, ``trio.to_thread``,
      ``run_in_executor``), and until the result is back;
    * bytes are on their way to a TCP socket that a loop waits on; when the other end is in another process, for
      ``io_grace`` real seconds after something was sent to it (Linux; elsewhere use `hold`);
    * another thread that takes part works. The thread that entered the clock takes part, every thread from its first
      sleep on the clock, every thread inside `thread`, and threads started meanwhile until they have stood in one
      place for ``io_grace`` real seconds, as a server does. A thread that waits for another one (a lock, a join, a
      queue, a future, an event, without a timeout) does not hold time back.

    Loops in other threads come to live on the clock with their first ``await`` of a timer of this package, or by
    entering the clock there. On leaving, loops get their own time back, put forward by what was jumped, and threads
    still asleep sleep the rest for real: nobody sees time run back.

    Args:
        io_grace: Real seconds (or a ``timedelta``) that an answer from outside the process may take before time moves
            on without it.

    Raises:
        TypeError: ``io_grace`` is neither a number nor a ``timedelta``.
        ValueError: It is negative or NaN.

    Safe from any thread and any event loop. In the same thread, blocks do not nest.

        >>> from resilio._core import clock
        >>> with VirtualClock() as virtual:
        ...     clock.sleep_blocking(3600)
        ...     virtual.elapsed
        3600.0
    """

    def __init__(self, *, io_grace: Duration = 0.25) -> None:
        self._io_grace = durations.seconds("io_grace", io_grace)
        self._lock = threading.Lock()
        self._in_force: ExitStack | None = None
        self._start()

    def _start(self) -> None:
        self._threads = ThreadsAtWork(self._io_grace)
        self._timeline = Timeline(self._threads.at_rest)
        self._thread_time = ThreadTime(self._timeline, self._threads)
        self._loops: dict[object, AsyncioTime | TrioTime] = {}
        self._seen_jobs: set[object] = set()
        self._origin = aligned(time.monotonic())
        self._born = datetime.now(UTC)
        self._mark = (0.0, 0)

    def __repr__(self) -> str:
        state = "in force" if self._in_force is not None else "not in force"
        count = len(self.jumps)
        return f"<VirtualClock {state}, {self.elapsed:g} s elapsed in {count} jump{'s' if count != 1 else ''}>"

    # -- coming into force ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Bring the clock into force, for the running event loop too if there is one.

        Raises:
            RuntimeError: It is in force already; or the running loop is one that it cannot take over.
        """
        if self._in_force is not None:
            msg = "this virtual clock is in force already"
            raise RuntimeError(msg)
        self._start()
        with ExitStack() as stack:
            stack.callback(self._release)
            stack.enter_context(clock.installed(self))
            self._in_force = stack
            loop = _running_loop()
            if loop is not None:
                self._take_in(loop)
            self._in_force = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_force is not None:
            self._in_force.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def _release(self) -> None:
        self._thread_time.close()
        with self._lock:
            self._in_force = None
            loops = list(self._loops.values())
            self._loops.clear()
        for loop in loops:
            loop.detach()

    @contextmanager
    def loop(self) -> Iterator[None]:
        """Let the running event loop live on this clock while the block runs, if it does not already.

        Raises:
            RuntimeError: No event loop runs on this thread, or it is one that cannot be taken over.
        """
        loop = _running_loop()
        if loop is None:
            msg = "no event loop runs on this thread"
            raise RuntimeError(msg)
        if not self._take_in(loop):
            yield
            return
        try:
            yield
        finally:
            with self._lock:
                here = self._loops.pop(loop, None)
            if here is not None:
                here.detach()

    def _take_in(self, loop: object) -> bool:
        """Let the running loop live on this clock; tell whether it is new here."""
        with self._lock:
            if loop in self._loops:
                return False
            if self._in_force is None:
                msg = "this virtual clock is not in force; enter it first: `with clock:`"
                raise RuntimeError(msg)
            wire = Wire(self._io_grace)
            if isinstance(loop, asyncio.AbstractEventLoop):
                self._loops[loop] = AsyncioTime(loop, self._timeline, self._threads, wire)
                jobs = anyio_jobs
            else:
                from resilio.testing._trio_time import TrioTime  # noqa: PLC0415 -- only where trio is

                self._loops[loop] = TrioTime(self._timeline, wire)
                jobs = trio_jobs
            if jobs not in self._seen_jobs:
                self._seen_jobs.add(jobs)
                self._in_force.enter_context(jobs(self._threads))
            return True

    # -- what every clock offers ---------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self._origin + self._timeline.elapsed

    def utcnow(self) -> datetime:
        return self._born + timedelta(seconds=self._timeline.elapsed)

    async def sleep(self, seconds: float) -> None:
        loop = _running_loop()
        if loop not in self._loops and loop is not None:
            self._take_in(loop)
        await anyio.sleep(seconds)

    def sleep_blocking(self, seconds: float) -> None:
        self._thread_time.sleep(seconds)

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        if not event.is_set():
            self._thread_time.wait(event, math.inf if timeout is None else max(timeout, 0.0))
        return event.is_set()

    # -- what a test asks of it ----------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the clock came into force, or since `restart`, to the microsecond."""
        return round(self._timeline.elapsed - self._mark[0], 6)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The length of each jump since the clock came into force, or since `restart`, in seconds."""
        return tuple(self._timeline.jumps[self._mark[1] :])

    def restart(self) -> None:
        """Count `elapsed` and `jumps` from here. Time itself goes on. Happens before each example of Hypothesis."""
        self._mark = (self._timeline.elapsed, len(self._timeline.jumps))

    def advance(self, seconds: Duration) -> None:
        """Move time forward here and now, whoever works, and although it may be held.

        Whatever falls due meanwhile runs when this code next lets it, in the order of its deadlines, and finds that
        all of the time has passed. To stop at each instant on the way, sleep instead.

        Args:
            seconds: How far, in seconds or as a ``timedelta``.

        Raises:
            TypeError: ``seconds`` is neither a number nor a ``timedelta``.
            ValueError: It is negative, infinite or NaN.
        """
        self._timeline.advance(durations.seconds("seconds", seconds))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let time stand still while the block runs, but for `advance`. Holds may overlap.

        For real work that the clock cannot see, such as a child process. Nothing ends a sleep inside the block but
        `advance` from elsewhere.
        """
        timeline = self._timeline
        timeline.hold(+1)
        try:
            yield
        finally:
            timeline.hold(-1)

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Let this thread take part while the block runs, whether it has slept on the clock yet or not.

        Only threads that ran before the clock came into force need it: time stands still while they work in the block.
        """
        with self._threads.membership():
            yield


def _running_loop() -> object | None:
    """What stands for the event loop that runs on this thread; None if there is none."""
    loop = running_asyncio_loop()
    if loop is not None or not in_trio_run():
        return loop
    import trio  # noqa: PLC0415 -- it is running, so it is imported

    return trio.lowlevel.current_trio_token()
