"""Several tasks at once whose error comes out as it is, not as a group of one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio

from resilio._core.cancellation import is_interruption

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

T = TypeVar("T")


@asynccontextmanager
async def tasks() -> AsyncGenerator[TaskGroup]:
    """A task group. What one of its tasks, or the block, raises cancels the others and comes out ungrouped.

    When several raise, an interruption comes out before an error, and the first before the rest.
    """
    found: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        found = _foremost(errors)
    if found is not None:
        raise found


def _foremost(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    for each in errors.exceptions:
        if is_interruption(each):
            return each
    return errors.exceptions[0]


async def each_of(fn: Callable[[T], Awaitable[object]], items: Sequence[T], *, at_once: int) -> None:
    """Await ``fn(item)`` for every item, so many at once.

    Raises:
        BaseException: What the first call that failed raised; the others are cancelled then.
    """
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await fn(item)

    async with tasks() as group:
        for _ in range(min(at_once, len(items))):
            group.start_soon(work)
