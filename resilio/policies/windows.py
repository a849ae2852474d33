"""Sliding windows over the outcomes of calls: the last N of them, or those of the last T seconds.

Both answer in constant time and in bounded memory, and forget when they are read as well as when they are written: an
idle hour leaves nothing behind. A call that ended exactly ``seconds`` ago is outside.

A time window keeps one running total and a row of partial sums. A partial sum covers at most 1/256 of the window from
the first call in it and expires with that call: with up to 256 spread-out calls the window is exact, and under more
load a call may leave it early by less than 0.4 %. Source: partial sums as in resilience4j, slots anchored at calls
instead of at full seconds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from resilio._core import durations

if TYPE_CHECKING:
    from resilio._core.durations import Duration

SLOTS = 256


class Totals(NamedTuple):
    """What a window holds: all its calls, and those of them that failed or were slow."""

    calls: int
    failed: int
    slow: int


class WindowCount(ABC):
    """The running count of one window. Not safe across threads by itself."""

    __slots__ = ("calls", "failed", "slow")

    def __init__(self) -> None:
        self.calls: int = 0
        self.failed: int = 0
        self.slow: int = 0

    @abstractmethod
    def add(self, now: float, failed: bool, slow: bool = False) -> None:  # noqa: FBT001, FBT002 -- a hot path
        """Count a call that ended at ``now``; expire what is too old."""

    @abstractmethod
    def totals(self, now: float) -> Totals:
        """What the window holds at ``now``."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def dump(self, now: float) -> object:
        """What the window holds, as JSON can carry it."""

    @abstractmethod
    def load(self, dumped: object, now: float) -> None:
        """Hold what another window of this kind dumped, as far as it is not too old by now.

        Raises:
            ValueError: It is something else; nothing has changed.
        """


class Window(ABC):
    """How far back a rate looks. A window is a value."""

    __slots__ = ()

    @abstractmethod
    def count(self) -> WindowCount:
        """A fresh count."""

    @property
    @abstractmethod
    def capacity(self) -> int | None:
        """The most calls it can hold; None for no limit."""


@dataclass(frozen=True, slots=True)
class CountWindow(Window):
    """The last ``calls`` calls, however long ago.

    Args:
        calls: At least 1; takes one byte each.
    """

    calls: int

    def __post_init__(self) -> None:
        durations.whole("CountWindow(calls)", self.calls, at_least=1, at_most=10_000_000)

    @property
    def capacity(self) -> int:
        return self.calls

    def count(self) -> WindowCount:
        return _LastCalls(self.calls)


@dataclass(frozen=True, slots=True)
class TimeWindow(Window):
    """The calls that ended in the last ``seconds`` seconds.

    Args:
        seconds: Above 0.
    """

    seconds: Duration

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", durations.seconds("TimeWindow(seconds)", self.seconds, above=0))

    @property
    def capacity(self) -> None:
        return None

    def count(self) -> WindowCount:
        return RecentCalls(durations.seconds("seconds", self.seconds))


_FAILED = 1


class _LastCalls(WindowCount):
    __slots__ = ("_next", "_ring", "_size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._ring = bytearray(size)
        self._next = 0

    def add(self, now: float, failed: bool, slow: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        place, ring = self._next, self._ring
        if self.calls < self._size:
            self.calls += 1
        elif gone := ring[place]:
            self.failed -= gone & _FAILED
            self.slow -= gone >> 1
        if failed or slow:
            ring[place] = failed | slow << 1
            self.failed += failed
            self.slow += slow
        else:
            ring[place] = 0
        place += 1
        self._next = place if place < self._size else 0

    def totals(self, now: float) -> Totals:  # noqa: ARG002
        return Totals(self.calls, self.failed, self.slow)

    def clear(self) -> None:
        self.calls = self.failed = self.slow = self._next = 0

    def dump(self, now: float) -> str:  # noqa: ARG002
        """One digit a call, the oldest first: 1 for failed, 2 for slow, 3 for both."""
        held = self._ring[: self.calls]
        oldest = self._next if self.calls == self._size else 0
        return (held[oldest:] + held[:oldest]).translate(_DIGITS).decode()

    def load(self, dumped: object, now: float) -> None:
        if not isinstance(dumped, str) or not set(dumped) <= set("0123"):
            msg = f"a CountWindow was saved as one digit a call, 0 to 3, not {dumped!r:.100}"
            raise ValueError(msg)
        self.clear()
        for digit in dumped[-self._size :]:
            mark = int(digit)
            self.add(now, bool(mark & _FAILED), bool(mark >> 1))


_DIGITS = bytes.maketrans(bytes(range(4)), b"0123")


class RecentCalls(WindowCount):
    """The count of a `TimeWindow`."""

    calls: int
    failed: int
    slow: int

    __slots__ = ("_seconds", "_slots", "_width")

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._width = seconds / SLOTS
        self._slots: deque[list[float]] = deque()  # [when its first call ended, calls, failed, slow], oldest first

    def add(self, now: float, failed: bool, slow: bool = False) -> None:  # noqa: FBT001, FBT002
        slots = self._slots
        if slots and slots[0][0] <= now - self._seconds:
            self._expire(now)
        if slots and now - (last := slots[-1])[0] < self._width:
            last[1] += 1
            if failed or slow:
                last[2] += failed
                last[3] += slow
        else:
            slots.append([now, 1, failed, slow])
        self.calls += 1
        if failed or slow:
            self.failed += failed
            self.slow += slow

    def totals(self, now: float) -> Totals:
        self._expire(now)
        return Totals(self.calls, self.failed, self.slow)

    def clear(self) -> None:
        self._slots.clear()
        self.calls = self.failed = self.slow = 0

    def dump(self, now: float) -> list[list[float]]:
        """Age in seconds, calls, failed ones, slow ones: the oldest first."""
        self._expire(now)
        return [[now - start, *map(int, counts)] for start, *counts in self._slots]

    def load(self, dumped: object, now: float) -> None:
        if not isinstance(dumped, list) or len(dumped) > SLOTS + 1 or not all(map(_is_entry, dumped)):
            msg = f"a TimeWindow was saved as [age, calls, failed, slow] each, not {dumped!r:.100}"
            raise ValueError(msg)
        self.clear()
        for age, calls, failed, slow in sorted(dumped, key=lambda entry: entry[0], reverse=True):
            if age < self._seconds:
                self._slots.append([now - age, calls, failed, slow])
                self.calls += calls
                self.failed += failed
                self.slow += slow

    def _expire(self, now: float) -> None:
        slots, edge = self._slots, now - self._seconds
        if slots and slots[-1][0] <= edge:
            self.clear()
        while slots and slots[0][0] <= edge:
            _, calls, failed, slow = slots.popleft()
            self.calls -= int(calls)
            self.failed -= int(failed)
            self.slow -= int(slow)


def _is_entry(dumped: object) -> bool:
    if not isinstance(dumped, list) or len(dumped) != 4:  # noqa: PLR2004 -- age, calls, failed, slow
        return False
    age, *counts = dumped
    if type(age) not in {int, float} or not 0 <= age < math.inf:
        return False
    return all(type(count) is int and 0 <= count <= counts[0] <= _MOST for count in counts)


_MOST = 2**53
"""Calls in one saved entry: beyond that a float would no longer count them."""
