"""Which threads have something to do, so that virtual time must stand still for them.

Nobody can be asked, so threads are watched. Linux tells which system call a thread is in. One that waits for a lock
without a limit (a join, a queue, an event, a future: all of them) can only be woken by another thread: it is at rest.
The others are judged by what they are to the clock:

* A *member* (the thread that opened the clock, one that has slept on it, one inside ``clock.thread()``), and a thread
  at work for an event loop, hold time back while they run or sleep for real, and in real I/O for ``grace`` seconds.
* Any other thread started since the clock came into force, such as a test's own server, holds time back until it has
  stood in one place for ``grace`` seconds; from then on it is at rest whenever it comes back to that place.
* Threads that were there before, and idle threads of a loop's pool, do not count; this package's own workers always
  count as members.

Where the system tells nothing, standing in one place for ``grace`` seconds counts as rest.
"""

from __future__ import annotations

import math
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from resilio.testing._thread_state import Doing, glance, undisturbed
from resilio.testing._timeline import real_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet
    from types import CodeType

    from resilio.testing._thread_state import Glance


# Threads in which this package runs what somebody waits for: calls with a timeout, and the journal's writes.
_OWN_WORKERS = frozenset({"resilio-call", "resilio group commit"})


class Job:
    """A function that a loop has sent to a thread, from the moment a thread may take it until the loop has its result.

    Args:
        in_process: Whether a thread of this process runs it.
        is_wanted: Whether anybody still waits for it.

    Attributes:
        thread: The thread that runs it just now.
        pending_since: Real time since when it waits for a thread to take it, or for the loop to take its result; longer
            than a while, and it must be stuck behind others.
    """

    __slots__ = ("is_wanted", "pending_since", "thread")

    def __init__(self, *, in_process: bool, is_wanted: Callable[[], bool]) -> None:
        self.is_wanted = is_wanted
        self.thread: threading.Thread | None = None
        self.pending_since = real_time() if in_process else math.inf


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
        self._standing: WeakKeyDictionary[threading.Thread, _Standing] = WeakKeyDictionary()
        self._idle_functions: set[CodeType] = set()

    # -- who is who ----------------------------------------------------------------------------------------------------

    def add_member(self) -> None:
        """Count the calling thread as a member from now on, unless it belongs to a loop's pool."""
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

    def idle_in(self, function: CodeType) -> None:
        """Know that a thread whose innermost function is ``function`` belongs to a pool and has no job."""
        self._idle_functions.add(function)

    def send(self, *, in_process: bool = True, is_wanted: Callable[[], bool] = lambda: True) -> Job:
        """Count a job as sent; one that other processes run is at work until it is done."""
        job = Job(in_process=in_process, is_wanted=is_wanted)
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
            job.pending_since = real_time()
            job.thread = None

    # -- the question --------------------------------------------------------------------------------------------------

    def at_rest(self, asleep: AbstractSet[int]) -> bool:
        """Tell whether no thread has anything to do, those in ``asleep`` left out."""
        if not self._jobs and threading.active_count() == 1:
            return True  # the one that asks
        # While one thread is looked at, another may run on: start a third, release a lock, and block in its turn. Only
        # if a second look finds everyone as they were did nobody move.
        first = self._look(asleep)
        return first is not None and (not first or self._look(asleep) == first)

    def _look(self, asleep: AbstractSet[int]) -> dict[threading.Thread, Glance] | None:
        """Look at every thread that counts; None if one of them has something to do."""
        now = real_time()
        jobs = [job for job in tuple(self._jobs) if job.is_wanted()]
        if any(job.thread is None and now - job.pending_since < self._grace for job in jobs):
            return None
        workers = {job.thread for job in jobs}
        seen: dict[threading.Thread, Glance] = {}
        with undisturbed():
            frames = sys._current_frames()  # noqa: SLF001 -- documented, in spite of its name
            for thread in threading.enumerate():
                if thread.ident in asleep:
                    continue
                strict = thread in workers or thread in self._members or thread.name in _OWN_WORKERS
                if strict or (thread not in self._before and thread not in self._pooled):
                    state = glance(thread, frames)
                    if state is None or not self._rests(thread, state, now, strict=strict):
                        return None
                    seen[thread] = state
        return seen

    def _rests(self, thread: threading.Thread, state: Glance, now: float, *, strict: bool) -> bool:
        standing = self._standing.setdefault(thread, _Standing())
        stood = standing.still_for((state.doing, state.place), now)
        if state.doing is Doing.WAITING_FOR_THREAD:
            return True
        if state.doing is not Doing.RUNNING and state.place[0].function in self._idle_functions:
            return True
        if state.doing is Doing.RUNNING or (strict and state.doing is Doing.WAITING_FOR_TIME):
            return False
        if stood >= self._grace:
            standing.settle()
            return True
        return not strict and standing.at_home()


class _Standing:
    """Where a thread stands, since when, and the places where it has settled."""

    __slots__ = ("_homes", "_place", "_since")

    def __init__(self) -> None:
        self._place: object = None
        self._since = 0.0
        self._homes: set[object] = set()

    def still_for(self, place: object, now: float) -> float:
        """How long the thread, seen in ``place`` just now, has been seen nowhere else."""
        if place != self._place:
            self._place, self._since = place, now
        return now - self._since

    def settle(self) -> None:
        """Remember the present place as one where the thread may wait for ever."""
        self._homes.add(self._place)

    def at_home(self) -> bool:
        """Tell whether it has settled here before."""
        return self._place in self._homes
