"""A deadline around awaiting code: the mechanism of `Timeout`, on asyncio and on trio.

anyio has one (`fail_after`), and it costs more than twice what asyncio's timers do; a timeout is put around every call,
nearly all of which end in time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio


class AsyncioDeadline:
    """Cancels the task that made it when ``seconds`` have passed.

    The rules are those of `asyncio.timeout`: a cancellation that somebody else asked for is theirs, and passes.
    """

    __slots__ = ("_handle", "_others", "_task", "has_fired")

    def __init__(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            msg = "a timeout needs a task to cancel, and this code runs outside of one"
            raise RuntimeError(msg)
        self._task = task
        self._others = task.cancelling()
        self.has_fired: bool = False
        self._handle: asyncio.Handle = loop.call_later(seconds, self._come_due, loop)

    def _come_due(self, loop: asyncio.AbstractEventLoop) -> None:
        # A result that is in already wakes the task in this very turn of the loop: let it go first.
        self._handle = loop.call_soon(self._fire)

    def _fire(self) -> None:
        self.has_fired = True
        self._task.cancel()

    def end(self, error: BaseException | None) -> bool:
        """Stop the clock; tell whether ``error`` is the cancellation that this deadline asked for."""
        self._handle.cancel()  # after it has run, too: the handle would hold this object, and this object the handle
        if not self.has_fired:
            return False
        return self._task.uncancel() <= self._others and isinstance(error, asyncio.CancelledError)


class TrioDeadline:
    """A trio cancel scope in the shape of `AsyncioDeadline`."""

    __slots__ = ("_scope",)

    def __init__(self, seconds: float) -> None:
        import trio  # noqa: PLC0415 -- it is running, so it is imported

        self._scope: trio.CancelScope = trio.move_on_after(seconds)
        self._scope.__enter__()

    def end(self, error: BaseException | None) -> bool:
        """Leave the scope; tell whether ``error`` is the cancellation that this deadline asked for."""
        traceback = None if error is None else error.__traceback__
        kind = None if error is None else type(error)
        return bool(self._scope.__exit__(kind, error, traceback)) and self._scope.cancelled_caught


def deadline(seconds: float) -> AsyncioDeadline | TrioDeadline:
    """Start a deadline for the running task, on whichever library runs it."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 -- the documented form raises instead of answering
        return AsyncioDeadline(seconds)
    return TrioDeadline(seconds)
