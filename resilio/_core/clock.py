"""The one clock: nothing else in the package reads the time or sleeps.

Durations and deadlines use [monotonic()][resilio._core.clock.monotonic]; timestamps that outlive the process use
[utcnow()][resilio._core.clock.utcnow]. Call them through the module (``clock.monotonic()``), never by importing the
function: a test that installs another clock rebinds the names.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Clock(Protocol):
    """What a clock must offer. Every method is safe to call from any thread and any event loop."""

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back; the origin means nothing."""

    def utcnow(self) -> datetime:
        """The time of day, timezone-aware, in UTC. It jumps when the machine's clock is set."""

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run for ``seconds``; cancellation arrives here."""

    def sleep_blocking(self, seconds: float) -> None:
        """Block this thread for ``seconds``."""

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        """Block this thread until ``event`` is set or ``timeout`` seconds passed; tell whether it is set."""


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)

    def utcnow(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def sleep_blocking(self, seconds: float) -> None:
        time.sleep(min(seconds, threading.TIMEOUT_MAX))  # 292 years; the system refuses more

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))


_installed: list[Clock] = [SystemClock()]

# A call through a rebound module attribute costs no more than `time.monotonic` itself, so the hot paths can afford it.
monotonic: Callable[[], float] = time.monotonic


def current() -> Clock:
    """The clock in force: the one installed last, else the system's."""
    return _installed[-1]


def utcnow() -> datetime:
    """The time of day, timezone-aware, in UTC."""
    return _installed[-1].utcnow()


async def sleep(seconds: float) -> None:
    """Let other tasks run for ``seconds``. A sleep of zero or less is still a checkpoint."""
    await _installed[-1].sleep(max(seconds, 0.0))


def sleep_blocking(seconds: float) -> None:
    """Block this thread for ``seconds``."""
    _installed[-1].sleep_blocking(max(seconds, 0.0))


def wait_blocking(event: threading.Event, timeout: float | None = None) -> bool:
    """Block this thread until ``event`` is set, at most ``timeout`` seconds; tell whether it is set."""
    return _installed[-1].wait_blocking(event, timeout)


@contextmanager
def installed(clock: Clock) -> Iterator[None]:
    """Put ``clock`` in force for the whole process while the block runs; blocks may nest, last in first out."""
    global monotonic  # noqa: PLW0603 -- the hot paths call it as a module attribute
    _installed.append(clock)
    monotonic = clock.monotonic
    try:
        yield
    finally:
        _installed.remove(clock)
        monotonic = _installed[-1].monotonic
