"""How many errors of each severity there were in each minute or hour, as far back as the ring is long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Ring",)

_SEVERITIES: Final = tuple(ErrorSeverity)
_WIDTH: Final = len(_SEVERITIES)


class Ring:
    """Counts by time of day, in a fixed space; not safe across threads.

    Args:
        slots: How many stretches of time it knows.
        seconds: How long each is.

    A clock that is set back makes the stretches repeat: their counts go on from where they were. One that is set
    forward leaves a gap.
    """

    __slots__ = ("_counts", "_numbers", "_seconds", "_slots")

    def __init__(self, slots: int, seconds: int) -> None:
        self._slots = slots
        self._seconds = seconds
        self._numbers = [-1] * slots
        self._counts = [0] * (slots * _WIDTH)

    def add(self, now: float, severity: ErrorSeverity) -> None:
        """Count one at ``now``, in seconds since 1970."""
        number = int(now // self._seconds)
        slot = number % self._slots
        if self._numbers[slot] != number:
            self._numbers[slot] = number
            self._counts[slot * _WIDTH : (slot + 1) * _WIDTH] = [0] * _WIDTH
        self._counts[slot * _WIDTH + severity.rank] += 1

    def count(self, now: float, stretches: int, severity: ErrorSeverity | None = None) -> int:
        """How many there were in the last so many stretches, the present one among them."""
        last = int(now // self._seconds)
        total = 0
        for slot in range(self._slots):
            if last - stretches < self._numbers[slot] <= last:
                total += self._of(slot, severity)
        return total

    def series(self, now: float, severity: ErrorSeverity | None = None) -> Iterator[tuple[int, int]]:
        """When each stretch began, in seconds since 1970, and how many there were in it; oldest first."""
        last = int(now // self._seconds)
        for number in range(last - self._slots + 1, last + 1):
            slot = number % self._slots
            found = self._of(slot, severity) if self._numbers[slot] == number else 0
            yield number * self._seconds, found

    def _of(self, slot: int, severity: ErrorSeverity | None) -> int:
        if severity is not None:
            return self._counts[slot * _WIDTH + severity.rank]
        return sum(self._counts[slot * _WIDTH : (slot + 1) * _WIDTH])

    def to_list(self) -> list[list[int]]:
        """As JSON can carry it: for each stretch with something in it, its number and its counts."""
        return [
            [number, *self._counts[slot * _WIDTH : (slot + 1) * _WIDTH]]
            for slot, number in enumerate(self._numbers)
            if number >= 0
        ]

    def restore(self, saved: list[list[int]]) -> None:
        """Take up what `to_list` saved.

        Raises:
            ValueError: It did not save that.
        """
        for number, *counts in saved:
            if len(counts) != _WIDTH:
                msg = f"expected {_WIDTH} counts, found {len(counts)}"
                raise ValueError(msg)
            slot = int(number) % self._slots
            self._numbers[slot] = int(number)
            self._counts[slot * _WIDTH : (slot + 1) * _WIDTH] = [int(each) for each in counts]
