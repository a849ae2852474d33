"""Coroutines that are stepped by hand: no event loop, no real time, every order of events within reach."""

from __future__ import annotations

import math
import types
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading
    from collections.abc import Coroutine, Generator

_STUBBORNNESS = 100
_BORN = datetime(2026, 1, 1, tzinfo=UTC)


class Wait:
    """What a coroutine waits for: somebody who wakes it, a moment, or both, whichever comes first.

    Attributes:
        deadline: The moment, in seconds on the clock; `math.inf` for none.
        is_woken: Whether somebody woke it.
    """

    __slots__ = ("deadline", "is_woken")

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline: float = deadline
        self.is_woken: bool = False

    def is_over(self, now: float) -> bool:
        """Tell whether the coroutine can go on."""
        return self.is_woken or now >= self.deadline


@types.coroutine
def suspend(wait: Wait) -> Generator[Wait, Any, Any]:
    """Wait by hand; gives what the next step hands in."""
    return (yield wait)


class HandClock:
    """A clock that stands still until it is told to move. Coroutines that sleep on it are stepped by hand."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return _BORN + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        await suspend(Wait(self.now + seconds))

    def sleep_blocking(self, seconds: float) -> None:
        self.now += seconds

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        if not event.is_set():
            if timeout is None:
                msg = "a wait without an end, in a thread that nobody can step by hand"
                raise AssertionError(msg)
            self.now += timeout
        return event.is_set()


class HandPause:
    """The way in which policies wait when a machine steps them."""

    __slots__ = ("_clock",)

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    async def __call__(self, seconds: float, /) -> None:
        await self._clock.sleep(seconds)

    def waiter(self) -> HandWaiter:
        return HandWaiter(self._clock)


class HandWaiter:
    """Somebody who waits, and goes on when the machine steps it."""

    __slots__ = ("_clock", "_is_woken", "_wait")

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self._is_woken = False
        self._wait: Wait | None = None

    def wake(self) -> bool:
        self._is_woken = True
        if self._wait is not None:
            self._wait.is_woken = True
        return True

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109 -- the protocol of waiters
        self._wait = Wait(math.inf if timeout is None else self._clock.now + timeout)
        self._wait.is_woken = self._is_woken
        await suspend(self._wait)
        return self._is_woken


class HandTask:
    """A coroutine under way.

    Attributes:
        wait: What it waits for; None once it has ended.
        result: What it returned.
        error: What it raised; None if it returned.
    """

    __slots__ = ("_coroutine", "error", "name", "result", "wait")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self.name: str = name
        self.result: Any = None
        self.error: BaseException | None = None
        self.wait: Wait | None = None
        self._coroutine = coroutine
        self.step()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.wait is None

    def is_ready(self, now: float) -> bool:
        """Tell whether it can go on."""
        return self.wait is not None and self.wait.is_over(now)

    def step(self, value: Any = None) -> None:
        """Let it go on until it waits again or ends; what it waited for gives ``value``."""
        self._go(lambda: self._coroutine.send(value))

    def throw(self, error: BaseException) -> None:
        """Let it go on with ``error`` raised where it waits."""
        self._go(lambda: self._coroutine.throw(error))

    def close(self) -> None:
        """End it, wherever it is."""
        for _ in range(_STUBBORNNESS):
            try:
                self._coroutine.close()
            except Exception as error:
                # A broken policy takes the end for a failure. Whether that loses the game is for a machine's rules.
                if isinstance(error, RuntimeError):  # it even goes on
                    continue
            return

    def _go(self, on: Any) -> None:
        self.wait = None
        try:
            self.wait = on()
        except StopIteration as end:
            self.result = end.value
        except BaseException as error:
            self.error = error

    def __repr__(self) -> str:
        return self.name
