"""The limit probes: for each row the least code that does its work at all.

A probe is not a policy: it cannot be configured, reset, looked at or shared between threads beyond what the row asks.
It is what a Python function pays for the row's work if nothing else is done, on this machine, in this run. One probe
serves a whole row, also where a real toolkit needs a wrapper for each policy.
"""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

LIMIT = 5
WINDOW = 100


class Rejected(Exception):  # noqa: N818 -- an answer, not a failure of the probe
    """A rejection with what every caller needs: a message, and whose it is and for how long as attributes."""

    def __init__(self, message: str = "rejected", breaker: str = "probe", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.breaker = breaker
        self.retry_after = retry_after


class State:
    """A circuit, a bucket or a bulkhead, as small as it gets."""

    __slots__ = ("at", "failed", "failures", "free_at", "is_open", "lock", "opened_at", "ring", "slow", "taken")

    def __init__(self) -> None:
        self.is_open = False
        self.opened_at = 0.0
        self.failures = 0
        self.lock = threading.Lock()
        self.ring = [0] * WINDOW
        self.at = 0
        self.failed = 0
        self.slow = 0
        self.free_at = 0.0
        self.taken = 0


def breaker_closed(fn: Operation) -> Operation:
    """One state check, try/except, and the reset of a counter."""
    state = State()

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            raise Rejected
        try:
            result = await fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        state.failures = 0
        return result

    return guarded


breaker_tasks = breaker_closed


class Probe:
    """`breaker_closed` as an object: a method to call through, and a block."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State()

    async def execute(self, fn: Operation, *args: Any, **kwargs: Any) -> Any:
        """One state check, try/except, and the reset of a counter."""
        state = self.state
        if state.is_open:
            raise Rejected
        try:
            result = await fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        state.failures = 0
        return result

    async def __aenter__(self) -> None:
        if self.state.is_open:
            raise Rejected

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self.state.failures = 0
        else:
            self.state.failures += 1


def breaker_execute(fn: Operation) -> Operation:
    """A method that calls the function."""
    probe = Probe()

    async def guarded(number: int) -> Any:
        return await probe.execute(fn, number)

    return guarded


def breaker_block(fn: Operation) -> Operation:
    """A block around the call."""
    probe = Probe()

    async def guarded(number: int) -> Any:
        async with probe:
            return await fn(number)

    return guarded


def breaker_blocking(fn: Operation) -> Operation:
    """`breaker_closed` around a plain function."""
    state = State()

    def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            raise Rejected
        try:
            result = fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        state.failures = 0
        return result

    return guarded


def breaker_rate(fn: Operation) -> Operation:
    """A state check, and one lock around a write into a ring."""
    state = State()
    lock, ring = state.lock, state.ring

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            raise Rejected
        try:
            result = await fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        with lock:
            at = state.at
            state.failed -= ring[at]
            ring[at] = 0
            state.at = at + 1 if at + 1 < WINDOW else 0
        return result

    return guarded


def breaker_window(fn: Operation) -> Operation:
    """`breaker_rate` with two readings of the clock, and a comparison with what counts as slow."""
    state = State()
    lock, ring = state.lock, state.ring

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            raise Rejected
        started = monotonic()
        try:
            result = await fn(*args, **kwargs)
        except BaseException:
            state.failures += 1
            raise
        is_slow = monotonic() - started > LIMIT
        with lock:
            at = state.at
            state.slow += is_slow - ring[at]
            ring[at] = is_slow
            state.at = at + 1 if at + 1 < WINDOW else 0
        return result

    return guarded


breaker_time_window = breaker_window


def breaker_open(fn: Operation) -> Operation:
    """One state check, one reading of the clock, and an error with a message and attributes."""
    state = State()
    state.is_open = True
    state.opened_at = monotonic()
    name = "probe"

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if state.is_open:
            left = state.opened_at + 3600 - monotonic()
            msg = f"circuit {name!r} is open"
            raise Rejected(msg, name, left)
        return await fn(*args, **kwargs)

    return guarded


def retry_none(fn: Operation) -> Operation:
    """A try/except, and a loop behind it."""

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await fn(*args, **kwargs)
        except ConnectionError:
            pass
        for attempt in range(1, LIMIT):
            try:
                return await fn(*args, **kwargs)
            except ConnectionError:
                if attempt == LIMIT - 1:
                    raise
        return None

    return guarded


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    """`retry_none` and `breaker_closed` in one wrapper."""
    state = State()

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        attempt = 0
        while True:
            if state.is_open:
                raise Rejected
            try:
                result = await fn(*args, **kwargs)
            except ConnectionError:
                state.failures += 1
                attempt += 1
                if attempt == LIMIT:
                    raise
            else:
                state.failures = 0
                return result

    return guarded


def rate_limiter(fn: Operation) -> Operation:
    """A reading of the clock, and one lock around a little arithmetic."""
    state = State()
    lock = state.lock
    interval, tolerance = 1e-9, 1.0

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        now = monotonic()
        with lock:
            if state.free_at < now:
                state.free_at = now + interval
            elif state.free_at - now > tolerance:
                raise Rejected
            else:
                state.free_at += interval
        return await fn(*args, **kwargs)

    return guarded


def bulkhead(fn: Operation) -> Operation:
    """A lock and a counter before, a lock and a counter after."""
    state = State()
    lock = state.lock

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        with lock:
            if state.taken >= LIMIT:
                raise Rejected
            state.taken += 1
        try:
            return await fn(*args, **kwargs)
        finally:
            with lock:
                state.taken -= 1

    return guarded


def timeout(fn: Operation) -> Operation:
    """A timer of the event loop that would cancel the task, and its end."""

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError
        timer = loop.call_later(LIMIT, task.cancel)
        try:
            return await fn(*args, **kwargs)
        finally:
            timer.cancel()

    return guarded


def stack(fn: Operation) -> Operation:
    """Fallback, retry, breaker, bulkhead and timeout in one wrapper."""
    state = State()
    lock = state.lock

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            attempt = 0
            while True:
                if state.is_open:
                    raise Rejected
                with lock:
                    if state.taken >= LIMIT:
                        raise Rejected
                    state.taken += 1
                loop = asyncio.get_running_loop()
                task = asyncio.current_task(loop)
                if task is None:
                    raise RuntimeError
                timer = loop.call_later(LIMIT, task.cancel)
                try:
                    result = await fn(*args, **kwargs)
                except ConnectionError:
                    state.failures += 1
                    attempt += 1
                    if attempt == LIMIT:
                        raise
                else:
                    state.failures = 0
                    return result
                finally:
                    timer.cancel()
                    with lock:
                        state.taken -= 1
        except Exception:
            return None

    return guarded


def unheard(fn: Operation) -> Operation:
    """`breaker_closed`, which has nobody to tell."""
    return breaker_closed(fn)
