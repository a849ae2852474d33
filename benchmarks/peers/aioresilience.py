"""aioresilience: most policies, asyncio only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioresilience import (
    Bulkhead,
    BulkheadConfig,
    CircuitBreaker,
    CircuitConfig,
    FallbackConfig,
    FallbackHandler,
    RateLimiter,
    RetryConfig,
    RetryPolicy,
    TimeoutConfig,
    TimeoutManager,
    with_bulkhead,
    with_circuit_breaker,
    with_fallback_handler,
    with_retry,
    with_timeout_manager,
)

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import aioresilience"
FIRST_BREAKER = "aioresilience.CircuitBreaker('breaker')"
LACKS = {
    "breaker_blocking": "asyncio only",
    **dict.fromkeys(("breaker_rate", "breaker_window", "breaker_time_window"), "counts consecutive failures only"),
}


def _breaker() -> CircuitBreaker:
    config = CircuitConfig(failure_threshold=settings.FAILURES, recovery_timeout=settings.BREAK)
    return CircuitBreaker("breaker", config=config)


def breaker_closed(fn: Operation) -> Operation:
    return with_circuit_breaker(_breaker())(fn)


breaker_open = breaker_tasks = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = _breaker()

    async def guarded(number: int) -> object:
        return await breaker.call(fn, number)

    return guarded


def retry_none(fn: Operation) -> Operation:
    config = RetryConfig(max_attempts=settings.ATTEMPTS, initial_delay=0, max_delay=0, jitter=0)
    return with_retry(RetryPolicy(config=config))(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return retry_none(breaker_closed(fn))


def rate_limiter(fn: Operation) -> Operation:
    limiter = RateLimiter()
    rate = f"{settings.RATE}/second"

    async def guarded(number: int) -> object:
        if not await limiter.check_rate_limit("user", rate):
            msg = "rate limit exceeded"
            raise RuntimeError(msg)
        return await fn(number)

    return guarded


def bulkhead(fn: Operation) -> Operation:
    return with_bulkhead(Bulkhead(config=BulkheadConfig(max_concurrent=settings.PLACES)))(fn)


def timeout(fn: Operation) -> Operation:
    return with_timeout_manager(TimeoutManager(config=TimeoutConfig(timeout=settings.SECONDS)))(fn)


def stack(fn: Operation) -> Operation:
    fallback = with_fallback_handler(FallbackHandler(config=FallbackConfig(fallback=None)))
    return fallback(retry_none(breaker_closed(bulkhead(timeout(fn)))))
