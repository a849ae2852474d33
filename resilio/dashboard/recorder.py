"""What happened lately, as far as nobody else keeps it: circuits' changes, letters and rejections by the minute."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio._core.events import Event, subscribe
from resilio.dashboard.rows import ChangeRow
from resilio.deadletters.events import LetterKept
from resilio.policies.events import CallRejected, CircuitStateChanged

if TYPE_CHECKING:
    from resilio._core.events import Subscription

__all__ = ("MINUTES", "Minutes", "Recorder")

MINUTES: Final = 61
"""The present minute and the hour before it, as the tracker has them."""

_MOST_CHANGES: Final = 500


class Minutes:
    """Counts by the minute over the last hour; not safe across threads."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, now: float) -> None:
        """Count one at ``now``, in seconds since 1970."""
        minute = int(now // 60)
        if minute not in self._counts and len(self._counts) > MINUTES:
            self._counts = {at: count for at, count in self._counts.items() if minute - MINUTES < at <= minute}
        self._counts[minute] = self._counts.get(minute, 0) + 1

    def series(self, last: int) -> list[int]:
        """The counts of the minutes that end with number ``last``, oldest first."""
        return [self._counts.get(minute, 0) for minute in range(last - MINUTES + 1, last + 1)]


class Recorder:
    """Listens for as long as somebody holds it; keeps a bounded number of things. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changes: deque[ChangeRow] = deque(maxlen=_MOST_CHANGES)
        self._letters = Minutes()
        self._rejections = Minutes()
        hear = weakref.WeakMethod(self._hear)

        def listener(event: Event) -> None:
            heard = hear()
            if heard is not None:
                heard(event)

        subscription: Subscription[Event] = subscribe(listener, CircuitStateChanged, LetterKept, CallRejected)
        # The hub must not keep a dashboard alive that nobody serves any more.
        weakref.finalize(self, subscription.cancel)

    def _hear(self, event: Event) -> None:
        at = event.at.timestamp()
        with self._lock:
            if isinstance(event, CircuitStateChanged):
                self._changes.append(
                    ChangeRow(
                        circuit=event.circuit,
                        number=event.number,
                        before=str(event.before),
                        after=str(event.after),
                        at=at,
                        error=event.error,
                    )
                )
            elif isinstance(event, LetterKept):
                self._letters.add(at)
            else:
                self._rejections.add(at)

    def changes(self) -> list[ChangeRow]:
        """The last changes of state of all circuits, newest first."""
        with self._lock:
            return list(reversed(self._changes))

    def letters(self, last: int) -> list[int]:
        """How many letters came in each minute; see `Minutes.series`."""
        with self._lock:
            return self._letters.series(last)

    def rejections(self, last: int) -> list[int]:
        """How many calls circuits rejected in each minute; see `Minutes.series`."""
        with self._lock:
            return self._rejections.series(last)


def this_minute() -> int:
    """The number of the present minute, counted from 1970."""
    return int(clock.utcnow().timestamp() // 60)
