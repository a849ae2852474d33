"""Waiting for another call to wake one, across event loops and threads.

A waiter is made by whoever waits, lies in some queue, and is woken once, from any thread. It belongs to the call, not
to the object that keeps the queue, so that the object belongs to no event loop.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import anyio

from resilio._core import clock
from resilio._core.drive import running_asyncio_loop

if TYPE_CHECKING:
    import trio


class Waiter(Protocol):
    """Somebody who waits."""

    def wake(self) -> bool:
        """End the wait, from any thread. False if nobody will notice: the waiter's event loop is gone."""

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109 -- the blocking twin has no scopes
        """Wait at most ``timeout`` seconds; tell whether somebody woke us. Cancellation arrives here."""


class AsyncWaiter:
    """Waits on the event loop of the task that made it."""

    __slots__ = ("_event", "_loop", "_trio")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._loop = running_asyncio_loop()
        self._trio = _trio_token() if self._loop is None else None

    def wake(self) -> bool:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._event.set)
            elif self._trio is not None:
                self._trio.run_sync_soon(self._event.set)
        except RuntimeError:  # asyncio: the loop is closed; trio: RunFinishedError, which is one
            return False
        return True

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109 -- see the protocol
        if timeout is None:
            await self._event.wait()
            return True
        with anyio.move_on_after(timeout):
            await self._event.wait()
        return self._event.is_set()


class BlockingWaiter:
    """Blocks the thread that made it; its coroutine never suspends."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> bool:
        self._event.set()
        return True

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109 -- see the protocol
        return clock.wait_blocking(self._event, timeout)


def _trio_token() -> trio.lowlevel.TrioToken:
    import trio  # noqa: PLC0415 -- it is running, so it is imported

    return trio.lowlevel.current_trio_token()
