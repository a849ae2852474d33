"""Seeing the functions that anyio and trio send to threads, while a virtual clock is in force.

Both are seen from the moment a thread may take the function (not while it queues for a free thread) until its result
is back in the loop, so no instant is left at which a timeout could be jumped to in between.
"""

from __future__ import annotations

import importlib
import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.testing._threads_at_work import Job, ThreadsAtWork


@contextmanager
def anyio_jobs(threads: ThreadsAtWork) -> Iterator[None]:
    """See what ``anyio.to_thread.run_sync`` does on asyncio, with any limiter."""
    backend: Any = importlib.import_module("anyio._backends._asyncio").AsyncIOBackend
    former = backend.__dict__["run_sync_in_worker_thread"]

    async def run_sync_in_worker_thread(
        cls: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        abandon_on_cancel: bool = False,  # noqa: FBT001, FBT002 -- anyio's signature
        limiter: Any = None,
    ) -> Any:
        seen = _SeenLimiter(limiter or cls.current_default_thread_limiter(), threads)

        def work(*args: Any) -> Any:
            with threads.working(seen.job):
                return func(*args)

        return await former.__get__(None, cls)(work, args, abandon_on_cancel, seen)

    backend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)
    try:
        yield
    finally:
        backend.run_sync_in_worker_thread = former


class _SeenLimiter:
    """A capacity limiter that tells when it is passed: then a thread may take the job."""

    job: Job

    def __init__(self, limiter: Any, threads: ThreadsAtWork) -> None:
        self._limiter = limiter
        self._threads = threads

    async def __aenter__(self) -> None:
        await self._limiter.__aenter__()
        self.job = self._threads.send()

    async def __aexit__(self, *error: object) -> None:
        self._threads.done(self.job)
        await self._limiter.__aexit__(*error)


@contextmanager
def trio_jobs(threads: ThreadsAtWork) -> Iterator[None]:
    """See what ``trio.to_thread.run_sync`` does."""
    # Its idle threads wait with a time limit, and not all are ours: a guest run waits for its sockets in one.
    threads.idle_in(importlib.import_module("trio._core._thread_cache").WorkerThread._work.__code__)  # noqa: SLF001
    module: Any = importlib.import_module("trio._threads")
    former = module.start_thread_soon

    def start_thread_soon(fn: Callable[[], Any], deliver: Callable[[Any], object], name: str | None = None) -> None:
        job = threads.send(is_wanted=_awaited(fn))

        def work() -> Any:
            with threads.working(job):
                return fn()

        def hand_over(result: Any) -> None:
            try:
                deliver(result)  # wakes the loop, which then sees it before it may jump
            finally:
                threads.done(job)

        try:
            former(work, hand_over, name)
        except BaseException:
            threads.done(job)
            raise

    module.start_thread_soon = start_thread_soon
    try:
        yield
    finally:
        module.start_thread_soon = former


def _awaited(fn: Callable[[], Any]) -> Callable[[], bool]:
    """Tell, when called, whether a task still waits for ``fn``, which is trio's wrapper around what the user sent."""
    variables = inspect.getclosurevars(fn).nonlocals
    register = variables.get("task_register", [fn])  # trio empties it when the wait is abandoned
    return lambda: register[0] is not None
