"""resilio's contestants, one function a row, written as the README writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import resilio
from benchmarks import settings
from benchmarks.limits import Rejected, State
from resilio import sync
from resilio._core import events

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import resilio"
FIRST_BREAKER = "resilio.CircuitBreaker()"


def _slow_aware() -> resilio.CircuitBreaker:
    window = resilio.CountWindow(settings.WINDOW)
    return resilio.CircuitBreaker(
        trip=resilio.FailureRate(settings.RATIO, window=window)
        | resilio.SlowCallRate(settings.RATIO, slower_than=settings.SLOW, window=window),
        recovery_timeout=settings.BREAK,
    )


def breaker_closed(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(failure_threshold=settings.FAILURES)(fn)


breaker_tasks = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = resilio.CircuitBreaker(failure_threshold=settings.FAILURES)

    async def guarded(number: int) -> Any:
        return await breaker.execute(fn, number)

    return guarded


def breaker_block(fn: Operation) -> Operation:
    breaker = resilio.CircuitBreaker(failure_threshold=settings.FAILURES)

    async def guarded(number: int) -> Any:
        async with breaker:
            return await fn(number)

    return guarded


def breaker_rate(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(
        trip=resilio.FailureRate(settings.RATIO, window=resilio.CountWindow(settings.WINDOW))
    )(fn)


def breaker_window(fn: Operation) -> Operation:
    return _slow_aware()(fn)


def breaker_time_window(fn: Operation) -> Operation:
    window = resilio.TimeWindow(settings.SPAN)
    trip = resilio.FailureRate(settings.RATIO, window=window) | resilio.SlowCallRate(
        settings.RATIO, slower_than=settings.SLOW, window=window
    )
    return resilio.CircuitBreaker(trip=trip)(fn)


def breaker_open(fn: Operation) -> Operation:
    return resilio.CircuitBreaker(failure_threshold=settings.FAILURES, recovery_timeout=settings.BREAK)(fn)


def breaker_blocking(fn: Operation) -> Operation:
    return sync.CircuitBreaker(failure_threshold=settings.FAILURES)(fn)


def retry_none(fn: Operation) -> Operation:
    return resilio.BackoffStrategy(max_retries=settings.ATTEMPTS - 1, base_delay=0, retry_exceptions=ConnectionError)(
        fn
    )


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    # One decorator on the other, as the peers are joined; a Pipeline can be replaced while it runs, for a layer more.
    breaker = resilio.CircuitBreaker(failure_threshold=settings.FAILURES)
    return retry_none(breaker(fn))


def stack(fn: Operation) -> Operation:
    return resilio.Pipeline(
        resilio.Fallback(None),
        resilio.BackoffStrategy(max_retries=settings.ATTEMPTS - 1, base_delay=0, retry_exceptions=ConnectionError),
        resilio.CircuitBreaker(failure_threshold=settings.FAILURES),
        resilio.Bulkhead(settings.PLACES),
        resilio.Timeout(settings.SECONDS),
    )(fn)


def rate_limiter(fn: Operation) -> Operation:
    return resilio.RateLimiter(settings.RATE)(fn)


def bulkhead(fn: Operation) -> Operation:
    return resilio.Bulkhead(settings.PLACES)(fn)


def timeout(fn: Operation) -> Operation:
    return resilio.Timeout(settings.SECONDS)(fn)


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
