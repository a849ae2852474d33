"""How policies wait: one object for each world, and a switch that turns waiting off.

A policy is written once, as a coroutine that awaits ``pause(seconds)`` and ``pause.waiter().wait()``. With
`async_pause` it runs on an event loop; with `blocking_pause` it never suspends, so `resilio._core.drive.drive` runs it
on a plain thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from resilio._core import clock
from resilio._core.waiter import AsyncWaiter, BlockingWaiter

if TYPE_CHECKING:
    from resilio._core.waiter import Waiter


class Pause(Protocol):
    """The way in which the present call waits."""

    async def __call__(self, seconds: float, /) -> None:
        """Wait for ``seconds``."""

    def waiter(self) -> Waiter:
        """Something to be woken by."""


@dataclass(frozen=True, slots=True)
class Haste:
    """Waiting switched off for a context, as tests want it.

    Attributes:
        max_attempts: The most attempts a retry makes meanwhile; None leaves its own limit.
    """

    max_attempts: int | None = None


haste: ContextVar[Haste | None] = ContextVar("resilio_haste", default=None)
"""Set: policies of this context do not wait. Read only where a policy is about to wait."""


class AsyncPause:
    """Lets other tasks run; cancellation arrives here."""

    __slots__ = ()

    async def __call__(self, seconds: float, /) -> None:
        await clock.sleep(0.0 if haste.get() is not None else seconds)

    def waiter(self) -> AsyncWaiter:
        return AsyncWaiter()


class BlockingPause:
    """Blocks this thread; never suspends."""

    __slots__ = ()

    async def __call__(self, seconds: float, /) -> None:
        if haste.get() is None:
            clock.sleep_blocking(seconds)

    def waiter(self) -> BlockingWaiter:
        return BlockingWaiter()


async_pause = AsyncPause()
blocking_pause = BlockingPause()
