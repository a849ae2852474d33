"""circuitbreaker: a breaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circuitbreaker import CircuitBreaker

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import circuitbreaker"
FIRST_BREAKER = "circuitbreaker.CircuitBreaker()"
LACKS = dict.fromkeys(("breaker_rate", "breaker_window", "breaker_time_window"), "counts consecutive failures only")


def _breaker() -> CircuitBreaker:
    return CircuitBreaker(failure_threshold=settings.FAILURES, recovery_timeout=settings.BREAK)


def breaker_closed(fn: Operation) -> Operation:
    return _breaker()(fn)


breaker_open = breaker_tasks = breaker_blocking = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = _breaker()

    async def guarded(number: int) -> object:
        return await breaker.call_async(fn, number)

    return guarded


def breaker_block(fn: Operation) -> Operation:
    breaker = _breaker()

    async def guarded(number: int) -> object:
        with breaker:
            return await fn(number)

    return guarded
