"""Trip rules: when has a circuit seen enough to open?

A *rule* is a frozen value that says what is too much; its *meter* is the running count of one circuit. A meter is told
each outcome with the time and the call's duration, and answers whether the circuit must open. It has no clock and no
lock of its own. Rules join with ``|``: the circuit opens as soon as one of them says so.

**Usage.** ::

    CircuitBreaker(trip=ConsecutiveFailures(5))
    CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(100), minimum_calls=20))
    CircuitBreaker(trip=ConsecutiveFailures(5) | SlowCallRate(0.8, slower_than=2, window=TimeWindow(60)))

**Edges.** Thresholds, ratios and minimums compare with >=; a call of exactly ``slower_than`` is not slow. A call that
ended exactly ``seconds`` ago is outside of a `TimeWindow`.

**Defaults.** Rates look at the calls of the last 30 seconds, and say nothing about fewer than 20. Without a rule a
breaker opens after 5 failures in a row.

**Events.** None of their own: a circuit that opens tells `CircuitStateChanged`. What is counted shows in
``breaker.snapshot().counts``; where two joined rules count the same thing, the names of the later one carry its number:
``calls`` and ``calls_2``.

**Patterns.**

- *A few calls a minute:* `ConsecutiveFailures`. *Many a second:* `FailureRate`. *Answers that come too late to be of
  use:* `SlowCallRate` beside either.
- *Two rates over one window:* a `FailureRate` and a `SlowCallRate` with equal windows are counted once.
- *A rule of your own:* derive from `TripRule` and `TripMeter`.

**Anti-patterns.**

- *A rate without a minimum.* Bad: ``FailureRate(0.5, minimum_calls=1)``. Good: ``minimum_calls=20``. Why: the first
  failure of the night is 100 %.
- *A low ratio.* Bad: ``FailureRate(0.1)``. Good: ``FailureRate(0.5)``. Why: one bad shard in ten makes 10 % of
  failures, and opening takes the nine good ones away as well.
- *Consecutive failures under steady partial failure.* Bad: ``ConsecutiveFailures(5)`` before a dependency of which
  every third call succeeds. Good: ``ConsecutiveFailures(5) | FailureRate(0.5)``. Why: each success starts the count
  anew, and it never comes to five.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio._core import durations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.policies.windows import Window


class TripMeter(ABC):
    """The running count of one circuit under one rule. The circuit calls it under its own lock."""

    __slots__ = ()

    @abstractmethod
    def book(self, *, failed: bool, now: float, duration: float) -> bool:
        """Count one outcome; tell whether the circuit must open.

        Args:
            failed: Whether the call failed.
            now: When it ended, in seconds on the monotonic clock.
            duration: How long it took, in seconds.
        """

    @property
    def holds_failures(self) -> bool:
        """Whether a failure is still counted; while one is, the circuit keeps the last one as its rejections' cause."""
        return False

    @abstractmethod
    def clear(self) -> None:
        """Forget everything counted."""

    @abstractmethod
    def dump(self, now: float) -> object:
        """What is counted, as JSON can carry it, with ages instead of times."""

    @abstractmethod
    def load(self, dumped: object, now: float) -> None:
        """Go on from what another meter of an equal rule dumped.

        Raises:
            TypeError, ValueError: It is something else; nothing has changed.
        """

    @abstractmethod
    def reading(self, now: float) -> Mapping[str, float]:
        """What is counted at ``now``, for people and dashboards; what is too old is left out."""


class TripRule(ABC):
    """Says how much failure is too much. A rule is a value: equal rules are interchangeable."""

    __slots__ = ()

    needs_duration: bool = False
    """Whether its meter looks at how long a call took; if not, nobody reads the clock when a call starts."""

    @abstractmethod
    def meter(self) -> TripMeter:
        """A fresh count for one circuit."""

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows it looks at, if any."""
        return ()

    def condemns(self, *, failed: bool, duration: float) -> bool:  # noqa: ARG002 -- slow-call rules look at it
        """Tell whether a probe with this outcome counts against the circuit."""
        return failed

    def __or__(self, other: TripRule) -> TripRule:
        if not isinstance(other, TripRule):
            return NotImplemented
        return AnyOf((*_members(self), *_members(other)))


@dataclass(frozen=True, slots=True)
class ConsecutiveFailures(TripRule):
    """Open after ``threshold`` failures in a row; a success starts the count anew.

    Args:
        threshold: At least 1.

    Good for a dependency that either works or does not. Under steady partial failure it may never open, for one
    success in ``threshold`` calls keeps it closed: use ``FailureRate`` there.
    """

    threshold: int

    def __post_init__(self) -> None:
        durations.whole("ConsecutiveFailures(threshold)", self.threshold, at_least=1)

    def meter(self) -> ConsecutiveMeter:
        return ConsecutiveMeter(self.threshold)


class ConsecutiveMeter(TripMeter):
    """Counts failures in a row. ``failures`` is read without the lock on the path where nothing fails."""

    __slots__ = ("failures", "threshold")

    def __init__(self, threshold: int) -> None:
        self.threshold: int = threshold
        self.failures: int = 0

    def book(self, *, failed: bool, now: float, duration: float) -> bool:  # noqa: ARG002 -- counts, not times
        self.failures = self.failures + 1 if failed else 0
        return self.failures >= self.threshold

    @property
    def holds_failures(self) -> bool:
        return self.failures > 0

    def clear(self) -> None:
        self.failures = 0

    def dump(self, now: float) -> int:  # noqa: ARG002
        return self.failures

    def load(self, dumped: object, now: float) -> None:  # noqa: ARG002
        self.failures = durations.whole("the saved count of failures", dumped, at_least=0)

    def reading(self, now: float) -> Mapping[str, float]:  # noqa: ARG002
        return {"consecutive_failures": self.failures}


@dataclass(frozen=True, slots=True)
class AnyOf(TripRule):
    """Several rules at once: what ``a | b`` makes."""

    rules: tuple[TripRule, ...]

    @property
    def needs_duration(self) -> bool:  # type: ignore[override]
        return any(rule.needs_duration for rule in self.rules)

    @property
    def windows(self) -> tuple[Window, ...]:
        return tuple(window for rule in self.rules for window in rule.windows)

    def meter(self) -> TripMeter:
        from resilio.policies.trip_rates import shared_meter  # noqa: PLC0415 -- the rates are built on this module

        return shared_meter(self.rules) or _AnyMeter(tuple(rule.meter() for rule in self.rules))

    def condemns(self, *, failed: bool, duration: float) -> bool:
        return any(rule.condemns(failed=failed, duration=duration) for rule in self.rules)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.rules))


class _AnyMeter(TripMeter):
    __slots__ = ("_meters",)

    def __init__(self, meters: tuple[TripMeter, ...]) -> None:
        self._meters = meters

    def book(self, *, failed: bool, now: float, duration: float) -> bool:
        # Every meter must see the outcome: no short cut.
        votes = [meter.book(failed=failed, now=now, duration=duration) for meter in self._meters]
        return any(votes)

    @property
    def holds_failures(self) -> bool:
        return any(meter.holds_failures for meter in self._meters)

    def clear(self) -> None:
        for meter in self._meters:
            meter.clear()

    def dump(self, now: float) -> list[object]:
        return [meter.dump(now) for meter in self._meters]

    def load(self, dumped: object, now: float) -> None:
        if not isinstance(dumped, list) or len(dumped) != len(self._meters):
            msg = f"{len(self._meters)} trip rules need as many saved counts, not {dumped!r}"
            raise ValueError(msg)
        before = self.dump(now)
        try:
            for meter, its in zip(self._meters, dumped, strict=True):
                meter.load(its, now)
        except (TypeError, ValueError):
            for meter, its in zip(self._meters, before, strict=True):
                meter.load(its, now)
            raise

    def reading(self, now: float) -> Mapping[str, float]:
        joined: dict[str, float] = {}
        for number, meter in enumerate(self._meters, 1):
            its = meter.reading(now)
            are_taken = not joined.keys().isdisjoint(its)
            joined.update((f"{name}_{number}" if are_taken else name, value) for name, value in its.items())
        return joined


def _members(rule: TripRule) -> tuple[TripRule, ...]:
    return rule.rules if isinstance(rule, AnyOf) else (rule,)
