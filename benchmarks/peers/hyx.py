"""hyx: most policies, asyncio only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyx.bulkhead import bulkhead as hyx_bulkhead
from hyx.circuitbreaker import consecutive_breaker
from hyx.fallback import fallback
from hyx.ratelimit import tokenbucket
from hyx.retry import retry
from hyx.timeout import timeout as hyx_timeout

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import hyx.circuitbreaker"
FIRST_BREAKER = "hyx.circuitbreaker.consecutive_breaker()"
LACKS = {
    "breaker_blocking": "asyncio only",
    "breaker_rate": "counts consecutive failures only",
    "breaker_window": "counts consecutive failures only",
    "breaker_time_window": "counts consecutive failures only",
}


def breaker_closed(fn: Operation) -> Operation:
    return consecutive_breaker(failure_threshold=settings.FAILURES, recovery_time_secs=settings.BREAK)(fn)


breaker_open = breaker_tasks = breaker_closed


def breaker_block(fn: Operation) -> Operation:
    breaker = consecutive_breaker(failure_threshold=settings.FAILURES, recovery_time_secs=settings.BREAK)

    async def guarded(number: int) -> object:
        async with breaker:
            return await fn(number)

    return guarded


def retry_none(fn: Operation) -> Operation:
    return retry(on=ConnectionError, attempts=settings.ATTEMPTS, backoff=0)(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return retry_none(breaker_closed(fn))


def bulkhead(fn: Operation) -> Operation:
    return hyx_bulkhead(max_concurrency=settings.PLACES, max_capacity=settings.PLACES)(fn)


def timeout(fn: Operation) -> Operation:
    return hyx_timeout(settings.SECONDS)(fn)


def rate_limiter(fn: Operation) -> Operation:
    return tokenbucket(max_executions=settings.RATE, per_time_secs=1)(fn)


def stack(fn: Operation) -> Operation:
    return fallback(_nothing)(retry_none(breaker_closed(bulkhead(timeout(fn)))))


async def _nothing(*_: object, **__: object) -> None:
    """What the fallback answers."""
