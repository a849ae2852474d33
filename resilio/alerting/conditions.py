"""What an alert rule looks at: numbers of errors. Each condition says what it found wrong just now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from resilio._core import clock, durations
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resilio._core.durations import Duration
    from resilio.reporting.error_groups import ErrorGroup

__all__ = ("Condition", "ErrorNumbers", "ErrorsAbove", "Finding", "NewErrors", "RateAboveBaseline", "ReturningErrors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong just now.

    Attributes:
        summary: What, in one sentence.
        labels: Which of several: each set of labels is an incident of its own.
        details: Anything else worth knowing.
    """

    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)


class Condition(Protocol):
    """What a rule looks at; an object of your own with this method can be one."""

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; nothing if all is well.

        Raises:
            Exception: It could not be found out. The rule's incidents stay as they are.
        """


class ErrorNumbers(Protocol):
    """The numbers that conditions ask for; an `ErrorTracker` has them."""

    def count_errors(self, minutes: float, *, severity: ErrorSeverity | str | None = None) -> int:
        """How many errors there were in the last minutes."""

    def top_errors(self, count: int | None) -> list[ErrorGroup]:
        """The groups of errors that are told apart; all of them with None."""


class ErrorsAbove:
    """More than ``more_than`` errors of a severity within a time: by default, the fourth CRITICAL in five minutes.

    Args:
        tracker: Who counts.
        more_than: So many are still well.
        within: Seconds.
        severity: Of which; None for all.
    """

    __slots__ = ("more_than", "severity", "tracker", "within")

    def __init__(
        self,
        tracker: ErrorNumbers,
        *,
        more_than: int = 3,
        within: Duration = 300.0,
        severity: ErrorSeverity | str | None = ErrorSeverity.CRITICAL,
    ) -> None:
        self.tracker: ErrorNumbers = tracker
        self.more_than: int = durations.whole("more_than", more_than)
        self.within: float = durations.seconds("within", within, above=0)
        self.severity: ErrorSeverity | None = None if severity is None else ErrorSeverity(severity)

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        count = self.tracker.count_errors(self.within / 60, severity=self.severity)
        if count <= self.more_than:
            return ()
        kind = "" if self.severity is None else f"{self.severity} "
        summary = f"more than {self.more_than} {kind}errors in {_span(self.within)}"
        return (Finding(summary=summary, details={"error_count": count, "time_window": _span(self.within)}),)


class RateAboveBaseline:
    """Errors come ``factor`` times as fast as they usually do.

    Args:
        tracker: Who counts.
        factor: How much faster, above 1.
        within: Seconds that count as now.
        baseline: Seconds before, and including, now that show what is usual.
        at_least: Fewer errors within that time are no matter.
        severity: Of which; None for all.
    """

    __slots__ = ("at_least", "baseline", "factor", "severity", "tracker", "within")

    def __init__(
        self,
        tracker: ErrorNumbers,
        *,
        factor: float = 3.0,
        within: Duration = 300.0,
        baseline: Duration = 3600.0,
        at_least: int = 10,
        severity: ErrorSeverity | str | None = None,
    ) -> None:
        self.tracker: ErrorNumbers = tracker
        self.factor: float = durations.number("factor", factor, above=1)
        self.within: float = durations.seconds("within", within, above=0)
        self.baseline: float = durations.seconds("baseline", baseline, above=self.within)
        self.at_least: int = durations.whole("at_least", at_least, at_least=1)
        self.severity: ErrorSeverity | None = None if severity is None else ErrorSeverity(severity)

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        count = self.tracker.count_errors(self.within / 60, severity=self.severity)
        if count < self.at_least:
            return ()
        before = max(self.tracker.count_errors(self.baseline / 60, severity=self.severity) - count, 0)
        usual = before / (self.baseline - self.within)
        rate = count / self.within
        if rate < self.factor * usual:
            return ()
        summary = f"errors come {f'{rate / usual:.1f} times' if usual else 'much'} faster than usual"
        details = {"per_minute": round(60 * rate, 2), "usual_per_minute": round(60 * usual, 2), "error_count": count}
        return (Finding(summary=summary, details=details),)


class NewErrors:
    """An error that was never seen before; an incident for each fingerprint.

    Args:
        tracker: Who counts.
        within: Seconds for which an error is new.
    """

    __slots__ = ("tracker", "within")

    def __init__(self, tracker: ErrorNumbers, *, within: Duration = 300.0) -> None:
        self.tracker: ErrorNumbers = tracker
        self.within: float = durations.seconds("within", within, above=0)

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        since = clock.utcnow() - timedelta(seconds=self.within)
        return [_about(each, "new error") for each in self.tracker.top_errors(None) if each.first_seen > since]


class ReturningErrors:
    """An error that comes back after a silence: one that was believed to be mended; an incident for each fingerprint.

    Args:
        tracker: Who counts.
        after: Seconds of silence.
        within: Seconds for which it is told as returning.

    It compares what it sees with what it saw when it was last asked.
    """

    __slots__ = ("_returned", "_seen", "after", "tracker", "within")

    def __init__(self, tracker: ErrorNumbers, *, after: Duration = 86_400.0, within: Duration = 300.0) -> None:
        self.tracker: ErrorNumbers = tracker
        self.after: float = durations.seconds("after", after, above=0)
        self.within: float = durations.seconds("within", within, above=0)
        self._seen: dict[str, datetime] = {}
        self._returned: dict[str, datetime] = {}

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        now = clock.utcnow()
        groups = {each.fingerprint: each for each in self.tracker.top_errors(None)}
        for fingerprint, each in groups.items():
            former = self._seen.get(fingerprint)
            if former is not None and (each.last_seen - former).total_seconds() >= self.after:
                self._returned[fingerprint] = each.last_seen
        self._seen = {fingerprint: each.last_seen for fingerprint, each in groups.items()}
        since = now - timedelta(seconds=self.within)
        self._returned = {key: at for key, at in self._returned.items() if at > since and key in groups}
        return [_about(groups[fingerprint], "returning error") for fingerprint in self._returned]


def _about(group: ErrorGroup, kind: str) -> Finding:
    return Finding(
        summary=f"{kind}: {group.error_type} in {group.operation}: {group.error_message}",
        labels={"fingerprint": group.fingerprint},
        details={
            "count": group.count,
            "severity": str(group.severity),
            "location": group.location,
            "first_seen": group.first_seen.isoformat(timespec="seconds"),
            "last_error_id": group.last_error_id,
        },
    )


def _span(seconds: float) -> str:
    number, unit = (seconds / 60, "minute") if seconds % 60 == 0 else (seconds, "second")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
