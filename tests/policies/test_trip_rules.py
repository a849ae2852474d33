"""When a circuit has seen enough: the trip rules, alone and joined."""

from __future__ import annotations

import math
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from breaker_forms import FORMS, DownError, state_of

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from breaker_forms import Form

    from resilio import TripRule
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

BLOCKING = [form for form in FORMS if form.name.startswith("blocking")]


def run(breaker: CircuitBreaker, outcomes: str) -> str:
    """Book outcomes, ``s`` or ``f``, until the circuit rejects; return those that it let through."""
    for place, outcome in enumerate(outcomes):
        try:
            permit = breaker.acquire()
        except CircuitBreakerOpenError:
            return outcomes[:place]
        permit.success() if outcome == "s" else permit.failure(DownError())
    return outcomes


def slow_call(breaker: CircuitBreaker, clock: VirtualClock, seconds: float) -> None:
    """A successful call that takes so long."""
    permit = breaker.acquire()
    clock.advance(seconds)
    permit.success()


# -- consecutive failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [1, 2, 5, 100])
def test_consecutive_failures_open_at_the_threshold(threshold: int) -> None:
    """The last of so many in a row opens, not the one before it."""
    breaker = CircuitBreaker(trip=ConsecutiveFailures(threshold))
    assert run(breaker, "f" * (threshold - 1)) == "f" * (threshold - 1)
    assert state_of(breaker) is CircuitState.CLOSED
    run(breaker, "f")
    assert state_of(breaker) is CircuitState.OPEN


def test_failure_threshold_is_short_for_consecutive_failures() -> None:
    """Both spellings are the same setting."""
    assert CircuitBreaker(failure_threshold=7).describe() == CircuitBreaker(trip=ConsecutiveFailures(7)).describe()


# -- failure rate ------------------------------------------------------------------------------------------------------


def test_a_rate_opens_at_exactly_its_ratio() -> None:
    """The share compares with >=."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=10))
    assert run(breaker, "sssssfffff" + "s") == "sssssfffff"
    below = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=10))
    assert run(below, "ssssssffff") == "ssssssffff"
    assert state_of(below) is CircuitState.CLOSED


@pytest.mark.parametrize(("ratio", "failed", "calls"), [(0.1, 3, 30), (0.3, 3, 10), (0.7, 7, 10), (1 / 3, 1, 3)])
def test_a_ratio_is_met_exactly_in_floating_point(ratio: float, failed: int, calls: int) -> None:
    """3 of 30 is 0.1, whatever multiplication makes of it."""
    breaker = CircuitBreaker(trip=FailureRate(ratio, window=CountWindow(calls), minimum_calls=calls))
    run(breaker, "s" * (calls - failed) + "f" * failed)
    assert state_of(breaker) is CircuitState.OPEN


def test_a_rate_means_nothing_below_its_minimum_of_calls() -> None:
    """The minimum compares with >= as well: the call that reaches it may open."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(100), minimum_calls=10))
    assert run(breaker, "f" * 9) == "f" * 9
    assert state_of(breaker) is CircuitState.CLOSED
    run(breaker, "f")
    assert state_of(breaker) is CircuitState.OPEN


def test_a_success_may_be_the_call_that_reaches_the_minimum() -> None:
    """Nine failures and a success are nine of ten."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(100), minimum_calls=10))
    run(breaker, "f" * 9 + "s")
    assert state_of(breaker) is CircuitState.OPEN


@pytest.mark.parametrize("outcomes", ["ffs", "fss", "sfs"])
def test_the_cause_is_the_last_failure_though_a_success_came_after_it(outcomes: str) -> None:
    """Whatever the call that opens the circuit, its rejections tell of the last failure that it counts."""
    breaker = CircuitBreaker(trip=FailureRate(0.3, window=CountWindow(3), minimum_calls=3))
    failures = [DownError(), DownError(), DownError()]
    for outcome, failure in zip(outcomes, failures, strict=True):
        permit = breaker.acquire()
        permit.success() if outcome == "s" else permit.failure(failure)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.__cause__ is failures[outcomes.rindex("f")]


@pytest.mark.parametrize("control", [None, "metrics_only"])
def test_a_failure_is_let_go_when_the_window_has_forgotten_it(control: str | None) -> None:
    """A window without failures keeps no error alive."""
    breaker = CircuitBreaker(trip=FailureRate(0.9, window=CountWindow(3), minimum_calls=3))
    if control:
        getattr(breaker, control)()
    error = DownError()
    failure = weakref.ref(error)
    breaker.acquire().failure(error)
    del error
    run(breaker, "ss")
    assert failure() is not None
    run(breaker, "s")
    assert failure() is None


def test_a_count_window_forgets_the_oldest_call() -> None:
    """Ten calls later, the failures of before weigh nothing."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=5))
    run(breaker, "sssss" + "ffff" + "s" * 6)
    assert breaker.snapshot().counts == {"calls": 10, "failure_rate": 0.4}
    run(breaker, "ssss")
    assert breaker.snapshot().counts == {"calls": 10, "failure_rate": 0.0}


def test_a_time_window_forgets_by_time(virtual_clock: VirtualClock) -> None:
    """A call that ended exactly `seconds` ago is outside."""
    breaker = CircuitBreaker(trip=FailureRate(0.9, window=TimeWindow(30), minimum_calls=100))
    run(breaker, "fff")
    virtual_clock.advance(29)
    run(breaker, "s")
    assert breaker.snapshot().counts == {"calls": 4, "failure_rate": 0.75}
    virtual_clock.advance(1)
    assert breaker.snapshot().counts == {"calls": 1, "failure_rate": 0.0}


def test_an_idle_hour_leaves_nothing(virtual_clock: VirtualClock) -> None:
    """Nine failures, an hour of silence, two failures: eleven never were in the window at once."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=TimeWindow(30), minimum_calls=10))
    run(breaker, "f" * 9)
    virtual_clock.advance(3600)
    assert breaker.snapshot().counts == {"calls": 0, "failure_rate": 0.0}
    run(breaker, "ff")
    assert breaker.snapshot().counts == {"calls": 2, "failure_rate": 1.0}
    assert state_of(breaker) is CircuitState.CLOSED


def test_ignored_calls_are_in_no_window() -> None:
    """Neither the calls nor the failures count them."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=2), ignore=KeyError)
    for _ in range(10):
        breaker.acquire().failure(KeyError())
        breaker.acquire().release()
    assert breaker.snapshot().counts == {"calls": 0, "failure_rate": 0.0}


def test_a_closed_circuit_begins_with_an_empty_window(virtual_clock: VirtualClock) -> None:
    """What opened the circuit last time does not open it again."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=TimeWindow(600), minimum_calls=4), recovery_timeout=10)
    run(breaker, "ffff")
    virtual_clock.advance(10)
    run(breaker, "s")
    assert breaker.snapshot().counts == {"calls": 0, "failure_rate": 0.0}
    assert run(breaker, "fff") == "fff"


def test_a_disabled_circuit_fills_no_window() -> None:
    """Calls let through while the circuit does not look are not counted, not even successes."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=2))
    breaker.disable()
    run(breaker, "sfsf")
    assert breaker.snapshot().counts == {"calls": 0, "failure_rate": 0.0}


def test_metrics_only_fills_the_window_and_never_opens() -> None:
    """The share can be looked at before one dares to act on it."""
    breaker = CircuitBreaker(trip=FailureRate(0.5, window=CountWindow(10), minimum_calls=2))
    breaker.metrics_only()
    assert run(breaker, "sfff") == "sfff"
    assert breaker.snapshot().counts == {"calls": 4, "failure_rate": 0.75}


# -- slow calls --------------------------------------------------------------------------------------------------------


def slow_rule(ratio: float = 0.5, slower_than: float | timedelta = 2, calls: int = 2) -> SlowCallRate:
    """A rule over the last ten calls."""
    return SlowCallRate(ratio, slower_than=slower_than, window=CountWindow(10), minimum_calls=calls)


def test_a_call_of_exactly_the_limit_is_not_slow(virtual_clock: VirtualClock) -> None:
    """Slow is longer than `slower_than`, not as long."""
    breaker = CircuitBreaker(trip=slow_rule(slower_than=2))
    slow_call(breaker, virtual_clock, 2.0)
    slow_call(breaker, virtual_clock, 2.0)
    assert breaker.snapshot().counts == {"calls": 2, "slow_call_rate": 0.0}
    slow_call(breaker, virtual_clock, 2.0001)
    assert breaker.snapshot().counts["slow_call_rate"] == pytest.approx(1 / 3)


def test_slow_successes_open_the_circuit(virtual_clock: VirtualClock) -> None:
    """A dependency that answers too late is down as well."""
    breaker = CircuitBreaker(trip=slow_rule(slower_than=timedelta(seconds=2)))
    slow_call(breaker, virtual_clock, 3)
    slow_call(breaker, virtual_clock, 3)
    assert state_of(breaker) is CircuitState.OPEN
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.__cause__ is None  # nothing failed


def test_quick_failures_are_not_slow() -> None:
    """A slow-call rate alone looks at the time, not at the outcome."""
    breaker = CircuitBreaker(trip=slow_rule())
    assert run(breaker, "ffff") == "ffff"


def test_a_slow_failure_is_slow(virtual_clock: VirtualClock) -> None:
    """Failed calls count by their length as well."""
    breaker = CircuitBreaker(trip=slow_rule())
    for _ in range(2):
        permit = breaker.acquire()
        virtual_clock.advance(3)
        permit.failure(DownError())
    assert state_of(breaker) is CircuitState.OPEN


def test_a_slow_probe_opens_again(virtual_clock: VirtualClock) -> None:
    """Where slowness counts, a probe must be quick; exactly `slower_than` is quick enough."""
    breaker = CircuitBreaker(trip=slow_rule(calls=1), recovery_timeout=60)
    slow_call(breaker, virtual_clock, 3)
    virtual_clock.advance(60)
    slow_call(breaker, virtual_clock, 3)
    assert state_of(breaker) is CircuitState.OPEN
    assert breaker.snapshot().failed_probes == 1
    virtual_clock.advance(60)
    slow_call(breaker, virtual_clock, 2)
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_every_form_measures_its_calls(form: Form, virtual_clock: VirtualClock) -> None:
    """Durations reach the rule whichever way the call is made."""
    breaker = form.build(trip=slow_rule())
    for _ in range(2):
        await form.call(breaker, lambda: virtual_clock.advance(3))
    assert state_of(breaker) is CircuitState.OPEN


# -- joined rules ------------------------------------------------------------------------------------------------------


def test_joined_rules_open_when_one_of_them_says_so() -> None:
    """`a | b` is the first of the two."""
    rule = ConsecutiveFailures(3) | FailureRate(0.5, window=CountWindow(10), minimum_calls=8)
    assert run(CircuitBreaker(trip=rule), "fff" + "s") == "fff"
    assert run(CircuitBreaker(trip=rule), "ffssffss" + "s") == "ffssffss"


def test_every_joined_rule_sees_every_call() -> None:
    """The one that does not open now has counted along for later."""
    rule = FailureRate(1.0, window=CountWindow(2), minimum_calls=2) | ConsecutiveFailures(100)
    breaker = CircuitBreaker(trip=rule)
    breaker.metrics_only()
    run(breaker, "fff")
    assert breaker.snapshot().counts == {"calls": 2, "failure_rate": 1.0, "consecutive_failures": 3}


def test_rules_over_different_windows_are_read_apart(virtual_clock: VirtualClock) -> None:
    """Where two rules count the same thing, the later one's names carry its number; none hides another."""
    rule = (
        ConsecutiveFailures(100)
        | FailureRate(1.0, window=CountWindow(4), minimum_calls=4)
        | FailureRate(1.0, window=TimeWindow(60), minimum_calls=100)
        | SlowCallRate(1.0, slower_than=1, window=CountWindow(2), minimum_calls=2)
    )
    breaker = CircuitBreaker(trip=rule)
    breaker.metrics_only()
    run(breaker, "fffsff")
    assert breaker.snapshot().counts == {
        "consecutive_failures": 2,
        "calls": 4,
        "failure_rate": 0.75,
        "calls_3": 6,
        "failure_rate_3": pytest.approx(5 / 6),
        "calls_4": 2,
        "slow_call_rate_4": 0.0,
    }
    virtual_clock.advance(60)
    counts = breaker.snapshot().counts
    assert (counts["calls"], counts["calls_3"], counts["failure_rate_3"]) == (4, 0, 0.0)


def test_failures_and_slowness_share_a_window(virtual_clock: VirtualClock) -> None:
    """The two rates over one window count it once, and each has its own ratio and minimum."""
    window = CountWindow(10)
    rule = FailureRate(0.5, window=window, minimum_calls=4) | SlowCallRate(
        0.8, slower_than=1, window=window, minimum_calls=5
    )
    breaker = CircuitBreaker(trip=rule)
    for _ in range(4):
        slow_call(breaker, virtual_clock, 2)
    assert breaker.snapshot().counts == {"calls": 4, "failure_rate": 0.0, "slow_call_rate": 1.0}
    assert state_of(breaker) is CircuitState.CLOSED
    slow_call(breaker, virtual_clock, 0.5)
    assert state_of(breaker) is CircuitState.OPEN
    assert run(CircuitBreaker(trip=rule), "ssff" + "s") == "ssff"


def test_joining_is_flat_and_has_no_order_of_brackets() -> None:
    """(a | b) | c and a | (b | c) are the same rule, and print as one writes them."""
    a, b, c = ConsecutiveFailures(1), ConsecutiveFailures(2), ConsecutiveFailures(3)
    assert (a | b) | c == a | (b | c)
    assert repr(a | b) == "ConsecutiveFailures(threshold=1) | ConsecutiveFailures(threshold=2)"


def test_a_rule_joins_only_rules() -> None:
    """Anything else is a type error at once."""
    with pytest.raises(TypeError):
        ConsecutiveFailures(1) | 5  # type: ignore[operator]


def test_equal_rules_are_one_setting() -> None:
    """Rules made anew by each call are no other settings for a name."""
    make: Callable[[], TripRule] = lambda: (  # noqa: E731
        ConsecutiveFailures(3) | FailureRate(0.5, window=TimeWindow(timedelta(seconds=30)))
    )
    first = CircuitBreaker(name="rules made anew", trip=make())
    assert CircuitBreaker(name="rules made anew", trip=make())._circuit is first._circuit
    with pytest.raises(ValueError, match="trip="):
        CircuitBreaker(name="rules made anew", trip=ConsecutiveFailures(3) | FailureRate(0.6))


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: ConsecutiveFailures(0), ValueError, "ConsecutiveFailures(threshold) must be a whole number, at least 1"),
    (lambda: ConsecutiveFailures(True), TypeError, "ConsecutiveFailures(threshold) must be a whole number, at least 1"),
    (lambda: FailureRate(0), ValueError, "FailureRate(ratio) must be a number, above 0 and at most 1, not 0"),
    (lambda: FailureRate(1.1), ValueError, "FailureRate(ratio) must be a number, above 0 and at most 1, not 1.1"),
    (lambda: FailureRate(math.nan), ValueError, "FailureRate(ratio) must be a number, above 0 and at most 1, not nan"),
    (lambda: FailureRate("0.5"), TypeError, "FailureRate(ratio) must be a number"),  # type: ignore[arg-type]
    (lambda: FailureRate(0.5, minimum_calls=0), ValueError, "FailureRate(minimum_calls) must be a whole number"),
    (lambda: FailureRate(0.5, window=30), TypeError, "FailureRate(window) must be CountWindow"),  # type: ignore[arg-type]
    (
        lambda: FailureRate(0.5, window=CountWindow(10), minimum_calls=11),
        ValueError,
        "FailureRate(minimum_calls) must be at most the 10 calls that its window holds, not 11",
    ),
    (lambda: SlowCallRate(0.5, slower_than=-1), ValueError, "SlowCallRate(slower_than) must be seconds"),
    (lambda: SlowCallRate(0.5, slower_than=math.nan), ValueError, "SlowCallRate(slower_than) must be seconds"),
    (lambda: SlowCallRate(2, slower_than=1), ValueError, "SlowCallRate(ratio) must be a number"),
    (lambda: CountWindow(0), ValueError, "CountWindow(calls) must be a whole number, at least 1"),
    (lambda: CountWindow(2.0), TypeError, "CountWindow(calls) must be a whole number"),  # type: ignore[arg-type]
    (lambda: TimeWindow(0), ValueError, "TimeWindow(seconds) must be seconds or a timedelta, above 0, not 0"),
    (lambda: TimeWindow(math.inf), ValueError, "TimeWindow(seconds) must be seconds or a timedelta, above 0, not inf"),
]


@pytest.mark.parametrize(("build", "kind", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_wrong_rules_are_refused_when_they_are_written(
    build: Callable[[], Any], kind: type[Exception], said: str
) -> None:
    """By the parameter's name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build()
    assert str(caught.value).startswith(said)
