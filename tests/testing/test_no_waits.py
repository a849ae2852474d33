from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from resilio import (
    BackoffStrategy,
    Bulkhead,
    BulkheadFullError,
    Hedge,
    OperationTimeoutError,
    Pipeline,
    RateLimiter,
    RetryExhaustedError,
    Timeout,
    sync,
)
from resilio._core.pauses import haste
from resilio.testing import EventRecorder, fast, no_waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.testing import NoWaits, VirtualClock


def fetch() -> None:
    """Fails, always."""
    raise ConnectionError


async def exhaust(strategy: BackoffStrategy) -> int:
    """The attempts that ``strategy`` makes at what always fails."""
    with pytest.raises(RetryExhaustedError) as exhausted:
        await strategy.execute(fetch)
    return exhausted.value.attempts


@pytest.mark.anyio
async def test_a_retry_does_not_wait_and_makes_no_more_attempts_than_it_may(virtual_clock: VirtualClock) -> None:
    """All of its attempts, or as many as the cap says."""
    strategy = BackoffStrategy(base_delay=60, max_retries=4, jitter=None)
    with no_waits():
        assert await exhaust(strategy) == 5
    with no_waits(max_attempts=2):
        assert await exhaust(strategy) == 2
    with no_waits(max_attempts=50):
        assert await exhaust(strategy) == 5
    assert virtual_clock.elapsed == 0
    assert await exhaust(strategy) == 5
    assert virtual_clock.elapsed == 60 + 60 + 60 + 60


def test_blocking_code_does_not_wait_either(virtual_clock: VirtualClock) -> None:
    """Retries and rate limiters go on at once."""
    limiter = sync.RateLimiter(1, per=60)
    with no_waits(max_attempts=3):
        with pytest.raises(RetryExhaustedError, match="after 3 attempts"):
            sync.BackoffStrategy(base_delay=60).execute(fetch)
        assert [limiter.execute(int) for _ in range(5)] == [0] * 5
    assert virtual_clock.elapsed == 0


@pytest.mark.anyio
async def test_no_policy_waits(virtual_clock: VirtualClock) -> None:
    """A rate limiter lets calls through, a bulkhead refuses at once, a hedge asks again at once."""
    limiter, bulkhead = RateLimiter(1, per=60), Bulkhead(1, max_queue=10)
    asked: list[float] = []

    async def slow() -> float:
        asked.append(virtual_clock.elapsed)
        await anyio.sleep(5)
        return virtual_clock.elapsed

    async with no_waits():
        for _ in range(3):
            async with limiter:
                pass
        async with bulkhead:
            with pytest.raises(BulkheadFullError):
                await bulkhead.execute(fetch)
        assert virtual_clock.elapsed == 0
        await Hedge(60).execute(slow)
    assert asked == [0, 0]


@pytest.mark.anyio
async def test_a_timeout_is_no_wait(virtual_clock: VirtualClock) -> None:
    """What takes too long still takes too long."""
    with no_waits(), pytest.raises(OperationTimeoutError):
        await Timeout(10).execute(anyio.sleep, 60)
    assert virtual_clock.elapsed == 10


@pytest.mark.anyio
async def test_it_holds_for_this_context_and_what_is_started_from_it_and_for_nobody_else(
    virtual_clock: VirtualClock,
) -> None:
    """Tasks and worker threads that the block starts hurry with it; another task waits as ever."""
    took: dict[str, float] = {}
    strategy = BackoffStrategy(base_delay=60, max_retries=1, jitter=None)

    async def attempt(name: str) -> None:
        began = virtual_clock.elapsed
        await exhaust(strategy)
        took[name] = virtual_clock.elapsed - began

    async def hasty() -> None:
        with no_waits():
            await attempt("itself")
            async with anyio.create_task_group() as inner:
                inner.start_soon(attempt, "its task")
            with pytest.raises(RetryExhaustedError):
                await anyio.to_thread.run_sync(sync.BackoffStrategy(base_delay=60, max_retries=1).execute, fetch)
            took["its thread"] = virtual_clock.elapsed

    async with anyio.create_task_group() as group:
        group.start_soon(attempt, "another task")
        group.start_soon(hasty)
    assert took == {"itself": 0, "its task": 0, "its thread": 0, "another task": 60}


def test_another_thread_waits_as_ever(virtual_clock: VirtualClock) -> None:
    """The switch is not the process's."""
    elapsed: list[float] = []

    def other() -> None:
        with pytest.raises(RetryExhaustedError):
            sync.BackoffStrategy(base_delay=60, max_retries=1, jitter=None).execute(fetch)
        elapsed.append(virtual_clock.elapsed)

    with no_waits():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert elapsed == [60]


def test_blocks_nest_and_end() -> None:
    """The innermost counts, and after an error all is as before."""
    with no_waits(max_attempts=5):
        with no_waits(), pytest.raises(ZeroDivisionError), no_waits(max_attempts=2):
            raise ZeroDivisionError
        inner = haste.get()
    assert inner is not None
    assert inner.max_attempts == 5
    assert haste.get() is None


@pytest.mark.anyio
async def test_one_switch_serves_many_tasks_at_once() -> None:
    """Each task leaves its own block."""
    switch = no_waits(max_attempts=2)
    left: list[object] = []

    async def use(number: int) -> None:
        for _ in range(3):
            async with switch:
                for _ in range(number % 3):
                    await anyio.lowlevel.checkpoint()
        left.append(haste.get())

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(use, number)
    assert left == [None] * 30


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_wrong_cap_is_refused_by_name(wrong: Any, error: type[Exception]) -> None:
    """Whole numbers from 1."""
    with pytest.raises(error, match="max_attempts must be a whole number, at least 1"):
        no_waits(max_attempts=wrong)


def test_it_shows_what_it_does() -> None:
    """As it is written."""
    assert repr(no_waits(max_attempts=2)) == "no_waits(max_attempts=2)"
    assert repr(fast()) == "no_waits()"


@pytest.mark.anyio
async def test_the_fixture_switches_waits_off_in_the_tests_body(
    no_waits: Callable[..., NoWaits], resilio_events: EventRecorder
) -> None:
    """On every backend, in real time; what it hands out caps the attempts."""
    strategy = Pipeline(BackoffStrategy(base_delay=3600, max_retries=3, jitter=None))
    with pytest.raises(RetryExhaustedError):
        await strategy.execute(fetch)
    with no_waits(max_attempts=2), pytest.raises(RetryExhaustedError):
        await strategy.execute(fetch)
    resilio_events.assert_attempts(fetch, 4, 2)


def test_the_fixture_fast_is_the_same(fast: Callable[..., NoWaits]) -> None:
    """Under another name, in blocking code."""
    assert haste.get() is not None
    with fast(max_attempts=1), pytest.raises(RetryExhaustedError, match="after 1 attempt"):
        sync.BackoffStrategy(base_delay=3600).execute(fetch)
