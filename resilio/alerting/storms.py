"""Too many notifications at once: some are told, the rest are counted and told together.

A channel may send ``burst`` messages at once and one more every ``interval`` seconds. What comes beyond that is held:
one text and one count for each kind of notification. As soon as there is room, what is held goes out as one message, a
*digest*. Counts are exact: every notification is in one message or in one digest's count.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from resilio._core import dice, durations
from resilio.alerting.media import cut
from resilio.alerting.notification import Notification
from resilio.policies.token_bucket import TokenBucket

if TYPE_CHECKING:
    from datetime import datetime

    from resilio.errors import ErrorSeverity

__all__ = ("Admission", "Held", "StormGuard", "StormLimit")

_LONGEST_KIND: Final = 200
_KINDS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, init=False)
class StormLimit:
    """How many messages a channel sends at most.

    Args:
        burst: So many at once, at least 1.
        interval: Seconds until there is room for one more, above 0.
        kinds: Of so many kinds of notification one text is kept while they wait; the rest is counted by severity.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.

        >>> StormLimit(burst=5, interval=10)
        StormLimit(burst=5, interval=10.0, kinds=100)
    """

    burst: int
    interval: float
    kinds: int

    def __init__(self, *, burst: int = 10, interval: durations.Duration = 2.0, kinds: int = 100) -> None:
        for name, value in (
            ("burst", durations.whole("burst", burst, at_least=1)),
            ("interval", durations.seconds("interval", interval, above=0)),
            ("kinds", durations.whole("kinds", kinds, at_least=1)),
        ):
            object.__setattr__(self, name, value)


class Admission(Enum):
    """What becomes of a notification."""

    SEND = auto()
    HELD = auto()
    COUNTED = auto()
    """Held without its text: there were too many kinds."""


class Held:
    """What waits for a digest: counts, by kind as far as there is room."""

    __slots__ = ("first_at", "kinds", "others", "since")

    def __init__(self, first_at: datetime, since: float) -> None:
        self.first_at: datetime = first_at
        self.since: float = since
        self.kinds: dict[tuple[ErrorSeverity, str], int] = {}
        self.others: dict[ErrorSeverity, int] = {}

    @property
    def count(self) -> int:
        return sum(self.kinds.values()) + sum(self.others.values())

    def add(self, severity: ErrorSeverity, text: str, number: int, room: int) -> Admission:
        key = (severity, text)
        if key in self.kinds or len(self.kinds) < room:
            self.kinds[key] = self.kinds.get(key, 0) + number
            return Admission.HELD
        self.others[severity] = self.others.get(severity, 0) + number
        return Admission.COUNTED

    def join(self, newer: Held, room: int) -> None:
        for (severity, text), number in newer.kinds.items():
            self.add(severity, text, number, room)
        for severity, number in newer.others.items():
            self.others[severity] = self.others.get(severity, 0) + number

    def as_notification(self, now: float, at: datetime) -> Notification:
        ranked = sorted(self.kinds.items(), key=lambda each: (-each[0][0].rank, -each[1]))
        rest = {f"[{severity}]": number for severity, number in self.others.items()}
        for (severity, _), number in ranked[_KINDS_SHOWN:]:
            rest[f"[{severity}]"] = rest.get(f"[{severity}]", 0) + number
        details: dict[str, object] = {
            "counts": {f"[{severity}] {text}": number for (severity, text), number in ranked[:_KINDS_SHOWN]},
            **({"others": rest} if rest else {}),
            "since": self.first_at.isoformat(sep=" ", timespec="seconds"),
            "seconds": round(now - self.since, 1),
        }
        kinds = "1 kind" if len(self.kinds) == 1 and not self.others else f"{len(self.kinds)} kinds"
        count = self.count
        return Notification(
            id=dice.randbytes(8).hex(),
            message=f"{count} notifications of {kinds}{' and more' if self.others else ''}, held back in a storm",
            severity=max((*(severity for severity, _ in self.kinds), *self.others), key=lambda each: each.rank),
            error_type="digest",
            details=details,
            at=at,
            count=count,
        )


class StormGuard:
    """Decides for one channel. Reads no clock, sends nothing; safe from any thread."""

    __slots__ = ("_bucket", "_endings", "_held", "_limit", "_lock")

    def __init__(self, limit: StormLimit) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._bucket = TokenBucket(limit.interval, limit.burst)
        # That something is over must not wait behind a storm: it closes an incident in somebody's pager.
        self._endings = TokenBucket(limit.interval, limit.burst)
        self._held: Held | None = None

    @property
    def waiting(self) -> int:
        """How many notifications are held."""
        with self._lock:
            return 0 if self._held is None else self._held.count

    def admit(self, notification: Notification, now: float) -> Admission:
        """Let ``notification`` through, or hold it. While others are held none passes them, but what says an end."""
        with self._lock:
            if notification.resolved and self._endings.take(now):
                return Admission.SEND
            if self._held is None:
                if self._bucket.take(now):
                    return Admission.SEND
                self._held = Held(notification.at, now)
            text = cut(notification.message, _LONGEST_KIND)
            return self._held.add(notification.severity, text, notification.count, self._limit.kinds)

    def due(self, now: float) -> float | None:
        """Seconds until a digest may go; None if nothing is held."""
        with self._lock:
            return None if self._held is None else self._bucket.wait(now, 0)

    def release(self, now: float, *, forced: bool = False) -> Held | None:
        """What is held, if there is any and there is room for a message (or ``forced``); it is held no longer."""
        with self._lock:
            if self._held is None or not (self._bucket.take(now) or forced):
                return None
            held, self._held = self._held, None
            return held

    def put_back(self, held: Held) -> None:
        """Hold again what `release` gave: nobody was told."""
        with self._lock:
            if self._held is not None:
                held.join(self._held, self._limit.kinds)
            self._held = held
