"""Streams that nobody reads to their end, and that the garbage collector finds."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio import CircuitBreaker
from resilio.policies import blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.asyncio
async def test_abandoned_streams_leave_nothing_in_the_context() -> None:
    """Generators that the event loop closes from a task of its own do not pile up in the task that forgot them."""
    breaker = CircuitBreaker()

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    for _ in range(50):
        async for _item in stream():
            break
        gc.collect()
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
    assert len(blocks._open.get()) <= 2
    async with breaker:
        pass
    assert len(blocks._open.get()) == 0
