"""The file in which a tracker's counts outlive the process: JSON, replaced in one step."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resilio._core import dice
from resilio.errors import ErrorSeverity
from resilio.reporting.distinct import DistinctCount
from resilio.reporting.error_groups import GroupRecord
from resilio.reporting.latency import LatencySketch

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Saved", "read_saved", "write_saved")

_FORMAT: Final = "resilio-error-tracker-1"


@dataclass(frozen=True, slots=True)
class Saved:
    """A tracker's counts, read back."""

    since: datetime
    total: int
    types: dict[str, int]
    severities: dict[ErrorSeverity, int]
    distinct: DistinctCount
    minutes: list[list[int]]
    hours: list[list[int]]
    operations: dict[str, LatencySketch]
    groups: list[tuple[str, int, int, GroupRecord]]


def write_saved(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Replace the file.

    Raises:
        OSError: It cannot be written; then the file is as it was.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{dice.randbytes(4).hex()}")
    content = json.dumps({"format": _FORMAT, **state}, ensure_ascii=True, separators=(",", ":"))
    try:
        with beside.open("w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_saved(path: str | os.PathLike[str]) -> Saved | None:
    """Read the file; None if there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds something else.
    """
    try:
        content = Path(path).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    state = json.loads(content)
    try:
        if state["format"] != _FORMAT:
            msg = f"its format is {state['format']!r}, not {_FORMAT!r}"
            raise ValueError(msg)
        return Saved(
            since=datetime.fromisoformat(state["since"]),
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
        )
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"it is no file of an error tracker ({type(error).__name__}: {error})"
        raise ValueError(msg) from error
