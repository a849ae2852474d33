"""What the tracker knows about errors that are the same, and about operations of one name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from resilio._core.state_file import time_of
from resilio.errors import ErrorSeverity
from resilio.reporting.trace import Trace

if TYPE_CHECKING:
    from datetime import datetime

    from resilio.reporting.latency import LatencySketch
    from resilio.reporting.plain import PlainValue
    from resilio.reporting.report import ErrorReport

__all__ = ("ErrorGroup", "GroupRecord", "OperationStats")

_LONGEST: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """The errors with one fingerprint.

    Attributes:
        fingerprint: What they have in common.
        count: How many there were; never too low.
        excess: By how much ``count`` may be too high at most: 0 unless the tracker has met more different errors than
            it tells apart.
        error_type: The class of the last one.
        error_message: Its text, redacted and cut.
        category: Its category.
        code: Its code.
        severity: The worst of any of them.
        operation: What was being done.
        location: Where the last one came from.
        first_seen: When the first one came, since the group was last taken up.
        last_seen: When the last one came.
        last_error_id: The id of its report.
    """

    fingerprint: str
    count: int
    excess: int
    error_type: str
    error_message: str
    category: str
    code: str
    severity: ErrorSeverity
    operation: str
    location: str
    first_seen: datetime
    last_seen: datetime
    last_error_id: str

    def to_dict(self) -> dict[str, PlainValue]:
        """The same as a dict that JSON can carry."""
        return {
            **asdict(self),
            "severity": str(self.severity),
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
        }


class GroupRecord:
    """What a counter of the tracker carries; not safe across threads."""

    __slots__ = (
        *("category", "code", "error_message", "error_type", "first_seen", "last_error_id", "last_seen", "location"),
        *("operation", "severity", "trace"),
    )

    def __init__(self, report: ErrorReport) -> None:
        self.first_seen: datetime = report.timestamp
        self.severity: ErrorSeverity = report.severity
        self.error_type: str = report.error_type
        self.category: str = report.category
        self.code: str = report.code
        self.location: str = report.location
        self.trace: Trace = Trace()
        self._take(report)

    def seen_again(self, report: ErrorReport) -> None:
        """Take note of another one."""
        if report.severity.rank > self.severity.rank:
            self.severity = report.severity
        self._take(report)

    def _take(self, report: ErrorReport) -> None:
        self.error_message: str = report.error_message[:_LONGEST]
        self.operation: str = report.operation
        self.last_seen: datetime = report.timestamp
        self.last_error_id: str = report.error_id
        self.trace.add(report.timestamp.timestamp())

    def group(self, fingerprint: str, count: int, excess: int) -> ErrorGroup:
        """What is shown of it."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "trace"}
        return ErrorGroup(fingerprint=fingerprint, count=count, excess=excess, **fields)

    def to_dict(self, fingerprint: str) -> dict[str, PlainValue]:
        """As JSON can carry it."""
        shown = self.group(fingerprint, 0, 0).to_dict()
        return {name: value for name, value in shown.items() if name not in {"count", "excess"}}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> GroupRecord:
        """As it was saved.

        Raises:
            ValueError: It was not saved by `to_dict`.
        """
        made = cls.__new__(cls)
        for name in ("category", "code", "error_message", "error_type", "last_error_id", "location", "operation"):
            setattr(made, name, str(saved[name]))
        made.severity = ErrorSeverity(saved["severity"])
        made.first_seen = time_of(saved["first_seen"])
        made.last_seen = time_of(saved["last_seen"])
        made.trace = Trace()  # what was before the restart is not told in minutes
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStats:
    """How long the operations of one name took.

    Attributes:
        name: Their name.
        count: How many there were.
        failures: How many of them ended with an error.
        total: Seconds of all of them together.
        longest: Seconds of the longest.
        p50: Seconds that half of them did not exceed, within five per cent.
        p95: The same for 95 of a hundred.
        p99: The same for 99 of a hundred.
    """

    name: str
    count: int
    failures: int
    total: float
    longest: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, name: str, sketch: LatencySketch) -> OperationStats:
        """Read a sketch."""
        return cls(
            name=name,
            count=sketch.count,
            failures=sketch.failures,
            total=sketch.total,
            longest=sketch.longest,
            p50=sketch.quantile(0.50),
            p95=sketch.quantile(0.95),
            p99=sketch.quantile(0.99),
        )
