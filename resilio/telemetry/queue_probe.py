"""How many letters lie in a queue, for somebody who must not wait for a disk or a network to say so."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

from resilio._core import clock, portal

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Protocol

    from resilio.deadletters.store import DeadLetterStats

    class CountsLetters(Protocol):
        """A dead letter queue, async or blocking."""

        @property
        def location(self) -> str:
            """Where the letters are."""

        def stats(self) -> DeadLetterStats | Awaitable[DeadLetterStats]:
            """What lies here."""


__all__ = ("QueueProbe",)

_log = logging.getLogger("resilio")

_FRESH: Final = 5.0
_STALE: Final = 300.0
_PATIENCE: Final = 0.25


class QueueProbe:
    """Reads a queue's numbers in a thread of its own; whoever asks waits for a quarter of a second at most.

    A reading serves for five seconds. When the next one takes longer, the last one is given for up to five minutes, and
    then none: an old number that looks like a new one would hide the trouble. The queue is held weakly.

    Args:
        name: What the queue is called.
        queue: The queue.
        patience: Seconds to wait for a reading.

    Safe from any thread; at most one reading is under way.
    """

    def __init__(self, name: str, queue: CountsLetters, *, patience: float = _PATIENCE) -> None:
        self.name: str = name
        self.location: str = queue.location
        self._queue = weakref.ref(queue)
        self._patience = patience
        self._lock = threading.Lock()
        self._reading: threading.Event | None = None
        self._last: DeadLetterStats | None = None
        self._read_at = float("-inf")
        self._has_complained = False
        _alive.add(self)

    def begin_anew(self) -> None:
        """Forget a reading that is under way: its thread stayed behind in the parent process."""
        self._lock = threading.Lock()
        self._reading = None

    @property
    def is_alive(self) -> bool:
        """Whether the queue is still there."""
        return self._queue() is not None

    def read(self) -> DeadLetterStats | None:
        """The numbers, a few seconds old at most if the queue answers; None if it does not, or is gone."""
        with self._lock:
            if clock.monotonic() - self._read_at < _FRESH:
                return self._last
            queue = self._queue()
            if queue is None:
                return None
            done = self._reading
            if done is None:
                done = self._reading = threading.Event()
                name = f"resilio-telemetry-{self.name}"
                threading.Thread(target=self._refresh, args=(queue, done), name=name, daemon=True).start()
        del queue
        clock.wait_blocking(done, self._patience)
        with self._lock:
            return self._last if clock.monotonic() - self._read_at < _STALE else None

    def _refresh(self, queue: CountsLetters, done: threading.Event) -> None:
        found: DeadLetterStats | None = None
        try:
            found = _stats_of(queue)
            self._has_complained = False
        except Exception as error:
            if not self._has_complained:  # once, not with every scrape
                self._has_complained = True
                _log.warning("the letters in %s cannot be counted: %s", self.location, error)
        finally:
            with self._lock:
                self._last, self._read_at, self._reading = found, clock.monotonic(), None
            done.set()


_alive: weakref.WeakSet[QueueProbe] = weakref.WeakSet()


def _after_fork() -> None:
    for probe in list(_alive):
        probe.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _stats_of(queue: CountsLetters) -> DeadLetterStats:
    async def ask() -> DeadLetterStats:
        answer = queue.stats()
        return await answer if inspect.isawaitable(answer) else answer

    if inspect.iscoroutinefunction(queue.stats):
        return portal.call(ask)
    answer = queue.stats()
    if inspect.isawaitable(answer):
        msg = f"stats() of {queue!r} must be an async function or a plain one"
        raise TypeError(msg)
    return answer
