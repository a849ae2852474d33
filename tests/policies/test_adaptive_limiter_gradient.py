"""How an adaptive limiter decides: its limit against the latencies that it is shown."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio.policies.gradient import GradientLimit

if TYPE_CHECKING:
    from collections.abc import Callable


def limit_of(
    initial: int = 20,
    minimum: int = 1,
    maximum: int = 200,
    tolerance: float = 1.5,
    smoothing: float = 0.2,
) -> GradientLimit:
    """A limit with the defaults of the limiter."""
    return GradientLimit(initial=initial, minimum=minimum, maximum=maximum, tolerance=tolerance, smoothing=smoothing)


class Day:
    """A day of calls, one after the other, shown to a limit."""

    def __init__(self, limit: GradientLimit) -> None:
        self.limit = limit
        self.now = 0.0

    def calls(self, many: int, duration: float, running: int | None = None) -> list[int]:
        """So many calls of one length, of which as many run at once as allowed, if not told; the limit after each."""
        return [self.call(duration, self.limit.limit if running is None else running) for _ in range(many)]

    def call(self, duration: float, running: int) -> int:
        """A call that begins when the one before it has ended."""
        started, self.now = self.now, self.now + duration
        return self.limit.sample(started, self.now, running)

    def round(self, duration: float, running: int | None = None) -> int:
        """The calls before a decision, and the limit after it."""
        return self.calls(max(10, self.limit.limit), duration, running)[-1]

    def rounds_until_rest(self, duration: float, running: int | None = None) -> int:
        """Rounds until a rest begins."""
        for rounds in range(1000):
            before = self.limit.limit
            if self.round(duration, running) < before / 2:
                return rounds
        pytest.fail("no rest in a thousand rounds")


def knowing(at_rest: float, limit: GradientLimit) -> Day:
    """A limit that knows what calls take at rest, and has not moved."""
    day = Day(limit)
    day.calls(10, at_rest, running=0)
    return day


# -- the gradient and the queue ----------------------------------------------------------------------------------------


def test_it_begins_where_it_is_told_to() -> None:
    """And knows nothing yet."""
    limit = limit_of(initial=7)
    assert (limit.limit, limit.bounds, limit.latency) == (7, (1, 200), 0)


@pytest.mark.parametrize(("initial", "calls"), [(4, 10), (9, 10), (25, 25)])
def test_it_decides_once_a_round(initial: int, calls: int) -> None:
    """A round is as many calls as run at once, and no fewer than ten: one slow call alone changes nothing."""
    day = knowing(0.1, limit_of(initial=initial, smoothing=1))
    assert day.calls(calls - 1, 0.1) == [initial] * (calls - 1)
    assert day.call(0.1, initial) == initial + int(math.sqrt(initial))


def test_while_latency_stays_the_limit_grows() -> None:
    """Step by step, to the maximum and no further."""
    day = Day(limit_of())
    limits = [day.round(0.1) for _ in range(45)]
    assert limits == sorted(limits)
    assert limits[-1] > 70
    assert Day(limit_of(maximum=30)).calls(1000, 0.1)[-1] == 30


def test_it_grows_by_a_small_queue_at_a_time() -> None:
    """The square root of the limit, of which the smoothing takes over its part."""
    day = knowing(0.1, limit_of(initial=100, maximum=1000, smoothing=0.5))
    day.calls(90, 0.1, running=0)  # the first round is a short one
    assert [day.round(0.1), day.round(0.1)] == [105, 110]


def test_slower_calls_within_the_tolerance_do_not_shrink_it() -> None:
    """Half as long again is still as at rest; that is what the tolerance says."""
    assert knowing(0.1, limit_of(tolerance=1.5)).round(0.149) == 20
    assert int(knowing(0.1, limit_of(tolerance=1.5, smoothing=1)).round(0.149)) == 24
    assert knowing(0.1, limit_of(tolerance=1, smoothing=1)).round(0.149) == int(20 / 1.49 + math.sqrt(20))


def test_slower_calls_beyond_the_tolerance_shrink_it() -> None:
    """In proportion to how much slower they are, and no faster than to a half at a time."""
    slightly, much, very = (
        knowing(0.1, limit_of(initial=64, smoothing=1)).calls(64, each)[-1] for each in (0.2, 0.29, 5)
    )
    assert slightly == 64 * 3 / 4 + 8
    assert much == int(64 * 1.5 / 2.9 + 8)
    assert very == 64 / 2 + 8


def test_it_never_leaves_its_bounds() -> None:
    """However bad, and however good."""
    day = knowing(0.1, limit_of(initial=20, minimum=10, maximum=30))
    assert day.calls(2000, 0.1)[-1] <= 30
    assert max(day.calls(500, 0.1)) == 30
    assert min(day.calls(500, 60.0)) == 10


def test_from_its_minimum_it_grows_again() -> None:
    """Where it lets no more calls in than a quiet moment has, it is still the limit that holds them back."""
    for minimum in (1, 10):
        day = Day(limit_of(initial=minimum, minimum=minimum))
        assert day.calls(300, 0.1)[-1] > minimum + 3


@pytest.mark.parametrize("bound", [1, 7, 60])
def test_bounds_that_are_one_leave_no_choice(bound: int) -> None:
    """Whatever happens; a rest is of no use then."""
    day = Day(limit_of(initial=bound, minimum=bound, maximum=bound))
    assert {*day.calls(5000, 0.1), *day.calls(5000, 5.0), *day.calls(5000, 0.0)} == {bound}


def test_idle_limits_do_not_grow() -> None:
    """While fewer than half of the places are taken, the limit is not what holds calls back."""
    day = knowing(0.1, limit_of(initial=20))
    assert set(day.calls(200, 0.1, running=9)) == {20}
    assert max(day.calls(100, 0.1, running=12)) > 20


def test_calls_that_take_no_time_do_no_harm() -> None:
    """A clock may be coarse: nothing that was told to take no time is a measure for anything."""
    day = Day(limit_of())
    assert day.calls(200, 0.0)[-1] > 20
    before = day.limit.limit
    assert min(day.calls(100, 0.1)) >= before


def test_the_limit_can_be_set_and_moves_on() -> None:
    """By hand."""
    day = knowing(0.1, limit_of(smoothing=1))
    day.limit.go_on_from(49)
    assert day.limit.limit == 49
    assert day.round(0.1) == 56


# -- at rest -----------------------------------------------------------------------------------------------------------


def test_calls_among_few_others_tell_the_latency_at_rest() -> None:
    """A third of the limit with the usual tolerance, no more; each such round counts for half."""
    day = knowing(0.1, limit_of(initial=30, minimum=1, maximum=30))
    day.round(0.1, running=11)
    assert day.limit.latency == pytest.approx(0.1)
    day.round(0.3, running=10)
    assert day.limit.latency == pytest.approx(0.2)
    day.round(0.2, running=1)
    assert day.limit.latency == pytest.approx(0.2)


def test_quiet_moments_make_a_rest_needless() -> None:
    """One in fifty rounds is enough."""
    day = knowing(0.1, limit_of(maximum=40))
    for _ in range(10):
        for _ in range(50):
            assert day.round(0.1) >= 20
        day.round(0.1, running=3)
    assert day.limit.latency == pytest.approx(0.1)


def test_without_a_quiet_moment_one_is_made() -> None:
    """After fifty rounds among many the limit drops to a third; after some calls at rest it is back."""
    day = knowing(0.1, limit_of(initial=30, minimum=1, maximum=30))
    assert day.rounds_until_rest(0.1) == 50
    assert day.limit.limit == 10
    limits = day.calls(40, 0.05)
    assert day.limit.latency == pytest.approx(0.075)
    assert (limits[:29], limits[30:]) == ([10] * 29, [30] * 10)
    assert day.rounds_until_rest(0.1) == 50


def test_a_rest_is_of_those_who_run_not_of_a_limit_that_nobody_reaches() -> None:
    """A third of many places could still be more than the dependency bears."""
    day = knowing(0.1, limit_of(initial=120))
    day.rounds_until_rest(0.1, running=60)
    assert day.limit.limit == 20


def test_a_rest_is_no_smaller_than_the_minimum() -> None:
    """Which always holds."""
    day = knowing(0.1, limit_of(initial=30, minimum=14, maximum=30))
    day.rounds_until_rest(0.1)
    assert day.limit.limit == 14


def test_what_began_among_many_is_not_at_rest() -> None:
    """However late it ends: neither while many still run, nor among the few."""
    day = knowing(0.1, limit_of(initial=30, maximum=30))
    day.rounds_until_rest(0.1)
    limit, began = day.limit, day.now
    for running in range(30, 0, -1):
        limit.sample(began - 0.5, began + 0.001 * (31 - running), running)
    for ended in range(50):
        limit.sample(began - 0.5, began + 0.1 + ended / 1000, 10)
    assert limit.limit == 10
    assert limit.latency == pytest.approx(0.1)


def test_a_rest_without_calls_waits_for_some() -> None:
    """Nobody is kept out by a limit that nobody meets."""
    day = knowing(0.1, limit_of(initial=30, maximum=30))
    day.rounds_until_rest(0.1)
    day.now += 3600
    assert day.limit.limit == 10
    assert day.limit.limit_at(day.now) == 30


def test_a_rest_that_takes_too_long_is_given_up() -> None:
    """Streams may hold their places for hours, calls may fail and teach nothing: forty latencies, and it is over."""
    day = knowing(0.1, limit_of(initial=30, maximum=30))
    day.rounds_until_rest(0.1)
    limit, began = day.limit, day.now
    assert limit.limit_at(began + 3.9) == 10
    assert limit.sample(began - 1, began + 3.9, 25) == 10
    assert limit.sample(began - 1, began + 4.1, 25) == 30
    assert limit.latency == pytest.approx(0.1)
    assert day.rounds_until_rest(0.1) == 50, "the next one is no sooner"


def test_a_limit_set_during_a_rest_ends_it() -> None:
    """What is set by hand holds at once."""
    day = knowing(0.1, limit_of(initial=30, maximum=60))
    day.rounds_until_rest(0.1)
    day.limit.go_on_from(40)
    assert day.limit.limit == 40
    assert day.round(0.1) >= 40


# -- a server ----------------------------------------------------------------------------------------------------------

LENGTHS: dict[str, Callable[[random.Random], float]] = {
    "all alike": lambda _: 1.0,
    "exponential": lambda chance: chance.expovariate(1.0),
    "lognormal": lambda chance: chance.lognormvariate(-0.125, 0.5),
}


@dataclass
class Server:
    """Serves ``bears`` calls at once, first come first served, before which a limit stands and many clients wait.

    Attributes:
        seconds: What a call takes on average.
        throughput: The share of the time for which its places were in use, during the last `serve`.
        limits: The limits in the same time, without those of rests.
    """

    limit: GradientLimit
    bears: int
    lengths: str = "all alike"
    seed: int = 1
    seconds: float = 0.1
    throughput: float = 0.0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._now = 0.0
        self._free = [0.0] * self.bears
        self._under_way: list[tuple[float, int, float]] = []
        self._numbers = count()
        self._may_run = self.limit.limit
        self.limits: list[int] = []

    def serve(self, calls: int, clients: int = 60) -> None:
        """Serve so many calls of clients who call again as soon as they are answered."""
        self.limits, since, work = [], self._now, 0.0
        for _ in range(calls):
            while len(self._under_way) < min(clients, self._may_run):
                begins = max(self._now, heapq.heappop(self._free))
                ends = begins + self.seconds * LENGTHS[self.lengths](self._chance)
                work += ends - begins
                heapq.heappush(self._free, ends)
                heapq.heappush(self._under_way, (ends, next(self._numbers), self._now))
            running = len(self._under_way)
            self._now, _, started = heapq.heappop(self._under_way)
            self._may_run = self.limit.sample(started, self._now, running)
            if self.limit._rest is None:
                self.limits.append(self._may_run)
        self.throughput = work / (self._now - since) / min(self.bears, clients)


@pytest.mark.slow("tens of thousands of calls")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_sixty_clients_before_a_server_that_bears_ten(lengths: str, seed: int) -> None:
    """The limit settles at a small queue and stays there, however long it goes on; little of the throughput is lost."""
    server = Server(limit_of(), 10, lengths, seed)
    server.serve(3000)
    for _ in range(5):
        server.serve(5000)
        assert min(server.limits) >= 10
        assert max(server.limits) <= 40
        assert server.throughput > 0.95
    assert len(server.limits) > 4500, "rests are rare"


@pytest.mark.slow("tens of thousands of calls")
@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_server_that_becomes_slower_for_good_has_its_limit_again(lengths: str) -> None:
    """The latency at rest follows within some rests, and only that."""
    server = Server(limit_of(), 10, lengths)
    server.serve(3000)
    server.seconds = 0.5
    server.serve(5000)
    for _ in range(3):
        server.serve(5000)
        assert min(server.limits) >= 10
        assert max(server.limits) <= 40
        assert server.throughput > 0.95
    assert server.limit.latency == pytest.approx(0.5, rel=0.5)


@pytest.mark.slow("tens of thousands of calls")
@pytest.mark.parametrize(
    ("bears", "tolerance", "low", "high"), [(1, 1.5, 3, 6), (2, 1.5, 4, 9), (10, 2, 22, 29), (10, 1, 12, 16)]
)
def test_where_it_settles(bears: int, tolerance: float, low: int, high: int) -> None:
    """Where the queue is worth what the tolerance allows, and the square root of the limit."""
    server = Server(limit_of(tolerance=tolerance), bears)
    server.serve(5000)
    server.serve(5000)
    assert low <= min(server.limits) <= max(server.limits) <= high


@pytest.mark.slow("tens of thousands of calls")
@pytest.mark.parametrize("lengths", LENGTHS)
def test_who_is_no_load_feels_no_limit(lengths: str) -> None:
    """Fewer clients than the server bears: in the end none of them waits but in a rest."""
    server = Server(limit_of(), 100, lengths)
    server.serve(30_000)
    server.serve(5000)
    assert min(server.limits) > 60
    assert server.throughput > 0.9


@pytest.mark.slow("tens of thousands of calls")
def test_a_limit_far_too_high_finds_its_way_down() -> None:
    """After the server became quicker and lost what it bore; whether callers reach the limit or not."""
    server = Server(limit_of(), 60)
    server.serve(20_000)
    assert max(server.limits) > 100
    server._free = server._free[:10]
    server.bears = 10
    server.serve(40_000)
    server.serve(5000)
    assert max(server.limits) <= 40


# -- any history -------------------------------------------------------------------------------------------------------


@pytest.mark.slow("Hypothesis makes up a hundred histories")
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.1, 0.3, 60.0]), st.integers(0, 60), st.integers(1, 30))),
    st.integers(1, 5),
    st.integers(0, 45),
    st.floats(1, 4),
    st.floats(0.05, 1),
)
def test_it_does_what_it_says_until_its_first_rest(
    history: list[tuple[float, int, int]], minimum: int, room: int, tolerance: float, smoothing: float
) -> None:
    """The gradient and the queue written down once more, over whole rounds."""
    day = Day(limit_of(minimum + room // 2, minimum, minimum + room, tolerance, smoothing))
    estimated, at_rest, crowded = float(minimum + room // 2), 0.0, 0
    calls: list[tuple[float, int]] = []
    size = 10
    for duration, running, times in history:
        for _ in range(times):
            calls.append((duration, running))
            after = day.call(duration, running)
            assert minimum <= after <= minimum + room
            if len(calls) < size:
                continue
            mean, busiest = math.fsum(each for each, _ in calls) / size, max(each for _, each in calls)
            if not at_rest or busiest <= max(minimum, int(estimated / (2 * tolerance))):
                at_rest, crowded, gradient = (at_rest + mean) / 2 if at_rest else mean, 0, 1.0
            elif crowded == 50:
                return
            else:
                crowded, gradient = crowded + 1, tolerance * at_rest / mean if mean else 1.0
            wished = estimated * min(1, max(0.5, gradient)) + math.sqrt(estimated)
            if busiest < estimated / 2:
                wished = min(wished, estimated)
            estimated = max(minimum, min(minimum + room, estimated * (1 - smoothing) + wished * smoothing))
            assert day.limit.latency == pytest.approx(at_rest)
            assert day.limit._limit == pytest.approx(estimated)
            calls, size = [], max(10, int(day.limit._limit))
            estimated, at_rest = day.limit._limit, day.limit.latency  # means are rounded: no difference adds up
