"""What the journal's lines add up to: which letters there are, where in the file they lie, and who may have them next.

A plain state machine: it neither reads the file nor the clock. Letters themselves stay on disk.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from resilio.deadletters.letter import moment
from resilio.deadletters.lines import parse, put_id

if TYPE_CHECKING:
    from collections.abc import Iterable


_SPARE = 1000  # stale places in the lines that are not worth a sweep


class Place(NamedTuple):
    """Where a line lies in the file, without its end."""

    offset: int
    length: int


class Entry:
    """One letter, as far as the index knows it.

    Attributes:
        offset, length: Where the line with the letter lies.
        attempt: The line of the last failed attempt, or None.
        parked: Whether it has used them up.
        token: The claim that it is under, None if it is free. A claim that ran out stays until the next.
        available: From when on it may be handed out, in seconds since 1970; with a token, when the claim runs out.
        order: Among letters available at one moment, the lowest goes first.
        is_fresh: Whether it was never claimed, and never failed.
    """

    __slots__ = ("attempt", "available", "is_fresh", "length", "offset", "order", "parked", "token")

    def __init__(self, offset: int, length: int, order: int) -> None:
        self.offset: int = offset
        self.length: int = length
        self.attempt: Place | None = None
        self.parked: bool = False
        self.token: str | None = None
        self.available: float = 0.0
        self.order: int = order
        self.is_fresh: bool = True

    @property
    def put(self) -> Place:
        """The line with the letter."""
        return Place(self.offset, self.length)


class LetterIndex:
    """The letters that the lines so far have left."""

    def __init__(self) -> None:
        self.letters: dict[str, Entry] = {}
        self.claimed: dict[str, Entry] = {}  # those with a token
        self.parked: dict[str, Entry] = {}
        self.lines: int = 0  # all that were applied
        self.needed: int = 0  # those that the letters still here are made of
        # Those that were never claimed, as they came; and a heap of the others, with the time from which they are free.
        # What no longer fits its entry is passed over.
        self._fresh: deque[str] = deque()
        self._again: list[tuple[float, int, str]] = []
        self._orders = 0

    def apply(self, found: bytes, offset: int) -> None:
        """Take in a sealed line that lies at ``offset``.

        Raises:
            LookupError: The line says something that this version does not know.
        """
        letter_id = put_id(found)
        if letter_id is not None:
            self.put(letter_id, offset, len(found))
            return
        self.lines += 1
        place = Place(offset, len(found))
        keys = parse(found)
        match keys["op"]:
            case "claim":
                self._claim(keys["ids"], keys["token"], moment(keys["until"]).timestamp())
            case "release":
                self._release(keys["ids"], keys["token"])
            case "attempt":
                self._attempt(keys, place)
            case "remove":
                self.drop(keys["ids"])
            case "purge":
                self.drop(list(self.letters))
            case "journal":
                self.lines -= 1
            case unknown:
                msg = f"unknown line {unknown!r}"
                raise LookupError(msg)

    def put(self, letter_id: str, offset: int, length: int) -> None:
        """Take in the line of a letter."""
        self.lines += 1
        if letter_id in self.letters:
            return
        self._orders = order = self._orders + 1
        self.letters[letter_id] = Entry(offset, length, order)
        self.needed += 1
        self._fresh.append(letter_id)

    def next_free(self, limit: int, now: float) -> list[str]:
        """Up to ``limit`` letters that may be handed out, which must be claimed next: they are in no line any more.

        Those that were given back come first, then those that were never handed out, then those that failed or whose
        claim ran out, longest ago first.
        """
        found: dict[str, None] = {}  # a letter that was claimed by its id and given back is on the heap twice
        self._take_again(found, limit, 0.0)
        while self._fresh and len(found) < limit:
            letter_id = self._fresh.popleft()
            entry = self.letters.get(letter_id)
            if entry is not None and entry.is_fresh:
                found[letter_id] = None
        self._take_again(found, limit, now)
        return list(found)

    def _take_again(self, found: dict[str, None], limit: int, until: float) -> None:
        heap = self._again
        while heap and len(found) < limit and heap[0][0] <= until:
            available, order, letter_id = heapq.heappop(heap)
            entry = self.letters.get(letter_id)
            if entry is not None and entry.available == available and entry.order == order and not entry.parked:
                found[letter_id] = None

    def held_by(self, token: str) -> list[str]:
        """The letters that are claimed under ``token``."""
        return [letter_id for letter_id, entry in self.claimed.items() if entry.token == token]

    def held_until(self, now: float) -> int:
        """How many claims have not run out."""
        return sum(entry.available > now for entry in self.claimed.values())

    def drop(self, ids: Iterable[str]) -> None:
        """Forget letters that are gone."""
        for letter_id in ids:
            entry = self.letters.pop(letter_id, None)
            if entry is not None:
                self.needed -= 1 if entry.attempt is None else 2
                self.claimed.pop(letter_id, None)
                self.parked.pop(letter_id, None)
        self._tidy()

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _claim(self, ids: Iterable[str], token: str, until: float) -> None:
        for letter_id in ids:
            entry = self.letters.get(letter_id)
            if entry is not None:
                entry.token = token
                entry.available = until
                self.claimed[letter_id] = entry
                self._offer(letter_id, entry)

    def _release(self, ids: Iterable[str], token: str) -> None:
        for letter_id in ids:
            entry = self.letters.get(letter_id)
            if entry is not None and entry.token == token:
                entry.token = None
                entry.available = 0.0
                del self.claimed[letter_id]
                self._offer(letter_id, entry)

    def _attempt(self, keys: dict[str, Any], place: Place) -> None:
        letter_id = keys["id"]
        entry = self.letters.get(letter_id)
        if entry is None:
            return
        if entry.attempt is None:
            self.needed += 1
        entry.attempt = place
        entry.parked = keys["parked"]
        if entry.parked:
            self.parked[letter_id] = entry
        else:
            self.parked.pop(letter_id, None)
        if entry.token is None or entry.token == keys["token"]:
            entry.token = None
            self.claimed.pop(letter_id, None)
            # It goes to the end: those that have waited longer are next.
            self._orders += 1
            entry.order = self._orders
            entry.available = moment(keys["last_failed_at"]).timestamp()
            self._offer(letter_id, entry)

    def _offer(self, letter_id: str, entry: Entry) -> None:
        entry.is_fresh = False
        if entry.parked:
            return
        heapq.heappush(self._again, (entry.available, entry.order, letter_id))
        self._tidy()

    def _tidy(self) -> None:
        """Sweep the lines when most of what stands in them is stale."""
        if len(self._fresh) + len(self._again) <= 2 * len(self.letters) + _SPARE:
            return
        self._fresh = deque(key for key, each in self.letters.items() if each.is_fresh)
        self._again = [
            (each.available, each.order, key)
            for key, each in self.letters.items()
            if not each.is_fresh and not each.parked
        ]
        heapq.heapify(self._again)
