"""The hop from an event loop to a worker thread and back: through aiofiles on asyncio, through anyio on trio."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")


def in_trio() -> bool:
    """Tell whether a trio task runs this."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


async def in_worker(work: Callable[..., T], *args: object) -> T:
    """Run ``work(*args)`` in a worker thread.

    Cancellation does not wait for it: the thread goes on, and what it gives is dropped.
    """
    if in_trio():
        return await anyio.to_thread.run_sync(work, *args, abandon_on_cancel=True)
    return await hop_on_asyncio(None, work, *args)


async def hop_on_asyncio(executor: Executor | None, work: Callable[..., T], *args: object) -> T:
    """Run ``work(*args)`` in a thread of ``executor``, or of the event loop's own."""
    import aiofiles.os  # noqa: PLC0415 -- slow to import, and not needed on trio

    result: T = await aiofiles.os.wrap(work)(*args, executor=executor)
    return result
