"""Where a bulkhead decides: a number of places, and a queue for those who find none.

No clock, no awaiting. Whoever holds it calls it under a lock, and wakes afterwards whom it names.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio._core.waiter import Waiter


class Places:
    """So many places, and a first-come-first-served queue of limited length."""

    __slots__ = ("_queue", "capacity", "max_queue", "taken")

    def __init__(self, capacity: int, max_queue: int) -> None:
        self.capacity = capacity
        self.max_queue = max_queue
        self.taken = 0
        self._queue: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def take(self) -> bool:
        """Take a place if one is free; nobody overtakes the queue, for while it lasts no place is free."""
        if self.taken < self.capacity:
            self.taken += 1
            return True
        return False

    def queue_up(self, waiter: Waiter) -> bool:
        """Wait in line; False if the line is too long already."""
        if len(self._queue) >= self.max_queue:
            return False
        self._queue[waiter] = None
        return True

    def leave_queue(self, waiter: Waiter) -> bool:
        """Stop waiting; False if a place has been given to this waiter already."""
        if waiter not in self._queue:
            return False
        del self._queue[waiter]
        return True

    def give_back(self) -> None:
        """Give a place back; `next_in_line` says who gets it."""
        self.taken -= 1

    def next_in_line(self) -> Waiter | None:
        """The first in line, who has a place from now on; None if nobody waits or no place is free."""
        if not self._queue or self.taken >= self.capacity:
            return None
        self.taken += 1
        return self._queue.popitem(last=False)[0]
