"""What a row is to reach. A goal that cannot be judged, for want of a peer or a probe, is neither reached nor not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmarks.results import RowResult


class Goal(Protocol):
    """Something to reach."""

    def is_reached(self, result: RowResult) -> bool | None:
        """Tell whether it is reached; None if this run cannot tell."""


@dataclass(frozen=True, slots=True)
class TimesLimit:
    """Take no more than so many times what the row's limit probe takes."""

    factor: float

    def __str__(self) -> str:
        return f"≤ {self.factor:g} × limit"

    def is_reached(self, result: RowResult) -> bool | None:
        ratio = result.to_limit(result.ours)
        return None if ratio is None else ratio <= self.factor


@dataclass(frozen=True, slots=True)
class AheadOfPeers:
    """Take no more than so large a share of what the fastest peer takes."""

    share: float = 1.0

    def __str__(self) -> str:
        return "ahead of all peers" if self.share == 1 else f"≤ {self.share:g} × fastest peer"

    def is_reached(self, result: RowResult) -> bool | None:
        ratio = result.to_fastest(result.ours)
        return None if ratio is None else ratio <= self.share


@dataclass(frozen=True, slots=True)
class Within:
    """Take no more than so many seconds, on whatever machine this is."""

    seconds: float

    def __str__(self) -> str:
        return f"≤ {self.seconds * 1000:g} ms"

    def is_reached(self, result: RowResult) -> bool | None:
        return None if result.ours is None else result.ours.seconds <= self.seconds
