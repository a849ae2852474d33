"""What a rule found, as one moment shows it: an incident, and how far it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from resilio._core.state_file import time_of
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ("Incident", "IncidentState", "incident_id")


class IncidentState(StrEnum):
    """How far an incident is."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident at one moment. Everything in it is redacted.

    Attributes:
        id: Names it: one rule's one finding, from when it begins until it is over.
        rule: The rule's name.
        severity: How bad the rule says it is.
        labels: Which of several.
        state: How far it is.
        summary: What was found last.
        details: What else was found last, by name.
        since: When it was found first, UTC.
        updated_at: When it was found last, UTC.
        fired_at: When it began to fire, UTC; None while it is pending.
        ended_at: When it was over, UTC; None until then.
        told: Whether somebody was told of it.
        silenced_by: The ids of the silences that keep it from being told.
        inhibited_by: The names of the rules that keep it from being told.
    """

    id: str
    rule: str
    severity: ErrorSeverity
    labels: Mapping[str, str]
    state: IncidentState
    summary: str
    details: Mapping[str, object] = field(default_factory=dict)
    since: datetime
    updated_at: datetime
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    told: bool = False
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()

    @property
    def muted(self) -> bool:
        """Whether a silence or another rule keeps it from being told."""
        return bool(self.silenced_by or self.inhibited_by)

    def to_dict(self) -> dict[str, object]:
        """The same as a dict that JSON can carry."""
        return {
            "id": self.id,
            "rule": self.rule,
            "severity": str(self.severity),
            "labels": dict(self.labels),
            "state": str(self.state),
            "summary": self.summary,
            "details": dict(self.details),
            "since": self.since.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "fired_at": _text(self.fired_at),
            "ended_at": _text(self.ended_at),
            "told": self.told,
            "silenced_by": list(self.silenced_by),
            "inhibited_by": list(self.inhibited_by),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Incident:
        """As `to_dict` told it.

        Raises:
            ValueError: It is something else.
        """
        try:
            return cls(
                id=str(saved["id"]),
                rule=str(saved["rule"]),
                severity=ErrorSeverity(saved["severity"]),
                labels={str(name): str(value) for name, value in saved["labels"].items()},
                state=IncidentState(saved["state"]),
                summary=str(saved["summary"]),
                details=dict(saved["details"]),
                since=time_of(saved["since"]),
                updated_at=time_of(saved["updated_at"]),
                fired_at=None if saved["fired_at"] is None else time_of(saved["fired_at"]),
                ended_at=None if saved["ended_at"] is None else time_of(saved["ended_at"]),
                told=bool(saved["told"]),
                silenced_by=tuple(map(str, saved["silenced_by"])),
                inhibited_by=tuple(map(str, saved["inhibited_by"])),
            )
        except (AttributeError, KeyError, TypeError) as error:
            msg = f"not an incident: {type(error).__name__}: {error}"
            raise ValueError(msg) from error


def incident_id(rule: str, labels: Mapping[str, str], since: datetime) -> str:
    """The id of what ``rule`` finds under ``labels`` since then: the same in every process."""
    text = "\0".join((rule, *(f"{name}\1{value}" for name, value in sorted(labels.items())), since.isoformat()))
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
