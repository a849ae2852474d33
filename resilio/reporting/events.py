"""What reporting tells: one frozen value per thing that happened.

Listen with ``resilio.subscribe(listener, ErrorReported, ...)``. Events hold no exception objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio._core.events import Event

if TYPE_CHECKING:
    from resilio.reporting.report import ErrorReport

__all__ = ("ErrorReported", "OperationEnded", "OperationStarted", "ReportingEvent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingEvent(Event):
    """Anything that reporting tells; it has been logged already by whoever tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReported(ReportingEvent):
    """An error was handled for the first time.

    Attributes:
        report: What became of it.
    """

    report: ErrorReport


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStarted(ReportingEvent):
    """A block under `log_operation` began.

    Attributes:
        operation: Its name.
    """

    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationEnded(ReportingEvent):
    """A block under `log_operation` ended.

    Attributes:
        operation: Its name.
        duration: Seconds it took.
        outcome: ``"succeeded"``, ``"failed"`` or ``"cancelled"``.
        error_id: The id of the error's report, which may be yet to be made; None unless it failed.
    """

    operation: str
    duration: float
    outcome: str
    error_id: str | None = None
