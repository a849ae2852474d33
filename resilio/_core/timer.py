"""Calling a plain function later, on the event loop that runs now: asyncio's or trio's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio._core import clock
from resilio._core.drive import in_trio_run, running_asyncio_loop
from resilio._core.mishaps import log_exception

if TYPE_CHECKING:
    from collections.abc import Callable


def call_later(seconds: float, callback: Callable[[], object]) -> bool:
    """Call ``callback()`` in ``seconds`` on this thread's event loop; it is forgotten when the loop ends before.

    Nothing holds the caller: give a callback that holds only weakly what may be gone by then. What it raises is logged.

    Args:
        seconds: From now.
        callback: A plain function that does not block.

    Returns:
        Whether there is an event loop; without one nothing will be called.
    """
    loop = running_asyncio_loop()
    if loop is not None:
        loop.call_later(seconds, _call, callback)
        return True
    if in_trio_run():
        import trio  # noqa: PLC0415 -- it is running, so it is imported

        async def wait() -> None:
            await clock.sleep(seconds)
            _call(callback)

        # The run owns it: it is cancelled when the program's own tasks have ended.
        trio.lowlevel.spawn_system_task(wait, name="resilio timer")
        return True
    return False


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        log_exception("what was to be done later failed: %r", callback)
