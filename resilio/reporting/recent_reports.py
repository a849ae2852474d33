"""The last reports, as far as there is room: so many, and of so much text."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from resilio.reporting.plain import PlainValue
    from resilio.reporting.report import ErrorReport

__all__ = ("RecentReports", "as_saved", "weight_of")

_MOST_TEXT: Final = 3_000_000
_MOST_SAVED: Final = 4 * 2**20  # bytes


class RecentReports:
    """Keeps the last reports; not safe across threads.

    Args:
        limit: So many, if they are not very long.
    """

    __slots__ = ("_has_forgotten", "_limit", "_reports", "_text")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._reports: deque[tuple[ErrorReport, int]] = deque()
        self._text = 0
        self._has_forgotten = False

    def add(self, report: ErrorReport, weight: int) -> None:
        """Keep a report, and let go of the oldest if there is no room.

        Args:
            report: The latest.
            weight: What `weight_of` says about it.
        """
        self._reports.append((report, weight))
        self._text += weight
        while len(self._reports) > self._limit or (self._text > _MOST_TEXT and len(self._reports) > 1):
            self._text -= self._reports.popleft()[1]
            self._has_forgotten = True

    def replace(self, report: ErrorReport) -> None:
        """Put a report in the place of the one with its id, if that is still kept."""
        for index in range(len(self._reports) - 1, -1, -1):
            if self._reports[index][0].error_id == report.error_id:
                self._reports[index] = (report, self._reports[index][1])
                return

    def last(self, count: int | None = None) -> list[ErrorReport]:
        """The last so many, oldest first; all with None."""
        found = [report for report, _ in self._reports]
        return found if count is None else found[-count:]

    def reaches(self, since: datetime) -> bool:
        """Whether all reports since then are kept."""
        return not self._has_forgotten or (bool(self._reports) and self._reports[0][0].timestamp < since)

    def restore(self, saved: Iterable[ErrorReport], *, total: int) -> None:
        """Take up what `as_saved` made, of so many reports that there were in all."""
        for report in saved:
            self.add(report, weight_of(report))
        self._has_forgotten = self._has_forgotten or total > len(self._reports)


def weight_of(report: ErrorReport) -> int:
    """About how many characters a report takes, without what it shares with others."""
    return (
        1_000
        + len(report.error_message)
        + (len(repr(report.context)) if report.context else 0)
        + sum(map(len, report.traceback))
        + sum(len(each.error_message) + sum(map(len, each.notes)) for each in report.causes)
        + sum(map(len, report.notes))
    )


def as_saved(reports: Sequence[ErrorReport]) -> list[Mapping[str, PlainValue]]:
    """Reports as JSON can carry them, oldest first; of those that take more than 4 MiB together, the latest."""
    kept: list[Any] = []
    size = 0
    for report in reversed(reports):
        document = report.to_dict()
        size += len(json.dumps(document))
        if size > _MOST_SAVED:
            break
        kept.append(document)
    return kept[::-1]
