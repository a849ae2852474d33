"""asyncio's own: no peer, but what one would take without any toolkit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.drivers import Operation


def timeout(fn: Operation) -> Operation:
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(10):
            return await fn(*args, **kwargs)

    return guarded


def bulkhead(fn: Operation, *, places: int = 10) -> Operation:
    semaphore = asyncio.Semaphore(places)

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with semaphore:
            return await fn(*args, **kwargs)

    return guarded
