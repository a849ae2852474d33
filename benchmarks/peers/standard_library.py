"""asyncio's own: no peer, but what one would take without any toolkit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation


def timeout(fn: Operation) -> Operation:
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(settings.SECONDS):
            return await fn(*args, **kwargs)

    return guarded


def bulkhead(fn: Operation, *, places: int = settings.PLACES) -> Operation:
    semaphore = asyncio.Semaphore(places)

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with semaphore:
            return await fn(*args, **kwargs)

    return guarded
