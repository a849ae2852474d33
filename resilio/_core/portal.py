"""The one background event loop that code without an event loop may borrow.

Blocking twins of objects that do I/O send each call here. The loop runs on asyncio in a daemon thread, starts with the
first call, serves the whole process and ends with it; a forked child starts its own. A call costs about 0.1 ms.

    >>> import anyio
    >>> call(anyio.lowlevel.checkpoint)
"""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Generic, TypeVar, TypeVarTuple

import anyio
from anyio.from_thread import BlockingPortal

from resilio._core import clock
from resilio._core.colour import innermost, name_of
from resilio._core.drive import refuse_in_event_loop
from resilio._core.mishaps import log_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GRACE = 5.0
"""Seconds that a cancelled call, or the loop at the end of the process, gets to clean up."""


class _Raised:
    """An exception on its way out of the loop. Carried as a value: raised there, some kinds would stop the loop."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Call(Generic[*Ts, T]):
    """One call: what runs on the loop, and how the waiting thread learns that it is over."""

    __slots__ = ("_args", "_finished", "_fn", "_scope")

    def __init__(self, fn: Callable[[*Ts], Coroutine[Any, Any, T]], args: tuple[*Ts]) -> None:
        self._fn = fn
        self._args = args
        self._finished = threading.Event()
        self._scope: anyio.CancelScope | None = None

    def through(self, portal: BlockingPortal) -> T:
        try:
            outcome = portal.start_task_soon(self._run).result()
        except BaseException:
            # Ctrl-C, most likely; it may come before there is a future to cancel. A second one ends the wait.
            if not self._finished.is_set():
                portal.start_task_soon(self._cancel)
                clock.wait_blocking(self._finished, _GRACE)
            raise
        if not isinstance(outcome, _Raised):
            return outcome
        try:
            raise outcome.error
        finally:
            del outcome  # the error's traceback holds this frame

    async def _run(self) -> T | _Raised:
        try:
            with anyio.CancelScope() as self._scope:
                return await self._fn(*self._args)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            return _Raised(error)
        finally:
            self._finished.set()
        return _Raised(CancelledError())  # nobody waits for it any more

    def _cancel(self) -> None:
        # Runs after the first step of `_run`, if that was ever handed over.
        if self._scope is None:
            self._finished.set()
        else:
            self._scope.cancel()


class _Background:
    """The thread and its loop, or none yet."""

    __slots__ = ("_lock", "_portal", "_thread")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None

    def portal(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None or self._thread is None or not self._thread.is_alive():
                # Not `start_blocking_portal`: its context manager, collected in a forked child, waits for ever for a
                # thread that the child does not have.
                started: Future[BlockingPortal] = Future()
                self._thread = threading.Thread(target=_serve, args=(started,), name="resilio-portal", daemon=True)
                self._thread.start()
                self._portal = started.result()
            return self._portal

    def stop(self) -> None:
        with self._lock:
            portal, self._portal = self._portal, None
            thread, self._thread = self._thread, None
        if portal is not None and thread is not None and thread.is_alive():
            portal.start_task_soon(portal.stop, True)
            thread.join(_GRACE)

    def forget(self) -> None:
        # A thread does not survive a fork, and its lock may be held by nobody. The parent's loop is left alone: the
        # child shares its file descriptors.
        self._lock = threading.Lock()
        self._portal = self._thread = None


def _serve(started: Future[BlockingPortal]) -> None:
    async def main() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        anyio.run(main, backend="asyncio")
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


_background = _Background()


def call(fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    """Run ``await fn(*args)`` on the background loop and wait for it; the caller's context variables go with it.

    Args:
        fn: An async function; a ``functools.partial`` of one carries keyword arguments.
        args: Its positional arguments.

    Returns:
        What it returns.

    Raises:
        RuntimeError: This thread runs an event loop, which the wait would block.
        BaseException: Whatever ``fn`` raises, with its traceback.

    ``KeyboardInterrupt`` while waiting cancels the call and gives it a moment to clean up. Safe from any thread.
    """
    refuse_in_event_loop(f"{getattr(innermost(fn), '__qualname__', None) or name_of(fn)}()")
    return _Call(fn, args).through(_background.portal())


def post(fn: Callable[[*Ts], Coroutine[Any, Any, object]], *args: *Ts) -> None:
    """Run ``await fn(*args)`` on the background loop without waiting for it; what it raises is logged.

    For plain code that an event loop runs: it can neither await nor block. The background loop owns the call, and
    cancels it at the end of the process.

    Args:
        fn: An async function.
        args: Its positional arguments.

    Safe from any thread.
    """

    async def run() -> None:
        try:
            await fn(*args)
        except Exception:
            log_exception("a call that nobody waits for failed: %s", name_of(fn))

    _background.portal().start_task_soon(run)


def stop() -> None:
    """Cancel what still runs and end the background loop; the next call starts another. Happens by itself at exit."""
    _background.stop()


# Plain `atexit` runs once the non-daemon threads have ended, so these may call to their last line.
atexit.register(stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_background.forget)
