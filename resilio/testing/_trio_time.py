"""Virtual time inside a running trio loop."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from trio._core._run import GLOBAL_RUN_CONTEXT  # trio has no public way to change the clock of a running loop

from resilio.testing._timeline import aligned, pauses

if TYPE_CHECKING:
    from resilio.testing._timeline import Timeline
    from resilio.testing._wire import Wire


class TrioTime(trio.abc.Clock, trio.abc.Instrument):
    """One trio loop living on the line of time, from its making until `detach`.

    It is the loop's clock, and an instrument, to know whether a task ran between two looks.

    Args:
        timeline: The line.
        wire: Tells whether something is on its way to the loop's sockets.

    Raises:
        RuntimeError: The loop lives on another virtual clock already.
    """

    def __init__(self, timeline: Timeline, wire: Wire) -> None:
        runner: Any = GLOBAL_RUN_CONTEXT.runner
        if isinstance(runner.clock, TrioTime):
            msg = "this event loop lives on another virtual clock already; use that one"
            raise RuntimeError(msg)  # noqa: TRY004 -- the caller's order of things is wrong, not a type
        self.thread = threading.get_ident()
        self.until: float | None = None
        self.polled: int | None = None
        self._timeline = timeline
        self._wire = wire
        self._runner = runner
        self._token = trio.lowlevel.current_trio_token()
        self._seen: int | None = None
        self._waits = pauses()
        self._blocked = False
        self._attached = True
        self._real_clock: trio.abc.Clock = runner.clock
        self._real_threshold: float = runner.clock_autojump_threshold
        self._origin = aligned(self._real_clock.current_time())
        self._reached: float = self._origin
        self._start = timeline.elapsed
        runner.clock = self
        runner.clock_autojump_threshold = math.inf  # of a `MockClock`, if that is what was there
        trio.lowlevel.add_instrument(self)
        timeline.join(self)

    def detach(self) -> None:
        """Give the loop its own clock back, ahead by what was jumped, so that no queued deadline sees time run back."""
        if getattr(GLOBAL_RUN_CONTEXT, "runner", None) is self._runner:
            self._restore()
            return
        # Another thread's loop, or one that has ended.
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._restore)
            return
        self._leave()

    def nudge(self) -> None:
        if self._blocked:
            self._blocked = False
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(bool)

    def _leave(self) -> bool:
        was_attached, self._attached = self._attached, False
        if was_attached:
            self._timeline.part(self)
        return was_attached

    def _restore(self) -> None:
        if self._leave():
            trio.lowlevel.remove_instrument(self)
            self._runner.clock = _put_forward(self._real_clock, self.current_time())
            self._runner.clock_autojump_threshold = self._real_threshold

    # -- what trio asks of an instrument and a clock -------------------------------------------------------------------

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- trio's signature
        if self.until is not None:
            self.until = self._seen = None
            self._waits = pauses()

    def start_clock(self) -> None:
        """Nothing to start: the loop runs already."""

    def current_time(self) -> float:
        return max(self._origin + (self._timeline.elapsed - self._start), self._reached)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Tell trio how long to wait for sockets. It asks when no task can run, and again when the wait is over."""
        timeline = self._timeline
        self._blocked = False
        until = deadline - self._origin + self._start
        if until <= timeline.elapsed:
            self._reached = max(self._reached, deadline)  # a sum of floats may fall short of it
            return 0
        if self._runner.waiting_for_idle:
            return math.inf  # `wait_all_tasks_blocked` comes before any deadline; trio waits for its cushion instead
        if until != self.until:
            self.until, self._seen = until, None
            timeline.stir()
        if self._seen is not None:
            self.polled = self._seen
            if timeline.jump(self._seen):
                self._seen = None
                return 0
        polled, self._seen = self._seen, self._look()
        if self._seen is not None and self._seen != polled:
            return 0
        self._blocked = True
        return math.inf if until == math.inf and timeline.nobody_but(self) else next(self._waits)

    def _look(self) -> int | None:
        seen = self._timeline.calm()
        if seen is None:
            return None
        waiting = getattr(self._runner.io_manager, "_registered", ())
        return None if self._wire.is_busy(fd for fd in waiting if isinstance(fd, int)) else seen


def _put_forward(clock: trio.abc.Clock, now: float) -> trio.abc.Clock:
    """``clock``, or one like it, that reads ``now`` at least."""
    lead = now - clock.current_time()
    if lead <= 0:
        return clock
    if isinstance(clock, _Ahead):
        return _Ahead(clock.clock, clock.lead + lead)
    if isinstance(clock, trio.testing.MockClock):
        clock.jump(lead)  # trio lets nobody stand in for it
        return clock
    return _Ahead(clock, lead)


class _Ahead(trio.abc.Clock):
    """A loop's clock, put forward."""

    def __init__(self, clock: trio.abc.Clock, lead: float) -> None:
        self.clock = clock
        self.lead = lead

    def start_clock(self) -> None:
        """Started long ago."""

    def current_time(self) -> float:
        return self.clock.current_time() + self.lead

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return self.clock.deadline_to_sleep_time(deadline - self.lead)
