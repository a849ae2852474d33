"""How long operations take, as percentiles within five per cent, in a fixed space.

Durations are counted in buckets, each ten per cent wider than the one before, from a microsecond to eleven days: the
idea of DDSketch (Masson, Rim, Lee, 2019).
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ("LatencySketch",)

_GROWTH: Final = 1.1
_SHORTEST: Final = 1e-6
_LONGEST: Final = 1e6
_LOG: Final = math.log(_GROWTH)
_BUCKETS: Final = math.ceil(math.log(_LONGEST / _SHORTEST) / _LOG)


class LatencySketch:
    """The durations of one operation; not safe across threads.

    Attributes:
        count: How many there were.
        failures: How many of them ended with an error.
        total: Seconds of all of them together.
        longest: Seconds of the longest.
    """

    __slots__ = ("_buckets", "count", "failures", "longest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count: int = 0
        self.failures: int = 0
        self.total: float = 0.0
        self.longest: float = 0.0

    def add(self, seconds: float, *, failed: bool) -> None:
        """Count a duration."""
        self.count += 1
        self.failures += failed
        self.total += seconds
        self.longest = max(self.longest, seconds)
        bucket = 0 if seconds <= _SHORTEST else min(math.ceil(math.log(seconds / _SHORTEST) / _LOG), _BUCKETS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def quantile(self, share: float) -> float:
        """Seconds that ``share`` of the durations did not exceed; 0.0 if there were none."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                middle = 2 * _SHORTEST * _GROWTH**bucket / (1 + _GROWTH)
                return min(middle, self.longest)
        return self.longest

    def to_dict(self) -> dict[str, object]:
        """As JSON can carry it."""
        return {
            "count": self.count,
            "failures": self.failures,
            "total": self.total,
            "longest": self.longest,
            "buckets": sorted([bucket, count] for bucket, count in self._buckets.items()),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, object]) -> LatencySketch:
        """As it was saved.

        Raises:
            ValueError: It was not saved by `to_dict`.
        """
        made = cls()
        made.count, made.failures = int(str(saved["count"])), int(str(saved["failures"]))
        made.total, made.longest = float(str(saved["total"])), float(str(saved["longest"]))
        buckets = saved["buckets"]
        if not isinstance(buckets, list):
            msg = f"expected a list of buckets, found {type(buckets).__name__}"
            raise ValueError(msg)  # noqa: TRY004 -- a damaged file, no wrong argument
        made._buckets = {int(bucket): int(count) for bucket, count in buckets}
        return made
