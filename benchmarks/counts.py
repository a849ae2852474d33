"""What is counted and not timed: the same in every run, on every machine."""

from __future__ import annotations

import dataclasses
import gc
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

import resilio
from resilio._core import clock

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

_MEBIBYTE = 2**20
_STORM = 10.0  # seconds
_KEPT = 2_000  # more than the tracker keeps reports


@dataclass(frozen=True, slots=True)
class Count:
    """One number, and what it may be at most.

    Attributes:
        key: After ``--row``.
        title: For people; ``{size}`` stands for how many there were.
        size: How many of what is counted.
        unit: Of the number.
        most: What is to be reached.
        found: Finds the number out for a size.
    """

    key: str
    title: str
    size: int
    unit: str
    most: float
    found: Callable[[int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class CountResult:
    """What came out."""

    count: Count
    size: int
    number: float

    @property
    def is_reached(self) -> bool:
        """Whether it is no more than it may be."""
        return self.number <= self.count.most

    @property
    def title(self) -> str:
        """For people."""
        return self.count.title.format(size=f"{self.size:,}".replace(",", " "))

    def as_json(self) -> dict[str, Any]:
        """The number as JSON can carry it."""
        return {
            "key": self.count.key,
            "title": self.title,
            "number": round(self.number, 3),
            "unit": self.count.unit,
            "most": self.count.most,
            "reached": self.is_reached,
        }


async def run_count(count: Count, *, share: float = 1.0) -> CountResult:
    """Find out a number, for a share of its size."""
    size = max(int(count.size * share), 1)
    return CountResult(count, size, await count.found(size))


async def _tracker_memory(size: int) -> float:
    """MiB that the tracker holds on to after so many different errors."""
    first = resilio.ErrorTracker().track_error(ValueError("no cat"), {"operation": "find"})
    tracker = resilio.ErrorTracker()
    whole = min(size, _KEPT)
    for number in range(size - whole):
        name = f"{number:016x}"
        tracker.track_report(
            dataclasses.replace(first, fingerprint=f"v1:{name}", error_id=f"err-{name}", error_message=f"no {name}")
        )
    for number in range(whole):  # whose reports are kept shares nothing with the others
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        tracker.track_error(ValueError(f"no cat called {name}"), {"operation": "find", "cat": name})
    if tracker.get_error_summary()["total_errors"] != size:
        msg = "the tracker lost some"
        raise AssertionError(msg)
    return _bytes_below(tracker) / _MEBIBYTE


def _bytes_below(thing: object) -> int:
    seen: set[int] = set()
    waiting, total = [thing], 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting += gc.get_referents(each)
    return total


class _HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        self.sleep_blocking(seconds)
        await anyio.lowlevel.checkpoint()

    def sleep_blocking(self, seconds: float) -> None:
        self.now += seconds

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(timeout)


async def _storm_messages(size: int) -> float:
    """How many messages so many notifications within ten seconds become on one channel."""
    told: list[int] = []

    class Channel:
        async def deliver(self, notification: resilio.Notification) -> None:
            told.append(notification.count)

    hand = _HandClock()
    with clock.installed(hand):
        notifier = resilio.AdminNotifier(channel=resilio.Route(Channel(), policy=None))
        for number in range(size):
            await notifier.send_notification(f"trouble {number % 500}", severity=resilio.ErrorSeverity.ERROR)
            hand.now += _STORM / size
        await notifier.flush()
    if sum(told) != size:
        msg = f"{sum(told)} were told, not {size}"
        raise AssertionError(msg)
    return len(told)


COUNTS = (
    Count(
        "tracker_memory", "memory of the tracker after {size} different errors", 300_000, "MiB", 8.0, _tracker_memory
    ),
    Count(
        "storm", "messages that {size} notifications within ten seconds become", 10_000, "messages", 20, _storm_messages
    ),
)
