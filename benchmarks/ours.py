"""resilio's contestants, one function a row, written as the README writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import resilio
from benchmarks.limits import Rejected, State
from resilio import sync
from resilio._core import events

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

NEVER = 3600.0

IMPORT = "import resilio"
FIRST_BREAKER = "resilio.CircuitBreaker()"


def _slow_aware() -> resilio.CircuitBreaker:
    window = resilio.CountWindow(100)
    return resilio.CircuitBreaker(
        trip=resilio.FailureRate(0.5, window=window) | resilio.SlowCallRate(0.5, slower_than=5.0, window=window),
        recovery_timeout=NEVER,
    )


def breaker_closed(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(failure_threshold=5)(fn)


breaker_tasks = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = resilio.CircuitBreaker(failure_threshold=5)

    async def guarded(number: int) -> Any:
        return await breaker.execute(fn, number)

    return guarded


def breaker_block(fn: Operation) -> Operation:
    breaker = resilio.CircuitBreaker(failure_threshold=5)

    async def guarded(number: int) -> Any:
        async with breaker:
            return await fn(number)

    return guarded


def breaker_rate(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(trip=resilio.FailureRate(0.5, window=resilio.CountWindow(100)))(fn)


def breaker_window(fn: Operation) -> Operation:
    return _slow_aware()(fn)


def breaker_time_window(fn: Operation) -> Operation:
    window = resilio.TimeWindow(30.0)
    trip = resilio.FailureRate(0.5, window=window) | resilio.SlowCallRate(0.5, slower_than=5.0, window=window)
    return resilio.CircuitBreaker(trip=trip)(fn)


def breaker_open(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(failure_threshold=5, recovery_timeout=NEVER)(fn)


def breaker_blocking(fn: Operation) -> Operation:
    return sync.CircuitBreaker(failure_threshold=5)(fn)


def retry_none(fn: Operation) -> Operation:
    return resilio.BackoffStrategy(max_retries=3, base_delay=0, retry_exceptions=ConnectionError)(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return resilio.Pipeline(
        resilio.BackoffStrategy(max_retries=3, base_delay=0, retry_exceptions=ConnectionError),
        resilio.CircuitBreaker(failure_threshold=5),
    )(fn)


def stack(fn: Operation) -> Operation:
    return resilio.Pipeline(
        resilio.Fallback(None),
        resilio.BackoffStrategy(max_retries=3, base_delay=0, retry_exceptions=ConnectionError),
        resilio.CircuitBreaker(failure_threshold=5),
        resilio.Bulkhead(10),
        resilio.Timeout(10),
    )(fn)


def rate_limiter(fn: Operation) -> Operation:
    return resilio.RateLimiter(1_000_000_000)(fn)


def bulkhead(fn: Operation) -> Operation:
    return resilio.Bulkhead(10)(fn)


def timeout(fn: Operation) -> Operation:
    return resilio.Timeout(10)(fn)


def unheard(fn: Operation) -> Operation:
    """The limit probe of the breaker with the question that every policy asks: does anybody listen?"""
    state = State()

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            raise Rejected
        try:
            result = await fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        state.failures = 0
        if events.listeners:
            events.emit(events.Event())
        return result

    return guarded
