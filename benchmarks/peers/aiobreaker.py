"""aiobreaker: a breaker, pybreaker's on asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiobreaker import CircuitBreaker

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import aiobreaker"
FIRST_BREAKER = "aiobreaker.CircuitBreaker()"
LACKS = dict.fromkeys(("breaker_rate", "breaker_window", "breaker_time_window"), "counts consecutive failures only")


def _breaker() -> CircuitBreaker:
    return CircuitBreaker(fail_max=settings.FAILURES, timeout_duration=settings.BREAK_DELTA)


def breaker_closed(fn: Operation) -> Operation:
    return _breaker()(fn)


breaker_open = breaker_tasks = breaker_blocking = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = _breaker()

    async def guarded(number: int) -> object:
        return await breaker.call_async(fn, number)

    return guarded
