"""aiolimiter: a rate limiter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import aiolimiter"


def rate_limiter(fn: Operation) -> Operation:
    limiter = AsyncLimiter(settings.RATE, 1)

    async def guarded(number: int) -> object:
        async with limiter:
            return await fn(number)

    return guarded
