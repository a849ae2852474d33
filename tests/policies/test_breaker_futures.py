"""A plain function that returns a future has begun its work when it returns."""

from __future__ import annotations

import asyncio

import pytest
from breaker_forms import DownError, state_of, tripped

from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState

pytestmark = pytest.mark.asyncio  # futures are asyncio's


async def wait_for(rounds: int, outcome: BaseException | str) -> str:
    """Let other tasks run that often, then return or raise."""
    for _ in range(rounds):
        await asyncio.sleep(0)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def test_the_future_is_handed_over_as_it_is() -> None:
    """The caller gets the very task, so that it can be cancelled or waited for."""
    made: list[asyncio.Task[str]] = []

    def submit() -> asyncio.Task[str]:
        made.append(asyncio.create_task(wait_for(3, "fine")))
        return made[0]

    task = CircuitBreaker()(submit)()
    assert task is made[0]
    assert await task == "fine"


async def test_its_failure_opens_the_circuit() -> None:
    """The outcome of the task is the outcome of the call."""
    breaker = CircuitBreaker(failure_threshold=1)
    guarded = breaker(lambda: asyncio.create_task(wait_for(3, DownError())))
    with pytest.raises(DownError):
        await guarded()
    assert state_of(breaker) is CircuitState.OPEN


async def test_its_success_closes_the_circuit() -> None:
    """A probe that is a future is under way until the future is done."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    probe = breaker(lambda: asyncio.create_task(wait_for(3, "fine")))()
    assert state_of(breaker) is CircuitState.HALF_OPEN
    await probe
    await asyncio.sleep(0)
    assert state_of(breaker) is CircuitState.CLOSED


async def test_only_the_permitted_futures_begin() -> None:
    """Of 100 callers at half-open one starts its work, also if nobody awaits before all have called."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    begun: list[asyncio.Task[str]] = []

    @breaker
    def guarded() -> asyncio.Task[str]:
        begun.append(asyncio.create_task(wait_for(3, "fine")))
        return begun[-1]

    rejected = 0
    for _ in range(100):
        try:
            guarded()
        except CircuitBreakerOpenError:
            rejected += 1
    assert (len(begun), rejected) == (1, 99)
    await begun[0]


async def test_a_cancelled_future_gives_its_permit_back() -> None:
    """Cancelling the task says nothing about the dependency."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    probe = breaker(lambda: asyncio.create_task(wait_for(1000, "fine")))()
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    await asyncio.sleep(0)
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize(("result", "state"), [("bad", CircuitState.OPEN), ("good", CircuitState.CLOSED)])
async def test_its_result_may_count_as_failure(result: str, state: CircuitState) -> None:
    """failure_result looks at what the future holds."""
    breaker = CircuitBreaker(failure_threshold=1, failure_result=lambda value: value == "bad")
    assert await breaker(lambda: asyncio.create_task(wait_for(1, result)))() == result
    await asyncio.sleep(0)
    assert state_of(breaker) is state


async def test_a_result_that_cannot_be_judged_counts_as_failure() -> None:
    """A failure_result that raises opens the circuit, and the future keeps its result."""
    breaker = CircuitBreaker(failure_threshold=1, failure_result=lambda value: bool(1 / len(value)))
    assert await breaker(lambda: asyncio.create_task(wait_for(1, "")))() == ""
    await asyncio.sleep(0)
    assert state_of(breaker) is CircuitState.OPEN
