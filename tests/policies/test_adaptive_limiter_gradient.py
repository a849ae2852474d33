"""How an adaptive limiter decides: its limit against the latencies that it is shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio.policies.gradient import GradientLimit


def limit_of(
    initial: int = 20,
    minimum: int = 1,
    maximum: int = 200,
    tolerance: float = 1.5,
    smoothing: float = 0.2,
) -> GradientLimit:
    """A limit with the defaults of the limiter."""
    return GradientLimit(initial=initial, minimum=minimum, maximum=maximum, tolerance=tolerance, smoothing=smoothing)


def feed(limit: GradientLimit, duration: float, calls: int) -> list[int]:
    """So many calls of one length, as many at once as allowed; the limit after each."""
    return [limit.sample(duration, limit.limit) for _ in range(calls)]


def test_it_begins_where_it_is_told_to() -> None:
    """And knows nothing yet."""
    limit = limit_of(initial=7)
    assert (limit.limit, limit.bounds, limit.latency) == (7, (1, 200), 0)


def test_while_latency_stays_the_limit_grows() -> None:
    """Step by step, to the maximum and no further."""
    limits = feed(limit_of(), 0.1, 300)
    assert limits == sorted(limits)
    assert limits[0] == 20
    assert limits[-1] == 200


def test_it_grows_by_a_small_queue_at_a_time() -> None:
    """The square root of the limit, of which the smoothing takes over its part."""
    limit = limit_of(initial=100, maximum=1000, smoothing=0.5)
    assert limit.sample(0.1, 100) == 105
    assert limit.sample(0.1, 105) == 110


def test_slower_calls_within_the_tolerance_do_not_shrink_it() -> None:
    """Half as long again is still as usual."""
    limit = limit_of(tolerance=1.5)
    feed(limit, 0.1, 100)
    before = limit.limit
    assert min(feed(limit, 0.149, 5)) >= before


def test_slower_calls_beyond_the_tolerance_shrink_it() -> None:
    """In proportion to how much slower they are, and no faster than to a half at a time."""
    slightly, much, very = (limit_of(initial=100, smoothing=1) for _ in range(3))
    for limit, slower in ((slightly, 2), (much, 2.9), (very, 50)):
        for _ in range(10):
            limit.sample(0.1, 0)  # below half of the limit: learnt from, and nothing changes
        limit.sample(0.1 * slower, 100)
    assert 100 * 0.5 + 10 == very.limit < much.limit < slightly.limit < 100


def test_it_never_leaves_its_bounds() -> None:
    """However bad, and however good."""
    limit = limit_of(initial=20, minimum=10, maximum=30)
    feed(limit, 0.1, 50)
    assert limit.limit == 30
    limit = limit_of(initial=20, minimum=10, maximum=30)
    feed(limit, 0.001, 50)
    for slower in range(1, 200):
        limit.sample(0.001 * 1.5**slower, limit.limit)
    assert limit.limit == 10


def test_it_comes_back_after_an_outage() -> None:
    """What was long for a while does not set the pace for long."""
    limit = limit_of()
    feed(limit, 0.1, 200)
    feed(limit, 5.0, 30)
    assert limit.limit < 40
    feed(limit, 0.1, 200)
    assert limit.limit > 150
    assert limit.latency < 0.2


def test_what_is_slow_for_good_becomes_usual() -> None:
    """The long term follows; a dependency that is slower now has a limit again that suits it."""
    limit = limit_of()
    feed(limit, 0.1, 100)
    limits = feed(limit, 0.4, 3000)
    assert min(limits) < 30
    assert limits[-1] == 200
    assert limit.latency == pytest.approx(0.4, rel=0.05)


def test_idle_limits_do_not_grow() -> None:
    """While fewer than half of the places are taken, the limit is not what holds calls back."""
    limit = limit_of(initial=20)
    for _ in range(100):
        assert limit.sample(0.1, 9) == 20
    assert limit.latency == pytest.approx(0.1)
    assert [limit.sample(0.1, 11) for _ in range(3)] == [20, 21, 22]


def test_calls_that_take_no_time_do_no_harm() -> None:
    """A clock may be coarse."""
    limit = limit_of()
    assert feed(limit, 0.0, 100)[-1] > 20
    feed(limit, 0.1, 100)
    assert 1 <= limit.limit <= 200


def test_the_limit_can_be_set_and_moves_on() -> None:
    """By hand."""
    limit = limit_of()
    limit.go_on_from(50)
    assert limit.limit == 50
    assert feed(limit, 0.1, 10)[-1] > 50


@pytest.mark.slow("Hypothesis makes up a hundred histories")
@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 60)), max_size=100),
    st.integers(1, 5),
    st.integers(0, 45),
    st.floats(1, 4),
    st.floats(0.05, 1),
)
def test_it_follows_the_source(
    history: list[tuple[float, int]], minimum: int, room: int, tolerance: float, smoothing: float
) -> None:
    """Gradient2Limit written down once more, with the means kept as the source keeps them."""
    maximum = minimum + room
    limit = limit_of(minimum + room // 2, minimum, maximum, tolerance, smoothing)
    estimated, long_term = float(minimum + room // 2), 0.0
    for number, (rtt, inflight) in enumerate(history, 1):
        before = limit.limit
        after = limit.sample(rtt, inflight)
        if number <= 10:
            long_term = (long_term * (number - 1) + rtt) / number
        else:
            factor = 2.0 / (600 + 1)
            long_term = long_term * (1 - factor) + rtt * factor
        if rtt > 0 and long_term / rtt > 2:
            long_term *= 0.95
        if inflight >= estimated / 2:
            gradient = max(0.5, min(1.0, tolerance * long_term / rtt)) if rtt > 0 else 1.0
            wished = estimated * gradient + math.sqrt(estimated)
            estimated = max(minimum, min(maximum, estimated * (1 - smoothing) + wished * smoothing))
        else:
            assert after == before
        if rtt > 0 and abs(long_term / rtt - 2) < 1e-6:
            return  # either side of the source's own edge may be taken, for means are rounded
        assert limit.latency == pytest.approx(long_term)
        assert limit._limit == pytest.approx(estimated)
        assert minimum <= after <= maximum
