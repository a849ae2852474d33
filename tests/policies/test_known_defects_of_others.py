"""Defects of other libraries that nothing else here holds against us; each test names where it was seen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from breaker_forms import state_of, tripped
from crowds import LOOPS, in_threads
from ways import Flaky

import resilio.sync
from resilio import (
    BackoffStrategy,
    CallFailed,
    CallRejected,
    CallSucceeded,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    CircuitStateChanged,
    ConsecutiveFailures,
    CountWindow,
    FailureRate,
    RateLimiter,
    RetryExhaustedError,
    TimeWindow,
    subscribe,
)
from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [CallFailed, CallSucceeded, CallRejected, CircuitStateChanged])
def test_no_callback_runs_under_the_lock(kind: type[Any]) -> None:
    """gobreaker: a callback that waits for another thread that asks the same breaker waits for ever."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
    waited: list[bool] = []

    def elsewhere(is_through: threading.Event) -> None:
        _ = breaker.state, breaker.snapshot()
        is_through.set()

    def callback(event: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            is_through = threading.Event()
            threading.Thread(target=elsewhere, args=(is_through,), daemon=True).start()
            waited.append(is_through.wait(10))

    with subscribe(callback, kind):
        breaker.acquire().success()
        tripped(breaker)
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
    assert waited == [True]


async def test_half_open_is_bounded_without_being_told_to(virtual_clock: VirtualClock) -> None:
    """resilience4j: by default any number waits at half-open for a permit. Here one call probes, others are told."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=5)
    tripped(breaker)
    virtual_clock.advance(5)
    reached = rejected = 0

    @breaker
    async def probe() -> None:
        nonlocal reached
        reached += 1
        await clock.sleep(1)

    async def caller() -> None:
        nonlocal rejected
        try:
            await probe()
        except CircuitBreakerOpenError:
            rejected += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(caller)
    assert (reached, rejected) == (1, 99)
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize("place", [1, 2])
def test_an_interrupted_thread_leaves_its_permit_to_the_next(
    place: int, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """resilience4j: a thread that is interrupted while it waits for a rate limiter takes its permit along."""
    limiter, passed = resilio.sync.RateLimiter(1), list[tuple[int, float]]()
    limiter.execute(int)
    ctrl_c = threading.local()
    wait, sleep = clock.wait_blocking, clock.sleep_blocking

    def interrupted(seconds: float | None) -> None:
        if getattr(ctrl_c, "comes", False):
            sleep(0.5)
            raise KeyboardInterrupt

    def wait_interrupted(event: threading.Event, timeout: float | None) -> bool:
        interrupted(timeout)
        return wait(event, timeout)

    def sleep_interrupted(seconds: float) -> None:
        interrupted(seconds)
        sleep(seconds)

    def waiter(number: int) -> None:
        sleep(number / 100)
        ctrl_c.comes = number == place
        try:
            with limiter:
                passed.append((number, round(virtual_clock.elapsed, 6)))
        except KeyboardInterrupt:
            passed.append((-number, 0.0))

    monkeypatch.setattr(clock, "wait_blocking", wait_interrupted)
    monkeypatch.setattr(clock, "sleep_blocking", sleep_interrupted)
    threads = [threading.Thread(target=waiter, args=(number,)) for number in (1, 2, 3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    others = [number for number in (1, 2, 3) if number != place]
    assert passed == [(-place, 0.0), (others[0], 1.0), (others[1], 2.0)]
    assert limiter.waiting == 0


@pytest.mark.parametrize("window", [TimeWindow(30), CountWindow(100)], ids=repr)
def test_two_failures_after_an_idle_hour_are_two_failures(
    window: TimeWindow | CountWindow, virtual_clock: VirtualClock
) -> None:
    """cockatiel: a breaker that needs ten calls opens after two, for what came an hour before is still counted."""
    breaker = CircuitBreaker(trip=FailureRate(0.2, window=window, minimum_calls=10))
    for _ in range(7):
        breaker.acquire().success()
    breaker.acquire().failure(ConnectionError())
    virtual_clock.advance(3600)
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().failure(ConnectionError())
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().failure(ConnectionError())
    assert state_of(breaker) is (CircuitState.CLOSED if isinstance(window, TimeWindow) else CircuitState.OPEN)


async def test_two_tasks_in_one_retry_have_all_their_attempts_each(virtual_clock: VirtualClock) -> None:
    """stamina: two tasks that loop over one retry context share its attempts, 2 + 2 in place of 3 + 3."""
    strategy = BackoffStrategy(max_retries=2, base_delay=1, jitter=None)
    attempts: dict[str, int] = {"left": 0, "right": 0}

    async def loop(name: str) -> None:
        async for attempt in strategy:
            with attempt:
                attempts[name] += 1
                await anyio.lowlevel.checkpoint()
                raise ConnectionError

    async def task(name: str) -> None:
        with pytest.raises(RetryExhaustedError) as caught:
            await loop(name)
        assert caught.value.attempts == 3

    async with anyio.create_task_group() as tasks:
        for name in attempts:
            tasks.start_soon(task, name)
    assert attempts == {"left": 3, "right": 3}
    assert virtual_clock.elapsed == 3


def test_two_threads_in_one_retry_have_all_their_attempts_each() -> None:
    """The same without an event loop."""
    strategy = resilio.sync.BackoffStrategy(max_retries=2, base_delay=0)
    attempts = [0, 0]

    def loop(number: int) -> None:
        for attempt in strategy:
            with attempt:
                attempts[number] += 1
                raise ConnectionError

    def thread(number: int) -> None:
        with pytest.raises(RetryExhaustedError):
            loop(number)

    in_threads(thread, 2)
    assert attempts == [3, 3]


def test_a_limiter_may_be_used_by_one_loop_after_the_other() -> None:
    """Seen in aiolimiter and others: attached to the loop that used it first, and to no other."""
    limiter = RateLimiter(1e6, burst=1)
    for backend, options in LOOPS * 2:
        for _ in range(3):
            assert anyio.run(limiter.execute, int, backend=backend, backend_options=options) == 0


def test_a_cancelled_probe_leaves_the_circuit_half_open_for_the_next() -> None:
    """Polly: a probe that is cancelled closes the circuit, or holds it half-open for ever."""
    breaker = resilio.sync.CircuitBreaker(trip=ConsecutiveFailures(1), recovery_timeout=0)
    tripped(breaker)
    with pytest.raises(KeyboardInterrupt):
        breaker.execute(Flaky(KeyboardInterrupt()))
    assert state_of(breaker) is CircuitState.HALF_OPEN
    with pytest.raises(ConnectionError):
        breaker.execute(Flaky(ConnectionError))
    assert breaker.snapshot().failed_probes == 1
