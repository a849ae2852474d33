"""Where a bulkhead decides: a number of places, and a queue for those who find none.

No clock, no awaiting. Whoever holds it calls it under a lock, and wakes afterwards whom it names.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio._core.waiter import Waiter


class Places:
    """So many places, and a first-come-first-served queue of limited length.

    While somebody waits no place is free: whoever frees one hands it on under the same lock.
    """

    __slots__ = ("_called", "_queue", "capacity", "max_queue", "taken")

    def __init__(self, capacity: int, max_queue: int) -> None:
        self.capacity: int = capacity
        self.max_queue: int = max_queue
        self.taken: int = 0
        self._queue: OrderedDict[Waiter, None] = OrderedDict()
        self._called: set[Waiter] = set()  # out of the queue with a place, and not yet awake

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
        """Stop waiting; tell whether ``waiter`` has been given a place, which is now the caller's."""
        self._queue.pop(waiter, None)
        has_place = waiter in self._called
        self._called.discard(waiter)
        return has_place

    def next_in_line(self) -> Waiter | None:
        """The first in line, who has a place from now on; None if nobody waits or no place is free."""
        if not self._queue or self.taken >= self.capacity:
            return None
        waiter, _ = self._queue.popitem(last=False)
        self.taken += 1
        self._called.add(waiter)
        return waiter

    def take_back(self, waiter: Waiter) -> None:
        """Free the place of one who can no longer be woken, unless it has left with it by itself."""
        if waiter in self._called:
            self._called.discard(waiter)
            self.taken -= 1
