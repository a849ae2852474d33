"""Running a coroutine where there is no event loop, and refusing to block where there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end, without an event loop.

    Raises:
        RuntimeError: It suspended after all: something in it wants an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    msg = f"{coroutine!r} waits for an event loop, and there is none here: call the async name instead"
    raise RuntimeError(msg)


def running_asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio that this thread runs just now, if any; asyncio is not imported for the question."""
    # The documented form raises instead of answering.
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return None if running is None else running()


def in_event_loop() -> bool:
    """Tell whether this thread runs an event loop just now, asyncio's or trio's."""
    return running_asyncio_loop() is not None or in_trio_run()


def in_trio_run() -> bool:
    """Tell whether this thread runs trio just now; trio is not imported for the question."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_run()


def refuse_in_event_loop(what: str) -> None:
    """Raise where blocking would stop every other task of this thread's event loop.

    Raises:
        RuntimeError: This thread runs an event loop.
    """
    if in_event_loop():
        msg = (
            f"{what} would block the event loop that runs on this thread; "
            "await the name from `resilio` instead of the one from `resilio.sync`, or call it from a worker thread"
        )
        raise RuntimeError(msg)
