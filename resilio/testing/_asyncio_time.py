"""Virtual time inside a running asyncio loop."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from resilio.testing._timeline import aligned, pauses

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.testing._threads_at_work import ThreadsAtWork
    from resilio.testing._timeline import Timeline
    from resilio.testing._wire import Wire


class AsyncioTime:
    """One asyncio loop living on the line of time, from its making until `detach`.

    The loop is left as it is but for three attributes of the instance: how it reads the time, how its selector waits,
    and how it sends functions to threads.

    Args:
        loop: The running loop; not all that is used of it is public.
        timeline: The line.
        threads: Is told of the functions that the loop sends to threads.
        wire: Tells whether something is on its way to the loop's sockets.

    Raises:
        RuntimeError: The loop keeps time where Python cannot reach it, or lives on another virtual clock.
    """

    def __init__(self, loop: Any, timeline: Timeline, threads: ThreadsAtWork, wire: Wire) -> None:
        _refuse_unfit(loop)
        self.thread = threading.get_ident()
        self.until: float | None = None
        self.polled: int | None = None
        self._loop = loop
        self._timeline = timeline
        self._threads = threads
        self._wire = wire
        self._blocked = False
        self._attached = True
        self._selector = loop._selector  # noqa: SLF001 -- there is no public way to it
        self._real_select: Callable[[float | None], Any] = self._selector.select
        self._real_time: Callable[[], float] = loop.time
        self._real_run_in_executor: Callable[..., Any] = loop.run_in_executor
        self._origin = aligned(loop.time())
        self._reached: float = self._origin
        self._start = timeline.elapsed
        self._selector.select = self._select
        loop.time = self._time
        loop.run_in_executor = self._run_in_executor
        timeline.join(self)

    def detach(self) -> None:
        """Give the loop its own time back, ahead by what was jumped, so that no queued timer sees time run back."""
        if not self._attached:
            return
        self._attached = False
        del self._selector.select
        del self._loop.run_in_executor
        self._loop.time = _put_forward(self._real_time, self._time())
        self._timeline.part(self)

    def nudge(self) -> None:
        if self._blocked:
            self._loop._write_to_self()  # noqa: SLF001 -- `call_soon_threadsafe`, without anything to call

    def _time(self) -> float:
        return max(self._origin + (self._timeline.elapsed - self._start), self._reached)

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _select(self, timeout: float | None = None) -> Any:
        """Stands in for the selector's ``select``: wait for sockets, or for virtual time."""
        ready = self._real_select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        due = math.inf
        if timeout is not None:
            # What the loop waits for; `timeout` is cut to a day.
            due = self._loop._scheduled[0].when()  # noqa: SLF001
        until = due - self._origin + self._start
        self.until = until
        self._timeline.stir()
        try:
            ready = self._wait(until)
        finally:
            self.until = None
        if until <= self._timeline.elapsed and due >= self._time() + self._loop._clock_resolution:  # noqa: SLF001
            # Sums of floats may fall short of the timer (far from the origin, or after months of uptime), and the
            # loop would then wait for it for ever.
            self._reached = math.nextafter(due, math.inf)
        return ready

    def _wait(self, until: float) -> Any:
        timeline = self._timeline
        waits = pauses()
        while self._attached and until > timeline.elapsed:
            seen = timeline.calm()
            if seen is not None and self._wire.is_busy(self._selector.get_map()):
                seen = None
            ready = self._real_select(0)
            if ready:
                return ready
            self.polled = seen
            if seen is not None and timeline.jump(seen):
                continue
            ready = self._block(until, next(waits))
            if ready:
                return ready
        return []

    def _block(self, until: float, pause: float) -> Any:
        self._blocked = True
        try:
            return self._real_select(None if until == math.inf and self._timeline.nobody_but(self) else pause)
        finally:
            self._blocked = False

    # -- threads -------------------------------------------------------------------------------------------------------

    def _run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Stands in for the loop's own, which ``asyncio.to_thread`` and name look-ups use as well."""
        # An executor of another kind may have to pickle what it runs.
        in_process = executor is None or isinstance(executor, ThreadPoolExecutor)
        job = self._threads.send(in_process=in_process)

        def work(*args: Any) -> Any:
            with self._threads.working(job):
                return func(*args)

        try:
            future = self._real_run_in_executor(executor, work if in_process else func, *args)
        except BaseException:
            self._threads.done(job)
            raise
        future.add_done_callback(lambda _: self._threads.done(job))
        return future


def _refuse_unfit(loop: object) -> None:
    selector = getattr(loop, "_selector", None)
    if not isinstance(loop, asyncio.SelectorEventLoop) or selector is None:
        msg = (
            f"virtual time needs asyncio's own selector loop, or trio; this loop is a {type(loop).__module__}."
            f"{type(loop).__qualname__}, which keeps time out of Python's reach. Run the test on another loop, or "
            "without the virtual clock"
        )
        raise RuntimeError(msg)
    if "select" in vars(selector):
        msg = "this event loop lives on another virtual clock already; use that one"
        raise RuntimeError(msg)


def _put_forward(clock: Callable[[], float], now: float) -> Callable[[], float]:
    """``clock``, or one like it, that reads ``now`` at least."""
    lead = now - clock()
    if lead <= 0:
        return clock
    return _Ahead(clock.clock, clock.lead + lead) if isinstance(clock, _Ahead) else _Ahead(clock, lead)


class _Ahead:
    """A loop's clock, put forward."""

    __slots__ = ("clock", "lead")

    def __init__(self, clock: Callable[[], float], lead: float) -> None:
        self.clock = clock
        self.lead = lead

    def __call__(self) -> float:
        return self.clock() + self.lead
