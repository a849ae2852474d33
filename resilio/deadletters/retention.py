"""How long letters are kept, and how many. What is beyond is deleted, the oldest first, parked ones before others."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from resilio._core import clock

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ("Retention",)

_LOOK_EVERY: Final = 60.0
_SLACK: Final = 100  # a hundredth more letters than allowed may lie there before it is looked again


class Retention:
    """What a queue may keep. Plain bookkeeping: it tells when to look, and the store deletes.

    Args:
        age: Seconds since a letter failed last after which it goes; None for never.
        count: How many letters may stay; None for any number.

    Safe from any thread.
    """

    __slots__ = ("_age", "_kept", "_lock", "_looked_at", "count")

    def __init__(self, age: float | None, count: int | None) -> None:
        self._age = age
        self.count: int | None = count
        self._lock = threading.Lock()
        self._kept = 0  # letters since the last look
        self._looked_at: float | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is any limit."""
        return self._age is not None or self.count is not None

    def older_than(self, now: datetime) -> datetime | None:
        """Letters that failed last before this time go."""
        return None if self._age is None else now - timedelta(seconds=self._age)

    def is_due(self) -> bool:
        """Take in that a letter was kept, and tell whether it is time to look what is past its time.

        Only one caller is told so: the others go on.
        """
        now = clock.monotonic()
        with self._lock:
            self._kept += 1
            is_late = self._looked_at is None or now - self._looked_at >= _LOOK_EVERY
            is_much = self.count is not None and self._kept * _SLACK >= self.count
            if is_late or is_much:
                self._kept, self._looked_at = 0, now
                return True
            return False
