"""Running an operation many times: awaited, called, rejected, or in thousands of tasks at once.

The loop around the operation is part of the number, for the bare call as for everybody else.
"""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks.measuring import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.measuring import Batch, Lap

Operation: TypeAlias = "Callable[[int], Any]"
"""What is timed: takes an int, and gives it back, at once or awaited."""

Driver: TypeAlias = "Callable[[Operation], Batch]"


def awaited(operation: Callable[[int], Awaitable[object]]) -> Batch:
    """Await the operation, one call after the other."""

    async def batch(count: int) -> Lap:
        watch = Stopwatch()
        for _ in repeat(None, count):
            await operation(1)
        return watch.read()

    return batch


def called(operation: Callable[[int], object]) -> Batch:
    """Call a blocking operation, one call after the other."""

    async def batch(count: int) -> Lap:
        watch = Stopwatch()
        for _ in repeat(None, count):
            operation(1)
        return watch.read()

    return batch


def rejected(operation: Callable[[int], Awaitable[object]]) -> Batch:
    """Await an operation that raises, and catch what it raises."""

    async def batch(count: int) -> Lap:
        watch = Stopwatch()
        for _ in repeat(None, count):
            try:  # noqa: SIM105 -- this very thing is timed
                await operation(1)
            except Exception:  # noqa: S110
                pass
        return watch.read()

    return batch


def in_tasks(operation: Callable[[int], Any]) -> Batch:
    """Run the operation in so many tasks at once, all under way together."""

    async def batch(count: int) -> Lap:
        watch = Stopwatch()
        async with asyncio.TaskGroup() as group:
            for _ in repeat(None, count):
                group.create_task(operation(1))
        return watch.read()

    return batch
