"""How policies wait: one coroutine function for each world, and a switch that turns waiting off.

A policy is written once, as a coroutine that awaits ``pause(seconds)``. With `async_pause` it runs on an event loop;
with `blocking_pause` it never suspends, so `resilio._core.drive.drive` runs it on a plain thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from resilio._core import clock


class Pause(Protocol):
    """``await pause(seconds)``."""

    async def __call__(self, seconds: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Haste:
    """Waiting switched off for a context, as tests want it.

    Attributes:
        max_attempts: The most attempts a retry makes meanwhile; None leaves its own limit.
    """

    max_attempts: int | None = None


haste: ContextVar[Haste | None] = ContextVar("resilio_haste", default=None)
"""Set: policies of this context do not wait. Read only where a policy is about to wait."""


async def async_pause(seconds: float) -> None:
    """Let other tasks run for ``seconds``; cancellation arrives here."""
    await clock.sleep(0.0 if haste.get() is not None else seconds)


async def blocking_pause(seconds: float) -> None:
    """Block this thread for ``seconds``; never suspends."""
    if haste.get() is None:
        clock.sleep_blocking(seconds)
