"""Virtual time inside a running trio loop."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT  # the running loop; trio has no public way to change its clock

if TYPE_CHECKING:
    from resilio.testing._timeline import Timeline

_SHORTEST, _LONGEST = 0.00005, 0.005  # real seconds between two looks at whether everyone rests


class TrioTime(trio.abc.Clock, trio.abc.Instrument):
    """One trio loop living on the line of time, from `attach` to `detach`.

    It is the loop's clock, and an instrument, to know whether a task ran between two looks.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.thread = threading.get_ident()
        self.until: float | None = None
        self.polled: int | None = None
        self._timeline = timeline
        self._runner: Any = GLOBAL_RUN_CONTEXT.runner
        self._token = trio.lowlevel.current_trio_token()
        self._seen: int | None = None
        self._pause = _SHORTEST
        self._nudged = False
        self._attached = False

    def attach(self) -> None:
        """Put the loop on the line."""
        runner = self._runner
        self._former = runner.clock
        self._former_threshold = runner.clock_autojump_threshold
        self._origin = self._former.current_time() - self._timeline.elapsed
        runner.clock = self
        runner.clock_autojump_threshold = math.inf  # of a `MockClock`, if one was there
        trio.lowlevel.add_instrument(self)
        self._attached = True
        self._timeline.join(self)

    def detach(self) -> None:
        """Give the loop its own clock back, ahead by what was jumped, so that no queued deadline sees time run back."""
        if not self._attached:
            return
        if self.thread != threading.get_ident():
            self._hand_to_loop()
            return
        self._attached = False
        now = self.current_time()
        trio.lowlevel.remove_instrument(self)
        self._runner.clock = _ahead(self._former, now)
        self._runner.clock_autojump_threshold = self._former_threshold
        self._timeline.part(self)

    def _hand_to_loop(self) -> None:
        try:
            self._token.run_sync_soon(self.detach)
        except trio.RunFinishedError:
            self._attached = False
            self._timeline.part(self)

    def nudge(self) -> None:
        if self.until is not None and threading.get_ident() != self.thread and not self._nudged:
            self._nudged = True
            try:
                self._token.run_sync_soon(self._look_again)
            except trio.RunFinishedError:
                return

    def _look_again(self) -> None:
        self._nudged = False

    # -- what trio asks of a clock and an instrument -------------------------------------------------------------------

    def start_clock(self) -> None:
        """Nothing to start: the loop runs already."""

    def current_time(self) -> float:
        return self._origin + self._timeline.elapsed

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- trio's signature
        if self.until is not None:
            self._seen = self.until = None
            self._pause = _SHORTEST

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How long trio shall wait for sockets. It asks when no task can run, and after waiting asks again."""
        timeline = self._timeline
        until = deadline - self._origin
        if until <= timeline.elapsed:
            return 0
        if self._runner.waiting_for_idle:
            return math.inf  # `wait_all_tasks_blocked` comes before any deadline, and cuts this to its cushion
        if until != self.until:
            self.until = until
            self._seen = None
            timeline.stir()
        if self._seen is not None:
            self.polled = self._seen
            if timeline.jump(self._seen):
                self._seen = None
                return 0
        looked_before, self._seen = self._seen, timeline.calm()
        if self._seen is not None and self._seen != looked_before:
            return 0
        if until == math.inf and timeline.nobody_else(self):
            return math.inf
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST)
        return pause


class _Ahead(trio.abc.Clock):
    """A clock put forward."""

    def __init__(self, clock: trio.abc.Clock, lead: float) -> None:
        self.clock = clock
        self.lead = lead

    def start_clock(self) -> None:
        """Started long ago."""

    def current_time(self) -> float:
        return self.clock.current_time() + self.lead

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return self.clock.deadline_to_sleep_time(deadline - self.lead)


def _ahead(clock: trio.abc.Clock, now: float) -> trio.abc.Clock:
    """``clock``, put forward so that it reads ``now`` at least."""
    lead = now - clock.current_time()
    if lead <= 0:
        return clock
    if isinstance(clock, _Ahead):
        return _Ahead(clock.clock, clock.lead + lead)
    return _Ahead(clock, lead)
