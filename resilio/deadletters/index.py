"""What the journal's lines add up to: which letters there are, where in the file they lie, and who may have them next.

A plain state machine: it neither reads the file nor the clock. Letters themselves stay on disk.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from resilio.deadletters.journal_columns import Columns, Groups
from resilio.deadletters.letter import moment
from resilio.deadletters.lines import is_put, parse, put_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_SPARE: Final = 1000  # stale places in the lines that are not worth a sweep


_KIND: Final = len(b'{"op":"edit"')  # enough of a line to tell what kind it is
_PARTS: Final = {b'{"op":"attem': "attempt", b'{"op":"edit"': "edit", b'{"op":"park"': "park"}


class Place(NamedTuple):
    """Where a line lies in the file, without its end."""

    offset: int
    length: int


class Past:
    """What has happened to a letter since it came. Most letters have none.

    Attributes:
        attempt: The line of the last failed attempt, or None.
        edit: The line with the message that it has now, or None if that is in the letter's own line.
        park: The line that parked it or took it up again, None if that was longer ago than the last attempt.
        parked: Whether it is parked.
        is_restarted: Whether it was taken up again since the last attempt: its attempts count from nought.
        token: The claim that it is under, None if it is free. A claim that ran out stays until the next.
        available: From when on it may be handed out, in seconds since 1970; with a token, when the claim runs out.
        order: Among letters available at one moment, the lowest goes first.
        is_fresh: Whether it was never claimed, and never failed.
    """

    __slots__ = ("attempt", "available", "edit", "is_fresh", "is_restarted", "order", "park", "parked", "token")

    def __init__(self, order: int) -> None:
        self.attempt: Place | None = None
        self.edit: Place | None = None
        self.park: Place | None = None
        self.parked: bool = False
        self.is_restarted: bool = False
        self.token: str | None = None
        self.available: float = 0.0
        self.order: int = order
        self.is_fresh: bool = True

    @property
    def places(self) -> tuple[Place, ...]:
        """The lines that it is made of, in an order in which they can be written again."""
        return tuple(each for each in (self.attempt, self.park, self.edit) if each is not None)


UNEVENTFUL: Final = Past(0)
"""The past of a letter that has none. Not to be changed."""


class LetterIndex:
    """The letters that the lines so far have left.

    Attributes:
        letters: The slot of each letter, in the order in which they came.
        columns: What is known of every letter, by slot.
        pasts: What has happened to some, by slot.
        held: The claimed letters by their claim's token.
        parked: The letters that are parked, by id.
        keys: The letters that have a deduplication key, by key.
        lines: How many lines were taken in.
        needed: How many of them the letters still here are made of.
    """

    def __init__(self) -> None:
        self.letters: dict[str, int] = {}
        self.columns: Columns = Columns()
        self.groups: Groups = Groups()
        self.pasts: dict[int, Past] = {}
        self.held: dict[str, dict[str, Past]] = {}
        self.parked: dict[str, Past] = {}
        self.keys: dict[str, str] = {}
        self.key_of: dict[int, str] = {}  # by slot
        self.lines: int = 0
        self.needed: int = 0
        # Those that were never claimed, as they came; and a heap of the others, with the time from which they are free.
        # What no longer fits its letter is passed over.
        self._fresh: deque[str] = deque()
        self._again: list[tuple[float, int, str]] = []
        self._orders = 0
        self._misses: tuple[object, bytearray] = (None, bytearray())

    def past(self, letter_id: str) -> Past:
        """What has happened to a letter that is here."""
        return self.pasts.get(self.letters[letter_id], UNEVENTFUL)

    def place(self, slot: int) -> Place:
        """The line with a letter."""
        return Place(self.columns.offsets[slot], self.columns.lengths[slot])

    def group(self, slot: int) -> str:
        """A letter's group."""
        return self.groups.name(self.columns.groups[slot])

    def apply(self, found: bytes, offset: int) -> None:
        """Take in a sealed line that lies at ``offset``.

        Raises:
            LookupError: The line says something that this version does not know.
        """
        put = put_of(found)
        if put is not None:
            self.put(put.letter_id, offset, len(found), put.group, put.failed_at, put.key)
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
            case "edit":
                self._edit(keys["id"], place)
            case "park":
                self._park(keys["id"], place, parked=keys["parked"])
            case "remove":
                self.drop(keys["ids"])
            case "purge":
                self._purge()
            case "journal" | "origin":
                self.lines -= 1
            case unknown:
                msg = f"unknown line {unknown!r}"
                raise LookupError(msg)

    def put(
        self,
        letter_id: str,
        offset: int,
        length: int,
        group: str = "",
        failed_at: float = 0.0,
        key: str | None = None,
    ) -> None:
        """Take in the line of a letter; an id that is there already changes nothing."""
        self.lines += 1
        letters = self.letters
        if letter_id in letters:
            return
        number = self.groups.enter(group)
        letters[letter_id] = slot = self.columns.take(offset, length, number, failed_at)
        self.needed += 1
        self._fresh.append(letter_id)
        if key is not None:
            self.keys[key] = letter_id
            self.key_of[slot] = key
        if self._misses[0] is not None:
            self._looks_different(slot)

    def enter(self, letter_id: str, past: Past) -> None:
        """Take in what has happened to a letter, from elsewhere than its lines; `line_up` comes after the last."""
        self.pasts[self.letters[letter_id]] = past
        self.needed += len(past.places)
        self._orders = max(self._orders, past.order)
        if past.token is not None:
            self.held.setdefault(past.token, {})[letter_id] = past
        if past.parked:
            self.parked[letter_id] = past

    def line_up(self) -> None:
        """Put the letters in line anew."""
        if not self.pasts:
            self._fresh, self._again = deque(self.letters), []
            return
        self._fresh = deque(each for each in self.letters if self.past(each).is_fresh)
        self._again = [
            (past.available, past.order, each)
            for each in self.letters
            if not (past := self.past(each)).is_fresh and not past.parked
        ]
        heapq.heapify(self._again)

    def next_free(self, limit: int, now: float, means: Callable[[str], bool] | None = None) -> list[str]:
        """Up to ``limit`` letters that may be handed out, which must be claimed next: they are in no line any more.

        Those that were given back come first, then those that were never handed out, then those that failed or whose
        claim ran out, longest ago first. Those that ``means`` turns down keep their places.
        """
        found: dict[str, None] = {}  # a letter that was claimed by its id and given back is on the heap twice
        self._take_again(found, limit, 0.0, means)
        turned_down: list[str] = []
        while self._fresh and len(found) < limit:
            letter_id = self._fresh.popleft()
            slot = self.letters.get(letter_id)
            if slot is None or not self.pasts.get(slot, UNEVENTFUL).is_fresh:
                continue
            if means is None or means(letter_id):
                found[letter_id] = None
            elif letter_id in self.letters:
                turned_down.append(letter_id)
        self._fresh.extendleft(reversed(turned_down))
        self._take_again(found, limit, now, means)
        return list(found)

    def _take_again(
        self, found: dict[str, None], limit: int, until: float, means: Callable[[str], bool] | None
    ) -> None:
        turned_down = []
        while self._again and len(found) < limit and self._again[0][0] <= until:
            again = heapq.heappop(self._again)
            available, order, letter_id = again
            slot = self.letters.get(letter_id)
            past = UNEVENTFUL if slot is None else self.pasts.get(slot, UNEVENTFUL)
            if past.is_fresh or past.available != available or past.order != order or past.parked:
                continue
            if means is None or letter_id in found or means(letter_id):
                found[letter_id] = None
            else:
                turned_down.append(again)
        for again in turned_down:
            heapq.heappush(self._again, again)

    def held_by(self, token: str) -> list[str]:
        """The letters that are claimed under ``token``."""
        return list(self.held.get(token, ()))

    def held_until(self, now: float) -> tuple[int, int]:
        """How many letters are under a claim that has not run out, and how many of these are parked."""
        claimed = [each for held in self.held.values() for each in held.values() if each.available > now]
        return len(claimed), sum(each.parked for each in claimed)

    def drop(self, ids: Iterable[str]) -> None:
        """Forget letters that are gone."""
        for letter_id in ids:
            slot = self.letters.pop(letter_id, None)
            if slot is None:
                continue
            self.needed -= 1
            self.groups.leave(self.columns.groups[slot])
            self.columns.give(slot)
            past = self.pasts.pop(slot, None)
            if past is not None:
                self.needed -= len(past.places)
                self._let_go(letter_id, past)
                self.parked.pop(letter_id, None)
            if self.key_of:
                key = self.key_of.pop(slot, None)
                if key is not None and self.keys.get(key) == letter_id:
                    del self.keys[key]
        self._tidy()

    # -- moving to another file ----------------------------------------------------------------------------------------

    def place_like(self, letter_id: str, found: bytes) -> Place | None:
        """Where a line of a letter lies that is of the same kind and length as this one; None if there is none."""
        slot = self.letters.get(letter_id)
        if slot is None:
            return None
        if is_put(found):
            place: Place | None = self.place(slot)
        else:
            name = _PARTS[found[:_KIND]]
            place = getattr(self.pasts.get(slot, UNEVENTFUL), name)
        return place if place is not None and place.length == len(found) else None

    def move(self, letter_id: str, behind: Place, offset: int) -> None:
        """The line of a letter that lay ``behind`` lies at ``offset`` now."""
        slot = self.letters[letter_id]
        if self.columns.offsets[slot] == behind.offset:
            self.columns.offsets[slot] = offset
            return
        past = self.pasts[slot]
        for name in _PARTS.values():
            if getattr(past, name) == behind:
                setattr(past, name, Place(offset, behind.length))

    def forget_before(self, base: int) -> None:
        """What lies before ``base`` is gone with its file."""
        offsets = self.columns.offsets
        if offsets and min(offsets) < base:
            self.drop([each for each, slot in self.letters.items() if offsets[slot] < base])
        for past in self.pasts.values():
            for name in _PARTS.values():
                place = getattr(past, name)
                if place is not None and place.offset < base:
                    setattr(past, name, None)
                    self.needed -= 1

    # -- what is known not to be meant ---------------------------------------------------------------------------------

    def misses(self, where: object) -> bytearray:
        """A mark for each slot: whether its letter is known not to be what ``where`` means. To be marked by the caller.

        Kept for the last ``where`` only. A letter that changes loses its mark.
        """
        if self._misses[0] != where:
            self._misses = (where, bytearray())
        marks = self._misses[1]
        missing = len(self.columns.offsets) - len(marks)
        if missing > 0:
            marks.extend(bytes(missing))
        return marks

    def _looks_different(self, slot: int) -> None:
        marks = self._misses[1]
        if slot < len(marks):
            marks[slot] = False

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _past_of(self, letter_id: str) -> tuple[int, Past] | None:
        slot = self.letters.get(letter_id)
        if slot is None:
            return None
        past = self.pasts.get(slot)
        if past is None:
            self._orders += 1
            past = self.pasts[slot] = Past(self._orders)
        return slot, past

    def _claim(self, ids: Iterable[str], token: str, until: float) -> None:
        for letter_id in ids:
            found = self._past_of(letter_id)
            if found is not None:
                past = found[1]
                if past.token != token:
                    self._let_go(letter_id, past)
                    past.token = token
                    self.held.setdefault(token, {})[letter_id] = past
                past.available = until
                self._offer(letter_id, past)

    def _let_go(self, letter_id: str, past: Past) -> None:
        if past.token is not None:
            held = self.held[past.token]
            del held[letter_id]
            if not held:
                del self.held[past.token]
            past.token = None

    def _release(self, ids: Iterable[str], token: str) -> None:
        held = self.held.get(token, {})
        for letter_id in ids:
            past = held.get(letter_id)
            if past is not None:
                self._let_go(letter_id, past)
                past.available = 0.0
                self._offer(letter_id, past)

    def _attempt(self, keys: dict[str, Any], place: Place) -> None:
        letter_id = keys["id"]
        found = self._past_of(letter_id)
        if found is None:
            return
        slot, past = found
        self.needed += (past.attempt is None) - (past.park is not None)
        past.attempt, past.park, past.is_restarted = place, None, False
        self._set_parked(letter_id, past, parked=keys["parked"])
        failed_at = moment(keys["last_failed_at"]).timestamp()
        self.columns.failed[slot] = failed_at
        self._looks_different(slot)
        if past.token is None or past.token == keys["token"]:
            self._let_go(letter_id, past)
            # It goes to the end: those that have waited longer are next.
            self._orders += 1
            past.order = self._orders
            due = keys.get("not_before")
            past.available = failed_at if due is None else moment(due).timestamp()
        self._offer(letter_id, past)

    def _edit(self, letter_id: str, place: Place) -> None:
        found = self._past_of(letter_id)
        if found is not None:
            slot, past = found
            self.needed += past.edit is None
            past.edit = place
            self._looks_different(slot)

    def _park(self, letter_id: str, place: Place, *, parked: bool) -> None:
        found = self._past_of(letter_id)
        if found is not None:
            past = found[1]
            self.needed += past.park is None
            past.park = place
            past.is_restarted = past.is_restarted or not parked
            self._set_parked(letter_id, past, parked=parked)
            if not parked and past.token is None:
                past.available = 0.0
            self._offer(letter_id, past)

    def _set_parked(self, letter_id: str, past: Past, *, parked: bool) -> None:
        past.parked = parked
        if parked:
            self.parked[letter_id] = past
        else:
            self.parked.pop(letter_id, None)

    def _purge(self) -> None:
        empty = LetterIndex()  # a million letters are not forgotten one by one
        empty.lines, empty._orders = self.lines, self._orders
        vars(self).update(vars(empty))

    def _offer(self, letter_id: str, past: Past) -> None:
        past.is_fresh = False
        if past.parked:
            return
        heapq.heappush(self._again, (past.available, past.order, letter_id))
        self._tidy()

    def _tidy(self) -> None:
        """Sweep the lines when most of what stands in them is stale."""
        if len(self._fresh) + len(self._again) > 2 * len(self.letters) + _SPARE:
            self.line_up()
