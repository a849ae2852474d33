"""Running a reprocessor on a letter, so that what became of it is known whatever happens to the caller."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from resilio._core.cancellation import is_interruption
from resilio._core.colour import Colour, colour_of, is_awaitable, name_of, refuse_lazy
from resilio.deadletters.replay_context import ReplayContext
from resilio.deadletters.worker import in_trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.deadletters.letter import DeadLetter

__all__ = ("Attempt", "Reprocessor")


class Reprocessor:
    """A function that handles a message again: async, or plain and then run in a worker thread.

    It takes the message, and a `ReplayContext` if it has a second positional parameter without a default.

    Raises:
        TypeError: ``fn`` is not callable, is a kind of generator, or wants more arguments than there are.
    """

    __slots__ = ("fn", "is_async", "wants_context")

    def __init__(self, fn: Callable[..., Any]) -> None:
        colour = colour_of(fn)
        if colour not in (Colour.COROUTINE, Colour.PLAIN):
            msg = f"reprocessor must be an async or a plain function; {name_of(fn)} is a kind of {colour.value}"
            raise TypeError(msg)
        self.fn: Callable[..., Any] = fn
        self.is_async: bool = colour is Colour.COROUTINE
        self.wants_context: bool = _wants_context(fn)

    def call(self, letter: DeadLetter) -> Any:
        """Call it; what an async function returns has yet to be awaited."""
        if self.wants_context:
            return self.fn(letter.message, ReplayContext(letter, letter.attempts + 1))
        return self.fn(letter.message)


def _wants_context(fn: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _GATHERING]
    if len(needed) > 2 or any(each.kind is each.KEYWORD_ONLY for each in needed):  # noqa: PLR2004 -- message and context
        names = ", ".join(each.name for each in needed)
        msg = f"reprocessor is called with a message, or with a message and a context; {name_of(fn)} wants {names}"
        raise TypeError(msg)
    return len(needed) == 2  # noqa: PLR2004


_GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Attempt:
    """One run of a reprocessor on one letter.

    Attributes:
        is_done: Whether it came to an end of its own; False if it was interrupted.
        result: What it returned.
        error: What it raised, None if it returned.
        is_parked: Whether the letter has used up its attempts with that.
    """

    __slots__ = ("_has_begun", "_is_abandoned", "_lock", "error", "is_done", "is_parked", "result")

    def __init__(self) -> None:
        self.is_done: bool = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_parked: bool = False
        self._lock = threading.Lock()
        self._has_begun = False
        self._is_abandoned = False

    async def run(self, reprocessor: Reprocessor, letter: DeadLetter, *, patience: float) -> None:
        """Run it. A plain function cannot be stopped: cancellation waits for its end, at most ``patience`` seconds.

        Raises:
            BaseException: The run was cancelled or otherwise interrupted. What the reprocessor itself raises is kept
                in `error` instead.
        """
        if reprocessor.is_async:
            await self._finish(reprocessor.call(letter))
            return
        await self._run_in_thread(lambda: reprocessor.call(letter), patience)
        if self.error is None and is_awaitable(self.result):  # a plain function that made a coroutine
            self.is_done = False
            await self._finish(self.result)

    async def _finish(self, pending: Awaitable[Any]) -> None:
        try:
            self.result = await pending
        except BaseException as error:
            if is_interruption(error):
                raise
            self.error = error
        self.is_done = True

    async def _run_in_thread(self, work: Callable[[], Any], patience: float) -> None:
        ended = anyio.Event()
        loop = None if in_trio() else asyncio.get_running_loop()

        def run() -> None:
            with self._lock:
                if self._is_abandoned:
                    return
                self._has_begun = True
            try:
                self.result = work()
                refuse_lazy(work, self.result)
            except BaseException as error:
                self.error = error
            self.is_done = True
            if loop is not None:
                with suppress(RuntimeError):  # the event loop has ended, and nobody waits there
                    loop.call_soon_threadsafe(ended.set)

        try:
            await anyio.to_thread.run_sync(run)
        except BaseException:
            # asyncio's own cancellation, unlike that of anyio and trio, does not wait for a thread.
            with self._lock:
                self._is_abandoned = not self._has_begun
            if not self._is_abandoned:
                with anyio.move_on_after(patience, shield=True):
                    await ended.wait()
                self._drop_coroutine()
            raise
        error = self.error
        if error is not None and is_interruption(error):
            self.is_done = False
            raise error

    def _drop_coroutine(self) -> None:
        """What a plain function returned and nobody can await any more did not happen."""
        if self.is_done and self.error is None and is_awaitable(self.result):
            self.is_done = False
            close = getattr(self.result, "close", None)
            if close is not None:
                close()
