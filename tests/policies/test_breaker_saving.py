"""A circuit that outlives its process."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from breaker_forms import DownError, state_of, tripped

import resilio.sync
from resilio import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    ConsecutiveFailures,
    CountWindow,
    FailureRate,
    SlowCallRate,
    TimeWindow,
)
from resilio._core import clock
from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from resilio import TripRule
    from resilio.testing.virtual_clock import VirtualClock


@pytest.fixture(autouse=True)
def no_circuits() -> Iterator[None]:
    """Each test is a process of its own."""
    with registry.fresh():
        yield


def through_json(breaker: CircuitBreaker) -> dict[str, Any]:
    """A circuit as a file keeps it; and the process ends."""
    saved: dict[str, Any] = json.loads(json.dumps(breaker.to_dict()))
    registry.circuits = registry.CircuitRegister()
    return saved


@pytest.mark.parametrize("build", [CircuitBreaker, resilio.sync.CircuitBreaker], ids=["async", "blocking"])
def test_a_break_goes_on_in_the_next_process(build: type[CircuitBreaker], virtual_clock: VirtualClock) -> None:
    """For what is left of it."""
    breaker = build(name="api", failure_threshold=1, recovery_timeout=60)
    tripped(breaker)
    virtual_clock.advance(10)
    saved = through_json(breaker)
    virtual_clock.advance(20)
    again = build.from_dict(saved, failure_threshold=1, recovery_timeout=60)
    assert type(again) is build
    assert again.name == "api"
    assert again.snapshot().retry_after == pytest.approx(30)
    virtual_clock.advance(30)
    again.acquire().success()
    assert state_of(again) is CircuitState.CLOSED


def test_failures_in_a_row_go_on_counting() -> None:
    """Two failures of one process and one of the next are three in a row."""
    breaker = CircuitBreaker(name="api", failure_threshold=3)
    tripped(breaker)
    tripped(breaker)
    again = CircuitBreaker.from_dict(through_json(breaker), failure_threshold=3)
    tripped(again)
    assert state_of(again) is CircuitState.OPEN


def test_failed_probes_go_on_counting(virtual_clock: VirtualClock) -> None:
    """A break that grows goes on growing."""
    settings: dict[str, Any] = {"failure_threshold": 1, "recovery_timeout": lambda failed: 10.0 * (failed + 1)}
    breaker = CircuitBreaker(**settings)
    tripped(breaker)
    virtual_clock.advance(10)
    tripped(breaker)
    again = CircuitBreaker.from_dict(through_json(breaker), **settings)
    assert again.snapshot().retry_after == pytest.approx(20)
    virtual_clock.advance(20)
    tripped(again)
    assert again.snapshot().retry_after == pytest.approx(30)


RULES: list[TripRule] = [
    ConsecutiveFailures(10),
    FailureRate(0.9, window=CountWindow(5), minimum_calls=5),
    FailureRate(0.9, window=TimeWindow(30), minimum_calls=100),
    SlowCallRate(0.9, slower_than=1, window=CountWindow(5), minimum_calls=5),
    FailureRate(0.9, window=CountWindow(50)) | SlowCallRate(0.9, slower_than=1, window=CountWindow(50)),
    ConsecutiveFailures(10) | FailureRate(0.9, window=TimeWindow(30)) | FailureRate(0.8, window=CountWindow(50)),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_what_a_rule_has_counted_is_saved(rule: TripRule, virtual_clock: VirtualClock) -> None:
    """Every rule finds its count again, less what time has made of it."""
    breaker = CircuitBreaker(trip=rule)
    for number in range(7):
        permit = breaker.acquire()
        virtual_clock.advance(2 if number % 3 == 0 else 0.5)
        permit.success() if number % 2 else permit.failure(DownError())
    saved = through_json(breaker)
    virtual_clock.advance(26)
    again = CircuitBreaker.from_dict(saved, trip=rule)
    assert again.snapshot().counts == breaker.snapshot().counts
    for each in (breaker, again):
        each.acquire().success()
    assert again.snapshot().counts == breaker.snapshot().counts


@pytest.mark.parametrize("control", ["force_open", "disable", "metrics_only"])
def test_manual_states_are_saved(control: str) -> None:
    """What an operator set by hand stays set."""
    breaker = CircuitBreaker(name="api")
    getattr(breaker, control)()
    before = state_of(breaker)
    assert state_of(CircuitBreaker.from_dict(through_json(breaker))) is before


def test_a_half_open_circuit_is_saved_as_open_and_due(virtual_clock: VirtualClock) -> None:
    """Probes end with their process; the next one may probe at once."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=10)
    tripped(breaker)
    virtual_clock.advance(10)
    breaker.acquire()
    again = CircuitBreaker.from_dict(through_json(breaker), failure_threshold=1, recovery_timeout=10)
    assert state_of(again) is CircuitState.HALF_OPEN
    again.acquire().success()
    assert state_of(again) is CircuitState.CLOSED


def test_isolations_are_not_saved() -> None:
    """They belong to their blocks."""
    breaker = CircuitBreaker(name="api")
    with breaker.isolate():
        saved = breaker.to_dict()
    registry.circuits = registry.CircuitRegister()
    assert state_of(CircuitBreaker.from_dict(saved)) is CircuitState.CLOSED


def test_a_private_circuit_stays_private() -> None:
    """Without a name it is nobody else's."""
    saved = through_json(CircuitBreaker(failure_threshold=1))
    one, other = (CircuitBreaker.from_dict(saved, failure_threshold=1) for _ in range(2))
    tripped(one)
    assert state_of(other) is CircuitState.CLOSED


def test_calls_under_way_do_not_touch_a_restored_circuit() -> None:
    """A circuit restored in the same process begins a new period."""
    breaker = CircuitBreaker(name="api", failure_threshold=1)
    saved, early = breaker.to_dict(), breaker.acquire()
    CircuitBreaker.from_dict(saved, failure_threshold=1)
    early.failure(DownError())
    assert state_of(breaker) is CircuitState.CLOSED


class SetClock(clock.SystemClock):
    """A machine whose time of day is set by hand."""

    jump = timedelta()

    def utcnow(self) -> datetime:
        return super().utcnow() + self.jump

    def monotonic(self) -> float:
        return 500.0


@pytest.mark.parametrize(
    ("jump", "left"), [(timedelta(hours=-1), 60), (timedelta(seconds=20), 40), (timedelta(hours=1), 0)], ids=str
)
def test_a_clock_that_was_set_never_prolongs_a_break(jump: timedelta, left: float) -> None:
    """Set back, the break is as long as it was; set forward, it ends early."""
    machine = SetClock()
    with clock.installed(machine):
        breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
        tripped(breaker)
        saved = through_json(breaker)
        machine.jump = jump
        again = CircuitBreaker.from_dict(saved, failure_threshold=1, recovery_timeout=60)
        assert again.snapshot().retry_after == pytest.approx(left, abs=1)


def test_a_restored_circuit_rejects_without_a_cause(virtual_clock: VirtualClock) -> None:
    """The error was another process's."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
    tripped(breaker)
    again = CircuitBreaker.from_dict(through_json(breaker), failure_threshold=1, recovery_timeout=60)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        again.acquire()
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("wrong", [None, [], "saved", {}, {"version": 2}, {"version": 1}, {"version": 1, "name": 7}])
def test_something_else_is_refused(wrong: Any) -> None:
    """What no circuit saved is a clear error."""
    with pytest.raises(ValueError, match="saved circuit"):
        CircuitBreaker.from_dict(wrong)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state", "ajar"),
        ("state", None),
        ("state", "HALF_OPEN"),
        ("saved_at", "yesterday"),
        ("saved_at", "2026-01-01T00:00:00"),
        ("break_left", -1),
        ("break_left", float("nan")),
        ("break_left", "60"),
        ("failed_probes", -1),
        ("failed_probes", 1.5),
        ("meter", "1111"),
        ("meter", -3),
        ("meter", None),
    ],
)
def test_a_damaged_circuit_is_refused_whole(key: str, value: object) -> None:
    """One wrong value, and nothing changes."""
    breaker = CircuitBreaker(name="api", failure_threshold=1)
    tripped(breaker)
    saved = {**through_json(breaker), key: value}
    fresh = CircuitBreaker(name="api", failure_threshold=1)
    with pytest.raises(ValueError, match="no saved circuit with the same trip rule"):
        CircuitBreaker.from_dict(saved, failure_threshold=1)
    assert (state_of(fresh), fresh.snapshot().failed_probes) == (CircuitState.CLOSED, 0)


@pytest.mark.parametrize("saved_under", RULES, ids=repr)
def test_a_circuit_of_another_rule_is_refused(saved_under: TripRule) -> None:
    """Counts of one rule mean nothing to another."""
    breaker = CircuitBreaker(trip=saved_under)
    saved = through_json(breaker)
    other = ConsecutiveFailures(10) | ConsecutiveFailures(11)
    with pytest.raises(ValueError, match="no saved circuit with the same trip rule"):
        CircuitBreaker.from_dict(saved, trip=other)
