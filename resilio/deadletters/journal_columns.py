"""What the index knows of every letter, in columns: a million letters in objects of their own would take half a GB."""

from __future__ import annotations

from array import array
from heapq import nlargest
from typing import Final

GONE: Final = (1 << 64) - 1
"""The offset of a place that no letter has: further off than any."""

NEVER: Final = float("inf")
"""When a letter that is gone failed last: later than any."""


class Columns:
    """A row of numbers for each letter, whose *slot* it is; the slot of a letter that is gone is used again.

    Attributes:
        offsets: Where the line with the letter lies.
        lengths: How long that line is, without its end.
        groups: The number of its group in `Groups`.
        failed: When it failed last, in seconds since 1970.
    """

    __slots__ = ("_free", "failed", "groups", "lengths", "offsets")

    def __init__(self) -> None:
        self.offsets: array[int] = array("Q")
        self.lengths: array[int] = array("I")
        self.groups: array[int] = array("I")
        self.failed: array[float] = array("d")
        self._free: list[int] = []

    def take(self, offset: int, length: int, group: int, failed: float) -> int:
        """A slot for a letter."""
        if self._free:
            slot = self._free.pop()
            self.offsets[slot] = offset
            self.lengths[slot] = length
            self.groups[slot] = group
            self.failed[slot] = failed
            return slot
        self.offsets.append(offset)
        self.lengths.append(length)
        self.groups.append(group)
        self.failed.append(failed)
        return len(self.offsets) - 1

    def extend(self, offsets: array[int], lengths: array[int], groups: array[int], failed: array[float]) -> None:
        """Take slots for many letters, one after the other."""
        self.offsets.extend(offsets)
        self.lengths.extend(lengths)
        self.groups.extend(groups)
        self.failed.extend(failed)

    def give(self, slot: int) -> None:
        """The letter is gone."""
        self.offsets[slot] = GONE
        self.failed[slot] = NEVER
        self._free.append(slot)


class Groups:
    """The letters' groups by number, and how many letters each has. A group that has none any more is forgotten."""

    __slots__ = ("_free", "_names", "_numbers", "_sizes")

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: list[str] = [""]  # number 0 is no group
        self._sizes: list[int] = [0]
        self._free: list[int] = []

    def enter(self, name: str, count: int = 1) -> int:
        """Count letters in, and return the group's number."""
        number = self._numbers.get(name)
        if number is None:
            if self._free:
                number = self._free.pop()
                self._names[number] = name
            else:
                number = len(self._names)
                self._names.append(name)
                self._sizes.append(0)
            self._numbers[name] = number
        self._sizes[number] += count
        return number

    def leave(self, number: int) -> None:
        """Count a letter out."""
        self._sizes[number] -= 1
        if not self._sizes[number]:
            del self._numbers[self._names[number]]
            self._names[number] = ""
            self._free.append(number)

    def name(self, number: int) -> str:
        """The group with this number."""
        return self._names[number]

    def largest(self, most: int) -> dict[str, int]:
        """The groups with a name and how many letters they have, the largest first."""
        sizes = ((self._sizes[number], name) for name, number in self._numbers.items() if name)
        return {name: size for size, name in nlargest(most, sizes)}
