"""The file in which a tracker's counts and its last reports outlive the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from resilio._core.state_file import read_state, time_of, write_state
from resilio.errors import ErrorSeverity
from resilio.reporting.distinct import DistinctCount
from resilio.reporting.error_groups import GroupRecord
from resilio.reporting.latency import LatencySketch
from resilio.reporting.recent_reports import as_saved
from resilio.reporting.report import ErrorReport

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

__all__ = ("Saved", "read_saved", "write_saved")

_FORMAT: Final = "resilio-error-tracker-1"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a tracker knew, read back."""

    since: datetime
    total: int
    types: dict[str, int]
    severities: dict[ErrorSeverity, int]
    distinct: DistinctCount
    minutes: list[list[int]]
    hours: list[list[int]]
    operations: dict[str, LatencySketch]
    groups: list[tuple[str, int, int, GroupRecord]]
    reports: list[ErrorReport]


def write_saved(path: str | os.PathLike[str], state: Mapping[str, Any], reports: Sequence[ErrorReport]) -> None:
    """Replace the file.

    Raises:
        OSError: It cannot be written; then the file is as it was.
    """
    write_state(path, _FORMAT, {**state, "reports": as_saved(reports)})


def read_saved(path: str | os.PathLike[str]) -> Saved | None:
    """Read the file; None if there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds something else.
    """
    state = read_state(path, _FORMAT)
    if state is None:
        return None
    try:
        return Saved(
            since=time_of(state["since"]),
            total=int(state["total"]),
            types={str(name): int(count) for name, count in state["types"].items()},
            severities={ErrorSeverity(name): int(count) for name, count in state["severities"].items()},
            distinct=DistinctCount.from_dict(state["distinct"]),
            minutes=[[int(each) for each in row] for row in state["minutes"]],
            hours=[[int(each) for each in row] for row in state["hours"]],
            operations={str(name): LatencySketch.from_dict(each) for name, each in state["operations"].items()},
            groups=[
                (str(each["fingerprint"]), int(each["count"]), int(each["excess"]), GroupRecord.from_dict(each))
                for each in state["groups"]
            ],
            reports=[ErrorReport.from_dict(each) for each in state["reports"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"it is no file of an error tracker ({type(error).__name__}: {error})"
        raise ValueError(msg) from error
