"""From what a caller says, slips included, to a notification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resilio._core import clock, dice
from resilio.alerting.notification import Notification
from resilio.alerting.outlet import described, redacted, redacted_details, text_of
from resilio.errors import ErrorSeverity

__all__ = ("Kind", "as_mapping", "draft", "new_id")


@dataclass(frozen=True, slots=True)
class Kind:
    """How bad it is, and what it says the end of; ``unknown`` is what was given for a severity and is none."""

    severity: ErrorSeverity
    resolves: ErrorSeverity | None = None
    unknown: str | None = None

    @classmethod
    def of(cls, severity: ErrorSeverity, resolves: ErrorSeverity | None) -> Kind:
        """Whatever was given."""
        try:
            return cls(ErrorSeverity(severity), None if resolves is None else ErrorSeverity(resolves))
        except ValueError as error:
            # An alert with a misspelt severity is still an alert.
            return cls(ErrorSeverity.ERROR, unknown=severity if resolves is None else text_of(error))


def draft(
    message: object, details: Mapping[str, object] | None, kind: Kind, error_type: object, dedup_key: object
) -> Notification:
    """A notification of whatever was given, without secrets. Never raises an ``Exception``."""
    details = as_mapping(details)
    if kind.unknown is not None:
        details = {"unknown_severity": kind.unknown, **details}
    return Notification(
        id=new_id(),
        message=redacted(message),
        severity=kind.severity,
        error_type=None if error_type is None else redacted(error_type),
        details=redacted_details(details),
        at=clock.utcnow(),
        dedup_key=None if dedup_key is None else redacted(dedup_key),
        resolves=kind.resolves,
    )


def new_id() -> str:
    """The id of a notification."""
    return dice.randbytes(8).hex()


def as_mapping(details: object) -> dict[str, object]:
    """Details as a dict of our own."""
    # What is not a mapping is a caller's slip in an `except` block: worth telling, not worth an exception.
    if details is None:
        return {}
    try:
        return dict(details) if isinstance(details, Mapping) else {"details": details}
    except Exception as error:
        return {"details": f"<{type(details).__name__} that cannot be read: {described(error)}>"}
