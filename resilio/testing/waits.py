"""Waiting switched off: what would take seconds takes none, without a virtual clock and without touching the process.

    with no_waits(max_attempts=2):
        await service.handle(message)       # every retry in there makes two attempts at most, one after the other

It holds for this task or thread, for what it starts meanwhile, and for nobody else.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, Self

from resilio._core import durations
from resilio._core.pauses import Haste, haste

__all__ = ("NoWaits", "fast", "no_waits")

# What the blocks around this place found when they began, innermost last. One object serves many tasks at once.
_before: ContextVar[tuple[Haste | None, ...]] = ContextVar("resilio_haste_before", default=())


class NoWaits:
    """What `no_waits` returns: a context manager for ``with`` and ``async with``. Blocks nest; the inner one counts."""

    __slots__ = ("_haste",)

    def __init__(self, *, max_attempts: int | None = None) -> None:
        cap = durations.optional(durations.whole, "max_attempts", max_attempts, at_least=1)
        self._haste = Haste(max_attempts=cap)

    def __enter__(self) -> Self:
        _before.set((*_before.get(), haste.get()))
        haste.set(self._haste)
        return self

    def __exit__(self, *_: object) -> None:
        if before := _before.get():  # else the block began in another context, which this one never knew of
            _before.set(before[:-1])
            haste.set(before[-1])

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __repr__(self) -> str:
        cap = self._haste.max_attempts
        return f"no_waits({'' if cap is None else f'max_attempts={cap}'})"


def no_waits(*, max_attempts: int | None = None) -> NoWaits:
    """Let no policy wait while the block runs.

    Meanwhile a retry makes its attempts one after the other; a rate limiter lets calls through that would have to
    wait; a bulkhead refuses at once instead of queueing; a hedge asks again at once. Timeouts are no waits, and stay.
    So do waits of your own code, and delays that `FaultInjector` puts in: for those take a virtual clock.

    Args:
        max_attempts: The most attempts that a retry makes, at least 1; None leaves its own limit.

    Raises:
        TypeError: ``max_attempts`` is no whole number.
        ValueError: It is less than 1.

    The switch lies in the context: in this task or thread, and in tasks and worker threads that are started from it.

        >>> from resilio.sync import BackoffStrategy
        >>> def fetch():
        ...     raise ConnectionError("down")
        >>> with no_waits(max_attempts=2):
        ...     BackoffStrategy(base_delay=60).execute(fetch)
        Traceback (most recent call last):
        resilio.errors.RetryExhaustedError: resilio.testing.waits.fetch failed after 2 attempts: ...
    """
    return NoWaits(max_attempts=max_attempts)


fast: Final = no_waits
"""The same."""
