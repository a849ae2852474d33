"""No attempt starts after `max_duration`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import RetryExhaustedError, RetryGivenUp, subscribe
from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


def failing_after(seconds: float, fn: Flaky) -> Callable[[], object]:
    """A call that takes ``seconds`` of the clock before it fails."""

    def slow() -> object:
        virtual = clock.current()
        assert isinstance(virtual, VirtualClock)
        virtual.advance(seconds)
        return fn()

    return slow


@every_way
def test_the_last_wait_is_clipped_to_the_duration(way: Way, virtual_clock: VirtualClock) -> None:
    """1, 2, 4 and then what is left of 10 s."""
    fn = Flaky(ConnectionError)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_duration=10, max_retries=50, jitter=None), fn)
    assert fn.waits == [1, 2, 4, 3]
    assert virtual_clock.elapsed == pytest.approx(10)
    assert caught.value.attempts == 5


@every_way
def test_the_time_of_the_attempts_counts(way: Way, virtual_clock: VirtualClock) -> None:
    """Attempts of 4 s each, waits of 1 s: the third begins at 10 s, and there is no fourth."""
    fn = Flaky(ConnectionError)
    strategy = way.names.BackoffStrategy(max_duration=10, base_delay=1, exponential_base=1, jitter=None)
    with pytest.raises(RetryExhaustedError):
        way.call(strategy, failing_after(4, fn))
    # `times` has the ends of the attempts.
    assert [round(time - fn.times[0], 6) for time in fn.times] == [0, 5, 10]


@every_way
def test_a_first_attempt_that_takes_it_all_is_the_only_one(way: Way, virtual_clock: VirtualClock) -> None:
    """The duration runs from before the first attempt."""
    fn = Flaky(ConnectionError)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_duration=3), failing_after(3, fn))
    assert fn.calls == 1
    assert caught.value.attempts == 1


@every_way
def test_an_attempt_under_way_is_not_cut_short(way: Way, virtual_clock: VirtualClock) -> None:
    """That is the trade of `Timeout`."""
    fn = Flaky(ConnectionError("one"), "meow")
    strategy = way.names.BackoffStrategy(max_duration=3, base_delay=0)
    assert way.call(strategy, failing_after(2, fn)) == "meow"
    assert virtual_clock.elapsed == pytest.approx(4)


@every_way
def test_success_costs_no_more_than_it_takes(way: Way, virtual_clock: VirtualClock) -> None:
    """The duration is a limit, not a plan."""
    fn = Flaky(ConnectionError(), "meow")
    assert way.call(way.names.BackoffStrategy(max_duration=1000, jitter=None), fn) == "meow"
    assert virtual_clock.elapsed == pytest.approx(1)


@every_way
def test_the_number_of_retries_still_counts(way: Way, virtual_clock: VirtualClock) -> None:
    """Whichever limit comes first."""
    fn = Flaky(ConnectionError)
    with pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(max_duration=1000, max_retries=2, jitter=None), fn)
    assert fn.waits == [1, 2]


@every_way
def test_a_servers_wish_is_clipped_as_well(way: Way, virtual_clock: VirtualClock) -> None:
    """Retry-After beyond the duration: one last attempt at its end."""
    error = ConnectionError()
    error.retry_after = 60  # type: ignore[attr-defined]
    fn = Flaky(error)
    with pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(max_duration=10), fn)
    assert fn.waits == [10]


def test_giving_up_says_that_it_was_the_duration(virtual_clock: VirtualClock) -> None:
    """In the event, and in the error's context."""
    told: list[str] = []
    with subscribe(lambda event: told.append(event.reason), RetryGivenUp), pytest.raises(RetryExhaustedError) as caught:
        resilio.sync.BackoffStrategy(max_duration=1, max_retries=9).execute(failing_after(2, Flaky(ConnectionError)))
    assert told == ["duration"]
    assert caught.value.context["reason"] == "duration"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(
    duration=st.floats(0.001, 1e5),
    base=st.floats(0.0, 1e3),
    takes=st.floats(0.0, 1e3),
    retries=st.integers(0, 20),
    jitter=st.sampled_from(("full", "equal", "decorrelated", None)),
)
def test_no_attempt_ever_starts_late(
    duration: float, base: float, takes: float, retries: int, jitter: str | None
) -> None:
    """Whatever the delays, the jitter, and the time that attempts take."""
    with VirtualClock() as virtual:
        starts: list[float] = []

        def fails() -> None:
            starts.append(virtual.elapsed)
            virtual.advance(takes)
            raise ConnectionError

        strategy = resilio.sync.BackoffStrategy(
            max_duration=duration,
            base_delay=base,
            max_retries=retries,
            jitter=jitter,  # type: ignore[arg-type]
        )
        with pytest.raises(RetryExhaustedError):
            strategy.execute(fails)
    assert all(start <= duration * (1 + 1e-9) + 1e-6 for start in starts)
    assert len(starts) <= retries + 1
