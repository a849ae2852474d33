"""The most frequent of ever so many things, in a fixed space: the Space-Saving algorithm.

Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams (2005). There are so
many counters and no more. A newcomer takes over the counter with the lowest count and goes on from there, so that a
count is never too low, and too high by no more than the counter says. Whatever makes up more than one part in
``capacity`` of everything is certainly among the counters; noise displaces only noise. Throwing out what was seen
longest ago instead loses the frequent ones to any burst of rare ones.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

__all__ = ("Counter", "HeavyHitters")

T = TypeVar("T")


class Counter(Generic[T]):
    """How often a thing was seen.

    Attributes:
        key: Which thing.
        count: Never too low.
        excess: By how much it may be too high at most.
        value: What is known about the thing.
    """

    __slots__ = ("count", "excess", "key", "value")

    def __init__(self, key: str, count: int, excess: int, value: T) -> None:
        self.key: str = key
        self.count: int = count
        self.excess: int = excess
        self.value: T = value


class HeavyHitters(Generic[T]):
    """Counts things by key; not safe across threads.

    Args:
        capacity: How many counters there are.
    """

    __slots__ = ("_counters", "_heap", "_order", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity: int = capacity
        self._counters: dict[str, Counter[T]] = {}
        # One entry for each counter, with a count that may be out of date, but never too high: it is put right when it
        # comes to the top. To count a known thing leaves the heap alone.
        self._heap: list[tuple[int, int, Counter[T]]] = []
        self._order = 0

    def get(self, key: str) -> Counter[T] | None:
        """The counter of a thing; None if it has none."""
        return self._counters.get(key)

    def add(self, key: str, value: T) -> Counter[T]:
        """Count a thing once more. ``value`` is for a thing that has no counter yet."""
        counter = self._counters.get(key)
        if counter is not None:
            counter.count += 1
            return counter
        least = self._freed() if len(self._counters) >= self.capacity else 0
        return self.restore(key, least + 1, least, value)

    def restore(self, key: str, count: int, excess: int, value: T) -> Counter[T]:
        """Put a counter in place as it was; there must be room for it."""
        counter = Counter(key, count, excess, value)
        self._counters[key] = counter
        self._order += 1
        heapq.heappush(self._heap, (count, self._order, counter))
        return counter

    def top(self, count: int | None = None) -> list[Counter[T]]:
        """The counters with the highest counts, highest first; of equal counts the surest first."""
        return sorted(self._counters.values(), key=lambda each: (-each.count, each.excess, each.key))[:count]

    def __len__(self) -> int:
        return len(self._counters)

    def _freed(self) -> int:
        """Take the lowest counter away and return its count."""
        while True:
            count, order, counter = self._heap[0]
            if count == counter.count:
                heapq.heappop(self._heap)
                del self._counters[counter.key]
                return count
            heapq.heapreplace(self._heap, (counter.count, order, counter))
