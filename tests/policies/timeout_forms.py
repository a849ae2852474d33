"""A timeout around a call, and around a block."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from resilio import Timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def forever() -> None:
    """Take an hour."""
    await anyio.sleep(3600)


async def call(seconds: float, work: Callable[[], Awaitable[Any]] = forever) -> Any:
    """A guarded call."""
    return await Timeout(seconds).execute(work)


async def block(seconds: float, work: Callable[[], Awaitable[Any]] = forever) -> Any:
    """A guarded block."""
    async with Timeout(seconds):
        return await work()


forms = pytest.mark.parametrize("form", [call, block], ids=lambda form: form.__name__)


def cancelling() -> int:
    """How many cancellations are still asked of the running asyncio task."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()
