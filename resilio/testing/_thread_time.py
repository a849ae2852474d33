"""Blocking sleeps on the line of time."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.testing._threads_at_work import ThreadsAtWork
    from resilio.testing._timeline import Timeline

_SHORTEST, _LONGEST = 0.00005, 0.002  # real seconds between two looks at whether everyone rests


class _Sleeper:
    """A thread asleep, on time alone or on an event as well."""

    __slots__ = ("_event", "until")

    def __init__(self, until: float, event: threading.Event | None) -> None:
        self.until = until
        self._event = event

    def is_due(self, now: float) -> bool:
        return self.until <= now or (self._event is not None and self._event.is_set())


class ThreadTime:
    """How threads sleep under a virtual clock."""

    def __init__(self, timeline: Timeline, threads: ThreadsAtWork) -> None:
        self._timeline = timeline
        self._threads = threads
        self._over = False

    def close(self) -> None:
        """The clock is no longer in force: whoever still sleeps sleeps the rest for real."""
        with self._timeline.moved:
            self._over = True
            self._timeline.stir()

    def sleep(self, seconds: float, event: threading.Event | None = None) -> None:
        """Block this thread for ``seconds`` (infinite is allowed), or until ``event`` is set."""
        self._threads.add_member()
        timeline = self._timeline
        sleeper = _Sleeper(timeline.elapsed + seconds, event)
        me = threading.get_ident()
        if sleeper.is_due(timeline.elapsed):
            return
        timeline.lie_down(me, sleeper)
        try:
            self._sleep(sleeper, event)
        finally:
            timeline.get_up(me)
        rest = sleeper.until - timeline.elapsed
        if self._over and rest > 0 and not (event is not None and event.is_set()):
            if event is None:
                time.sleep(rest)
            else:
                event.wait(None if rest == math.inf else rest)

    def _sleep(self, sleeper: _Sleeper, event: threading.Event | None) -> None:
        timeline = self._timeline
        pause = _SHORTEST
        while True:
            with timeline.moved:
                if self._over or sleeper.is_due(timeline.elapsed):
                    return
                if not timeline.has_loops:
                    seen = timeline.calm()
                    if seen is not None and timeline.jump(seen):
                        pause = _SHORTEST
                        continue
                if event is None:
                    timeline.moved.wait(pause)
            if event is not None:
                event.wait(pause)
            pause = min(2 * pause, _LONGEST)
