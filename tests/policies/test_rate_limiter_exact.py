"""The token bucket against its promise, and the limiter against the plainest model there is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ways import on

from resilio import RateLimiter, RateLimitExceededError
from resilio._core import clock
from resilio.policies.token_bucket import TokenBucket
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterable

pauses = st.lists(st.floats(0, 5, allow_nan=False) | st.sampled_from([0.0, 0.1, 0.3, 1.0]), max_size=60)
starts = st.sampled_from([0.0, 1000.1, 3e5 + 1 / 3, 86_400.0 * 400])  # seconds since the machine was started


def added_up(pauses: Iterable[float], began: float = 0.0) -> list[float]:
    """Instants, from the pauses before each of them."""
    instants = []
    for pause in pauses:
        began += pause
        instants.append(began)
    return instants


@given(pauses, st.floats(0.01, 3), st.integers(1, 10), starts)
def test_no_stretch_sees_more_than_the_burst_and_what_came_in(
    pauses: list[float], interval: float, burst: int, began: float
) -> None:
    """In any T seconds at most `burst + T / interval` tokens, whenever one asks."""
    bucket = TokenBucket(interval, burst)
    taken = [now for now in added_up(pauses, began) if bucket.take(now)]
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) / interval + 1e-6


@given(pauses, st.floats(0.01, 3), st.integers(1, 10))
def test_a_token_that_has_come_in_is_given(pauses: list[float], interval: float, burst: int) -> None:
    """As a bucket that is filled drop by drop would."""
    bucket, tokens, before = TokenBucket(interval, burst), float(burst), 0.0
    for now in added_up(pauses):
        tokens = min(tokens + (now - before) / interval, burst)
        before = now
        given = bucket.take(now)
        if abs(tokens - 1) > 1e-6:  # closer than that, rounding decides in the model
            assert given == (tokens > 1)
        tokens -= given


@given(pauses, st.floats(0.001, 3), st.integers(1, 5), starts)
def test_who_is_told_to_wait_is_told_how_long(pauses: list[float], interval: float, burst: int, began: float) -> None:
    """Never for nothing, however long the machine has been up, and after that wait there is a token."""
    bucket = TokenBucket(interval, burst)
    for now in added_up(pauses, began):
        if not bucket.take(now):
            wait = bucket.wait(now, ahead=0)
            assert 0 < wait <= interval + 1e-6
            assert bucket.wait(now, ahead=3) == pytest.approx(wait + 3 * interval)
            assert copied(bucket).take(now + wait + 1e-6)


def copied(bucket: TokenBucket) -> TokenBucket:
    """A bucket as full as this one."""
    other = TokenBucket(bucket.interval, 1)
    other._allowance, other._full_at = bucket._allowance, bucket._full_at
    return other


@pytest.mark.parametrize("days", [1, 100, 200, 400, 1000])
def test_a_wait_never_rounds_to_nothing(days: int) -> None:
    """A double counts nanoseconds no longer by then; a caller told to wait 0 s would leave the whole line standing."""
    for step in range(300):
        began = 86_400.0 * days + step * 0.0137
        bucket = TokenBucket(0.001 + step * 1e-9, 3)
        while bucket.take(began):
            pass
        now = began + bucket.wait(began, ahead=0)
        for _ in range(5):
            now = math.nextafter(now, 0)
        for _ in range(10):
            assert copied(bucket).take(now) or bucket.wait(now, ahead=0) > 0
            now = math.nextafter(now, math.inf)


# -- the whole limiter -------------------------------------------------------------------------------------------------


def model(arrivals: list[float], interval: float, burst: int) -> list[float]:
    """When each call passes: first come first served, each as soon as a token has come in."""
    passed, full_at, last = [], float("-inf"), float("-inf")
    for arrived in arrivals:
        now = max(arrived, last, full_at - interval * (burst - 1))
        full_at = max(full_at, now) + interval
        last = now
        passed.append(now)
    return passed


@pytest.mark.slow("an event loop for each example")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 4))
@settings(max_examples=30)
def test_calls_pass_when_the_model_says_so(backend: str, pauses: list[int], burst: int) -> None:
    """Whatever the pattern of arrivals: in their order, and each to the moment."""
    arrivals = added_up(pause / 10 for pause in pauses)

    async def main() -> list[tuple[int, float]]:
        limiter, passed = RateLimiter(1, burst=burst), list[tuple[int, float]]()
        began = clock.monotonic()

        async def call(number: int) -> None:
            async with limiter:
                passed.append((number, round(clock.monotonic() - began, 6)))

        async with anyio.create_task_group() as tasks:
            for number, arrival in enumerate(arrivals):
                await clock.sleep(began + arrival - clock.monotonic())
                tasks.start_soon(call, number)
                await anyio.lowlevel.checkpoint()
        return passed

    with VirtualClock():
        passed = on(backend, main)
    expected = [round(instant, 6) for instant in model(arrivals, 1, burst)]
    assert [instant for _, instant in sorted(passed)] == pytest.approx(expected, abs=1e-5)
    assert [instant for _, instant in passed] == sorted(instant for _, instant in passed)


class Flight:
    """One call of the storm below."""

    def __init__(self, limiter: RateLimiter, stays: int | None) -> None:
        self.limiter = limiter
        self.stays = stays

    async def __call__(self, log: list[float]) -> None:
        with anyio.move_on_after(self.stays):
            try:
                async with self.limiter:
                    log.append(clock.monotonic())
            except RateLimitExceededError:
                pass


@pytest.mark.slow("an event loop for each example")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 10)), min_size=1, max_size=30),
    st.integers(1, 3),
    st.none() | st.integers(0, 5),
)
@settings(max_examples=30)
def test_whoever_gives_up_the_rate_is_kept_and_the_line_moves(
    backend: str, flights: list[tuple[int, int | None]], burst: int, max_wait: Any
) -> None:
    """Cancelled at any moment, refused or served: no stretch sees too many, and nobody is left standing."""

    async def main() -> tuple[RateLimiter, list[float]]:
        limiter, log = RateLimiter(1, burst=burst, max_wait=max_wait), list[float]()
        async with anyio.create_task_group() as tasks:
            for pause, stays in flights:
                await clock.sleep(pause)
                tasks.start_soon(Flight(limiter, stays), log)
        return limiter, log

    with VirtualClock():
        limiter, log = on(backend, main)
    assert limiter.waiting == 0
    for first, start in enumerate(log):
        for last in range(first, len(log)):
            assert last - first + 1 <= burst + (log[last] - start) + 1e-6
