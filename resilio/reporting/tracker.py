"""What errors there were: how many, of which kinds, when, and the last of them, in a fixed space.

A service that runs for months meets more different errors than fit into memory, most of them once. So nothing here
grows: the frequent errors are found by `resilio.reporting.heavy_hitters`, the rest is counted and let go.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, durations, logs
from resilio.errors import ErrorSeverity
from resilio.reporting.causes import text_of
from resilio.reporting.distinct import DistinctCount
from resilio.reporting.error_groups import ErrorGroup, GroupRecord, OperationStats
from resilio.reporting.heavy_hitters import HeavyHitters
from resilio.reporting.latency import LatencySketch
from resilio.reporting.recent_reports import RecentReports, weight_of
from resilio.reporting.reporter import Reporter
from resilio.reporting.rings import Ring
from resilio.reporting.tracker_file import read_saved, write_saved

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from datetime import datetime

    from resilio.reporting.report import ErrorReport

__all__ = ("ErrorTracker",)

_MOST_TYPES: Final = 500
_MOST_OPERATIONS: Final = 256
_OTHERS: Final = "(others)"
_MINUTES: Final = 60
_HOURS: Final = 24 * 7


class ErrorTracker:
    """Counts errors and remembers the last of them, in a fixed space: a few megabytes, whatever happens.

    Args:
        path: A file to read the counts and reports of an earlier run from, and to `save` them to. If it is not there,
            counting begins at zero; if it cannot be read, likewise, and a warning is logged.
        groups: How many of the most frequent errors are told apart.
        recent: How many of the last reports are kept, if they are not very long.

    Raises:
        ValueError: ``groups`` or ``recent`` is out of range.
        TypeError: One of them is no whole number.

    Safe to share between threads, event loops, asyncio and trio; nothing in it waits. Times are the machine's time of
    day: a clock that is set back makes the last minutes longer than they were.

        >>> tracker = ErrorTracker()
        >>> for name in ("tzara", "arp", "ball"):
        ...     report = tracker.track_error(ValueError(f"no cat called '{name}'"), {"operation": "find"})
        >>> summary = tracker.get_error_summary()
        >>> summary["total_errors"], summary["unique_errors"], summary["error_types"]
        (3, 1, {'ValueError': 3})
    """

    __slots__ = (
        *("_distinct", "_groups", "_hours", "_lock", "_minutes", "_operations", "_path", "_recent", "_reporter"),
        *("_severities", "_since", "_total", "_types"),
    )

    def __init__(self, *, path: str | os.PathLike[str] | None = None, groups: int = 512, recent: int = 1_000) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._groups: HeavyHitters[GroupRecord] = HeavyHitters(durations.whole("groups", groups, at_least=1))
        self._recent = RecentReports(durations.whole("recent", recent, at_least=1))
        self._distinct = DistinctCount()
        self._minutes = Ring(_MINUTES + 1, 60)
        self._hours = Ring(_HOURS + 1, 3600)
        self._types: dict[str, int] = {}
        self._severities = dict.fromkeys(ErrorSeverity, 0)
        self._operations: dict[str, LatencySketch] = {}
        self._total = 0
        self._since = clock.utcnow()
        self._reporter = Reporter(first_seen=self.first_seen)
        if path is not None:
            self._restore(path)

    # -- counting ------------------------------------------------------------------------------------------------------

    def track_error(self, error: BaseException, context: Mapping[str, object] | None = None) -> ErrorReport:
        """Count an error.

        An `ErrorHandler` with this tracker does it by itself, once for each error object; here each call counts.

        Args:
            error: It is not kept.
            context: What else is known; ``context["operation"]`` says what was being done.

        Returns:
            The report that was counted. Never raises an ``Exception``.
        """
        context = {} if context is None else context
        report = self._reporter.make(error, text_of(context.get("operation", "")), context)
        self.track_report(report)
        return report

    def track_report(self, report: ErrorReport) -> None:
        """Count a report."""
        weight = weight_of(report)
        now = report.timestamp.timestamp()
        with self._lock:
            self._total += 1
            self._severities[report.severity] += 1
            name = report.error_type
            if name not in self._types and len(self._types) >= _MOST_TYPES:
                name = _OTHERS
            self._types[name] = self._types.get(name, 0) + 1
            counter = self._groups.get(report.fingerprint)
            if counter is None:
                self._distinct.add(report.fingerprint)
                self._groups.add(report.fingerprint, GroupRecord(report))
            else:
                counter.count += 1
                counter.value.seen_again(report)
            self._minutes.add(now, report.severity)
            self._hours.add(now, report.severity)
            self._recent.add(report, weight)

    def replace_report(self, report: ErrorReport) -> None:
        """Put a report in the place of the one with its id, if that is still kept; nothing is counted."""
        with self._lock:
            self._recent.replace(report)

    def record_duration(self, operation: str, seconds: float, *, failed: bool = False) -> None:
        """Count how long an operation took; `log_operation` does it with ``tracker=``.

        Args:
            operation: Its name. Past 256 different names, the rest is counted together, as ``"(others)"``.
            seconds: How long it took.
            failed: Whether it ended with an error.
        """
        with self._lock:
            sketch = self._operations.get(operation)
            if sketch is None:
                name = operation if len(self._operations) < _MOST_OPERATIONS else _OTHERS
                sketch = self._operations.setdefault(name, LatencySketch())
            sketch.add(seconds, failed=failed)

    # -- looking -------------------------------------------------------------------------------------------------------

    def get_error_summary(self) -> dict[str, Any]:
        """What there was, in one dict that JSON can carry.

        Returns:
            ``total_errors`` (exact), ``unique_errors`` (exact up to 1 024 fingerprints, then within a few per cent),
            ``error_types`` (how many of each class), ``recent_errors`` (the last ten, oldest first), ``severities``,
            ``top_errors`` (the ten most frequent), ``since`` (when counting began).
        """
        with self._lock:
            return {
                "total_errors": self._total,
                "unique_errors": self._distinct.count,
                "error_types": dict(self._types),
                "recent_errors": [report.to_dict() for report in self._recent.last(10)],
                "severities": {str(severity): count for severity, count in self._severities.items()},
                "top_errors": [_group(each).to_dict() for each in self._groups.top(10)],
                "since": self._since.isoformat(),
            }

    def get_recent_errors(
        self, minutes: float = 5, *, severity: ErrorSeverity | str | None = None
    ) -> list[dict[str, Any]]:
        """The reports of the last minutes as dicts, oldest first, as far as they are kept.

        Args:
            minutes: How far back.
            severity: Only those of this severity.

        Raises:
            ValueError: ``minutes`` is negative or NaN, or the severity unknown.
            TypeError: ``minutes`` is no number.
        """
        return [report.to_dict() for report in self.recent_reports(minutes, severity=severity)]

    def recent_reports(
        self, minutes: float | None = None, *, severity: ErrorSeverity | str | None = None
    ) -> list[ErrorReport]:
        """The same as `get_recent_errors`, as reports; all that are kept without ``minutes``."""
        since = None if minutes is None else clock.utcnow() - _minutes(minutes)
        wanted = None if severity is None else ErrorSeverity(severity)
        with self._lock:
            kept = self._recent.last()
        return [
            report
            for report in kept
            if (since is None or report.timestamp >= since) and (wanted is None or report.severity is wanted)
        ]

    def count_errors(self, minutes: float = 5, *, severity: ErrorSeverity | str | None = None) -> int:
        """How many errors there were in the last minutes.

        Exact as long as all reports of that time are kept; otherwise by whole minutes, and beyond an hour by whole
        hours, up to a week.

        Args:
            minutes: How far back.
            severity: Only those of this severity.

        Raises:
            ValueError: ``minutes`` is negative or NaN, or the severity unknown.
            TypeError: ``minutes`` is no number.
        """
        kept = len(self.recent_reports(minutes, severity=severity))
        now = clock.utcnow()
        wanted = None if severity is None else ErrorSeverity(severity)
        with self._lock:
            if self._recent.reaches(now - _minutes(minutes)):
                return kept
            ring, stretch = (self._minutes, 1) if minutes <= _MINUTES else (self._hours, 60)
            return max(kept, ring.count(now.timestamp(), int(minutes // stretch), wanted))

    def error_rate(self, minutes: float = 5, *, severity: ErrorSeverity | str | None = None) -> float:
        """Errors per minute over the last minutes; see `count_errors`.

        Raises:
            ValueError: ``minutes`` is not above 0, or the severity unknown.
            TypeError: ``minutes`` is no number.
        """
        return self.count_errors(minutes, severity=severity) / durations.number("minutes", minutes, above=0)

    def timeline(self, *, by: str = "minute", severity: ErrorSeverity | str | None = None) -> list[tuple[float, int]]:
        """When each minute of the last hour, or hour of the last week, began, and how many errors there were in it.

        Args:
            by: ``"minute"`` or ``"hour"``.
            severity: Only those of this severity.

        Returns:
            Pairs of seconds since 1970 and a count, oldest first; the last is the present minute or hour.

        Raises:
            ValueError: ``by`` is something else, or the severity unknown.
        """
        if by not in {"minute", "hour"}:
            msg = f"by must be 'minute' or 'hour', not {by!r}"
            raise ValueError(msg)
        wanted = None if severity is None else ErrorSeverity(severity)
        with self._lock:
            ring = self._minutes if by == "minute" else self._hours
            return [(float(at), count) for at, count in ring.series(clock.utcnow().timestamp(), wanted)]

    def top_errors(self, count: int | None = 10) -> list[ErrorGroup]:
        """The most frequent errors, most frequent first; all that are told apart with None."""
        with self._lock:
            return [_group(each) for each in self._groups.top(count)]

    def group(self, fingerprint: str) -> ErrorGroup | None:
        """What is known about a fingerprint; None if it is not, or no longer, among those told apart."""
        with self._lock:
            counter = self._groups.get(fingerprint)
            return None if counter is None else _group(counter)

    def group_timeline(self, fingerprint: str) -> list[tuple[float, int]]:
        """When each five minutes of the last two hours began, and how many errors of this fingerprint came in them.

        Args:
            fingerprint: What the errors have in common.

        Returns:
            Pairs of seconds since 1970 and a count, oldest first; the last is the present five minutes. Empty as None
            is for `group`.
        """
        with self._lock:
            counter = self._groups.get(fingerprint)
            found = [] if counter is None else counter.value.trace.series(clock.utcnow().timestamp())
        return [(float(at), count) for at, count in found]

    def first_seen(self, fingerprint: str) -> datetime | None:
        """When an error with this fingerprint was first seen; None as for `group`."""
        with self._lock:
            counter = self._groups.get(fingerprint)
            return None if counter is None else counter.value.first_seen

    def operation(self, name: str) -> OperationStats | None:
        """How long an operation takes; None if none of that name was recorded."""
        with self._lock:
            sketch = self._operations.get(name)
            return None if sketch is None else OperationStats.of(name, sketch)

    def operations(self) -> list[OperationStats]:
        """How long operations take, those first that took the most time altogether."""
        with self._lock:
            found = [OperationStats.of(name, sketch) for name, sketch in self._operations.items()]
        return sorted(found, key=lambda each: each.total, reverse=True)

    def percentile(self, operation: str, percent: float) -> float | None:
        """Seconds that so many per cent of an operation's runs did not exceed, within five per cent.

        Args:
            operation: Its name.
            percent: From 0 to 100.

        Returns:
            Seconds; None if no operation of that name was recorded.

        Raises:
            ValueError: ``percent`` is out of range.
            TypeError: It is no number.
        """
        share = durations.number("percent", percent, at_least=0, at_most=100) / 100
        with self._lock:
            sketch = self._operations.get(operation)
            return None if sketch is None else sketch.quantile(share)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the counts and the last reports to a file, to go on from there after a restart.

        The file is replaced in one step, and takes a few MiB at most. This blocks for some ten milliseconds; on an
        event loop, call it as ``await anyio.to_thread.run_sync(tracker.save)``.

        Args:
            path: The file; by default the one that the tracker was made with.

        Raises:
            ValueError: There is neither.
            OSError: It cannot be written.
        """
        path = self._path if path is None else path
        if path is None:
            msg = "path must be given, here or when the tracker is made"
            raise ValueError(msg)
        with self._lock:
            state = {
                "since": self._since.isoformat(),
                "total": self._total,
                "types": dict(self._types),
                "severities": {str(severity): count for severity, count in self._severities.items()},
                "distinct": self._distinct.to_dict(),
                "groups": [
                    {"count": each.count, "excess": each.excess, **each.value.to_dict(each.key)}
                    for each in self._groups.top()
                ],
                "minutes": self._minutes.to_list(),
                "hours": self._hours.to_list(),
                "operations": {name: sketch.to_dict() for name, sketch in self._operations.items()},
            }
            reports = self._recent.last()
        write_saved(path, state, reports)

    def _restore(self, path: str | os.PathLike[str]) -> None:
        try:
            saved = read_saved(path)
            if saved is None:
                return
            self._recent.restore(saved.reports, total=saved.total)
            self._total = saved.total
            self._since = saved.since
            self._types = saved.types
            self._severities.update(saved.severities)
            self._distinct = saved.distinct
            self._minutes.restore(saved.minutes)
            self._hours.restore(saved.hours)
            self._operations = saved.operations
            for key, count, excess, record in saved.groups[: self._groups.capacity]:
                self._groups.restore(key, count, excess, record)
        except (OSError, ValueError) as error:
            # Statistics are not worth a service that does not start.
            logs.write(
                "warning",
                "the error tracker begins at zero: its file cannot be read",
                {"path": str(path), "error": f"{type(error).__name__}: {error}"},
                logger="resilio.reporting",
            )

    def __repr__(self) -> str:
        return f"<ErrorTracker of {self._total} errors>"


def _group(counter: Any) -> ErrorGroup:
    found: ErrorGroup = counter.value.group(counter.key, counter.count, counter.excess)
    return found


def _minutes(minutes: float) -> timedelta:
    try:
        return timedelta(minutes=durations.number("minutes", minutes, at_least=0, at_most=1e8))
    except OverflowError:
        return timedelta.max
