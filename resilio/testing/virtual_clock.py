"""A clock that jumps: an hour of sleep takes milliseconds."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import anyio

from resilio._core import clock, durations
from resilio.testing._asyncio_time import AsyncioTime
from resilio.testing._thread_time import ThreadTime
from resilio.testing._threads_at_work import ThreadsAtWork
from resilio.testing._timeline import Timeline
from resilio.testing._worker_jobs import anyio_jobs, trio_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.testing._trio_time import TrioTime


class VirtualClock:
    """Time that moves by itself when nothing is left to do, and then in one jump to the next instant anyone awaits."""

    def __init__(self, *, io_grace: durations.Duration = 0.25) -> None:
        self._io_grace = durations.seconds("io_grace", io_grace)
        self._begin()

    def _begin(self) -> None:
        self._threads = ThreadsAtWork(self._io_grace)
        self._timeline = Timeline(self._threads.at_rest)
        self._thread_time = ThreadTime(self._timeline, self._threads)
        self._origin = time.monotonic()
        self._born = datetime.now(UTC)
        self._loops: dict[object, AsyncioTime | TrioTime] = {}
        self._stack = ExitStack()
        self._entered = 0

    # -- in force ------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._stack.enter_context(clock.installed(self))
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._thread_time.close()
        for loop in list(self._loops.values()):
            loop.detach()
        self._loops.clear()
        self._stack.close()

    async def __aenter__(self) -> Self:
        self.__enter__()
        self._attach()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Put the running loop on this clock while the block runs."""
        key = self._attach()
        try:
            yield
        finally:
            self._loops.pop(key).detach()

    def _attach(self) -> object:
        loop = asyncio._get_running_loop()  # noqa: SLF001 -- the documented form raises instead of answering
        if loop is not None:
            if loop not in self._loops:
                here = AsyncioTime(loop, self._timeline, self._threads)
                if not any(isinstance(each, AsyncioTime) for each in self._loops.values()):
                    self._stack.enter_context(anyio_jobs(self._threads))
                here.attach()
                self._loops[loop] = here
            return loop
        trio = sys.modules.get("trio")
        if trio is None or not trio.lowlevel.in_trio_run():
            msg = "no event loop runs on this thread: use `with`, not `async with`"
            raise RuntimeError(msg)
        token: object = trio.lowlevel.current_trio_token()
        if token not in self._loops:
            from resilio.testing._trio_time import TrioTime  # noqa: PLC0415 -- only where trio is

            if not any(isinstance(each, TrioTime) for each in self._loops.values()):
                self._stack.enter_context(trio_jobs(self._threads))
            there = TrioTime(self._timeline)
            there.attach()
            self._loops[token] = there
        return token

    # -- what a clock offers -------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self._origin + self._timeline.elapsed

    def utcnow(self) -> datetime:
        return self._born + timedelta(seconds=self._timeline.elapsed)

    async def sleep(self, seconds: float) -> None:
        self._attach()
        await anyio.sleep(seconds)

    def sleep_blocking(self, seconds: float) -> None:
        self._thread_time.sleep(seconds)

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        if not event.is_set():
            self._thread_time.sleep(math.inf if timeout is None else max(timeout, 0.0), event)
        return event.is_set()

    # -- for the test --------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the clock came into force."""
        return round(self._timeline.elapsed, 9)

    @property
    def jumps(self) -> tuple[float, ...]:
        """The jumps made so far, in seconds each."""
        return tuple(self._timeline.jumps)

    def advance(self, seconds: durations.Duration) -> None:
        """Move time forward by ``seconds`` here and now."""
        self._timeline.advance(durations.seconds("seconds", seconds))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let no jump happen while the block runs."""
        self._timeline.hold(+1)
        try:
            yield
        finally:
            self._timeline.hold(-1)

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Count this thread as taking part while the block runs, whether it has slept yet or not."""
        with self._threads.membership():
            yield
