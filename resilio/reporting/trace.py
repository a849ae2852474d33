"""How often one error came lately: a short histogram for each group, small enough to have hundreds of."""

from __future__ import annotations

from typing import Final

__all__ = ("TRACE_SECONDS", "TRACE_SLOTS", "Trace")

TRACE_SLOTS: Final = 24
"""How many stretches of time a trace knows."""

TRACE_SECONDS: Final = 300
"""How long each of them is."""


class Trace:
    """Counts by five minutes over the last two hours; not safe across threads.

    What comes while the clock is set back counts where it belongs, as far as the trace reaches.
    """

    __slots__ = ("_counts", "_last")

    def __init__(self) -> None:
        self._counts: list[int] = []  # oldest first; what is left out at the beginning is 0
        self._last = 0  # the number of the last stretch, counted from 1970

    def add(self, now: float) -> None:
        """Count one at ``now``, in seconds since 1970."""
        number = int(now // TRACE_SECONDS)
        counts = self._counts
        behind = self._last - number
        if not counts or -behind >= TRACE_SLOTS:
            self._counts, self._last = [1], number
        elif behind < 0:
            counts.extend([0] * (-behind - 1))
            counts.append(1)
            del counts[:-TRACE_SLOTS]
            self._last = number
        elif behind < len(counts):
            counts[-1 - behind] += 1
        elif behind < TRACE_SLOTS:
            counts[:0] = [1] + [0] * (behind - len(counts))

    def series(self, now: float) -> list[tuple[int, int]]:
        """When each stretch began, in seconds since 1970, and how many there were in it; oldest first."""
        last = int(now // TRACE_SECONDS)
        first = last - TRACE_SLOTS + 1
        offset = len(self._counts) - 1 - self._last
        return [
            (number * TRACE_SECONDS, self._counts[number + offset] if 0 <= number + offset < len(self._counts) else 0)
            for number in range(first, last + 1)
        ]
