"""Trip rules that look at a share of the calls in a window: how many failed, how many were slow."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resilio._core import durations
from resilio.policies.trip import TripMeter, TripRule
from resilio.policies.windows import TimeWindow, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio._core.durations import Duration


class _RateRule(TripRule):
    """What the two rates have in common; the ratio compares with >=."""

    __slots__ = ()

    ratio: float
    window: Window
    minimum_calls: int

    @abstractmethod
    def meter(self) -> RateMeter: ...

    @property
    def windows(self) -> tuple[Window, ...]:
        return (self.window,)

    def _check(self) -> None:
        kind = type(self).__name__
        ratio = durations.number(f"{kind}(ratio)", self.ratio, above=0, at_most=1)
        object.__setattr__(self, "ratio", ratio)
        durations.whole(f"{kind}(minimum_calls)", self.minimum_calls, at_least=1)
        if not isinstance(self.window, Window):
            msg = f"{kind}(window) must be CountWindow(calls) or TimeWindow(seconds), not {self.window!r}"
            raise TypeError(msg)
        capacity = self.window.capacity
        if capacity is not None and self.minimum_calls > capacity:
            msg = (
                f"{kind}(minimum_calls) must be at most the {capacity} calls that its window holds, "
                f"not {self.minimum_calls}: the circuit would never open"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class FailureRate(_RateRule):
    """Open when at least ``ratio`` of the calls in the window failed.

    Args:
        ratio: Above 0, at most 1.
        window: `CountWindow` or `TimeWindow`.
        minimum_calls: Calls that the window must hold before the ratio means anything.

    A low ratio can turn a partial fault into a full outage: 10 % of failures may be one bad shard, and opening takes
    the nine good ones away as well. Half is a better start.
    """

    ratio: float
    window: Window = field(default=TimeWindow(30.0), kw_only=True)
    minimum_calls: int = field(default=20, kw_only=True)

    def __post_init__(self) -> None:
        self._check()

    def meter(self) -> RateMeter:
        return RateMeter(self.window, self, None)


@dataclass(frozen=True, slots=True)
class SlowCallRate(_RateRule):
    """Open when at least ``ratio`` of the calls in the window took longer than ``slower_than``.

    Args:
        ratio: Above 0, at most 1.
        slower_than: Seconds; a call of exactly that length is not slow. Failed calls count by their length as well.
        window: `CountWindow` or `TimeWindow`.
        minimum_calls: Calls that the window must hold before the ratio means anything.

    A slow probe counts as a failed one.
    """

    ratio: float
    slower_than: Duration = field(kw_only=True)
    window: Window = field(default=TimeWindow(30.0), kw_only=True)
    minimum_calls: int = field(default=20, kw_only=True)

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "slower_than", durations.seconds("SlowCallRate(slower_than)", self.slower_than))

    @property
    def needs_duration(self) -> bool:  # type: ignore[override]
        return True

    def meter(self) -> RateMeter:
        return RateMeter(self.window, None, self)

    def condemns(self, *, failed: bool, duration: float) -> bool:
        return failed or duration > durations.seconds("slower_than", self.slower_than)


class RateMeter(TripMeter):
    """Counts a window for a `FailureRate`, a `SlowCallRate`, or one of each that look at the same window."""

    __slots__ = ("_count", "_failure_minimum", "_failure_ratio", "_slow_minimum", "_slow_ratio", "_slower_than")

    def __init__(self, window: Window, failures: FailureRate | None, slowness: SlowCallRate | None) -> None:
        self._count = window.count()
        self._failure_ratio = _NEVER if failures is None else failures.ratio
        self._failure_minimum = 1 if failures is None else failures.minimum_calls
        self._slow_ratio = _NEVER if slowness is None else slowness.ratio
        self._slow_minimum = 1 if slowness is None else slowness.minimum_calls
        self._slower_than = math.inf if slowness is None else durations.seconds("slower_than", slowness.slower_than)

    def book(self, *, failed: bool, now: float, duration: float) -> bool:
        count = self._count
        count.add(now, failed, duration > self._slower_than)
        if not count.failed and not count.slow:
            return False
        calls = count.calls
        # Dividing rounds correctly, so that 3 of 30 is 0.1; multiplying makes 3.0000000000000004 of it.
        return (calls >= self._failure_minimum and count.failed / calls >= self._failure_ratio) or (
            calls >= self._slow_minimum and count.slow / calls >= self._slow_ratio
        )

    @property
    def holds_failures(self) -> bool:
        return self._count.failed > 0

    def clear(self) -> None:
        self._count.clear()

    def dump(self, now: float) -> object:
        return self._count.dump(now)

    def load(self, dumped: object, now: float) -> None:
        self._count.load(dumped, now)

    def reading(self, now: float) -> Mapping[str, float]:
        calls, failed, slow = self._count.totals(now)
        shares = {"failure_rate": (self._failure_ratio, failed), "slow_call_rate": (self._slow_ratio, slow)}
        rates = {name: (marked / calls if calls else 0.0) for name, (ratio, marked) in shares.items() if ratio < _NEVER}
        return {"calls": calls, **rates}


_NEVER = 2.0
"""A share that no count reaches."""


def shared_meter(rules: tuple[TripRule, ...]) -> TripMeter | None:
    """One meter for a failure rate and a slow-call rate that look at the same window: half the work."""
    if len(rules) != 2:  # noqa: PLR2004
        return None
    failures = next((rule for rule in rules if isinstance(rule, FailureRate)), None)
    slowness = next((rule for rule in rules if isinstance(rule, SlowCallRate)), None)
    if failures is None or slowness is None or failures.window != slowness.window:
        return None
    return RateMeter(failures.window, failures, slowness)
