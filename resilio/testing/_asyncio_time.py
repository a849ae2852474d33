"""Virtual time inside a running asyncio loop."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.testing._threads_at_work import ThreadsAtWork
    from resilio.testing._timeline import Timeline

_SHORTEST, _LONGEST = 0.00005, 0.005  # real seconds between two looks at whether everyone rests


class AsyncioTime:
    """One asyncio loop living on the line of time, from `attach` to `detach`.

    The loop is left as it is but for three attributes of the instance: how it reads the time, how its selector waits,
    and how it sends functions to threads.

    Args:
        loop: The running loop.

    Raises:
        RuntimeError: The loop keeps time where Python cannot reach it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeline: Timeline, threads: ThreadsAtWork) -> None:
        selector = getattr(loop, "_selector", None)
        if not isinstance(loop, asyncio.BaseEventLoop) or selector is None or not hasattr(selector, "select"):
            kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
            msg = (
                f"virtual time needs an asyncio loop with a selector, and this one is {kind}, which keeps time outside "
                "Python; run the test on asyncio's own loop or on trio"
            )
            raise RuntimeError(msg)
        self.thread = threading.get_ident()
        self.until: float | None = None
        self.polled: int | None = None
        self._loop: Any = loop
        self._selector: Any = selector
        self._timeline = timeline
        self._threads = threads
        self._blocked = False
        self._attached = False

    def attach(self) -> None:
        """Put the loop on the line."""
        loop, selector = self._loop, self._selector
        self._former_time = loop.time
        self._former_resolution = loop._clock_resolution  # noqa: SLF001
        self._select_for_real = selector.select
        self._run_in_executor = loop.run_in_executor
        self._origin = self._former_time() - self._timeline.elapsed
        # A timer is due when it is less than this away: past 2**23 seconds of uptime the default is less than what
        # a float can tell apart, and virtual time does not creep on by itself.
        loop._clock_resolution = max(self._former_resolution, 4 * math.ulp(self._origin))  # noqa: SLF001
        loop.time = self._time
        loop.run_in_executor = self._send_to_thread
        selector.select = self._select
        self._attached = True
        self._timeline.join(self)

    def detach(self) -> None:
        """Give the loop its own time back, ahead by what was jumped, so that no queued timer sees time run back."""
        if not self._attached:
            return
        self._attached = False
        now = self._time()
        loop = self._loop
        del self._selector.select
        del loop.run_in_executor
        loop._clock_resolution = self._former_resolution  # noqa: SLF001
        loop.time = _ahead(self._former_time, now)
        self._timeline.part(self)

    def nudge(self) -> None:
        if self._blocked:
            self._loop._write_to_self()  # noqa: SLF001 -- what `call_soon_threadsafe` does after queueing

    def _time(self) -> float:
        return self._origin + self._timeline.elapsed

    def _select(self, timeout: float | None = None) -> Any:
        ready = self._select_for_real(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        timeline = self._timeline
        scheduled = self._loop._scheduled  # noqa: SLF001 -- `timeout` is cut to a day
        self.until = math.inf if timeout is None or not scheduled else scheduled[0].when() - self._origin
        timeline.stir()
        try:
            return self._idle()
        finally:
            self.until = None

    def _idle(self) -> Any:
        timeline = self._timeline
        pause = _SHORTEST
        while self._attached:
            seen = timeline.calm()
            ready = self._select_for_real(0)
            if ready:
                return ready
            self.polled = seen
            if seen is not None and timeline.jump(seen):
                pause = _SHORTEST
            if self.until is None or self.until <= timeline.elapsed:
                return []
            ready = self._block(pause)
            if ready:
                return ready
            pause = min(2 * pause, _LONGEST)
        return []

    def _block(self, pause: float) -> Any:
        self._blocked = True
        try:
            forever = self.until == math.inf and self._timeline.nobody_else(self)
            return self._select_for_real(None if forever else pause)
        finally:
            self._blocked = False

    def _send_to_thread(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        job = self._threads.send()

        def work(*args: Any) -> Any:
            with self._threads.working(job):
                return func(*args)

        # Other executors may have to pickle what they run.
        in_thread = executor is None or isinstance(executor, ThreadPoolExecutor)
        try:
            future = self._run_in_executor(executor, work if in_thread else func, *args)
        except BaseException:
            self._threads.done(job)
            raise
        future.add_done_callback(lambda _: self._threads.done(job))
        return future


def _ahead(clock: Callable[[], float], now: float) -> Callable[[], float]:
    """``clock``, put forward so that it reads ``now`` at least."""
    lead = now - clock()
    if lead <= 0:
        return clock
    if isinstance(clock, _Ahead):
        return _Ahead(clock.clock, clock.lead + lead)
    return _Ahead(clock, lead)


class _Ahead:
    """A clock put forward."""

    __slots__ = ("clock", "lead")

    def __init__(self, clock: Callable[[], float], lead: float) -> None:
        self.clock = clock
        self.lead = lead

    def __call__(self) -> float:
        return self.clock() + self.lead
