"""What an error becomes, once: the record that is shown, counted, told and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from resilio._core.state_file import time_of
from resilio.errors import ErrorSeverity
from resilio.reporting.causes import ErrorCause
from resilio.reporting.messages import UserMessage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from resilio.reporting.plain import PlainValue

__all__ = ("ErrorReport",)

_TEXTS: Final = (
    *("error_id", "fingerprint", "error_type", "error_message", "category", "code", "operation", "location"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """One error, as everybody sees it: the user, the log, the tracker, the alert and the dead letter.

    It holds texts and numbers, no exception and no frame, so that keeping it keeps nothing else alive. Everything in it
    is redacted and cut. It pickles; what it holds is not to be changed.

    Attributes:
        error_id: Names this report, such as ``"err-9f86d081884c7d65"``.
        fingerprint: The same for errors that are the same; see `resilio.reporting.fingerprint`.
        error_type: The error's class.
        error_message: The error's own text, for operators.
        category: ``validation``, ``system``, ``integration``, ``general``, or the error's own.
        code: Names the kind of error within the category.
        severity: How bad it is.
        operation: What was being done.
        retryable: Whether the same call may succeed later.
        message: What the user is told, in parts.
        context: What else is known, by name.
        causes: The errors it came from, nearest first, and the members of groups.
        notes: What was added to the error on its way.
        members: How many errors it holds, if it is a group.
        location: ``module:qualname`` of the application's innermost function that it passed through.
        traceback: The functions that it passed through, outermost first, without their source.
        environment: Interpreter, machine, memory in use.
        timestamp: When it was reported, UTC.
        first_seen: When an error with this fingerprint was first seen, UTC.
        message_id: The dead letter that holds the message it spoiled; None if there is none.
    """

    error_id: str
    fingerprint: str
    error_type: str
    error_message: str
    category: str
    code: str
    severity: ErrorSeverity
    operation: str
    retryable: bool
    message: UserMessage
    timestamp: datetime
    first_seen: datetime
    context: Mapping[str, PlainValue] = field(default_factory=dict)
    causes: tuple[ErrorCause, ...] = ()
    notes: tuple[str, ...] = ()
    members: int = 0
    location: str = ""
    traceback: tuple[str, ...] = ()
    environment: Mapping[str, PlainValue] = field(default_factory=dict)
    message_id: str | None = None

    @property
    def user_message(self) -> str:
        """What the user is told, in one line."""
        return self.message.text

    def to_dict(self) -> dict[str, PlainValue]:
        """The report as a dict that JSON can carry; ``level`` is the severity under its name in log records."""
        return {
            "error_id": self.error_id,
            "fingerprint": self.fingerprint,
            "error_type": self.error_type,
            "error_message": self.error_message,
            "category": self.category,
            "code": self.code,
            "severity": str(self.severity),
            "level": str(self.severity),
            "operation": self.operation,
            "retryable": self.retryable,
            "user_message": self.message.text,
            "title": self.message.title,
            "detail": self.message.detail,
            "action": self.message.action,
            "context": dict(self.context),
            "causes": [each.to_dict() for each in self.causes],
            "notes": list(self.notes),
            "members": self.members,
            "location": self.location,
            "traceback": list(self.traceback),
            "environment": dict(self.environment),
            "timestamp": self.timestamp.isoformat(),
            "first_seen": self.first_seen.isoformat(),
            "message_id": self.message_id,
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ErrorReport:
        """The report that `to_dict` told.

        Raises:
            ValueError: It is something else.

        >>> from resilio import ErrorTracker
        >>> report = ErrorTracker().track_error(ValueError("no such cat"))
        >>> ErrorReport.from_dict(report.to_dict()) == report
        True
        """
        try:
            return cls(
                **{name: str(saved[name]) for name in _TEXTS},
                severity=ErrorSeverity(saved["severity"]),
                retryable=bool(saved["retryable"]),
                message=UserMessage(
                    title=str(saved["title"]),
                    detail=str(saved["detail"]),
                    action=str(saved["action"]),
                    text=str(saved["user_message"]),
                ),
                timestamp=time_of(saved["timestamp"]),
                first_seen=time_of(saved["first_seen"]),
                context=dict(saved["context"]),
                causes=tuple(map(ErrorCause.from_dict, saved["causes"])),
                notes=tuple(map(str, saved["notes"])),
                members=int(saved["members"]),
                traceback=tuple(map(str, saved["traceback"])),
                environment=dict(saved["environment"]),
                message_id=None if saved["message_id"] is None else str(saved["message_id"]),
            )
        except (AttributeError, KeyError, TypeError) as error:
            msg = f"not an error report: {type(error).__name__}: {error}"
            raise ValueError(msg) from error
