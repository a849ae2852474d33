"""The limit probes of the rows about errors that are reported and told: the least code that does it at all."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks import work

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.drivers import Operation

_SECRET = re.compile(r"(?i)\b(?:password|token|secret|api_?key)[=:]\s?\S+|://[^\s/@]+@|eyJ[\w.-]+|AKIA[A-Z0-9]{16}")


def report_error(fn: Operation) -> Operation:
    """Where it came from, under a lock a count and a place among the last ones."""
    lock = threading.Lock()
    counts: Counter[str] = Counter()
    recent: deque[tuple[str, str]] = deque(maxlen=1000)

    async def guarded(number: int) -> Any:
        try:
            return await fn(number)
        except ConnectionError as error:
            step = error.__traceback__
            while step is not None and step.tb_next is not None:
                step = step.tb_next
            where = "" if step is None else step.tb_frame.f_code.co_qualname
            key = f"{type(error).__name__} {where}"
            with lock:
                counts[key] += 1
                recent.append((key, str(error)))
            return number

    return guarded


def redact_text(fn: Operation) -> Operation:
    """One expression that knows a few shapes."""

    async def guarded(number: int) -> Any:
        _SECRET.sub("[redacted]", work.KIBIBYTE)
        return await fn(number)

    return guarded


def track_report(fn: Operation) -> Operation:
    """Under a lock a count and a place among the last ones."""
    lock = threading.Lock()
    counts: Counter[int] = Counter()
    recent: deque[int] = deque(maxlen=1000)
    numbers = count()

    async def guarded(number: int) -> Any:
        key = next(numbers) % 1_000
        with lock:
            counts[key] += 1
            recent.append(key)
        return await fn(number)

    return guarded


async def _deliver(_notification: object) -> None:
    """Throw it away."""


def notify(fn: Operation) -> Operation:
    """A dict with the same in it, handed over."""

    async def guarded(number: int) -> Any:
        await _deliver({"message": "fetch failed: ConnectionError: no route", "source": "crm", "attempt": 3})
        return await fn(number)

    return guarded


notify_guarded = notify


def _counting(fn: Operation) -> Callable[[int], Any]:
    lock = threading.Lock()
    held: Counter[str] = Counter()

    async def guarded(number: int) -> Any:
        with lock:
            held["fetch failed: ConnectionError: no route"] += 1
        return await fn(number)

    return guarded


def notify_held(fn: Operation) -> Operation:
    """A count."""
    return _counting(fn)


notify_duplicate = notify_held
