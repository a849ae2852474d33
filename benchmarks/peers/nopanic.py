"""nopanic: most policies, without a dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nopanic

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import nopanic"
FIRST_BREAKER = "nopanic.circuit_breaker()"
LACKS = {
    **dict.fromkeys(
        ("breaker_closed", "breaker_execute", "breaker_block", "breaker_blocking"),
        "counts failures in a window of time only",
    ),
    **dict.fromkeys(("breaker_rate", "breaker_window"), "its windows are windows of time"),
}


def _breaker() -> nopanic.CircuitBreaker:
    return nopanic.circuit_breaker(
        failure_threshold=settings.RATIO,
        min_calls=settings.FAILURES,
        window=settings.SPAN,
        reset_timeout=settings.BREAK,
    )


def breaker_time_window(fn: Operation) -> Operation:
    return nopanic.circuit_breaker(
        failure_threshold=settings.RATIO,
        window=settings.SPAN,
        slow_call_duration=settings.SLOW,
        slow_call_threshold=settings.RATIO,
        reset_timeout=settings.BREAK,
    )(fn)


def breaker_open(fn: Operation) -> Operation:
    return _breaker()(fn)


breaker_tasks = breaker_open


def retry_none(fn: Operation) -> Operation:
    return _retry()(fn)


retry_two = retry_none


def _retry() -> nopanic.Policy:
    return nopanic.retry(attempts=settings.ATTEMPTS, on=ConnectionError, backoff=nopanic.backoff.fixed(0))


def retry_breaker(fn: Operation) -> Operation:
    return nopanic.compose(_retry(), _breaker())(fn)


def rate_limiter(fn: Operation) -> Operation:
    return nopanic.rate_limit(settings.RATE)(fn)


def bulkhead(fn: Operation) -> Operation:
    return nopanic.bulkhead(settings.PLACES, max_wait=0)(fn)


def timeout(fn: Operation) -> Operation:
    return nopanic.timeout(settings.SECONDS)(fn)


def stack(fn: Operation) -> Operation:
    return nopanic.compose(
        nopanic.fallback(None),
        _retry(),
        _breaker(),
        nopanic.bulkhead(settings.PLACES, max_wait=0),
        nopanic.timeout(settings.SECONDS),
    )(fn)
