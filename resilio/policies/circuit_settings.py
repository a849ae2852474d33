"""What a circuit is built with: checked once, under the parameters' names, and compared when a name is used again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from resilio import settings
from resilio._core import durations
from resilio._core.colour import refuse_unless_plain
from resilio.policies.agreement import agree
from resilio.policies.trip import ConsecutiveFailures, TripRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.durations import Duration

ErrorFilter = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """What a circuit was built with, checked. Two breakers of one name must agree on all of it."""

    trip: TripRule
    recovery_timeout: float | Callable[[int], float]
    half_open_max_calls: int
    success_threshold: int
    half_open_timeout: float | None
    record: ErrorFilter | Callable[[BaseException], bool]
    ignore: ErrorFilter | Callable[[BaseException], bool]
    failure_result: Callable[[object], bool] | None

    def difference(self, other: CircuitSettings) -> str:
        """The settings in which ``other`` differs, as text; empty when they agree.

        Functions agree when they are the same code over the same values: a lambda made anew by each call is no change.
        """
        return ", ".join(
            f"{each.name}={getattr(self, each.name)!r}, not {getattr(other, each.name)!r}"
            for each in fields(self)
            if not agree(getattr(self, each.name), getattr(other, each.name))
        )


def trip_rule(trip: TripRule | None, failure_threshold: int | None) -> TripRule:
    """The rule that two ways of giving one come to."""
    if trip is None:
        if failure_threshold is None:
            return ConsecutiveFailures(settings.CIRCUIT_BREAKER_FAILURE_THRESHOLD.read())
        return ConsecutiveFailures(durations.whole("failure_threshold", failure_threshold, at_least=1))
    if failure_threshold is not None:
        msg = f"give either failure_threshold={failure_threshold!r} or trip={trip!r}, not both"
        raise ValueError(msg)
    if not isinstance(trip, TripRule):
        msg = f"trip must be a trip rule such as ConsecutiveFailures(5), not {trip!r}"
        raise TypeError(msg)
    return trip


def recovery_time(
    given: Duration | Callable[[int], float] | None, alias: Duration | Callable[[int], float] | None
) -> float | Callable[[int], float]:
    """How long a break lasts, under either of its names."""
    name = "recovery_timeout"
    if alias is not None:
        if given is not None:
            msg = f"timeout={alias!r} is another name for recovery_timeout={given!r}: give one of them"
            raise ValueError(msg)
        name, given = "timeout", alias
    if given is None:
        return settings.CIRCUIT_BREAKER_RECOVERY_TIMEOUT.read()
    if not callable(given):
        return durations.seconds(name, given)
    refuse_unless_plain(name, given)
    return given


def error_filter(
    name: str, given: ErrorFilter | Callable[[BaseException], bool]
) -> ErrorFilter | Callable[[BaseException], bool]:
    """Which errors are meant: classes, or a predicate."""
    if isinstance(given, list):
        given = tuple(given)
    kinds = given if isinstance(given, tuple) else (given,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        return given
    if callable(given) and not isinstance(given, type):
        refuse_unless_plain(name, given)
        return given
    msg = f"{name} must be an exception class, several of them, or a predicate, not {given!r}"
    raise TypeError(msg)


def result_predicate(name: str, given: Callable[[Any], bool] | None) -> Callable[[Any], bool] | None:
    """A function that judges results, or None."""
    if given is not None:
        if not callable(given):
            msg = f"{name} must be a function of the result, or None, not {given!r}"
            raise TypeError(msg)
        refuse_unless_plain(name, given)
    return given
