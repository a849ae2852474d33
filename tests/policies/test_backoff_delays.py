"""How long a retry waits: the published formulas, with the dice loaded."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ways import Flaky, Way, every_way

from resilio import RetryExhaustedError
from resilio._core import dice
from resilio.policies.retry_plan import BackoffPlan, Jitter, RetryRun

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

LARGEST_ROLL = 1 - 2**-53


class Dice(random.Random):
    """Dice that show what they are told to, again and again."""

    def __init__(self, *rolls: float) -> None:
        super().__init__()
        self.rolls = rolls
        self.rolled = 0

    def random(self) -> float:
        self.rolled += 1
        return self.rolls[(self.rolled - 1) % len(self.rolls)]


def plan(
    *,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    exponential_base: float = 2.0,
    jitter: Jitter | None = None,
    max_retries: int | None = 5,
    max_duration: float | None = None,
    max_retry_after: float = 300.0,
) -> BackoffPlan:
    """A plan with the defaults of a strategy, but no jitter."""
    return BackoffPlan(
        base_delay=base_delay,
        max_delay=max_delay,
        exponential_base=exponential_base,
        jitter=jitter,
        max_retries=max_retries,
        max_duration=max_duration,
        max_retry_after=max_retry_after,
    )


def waits(way: Way, rolls: tuple[float, ...], **settings: object) -> list[float]:
    """The seconds between the attempts of a call that always fails."""
    fn = Flaky(ConnectionError)
    with dice.loaded(Dice(*rolls)), pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(**settings), fn)
    return fn.waits


# -- the strategy, in every way ----------------------------------------------------------------------------------------


@every_way
def test_without_jitter_it_waits_exactly_the_capped_exponential_delay(way: Way, virtual_clock: VirtualClock) -> None:
    """min(max_delay, base_delay * exponential_base ** n) for n = 0, 1, 2 and so on."""
    assert waits(way, (0.5,), base_delay=2, exponential_base=3, max_delay=20, max_retries=4, jitter=None) == [
        2,
        6,
        18,
        20,
    ]


@every_way
def test_full_jitter_waits_between_nothing_and_the_delay(way: Way, virtual_clock: VirtualClock) -> None:
    """The delay times the roll."""
    rolls = (0.5, 0.0, 0.25, LARGEST_ROLL)
    assert waits(way, rolls, base_delay=1, max_delay=60, max_retries=4) == [0.5, 0, 1, pytest.approx(8)]


@every_way
def test_equal_jitter_waits_between_half_of_the_delay_and_all_of_it(way: Way, virtual_clock: VirtualClock) -> None:
    """Half of the delay, and the other half times the roll."""
    rolls = (0.0, 0.5, LARGEST_ROLL)
    found = waits(way, rolls, base_delay=1, max_delay=60, max_retries=3, jitter="equal")
    assert found == [0.5, 1.5, pytest.approx(4)]


@every_way
def test_decorrelated_jitter_waits_between_the_base_and_three_times_the_last_wait(
    way: Way, virtual_clock: VirtualClock
) -> None:
    """U(base, 3 * previous), where the first previous wait is the base itself; capped in the end."""
    rolls = (0.5, 0.0, LARGEST_ROLL, LARGEST_ROLL)
    found = waits(way, rolls, base_delay=2, max_delay=15, max_retries=4, jitter="decorrelated")
    assert found == [4, 2, pytest.approx(6), 15]


@pytest.mark.parametrize(("jitter", "waited"), [("full", 2.5), ("equal", 3.75)])
@every_way
def test_the_cap_comes_before_the_jitter(way: Way, virtual_clock: VirtualClock, jitter: str, waited: float) -> None:
    """Capped clients stay spread out: the roll is taken of the cap, not cut by it."""
    assert waits(way, (0.5,), base_delay=1000, max_delay=5, max_retries=2, jitter=jitter) == [waited, waited]


@every_way
def test_jitter_true_means_equal(way: Way, virtual_clock: VirtualClock) -> None:
    """As the reference has it."""
    assert waits(way, (0.0,), base_delay=1, max_retries=2, jitter=True) == [0.5, 1]


@every_way
def test_jitter_false_means_none(way: Way, virtual_clock: VirtualClock) -> None:
    """As the reference has it."""
    assert waits(way, (0.0,), base_delay=1, max_retries=2, jitter=False) == [1, 2]


@every_way
def test_a_base_delay_of_zero_never_waits(way: Way, virtual_clock: VirtualClock) -> None:
    """Ten retries in no time."""
    assert waits(way, (0.5,), base_delay=0, max_retries=10) == [0] * 10
    assert virtual_clock.elapsed == 0


@every_way
def test_a_base_delay_above_the_maximum_is_capped_from_the_start(way: Way, virtual_clock: VirtualClock) -> None:
    """Not an error: the maximum wins."""
    assert waits(way, (0.5,), base_delay=10, max_delay=3, max_retries=2, jitter=None) == [3, 3]


@every_way
def test_the_jitter_is_drawn_from_the_one_source_once_a_retry(way: Way, virtual_clock: VirtualClock) -> None:
    """Whoever loads the dice decides."""
    fn = Flaky(ConnectionError(), ConnectionError(), "meow")
    with dice.loaded(loaded := Dice(0.5)):
        assert way.call(way.names.BackoffStrategy(), fn) == "meow"
    assert loaded.rolled == 2


# -- the plan, at its limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry", [1024, 1025, 1026, 5000, 10**6])
@pytest.mark.parametrize("jitter", ["full", "equal", None])
def test_the_exponent_never_overflows(retry: int, jitter: Jitter | None) -> None:
    """2.0 ** 1024 is no float; the cap has been reached long before."""
    assert plan(jitter=jitter).delay(retry, 0.0, LARGEST_ROLL) == pytest.approx(60)


def test_a_product_past_the_largest_float_is_capped() -> None:
    """The power fits, its product with the base does not."""
    assert plan(base_delay=1e10).delay(1020, 0.0, 0.5) == 60


def test_no_base_delay_times_a_power_past_all_floats_is_still_nothing() -> None:
    """Zero stays zero."""
    assert plan(base_delay=0.0).delay(5000, 0.0, 0.5) == 0


def test_a_strategy_outlives_a_thousand_attempts(virtual_clock: VirtualClock) -> None:
    """1100 failures in a row end in the strategy's own error."""
    with pytest.raises(RetryExhaustedError) as caught:
        Way("plain function", None).call(
            Way("plain function", None).names.BackoffStrategy(max_retries=1100, max_delay=1), Flaky(ConnectionError)
        )
    assert caught.value.attempts == 1101


seconds = st.floats(min_value=0, max_value=1e9)
rolls = st.floats(min_value=0, max_value=LARGEST_ROLL)
bases = st.floats(min_value=1, max_value=1e6)
jitters: st.SearchStrategy[Jitter | None] = st.sampled_from(("full", "equal", "decorrelated", None))


@given(seconds, seconds, bases, jitters, st.integers(1, 10**4), rolls)
def test_no_wait_is_below_zero_or_above_the_cap(
    base: float, cap: float, exponential: float, jitter: Jitter | None, retry: int, roll: float
) -> None:
    """Whatever the settings, the attempt, and the roll."""
    made = plan(base_delay=base, max_delay=cap, exponential_base=exponential, jitter=jitter)
    assert 0 <= made.delay(retry, min(base, cap), roll) <= cap


@given(seconds, seconds, bases, st.integers(1, 10**4), rolls)
def test_the_jitters_keep_their_bounds(base: float, cap: float, exponential: float, retry: int, roll: float) -> None:
    """Full stays at or below the computed delay, equal between half of it and all of it."""

    def delay(jitter: Jitter | None) -> float:
        made = plan(base_delay=base, max_delay=cap, exponential_base=exponential, jitter=jitter)
        return made.delay(retry, 0.0, roll)

    computed = delay(None)
    assert 0 <= delay("full") <= computed
    assert computed / 2 <= delay("equal") <= computed


@given(seconds, seconds, seconds, rolls)
def test_decorrelated_jitter_keeps_its_bounds(base: float, cap: float, previous: float, roll: float) -> None:
    """Between the base and three times the last wait (or the base), and never above the cap."""
    found = plan(base_delay=base, max_delay=cap, jitter="decorrelated").delay(2, previous, roll)
    low = min(base, cap)
    assert low <= found <= min(cap, 3 * max(previous, base) * (1 + 1e-12))


@given(seconds, seconds, bases, st.lists(rolls, min_size=1, max_size=20))
def test_delays_never_shrink_without_jitter(base: float, cap: float, exponential: float, thrown: list[float]) -> None:
    """Each wait is at least as long as the one before it."""
    made = plan(base_delay=base, max_delay=cap, exponential_base=exponential)
    delays = [made.delay(retry, 0.0, roll) for retry, roll in enumerate(thrown, 1)]
    assert delays == sorted(delays)


@given(st.integers(0, 50), seconds, st.one_of(st.none(), st.floats(0.001, 1e6)), jitters, st.integers(0, 10**9))
def test_a_run_ends_after_max_retries_and_never_waits_past_max_duration(
    max_retries: int, base: float, max_duration: float | None, jitter: Jitter | None, seed: int
) -> None:
    """Attempts that take no time: one more than max_retries at most, each begun before the duration is over."""
    made = plan(base_delay=base, jitter=jitter, max_retries=max_retries, max_duration=max_duration)
    run = RetryRun(made, 100.0)
    now, thrown = 100.0, random.Random(seed)
    while not isinstance(delay := run.decide(("ConnectionError", ()), now, thrown.random()), str):
        now += delay
        if max_duration is not None:
            assert now - 100.0 <= max_duration or now - 100.0 == pytest.approx(max_duration)
    assert run.attempt <= max_retries + 1
