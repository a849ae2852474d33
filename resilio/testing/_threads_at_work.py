"""Which threads have something to do, so that virtual time must stand still for them.

Nobody can be asked, so threads are watched. Linux tells which system call a thread is in: one that waits for a lock
without a limit (a join, a queue, an event, a future: all of them) can only be woken by another thread, so it is at
rest. The others are judged by what they are to the clock:

* A *member* (the thread that opened the clock, one that has slept on it, one inside ``clock.thread()``) and the thread
  of a loop's *job* hold time back while they run or wait for real time, and in real I/O for up to ``grace`` seconds.
* Any other thread started since the clock came into force, such as a test's own server, holds time back until it has
  stood in one place for ``grace`` seconds.
* Threads that were there before, and idle threads of a pool, do not count.

Where the system tells nothing, standing in one place for ``grace`` seconds counts as rest.
"""

from __future__ import annotations

import enum
import platform
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Set
    from types import FrameType


class Job:
    """A function that a loop has sent to a thread, from the moment a thread may take it until the loop has its result.

    Attributes:
        thread: The thread that runs it, once one has taken it up.
        sent: Real time when it was sent.
    """

    __slots__ = ("sent", "thread")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.sent = time.monotonic()


class ThreadsAtWork:
    """Watches the threads of the process for one virtual clock.

    Args:
        grace: Real seconds that I/O may take, see above.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._before: WeakSet[threading.Thread] = WeakSet(threading.enumerate())
        self._members: WeakSet[threading.Thread] = WeakSet([threading.current_thread()])
        self._pooled: WeakSet[threading.Thread] = WeakSet()
        self._jobs: dict[Job, None] = {}
        self._stood: WeakKeyDictionary[threading.Thread, tuple[_Place, float]] = WeakKeyDictionary()

    # -- who is who ----------------------------------------------------------------------------------------------------

    def add_member(self) -> None:
        """Count the calling thread as a member, unless it is at work for a loop."""
        thread = threading.current_thread()
        if thread not in self._pooled:
            self._members.add(thread)

    @contextmanager
    def membership(self) -> Iterator[None]:
        """Count the calling thread as a member while the block runs."""
        thread = threading.current_thread()
        already = thread in self._members
        self._members.add(thread)
        try:
            yield
        finally:
            if not already:
                self._members.discard(thread)

    def send(self) -> Job:
        """Count a job as sent."""
        job = Job()
        self._jobs[job] = None
        return job

    def done(self, job: Job) -> None:
        """Count ``job`` no more: the loop has its result, or wants it no longer."""
        self._jobs.pop(job, None)

    @contextmanager
    def working(self, job: Job) -> Iterator[None]:
        """Count the calling thread as the one that runs ``job``."""
        job.thread = threading.current_thread()
        self._pooled.add(job.thread)
        try:
            yield
        finally:
            # Between here and `done` the result is on its way to the loop, which is still work.
            job.thread = None
            job.sent = time.monotonic()

    # -- the question --------------------------------------------------------------------------------------------------

    def at_rest(self, asleep: Set[int]) -> bool:
        """Tell whether no thread has anything to do, those in ``asleep`` left out."""
        if not self._jobs and threading.active_count() == 1:
            return True  # the one that asks
        now = time.monotonic()
        strict = [job.thread for job in self._jobs if job.thread is not None]
        if any(job.thread is None and now - job.sent < self._grace for job in tuple(self._jobs)):
            return False
        threads = [
            thread
            for thread in threading.enumerate()
            if thread.ident not in asleep
            and (
                thread in self._members
                or thread in strict
                or (thread not in self._before and thread not in self._pooled)
            )
        ]
        # One pass may see A blocked, then B release A and block in its turn; a second look at A tells.
        return all(self._rests(thread, now, strict) for _ in range(min(2, len(threads))) for thread in threads)

    def _rests(self, thread: threading.Thread, now: float, strict: list[threading.Thread]) -> bool:
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 -- the documented way to see it
        if frame is None or _is_ours(frame):
            return False  # starting or ending, or on its way into or out of a sleep
        doing = _doing(thread.native_id)
        if doing is _Doing.WAITING_FOR_THREAD:
            return True
        place = _Place.of(frame)
        known = self._stood.get(thread)
        if known is None or known[0] != place:
            self._stood[thread] = known = (place, now)
        if doing is _Doing.RUNNING:
            return False
        if doing is _Doing.WAITING_FOR_TIME and (thread in self._members or thread in strict):
            return False
        return now - known[1] >= self._grace


class _Place(tuple[object, ...]):
    """Where a thread stands: the innermost functions and the instruction in each."""

    __slots__ = ()
    _DEPTH = 4

    @classmethod
    def of(cls, frame: FrameType | None) -> _Place:
        steps: list[object] = []
        while frame is not None and len(steps) < cls._DEPTH:
            steps.append((frame.f_code, frame.f_lasti))
            frame = frame.f_back
        return cls(steps)


def _is_ours(frame: FrameType) -> bool:
    # The lock of the line itself is held while threads are judged.
    return any(frame.f_globals.get("__name__") == name for name in _OURS) or (
        frame.f_back is not None and frame.f_back.f_globals.get("__name__") in _OURS
    )


_OURS = frozenset({f"{__package__}._timeline", f"{__package__}._thread_time"})


class _Doing(enum.Enum):
    RUNNING = enum.auto()
    WAITING_FOR_THREAD = enum.auto()
    WAITING_FOR_TIME = enum.auto()
    WAITING_FOR_IO = enum.auto()
    UNKNOWN = enum.auto()


# Numbers of the system calls futex, nanosleep and clock_nanosleep.
_CALLS = {"x86_64": ("202", "35", "230"), "aarch64": ("98", "101", "115"), "riscv64": ("98", "101", "115")}
_FUTEX, *_SLEEPS = _CALLS.get(platform.machine(), ("", "", "")) if sys.platform == "linux" else ("", "", "")


def _doing(native_id: int | None) -> _Doing:
    if not _FUTEX:
        return _Doing.UNKNOWN
    try:
        call = Path(f"/proc/self/task/{native_id}/syscall").read_text().split()
    except OSError:
        return _Doing.UNKNOWN
    if call[0] == "running":
        return _Doing.RUNNING
    if call[0] == _FUTEX:
        # The fourth argument is the limit; waiting for the interpreter's own lock has one as well.
        return _Doing.WAITING_FOR_THREAD if call[4] == "0x0" else _Doing.WAITING_FOR_TIME
    return _Doing.WAITING_FOR_TIME if call[0] in _SLEEPS else _Doing.WAITING_FOR_IO
