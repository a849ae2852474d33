"""What came out: values, and how they go into JSON."""

from __future__ import annotations

import datetime as dt
import os
import platform
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.counts import CountResult
    from benchmarks.growth import GrowthResult
    from benchmarks.measuring import Timing
    from benchmarks.rows import Row, StartUpRow


class Kind(Enum):
    """What a contestant is in its row."""

    BARE = "bare"
    LIMIT = "limit"
    OURS = "resilio"
    REFERENCE = "reference"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row's timings.

    Attributes:
        row: Which row.
        timings: Each contestant with its kind, in no order.
        missing: Why a peer has no timing.
    """

    row: Row | StartUpRow
    timings: tuple[tuple[Kind, Timing], ...]
    missing: dict[str, str] = field(default_factory=dict)

    def _first(self, kind: Kind) -> Timing | None:
        return next((timing for each, timing in self.timings if each is kind), None)

    @property
    def bare(self) -> Timing | None:
        """The unprotected call."""
        return self._first(Kind.BARE)

    @property
    def limit(self) -> Timing | None:
        """The limit probe."""
        return self._first(Kind.LIMIT)

    @property
    def ours(self) -> Timing | None:
        """The package that this is all about."""
        return self._first(Kind.OURS)

    @property
    def fastest_peer(self) -> Timing | None:
        """The fastest of the peers that could be measured."""
        return next((timing for kind, timing in self.ranked() if kind is Kind.PEER), None)

    def ranked(self) -> list[tuple[Kind, Timing]]:
        """Everybody, the fastest first; by ratios, which are steadier than times."""
        if not self.timings:
            return []
        yardstick = self.timings[0][1]
        return sorted(self.timings, key=lambda each: each[1].times(yardstick) or each[1].seconds)

    def to_bare(self, timing: Timing | None) -> float | None:
        """How many times the unprotected call ``timing`` is."""
        return _ratio(timing, self.bare)

    def to_limit(self, timing: Timing | None) -> float | None:
        """How many times the limit probe ``timing`` is."""
        return _ratio(timing, self.limit)

    def to_fastest(self, timing: Timing | None) -> float | None:
        """How many times the fastest peer ``timing`` is."""
        return _ratio(timing, self.fastest_peer)

    @property
    def is_reached(self) -> bool | None:
        """Whether all the row's goals are reached; None if it has none, or one of them cannot be judged."""
        verdicts = [goal.is_reached(self) for goal in self.row.goals]
        if False in verdicts:
            return False
        return None if None in verdicts or not verdicts else True

    def as_json(self) -> dict[str, Any]:
        """The row as JSON can carry it, fastest contestant first."""
        return {
            "key": self.row.key,
            "title": self.row.title,
            "goals": [str(goal) for goal in self.row.goals],
            "reached": self.is_reached,
            "contestants": [
                {
                    "name": timing.name,
                    "kind": kind.value,
                    "ns": round(timing.seconds * 1e9, 1),
                    "noise": round(timing.noise, 4),
                    "waits": timing.waits,
                    "to_bare": _rounded(self.to_bare(timing)),
                    "to_limit": _rounded(self.to_limit(timing)),
                    "to_fastest_peer": _rounded(self.to_fastest(timing)),
                }
                for kind, timing in self.ranked()
            ],
            "missing": self.missing,
        }


def _ratio(timing: Timing | None, to: Timing | None) -> float | None:
    return None if timing is None or to is None else timing.times(to)


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 3)


def as_json(
    rows: Sequence[RowResult],
    growth: Sequence[GrowthResult],
    counts: Sequence[CountResult],
    distributions: Sequence[str],
) -> dict[str, Any]:
    """A whole run as JSON can carry it, with when and where it was."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions(distributions),
        "rows": [each.as_json() for each in rows],
        "growth": [each.as_json() for each in growth],
        "counts": [each.as_json() for each in counts],
    }


def machine() -> str:
    """The processor, how many there are, and the system."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown processor")


def versions(distributions: Sequence[str]) -> dict[str, str]:
    """The installed ones of these distributions, with their versions."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
