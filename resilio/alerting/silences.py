"""What nobody wants to be told for a while: silences, as Alertmanager has them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, dice
from resilio._core.state_file import time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


__all__ = ("Silence", "SilenceBook")

_MOST_EXPIRED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What nobody wants to be told for a while.

    Attributes:
        id: Names it.
        rule: The rule's name; None for all.
        labels: Only incidents with these labels.
        until: When it ends, on the monotonic clock of this process.
        starts_at: When it was made, UTC.
        ends_at: When it ends, or was ended, UTC.
        created_by: Who made it.
        comment: Why.
        expired_by: Who ended it before its time; empty if nobody did.
    """

    id: str
    rule: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    until: float
    starts_at: datetime
    ends_at: datetime
    created_by: str = ""
    comment: str = ""
    expired_by: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it silences anything at this moment."""
        return clock.monotonic() < self.until

    def covers(self, rule: str, labels: Mapping[str, str], now: float) -> bool:
        """Whether such an incident is not to be told at ``now``."""
        is_meant = self.rule in (None, rule) and all(labels.get(name) == value for name, value in self.labels.items())
        return is_meant and now < self.until

    def to_dict(self) -> dict[str, object]:
        """The same as a dict that JSON can carry; ``state`` is ``"active"`` or ``"expired"``."""
        return {
            "id": self.id,
            "state": "active" if self.is_active else "expired",
            "rule": self.rule,
            "labels": dict(self.labels),
            "starts_at": self.starts_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "created_by": self.created_by,
            "comment": self.comment,
            "expired_by": self.expired_by,
        }


class SilenceBook:
    """The silences of some rules, those that are over for a while as well. Not safe across threads."""

    __slots__ = ("_active", "_expired")

    def __init__(self) -> None:
        self._active: dict[str, Silence] = {}
        self._expired: deque[Silence] = deque(maxlen=_MOST_EXPIRED)

    def add(
        self, rule: str | None, labels: Mapping[str, str], seconds: float, *, created_by: str, comment: str
    ) -> Silence:
        """Begin a silence."""
        now, at = clock.monotonic(), clock.utcnow()
        silence = Silence(
            id=dice.randbytes(8).hex(),
            rule=rule,
            labels=dict(labels),
            until=now + seconds,
            starts_at=at,
            ends_at=at + timedelta(seconds=seconds),
            created_by=created_by,
            comment=comment,
        )
        self._active[silence.id] = silence
        return silence

    def expire(self, silence_id: str, *, by: str) -> Silence | None:
        """End a silence before its time; None if there is none of that id that still holds."""
        self._tidy()
        silence = self._active.pop(silence_id, None)
        if silence is None:
            return None
        ended = replace(silence, until=clock.monotonic(), ends_at=clock.utcnow(), expired_by=by)
        self._expired.append(ended)
        return ended

    def covering(self, rule: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """The ids of the silences that such an incident falls under."""
        if not self._active:
            return ()
        now = clock.monotonic()
        return tuple(each.id for each in self._active.values() if each.covers(rule, labels, now))

    def listed(self, *, expired: bool) -> list[Silence]:
        """Those that hold, soonest to end first; with ``expired`` also the last 200 that are over, latest first."""
        self._tidy()
        active = sorted(self._active.values(), key=lambda each: each.until)
        return [*active, *reversed(self._expired)] if expired else active

    def to_list(self) -> list[dict[str, object]]:
        """As JSON can carry it."""
        self._tidy()
        return [each.to_dict() for each in (*self._expired, *self._active.values())]

    def restore(self, saved: Iterable[Mapping[str, Any]]) -> None:
        """Take up what `to_list` saved; what is over by now is over.

        Raises:
            KeyError, TypeError, ValueError: It did not save that.
        """
        now, at = clock.monotonic(), clock.utcnow()
        for each in saved:
            ends_at = time_of(each["ends_at"])
            silence = Silence(
                id=str(each["id"]),
                rule=None if each["rule"] is None else str(each["rule"]),
                labels={str(name): str(value) for name, value in each["labels"].items()},
                until=now + (ends_at - at).total_seconds(),
                starts_at=time_of(each["starts_at"]),
                ends_at=ends_at,
                created_by=str(each["created_by"]),
                comment=str(each["comment"]),
                expired_by=str(each["expired_by"]),
            )
            if silence.until <= now:
                self._expired.append(silence)
            else:
                self._active[silence.id] = silence

    def _tidy(self) -> None:
        now = clock.monotonic()
        for silence in [each for each in self._active.values() if each.until <= now]:
            self._expired.append(self._active.pop(silence.id))
