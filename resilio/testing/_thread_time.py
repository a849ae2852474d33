"""Blocking sleeps on the line of time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from resilio._core.clock import SystemClock
from resilio.testing._timeline import pauses

if TYPE_CHECKING:
    from resilio.testing._threads_at_work import ThreadsAtWork
    from resilio.testing._timeline import Timeline


class _Sleeper:
    """A thread asleep, on time alone or on an event as well."""

    __slots__ = ("_bell", "_event", "until")

    def __init__(self, until: float, event: threading.Event | None, lock: threading.RLock) -> None:
        self.until = until
        self._event = event
        self._bell = threading.Condition(lock)

    def is_due(self, now: float) -> bool:
        return self.until <= now or (self._event is not None and self._event.is_set())

    def wake(self) -> None:
        self._bell.notify()

    def doze(self, pause: float | None) -> None:
        """Wait until woken, at most ``pause`` real seconds. Called with the line's lock held once."""
        self._bell.wait(pause)


class ThreadTime:
    """How threads sleep under a virtual clock.

    One of the sleeping threads, the *watcher*, looks again and again whether everyone rests, and makes the jump. The
    others wait to be woken.
    """

    def __init__(self, timeline: Timeline, threads: ThreadsAtWork) -> None:
        self._timeline = timeline
        self._threads = threads
        self._watcher: _Sleeper | None = None
        self._over = False

    def close(self) -> None:
        """End virtual time: whoever is asleep sleeps the rest for real."""
        with self._timeline.lock:
            self._over = True
            self._timeline.wake_all()

    def sleep(self, seconds: float) -> None:
        """Block this thread for ``seconds``."""
        rest = self._sleep(seconds, None)
        if rest > 0:
            SystemClock().sleep_blocking(rest)

    def wait(self, event: threading.Event, timeout: float) -> None:
        """Block this thread until ``event`` is set, at most ``timeout`` seconds (infinity is allowed)."""
        rest = self._sleep(timeout, event)
        if rest > 0:
            SystemClock().wait_blocking(event, rest)

    def _sleep(self, seconds: float, event: threading.Event | None) -> float:
        """Sleep on the line; return what is left to sleep for real because virtual time ended."""
        timeline = self._timeline
        me = threading.get_ident()
        with timeline.lock:
            if self._over:
                return seconds
            self._threads.add_member()
            sleeper = _Sleeper(timeline.elapsed + seconds, event, timeline.lock)
            timeline.lie_down(me, sleeper)
            try:
                self._sleep_until_due(sleeper, event)
            finally:
                timeline.get_up(me)
                if self._watcher is sleeper:
                    self._watcher = None
                    timeline.wake_all()  # the first to look becomes the watcher
            return 0.0 if sleeper.is_due(timeline.elapsed) else sleeper.until - timeline.elapsed

    def _sleep_until_due(self, sleeper: _Sleeper, event: threading.Event | None) -> None:
        timeline = self._timeline
        waits = pauses()
        looking = True  # the last one to fall asleep need not wait for the watcher
        while not (self._over or sleeper.is_due(timeline.elapsed)):
            self._watcher = self._watcher or sleeper
            watching = self._watcher is sleeper
            if (watching or looking) and not timeline.watched_by_loop():
                seen = timeline.calm()
                if seen is not None and timeline.jump(seen):
                    continue
            looking = False
            # A thread that waits for an event must look for itself: its setter knows nothing of the line.
            sleeper.doze(None if event is None and not watching else next(waits))
