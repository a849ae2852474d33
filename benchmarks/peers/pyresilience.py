"""pyresilience: most policies, configured in one decorator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyresilience import (
    BulkheadConfig,
    CircuitBreakerConfig,
    FallbackConfig,
    RateLimiterConfig,
    RetryConfig,
    TimeoutConfig,
    resilient,
)

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import pyresilience"
FIRST_BREAKER = "pyresilience.CircuitBreaker(pyresilience.CircuitBreakerConfig())"
LACKS = {"breaker_time_window": "its windows count calls"}


def _consecutive() -> CircuitBreakerConfig:
    return CircuitBreakerConfig(failure_threshold=settings.FAILURES, recovery_timeout=settings.BREAK)


def _retry() -> RetryConfig:
    return RetryConfig(max_attempts=settings.ATTEMPTS, delay=0, jitter=False, retry_on=(ConnectionError,))


def breaker_closed(fn: Operation) -> Operation:
    return resilient(circuit_breaker=_consecutive())(fn)


breaker_open = breaker_tasks = breaker_blocking = breaker_closed


def breaker_rate(fn: Operation) -> Operation:
    return resilient(
        circuit_breaker=CircuitBreakerConfig(
            recovery_timeout=settings.BREAK,
            sliding_window_size=settings.WINDOW,
            failure_rate_threshold=settings.RATIO,
        )
    )(fn)


def breaker_window(fn: Operation) -> Operation:
    return resilient(
        circuit_breaker=CircuitBreakerConfig(
            recovery_timeout=settings.BREAK,
            sliding_window_size=settings.WINDOW,
            failure_rate_threshold=settings.RATIO,
            slow_call_duration=settings.SLOW,
            slow_call_rate_threshold=settings.RATIO,
        )
    )(fn)


def retry_none(fn: Operation) -> Operation:
    return resilient(retry=_retry())(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return resilient(retry=_retry(), circuit_breaker=_consecutive())(fn)


def rate_limiter(fn: Operation) -> Operation:
    return resilient(rate_limiter=RateLimiterConfig(max_calls=settings.RATE, period=1))(fn)


def bulkhead(fn: Operation) -> Operation:
    return resilient(bulkhead=BulkheadConfig(max_concurrent=settings.PLACES))(fn)


def timeout(fn: Operation) -> Operation:
    return resilient(timeout=TimeoutConfig(seconds=settings.SECONDS))(fn)


def stack(fn: Operation) -> Operation:
    return resilient(
        fallback=FallbackConfig(handler=None),
        retry=_retry(),
        circuit_breaker=_consecutive(),
        bulkhead=BulkheadConfig(max_concurrent=settings.PLACES),
        timeout=TimeoutConfig(seconds=settings.SECONDS),
    )(fn)
