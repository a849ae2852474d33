"""purgatory: a breaker, with state in memory or in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import purgatory"
FIRST_BREAKER = "purgatory.AsyncCircuitBreakerFactory()('breaker')"
LACKS = dict.fromkeys(("breaker_rate", "breaker_window", "breaker_time_window"), "counts consecutive failures only")


def breaker_closed(fn: Operation) -> Operation:
    factory = AsyncCircuitBreakerFactory(default_threshold=settings.FAILURES, default_ttl=settings.BREAK)
    return factory("breaker")(fn)


breaker_open = breaker_tasks = breaker_closed


def breaker_block(fn: Operation) -> Operation:
    factory = AsyncCircuitBreakerFactory(default_threshold=settings.FAILURES, default_ttl=settings.BREAK)

    async def guarded(number: int) -> object:
        async with await factory.get_breaker("breaker"):
            return await fn(number)

    return guarded


def breaker_blocking(fn: Operation) -> Operation:
    return SyncCircuitBreakerFactory(default_threshold=settings.FAILURES, default_ttl=settings.BREAK)("breaker")(fn)
