"""A rate limiter around calls: who passes, who is refused, and what one is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from ways import Flaky, Way, every_call

import resilio.sync
from resilio import RateLimited, RateLimiter, RateLimitExceededError, subscribe
from resilio._core import clock
from resilio._core.pauses import Haste, haste
from resilio.policies.description import Description

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

every_waiting_call = pytest.mark.parametrize(
    "way", [way for way in every_call.args[1] if way.form != "lambda"], ids=str
)
"""All in which a call can wait: what a lambda returns on an event loop shows only when it is too late to wait."""


# -- every form --------------------------------------------------------------------------------------------------------


@every_waiting_call
def test_calls_pass_at_the_rate(way: Way, virtual_clock: VirtualClock) -> None:
    """The burst at once, then one each interval; results come through."""
    limiter, fn = way.names.RateLimiter(2, burst=3), Flaky("meow")
    assert [way.call(limiter, fn) for _ in range(6)] == ["meow"] * 6
    assert fn.waits == [0, 0, 0.5, 0.5, 0.5]


@every_waiting_call
def test_quiet_time_fills_the_bucket_and_no_further(way: Way, virtual_clock: VirtualClock) -> None:
    """After a minute of silence as many pass at once as after a second and a half: the burst."""
    limiter, fn = way.names.RateLimiter(2, burst=3), Flaky("meow")
    for _ in range(3):
        way.call(limiter, fn)
    clock.sleep_blocking(60)
    for _ in range(5):
        way.call(limiter, fn)
    assert fn.waits == [0, 0, 60, 0, 0, 0.5, 0.5]


@every_waiting_call
def test_a_failed_call_has_used_its_token(way: Way, virtual_clock: VirtualClock) -> None:
    """The dependency was asked; the error comes through as it is."""
    limiter, fn = way.names.RateLimiter(1), Flaky(ConnectionError, "meow")
    with pytest.raises(ConnectionError):
        way.call(limiter, fn)
    way.call(limiter, fn)
    assert fn.waits == [1]


@every_waiting_call
def test_who_would_wait_too_long_is_refused_at_once(way: Way, virtual_clock: VirtualClock) -> None:
    """The function is not reached; the error says when it would be one's turn, and one event tells of it."""
    limiter, fn = way.names.RateLimiter(1, per=10, max_wait=5), Flaky("meow")
    told: list[RateLimited] = []
    way.call(limiter, fn)
    clock.sleep_blocking(2)
    with subscribe(told.append, RateLimited), pytest.raises(RateLimitExceededError) as caught:
        way.call(limiter, fn)
    assert (fn.calls, virtual_clock.elapsed) == (1, 2)
    assert str(caught.value) == "more than 1 calls per 10 s; the next free turn is in 8 s"
    assert caught.value.retry_after == pytest.approx(8)
    assert caught.value.retryable
    assert [each.limiter for each in told] == [type(limiter).__name__]
    assert told[0].retry_after == pytest.approx(8)
    clock.sleep_blocking(3)
    way.call(limiter, fn)  # a wait of exactly `max_wait` is not too long
    assert fn.waits == [10]


@every_call
def test_in_haste_calls_pass(way: Way, virtual_clock: VirtualClock) -> None:
    """A test that switches waiting off is held up by no limiter, and refused by none."""
    limiter, fn = way.names.RateLimiter(1, max_wait=0), Flaky("meow")
    token = haste.set(Haste())
    for _ in range(3):
        way.call(limiter, fn)
    haste.reset(token)
    assert fn.waits == [0, 0]


# -- other forms -------------------------------------------------------------------------------------------------------


async def test_a_block_takes_a_token(virtual_clock: VirtualClock) -> None:
    """`async with limiter:` waits as a call does."""
    limiter = RateLimiter(4, burst=1)
    for _ in range(3):
        async with limiter:
            pass
    assert virtual_clock.elapsed == 0.5


def test_a_blocking_block_takes_a_token(virtual_clock: VirtualClock) -> None:
    """`with limiter:` waits as a call does."""
    limiter = resilio.sync.RateLimiter(4, burst=1)
    for _ in range(3):
        with limiter:
            pass
    assert virtual_clock.elapsed == 0.5


async def test_a_stream_takes_one_token(virtual_clock: VirtualClock) -> None:
    """However many items it has; an empty one as well."""
    limiter = RateLimiter(1)

    @limiter
    async def numbers(*items: int) -> AsyncGenerator[int]:
        for item in items:
            yield item

    assert [item async for item in numbers(1, 2, 3)] == [1, 2, 3]
    assert [item async for item in numbers()] == []
    assert [item async for item in numbers(4)] == [4]
    assert virtual_clock.elapsed == 2


def test_tokens_can_be_taken_by_hand(virtual_clock: VirtualClock) -> None:
    """`try_acquire` answers at once."""
    limiter = RateLimiter(2, burst=1)
    assert [limiter.try_acquire() for _ in range(2)] == [True, False]
    virtual_clock.advance(0.5)
    assert [limiter.try_acquire() for _ in range(2)] == [True, False]
    assert virtual_clock.elapsed == 0.5


async def test_blocking_code_does_not_wait_on_an_event_loop(virtual_clock: VirtualClock) -> None:
    """Every other task would stand still meanwhile: an error, and the line is as it was."""
    limiter = resilio.sync.RateLimiter(1)
    assert limiter.execute(int) == 0
    with pytest.raises(RuntimeError, match="would block the event loop"):
        limiter.execute(int)
    assert (limiter.waiting, virtual_clock.elapsed) == (0, 0)
    await clock.sleep(1)
    assert limiter.execute(int) == 0


async def test_a_lambda_does_not_wait_on_an_event_loop(virtual_clock: VirtualClock) -> None:
    """It may turn out to be async only once it is called: it is refused, and not the loop held up."""
    limiter = RateLimiter(1)

    async def fine() -> str:
        return "fine"

    guarded = limiter(lambda: fine())  # noqa: PLW0108 -- a lambda is the point
    assert await guarded() == "fine"
    with pytest.raises(RuntimeError, match="would block the event loop"):
        await guarded()


def test_what_has_not_run_yet_is_refused() -> None:
    """A plain function that returns a generator would run outside of the limit's sight."""
    limiter = resilio.sync.RateLimiter(10)
    with pytest.raises(TypeError, match="unguarded"):
        limiter(lambda: (number for number in range(3)))()


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (2.9, 2), (1, 1), (0.2, 1)])
def test_the_burst_is_one_second_worth_unless_told(rate: float, burst: int) -> None:
    """The rate rounded down, and at least one."""
    assert RateLimiter(rate).burst == burst


def test_a_limiter_shows_itself() -> None:
    """To people, and as a value."""
    limiter = RateLimiter(100, per=timedelta(minutes=1), burst=5, max_wait=2)
    assert repr(limiter) == "<RateLimiter 100 per 60 s, burst 5>"
    assert limiter.describe() == Description(
        "RateLimiter", (("rate", 100.0), ("per", 60.0), ("burst", 5), ("max_wait", 2.0))
    )


@pytest.mark.parametrize(
    ("build", "kind", "said"),
    [
        (lambda kind: kind(0), ValueError, "rate must be a number, above 0, not 0"),
        (lambda kind: kind("10"), TypeError, "rate must be a number, above 0, not '10' (str)"),
        (lambda kind: kind(float("inf")), ValueError, "rate must be a number, above 0, not inf"),
        (lambda kind: kind(1, per=0), ValueError, "per must be seconds or a timedelta, above 0, not 0"),
        (lambda kind: kind(1, burst=0), ValueError, "burst must be a whole number, at least 1, not 0"),
        (lambda kind: kind(1, burst=1.5), TypeError, "burst must be a whole number, at least 1, not 1.5 (float)"),
        (lambda kind: kind(1, max_wait=-1), ValueError, "max_wait must be seconds or a timedelta, at least 0, not -1"),
    ],
)
@pytest.mark.parametrize("kind_of", [RateLimiter, resilio.sync.RateLimiter])
def test_wrong_settings_are_refused(
    kind_of: type, build: Callable[[Any], Any], kind: type[Exception], said: str
) -> None:
    """By the parameter's name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build(kind_of)
    assert str(caught.value) == said
