"""The journal's file and its index, kept in step: reading on, repairing, writing, writing anew.

Like the file, only to be used under its lock.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from resilio._core import clock
from resilio.deadletters import lines
from resilio.deadletters.durable import sync, sync_directory, write_all
from resilio.deadletters.encoding import unwrapped
from resilio.deadletters.errors import NotOurFileError
from resilio.deadletters.events import (
    DamagedLineSetAside,
    DeadLetterEvent,
    JournalVanished,
    LettersImported,
    TornTailRepaired,
)
from resilio.deadletters.index import UNEVENTFUL, LetterIndex, Place
from resilio.deadletters.journal_file import PRIVATE, JournalFile, Sight
from resilio.deadletters.journal_import import keep_original, letters_of_array
from resilio.deadletters.journal_kind import Kind
from resilio.deadletters.journal_snapshot import read_snapshot
from resilio.deadletters.letter import DeadLetter, LetterStatus, moment
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from resilio.deadletters.index import Past
    from resilio.deadletters.journal_file import Damage

_MUCH: Final = 8 << 20  # bytes to read that others would wait for too long


class JournalLog:
    """A journal's file, and what its lines add up to.

    Attributes:
        file: The file.
        index: The letters in it.
        told: Events to emit once no lock is held any more.
        unsaved: How many lines were taken in since the index was last read from beside the journal, or saved there.
    """

    def __init__(self, path: str) -> None:
        self.file: JournalFile = JournalFile(path)
        self.index: LetterIndex = LetterIndex()
        self.told: list[DeadLetterEvent] = []
        self.unsaved: int = 0
        self._damaged: list[Damage] = []  # what was read without the lock and is still to be set aside
        self._is_ahead = False

    # -- reading on ----------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """See what the file has become, and tell whether that can be taken in without holding others up.

        Raises:
            OSError: The file cannot be read.
            DeadLetterQueueError: It cannot be opened, or is not ours.
        """
        file = self.file
        sight = file.refresh()
        if sight is Sight.OTHER:
            if file.vanished:
                self.told.append(JournalVanished(location=file.path, letters=len(self.index.letters)))
            self._begin_anew()
            if file.kind is Kind.ARRAY:
                self._import()
        is_little = file.size - file.end <= _MUCH or self._is_ahead
        if is_little and sight is Sight.HEIR:
            self._read_on()
            self._follow()
            return self.look()
        self._is_ahead = False
        return is_little

    def read_ahead(self) -> None:
        """Take in what `look` found too much, while others have the file. To be called without the lock."""
        if not self.file.end:
            found = read_snapshot(self.file)
            if found is not None:
                self.index, self.file.end, self.file.base = found
                self.unsaved = 0
        self._read_on()
        self._is_ahead = True

    def catch_up(self) -> None:
        """Take in what was appended since, by whomever, and repair what a dead writer left; after `look`.

        Raises:
            OSError: The file cannot be read or repaired.
        """
        file = self.file
        if file.size > file.end:
            self._read_on()
            if file.size > file.end:
                self._repair_tail()
        if self._damaged:
            self._set_aside(self._damaged)
            self._damaged = []

    def forget(self) -> None:
        """Trust neither index nor kernel any more: the next `look` reads everything from the disk."""
        self.file.distrust()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.index = LetterIndex()
        self.unsaved = 0
        self._damaged = []

    def _follow(self) -> None:
        origin = self.file.follow()
        self.index.lines = origin.lines
        self.unsaved = origin.lines

    def _read_on(self) -> None:
        before, apply = self.index.lines, self.index.apply
        try:
            for place, found in self.file.new_lines():
                if lines.is_sealed(found):
                    apply(found, place)
                elif found and not found.isspace():
                    at = lines.sealed_part(found)
                    if at > 0:
                        apply(found[at:], place + at)
                    self._damaged.append((place, found[:at] if at > 0 else found, at > 0))
        except LookupError as error:
            msg = f"{self.file.path} was written by a later release: {error.args[0]}"
            raise NotOurFileError(msg, location=self.file.path) from error
        self.unsaved += self.index.lines - before

    # -- looking at letters --------------------------------------------------------------------------------------------

    def load(self, letter_id: str) -> DeadLetter | None:
        """Read a letter that is in the index; None if its line has been damaged since, which is then set aside."""
        index = self.index
        slot = index.letters[letter_id]
        found = self.sealed(index.place(slot))
        try:
            letter = None if found is None else DeadLetter.from_dict(lines.parse(found)["letter"])
        except ValueError:
            letter = None
        if letter is None:
            index.drop([letter_id])
            return None
        past = index.pasts.get(slot, UNEVENTFUL)
        return replace(letter, status=status_of(past, clock.utcnow()), **self._changes(past))

    def _changes(self, past: Past) -> dict[str, Any]:
        """What is otherwise than in the letter's own line."""
        changes: dict[str, Any] = {}
        attempt = None if past.attempt is None else self.sealed(past.attempt)
        if attempt is not None:
            keys = lines.parse(attempt)
            changes["attempts"] = keys["attempts"]
            changes["error_info"] = unwrapped(keys["error_info"])
            changes["last_failed_at"] = moment(keys["last_failed_at"])
            if "history" in keys:
                changes["history"] = tuple(unwrapped(keys["history"]))
        if past.is_restarted:
            changes["attempts"] = 0
        edit = None if past.edit is None else self.sealed(past.edit)
        if edit is not None:
            changes["message"] = unwrapped(lines.parse(edit)["message"])
        return changes

    def means(self, where: LetterFilter, letter_id: str) -> bool:
        """Tell whether ``where`` means a letter that is in the index; reads it only if that takes more than the index.

        A letter that turns out to be damaged is not meant, and not in the index any more.
        """
        index = self.index
        slot = index.letters[letter_id]
        if not self._may_mean(where, slot):
            return False
        if where.error is None and where.text is None:
            return True
        rest = LetterFilter(error=where.error, text=where.text)
        misses = index.misses(rest)
        if misses[slot]:
            return False
        letter = self.load(letter_id)
        is_meant = letter is not None and rest.matches(letter)
        misses[slot] = not is_meant
        return is_meant

    def _may_mean(self, where: LetterFilter, slot: int) -> bool:
        """Tell whether a letter is meant, as far as the index knows."""
        index = self.index
        failed = index.columns.failed[slot]
        return (
            (where.group is None or index.group(slot) == where.group)
            and (where.since is None or failed >= where.since.timestamp())
            and (where.until is None or failed < where.until.timestamp())
            and (where.status is None or status_of(index.pasts.get(slot, UNEVENTFUL), clock.utcnow()) is where.status)
        )

    def sealed(self, place: Place) -> bytes | None:
        """The line at a place; None if it is damaged, and set aside. To be called under the lock."""
        found = self.file.read(*place)
        if lines.is_sealed(found):
            return found
        if not found.isspace():  # else somebody else has set it aside
            self._set_aside([(place.offset, found, False)])
        return None

    # -- repairing -----------------------------------------------------------------------------------------------------

    def _repair_tail(self) -> None:
        file = self.file
        tail = file.torn_tail()
        if lines.is_sealed(tail) or lines.sealed_part(tail) > 0:
            file.end_tail()
            self._read_on()
            self.told.append(TornTailRepaired(location=file.path, length=0))
        else:
            file.cut_tail()
            self.told.append(TornTailRepaired(location=file.path, length=len(tail)))

    def _set_aside(self, damaged: Sequence[Damage]) -> None:
        """Keep damaged lines in a file of their own, then blank them, so that they are told of once."""
        kept_in = f"{self.file.path}.damaged"
        try:
            fd = os.open(kept_in, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE)
            try:
                write_all(fd, b"".join(contents + b"\n" for _, contents, _ in damaged))
                sync(fd)
            finally:
                os.close(fd)
            sync_directory(kept_in)
            self.file.blank(damaged)
        except OSError:
            kept_in = ""  # it stays where it is, the event says so, and the letters around it are none the worse
        for place, contents, _ in damaged:
            offset = max(place - self.file.base, 0)
            self.told.append(
                DamagedLineSetAside(location=self.file.path, offset=offset, length=len(contents), kept_in=kept_in)
            )

    def _import(self) -> None:
        file = self.file
        letters = letters_of_array(file.read(0, file.size), file.path, clock.utcnow())
        original = keep_original(file.path)

        def write(fd: int) -> None:
            write_all(fd, lines.HEADER)
            for key, body in letters:
                write_all(fd, lines.put_line(body, key))

        file.replace(write, mode=PRIVATE)
        file.refresh()  # its first line names no origin: it is another file, to be read
        self.told.append(LettersImported(location=file.path, count=len(letters), original=original))

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, new: Sequence[bytes]) -> None:
        """Append whole lines and take them in; they are not durable before ``file.make_durable()``.

        Raises:
            OSError: None was written or taken in.
        """
        file = self.file
        place = file.base + file.end
        file.append(b"".join(new))
        for each in new:
            self.index.apply(each[:-1], place)
            place += len(each)
        self.unsaved += len(new)

    def write_letters(self, new: Collection[NewLetter]) -> None:
        """The same for lines that put letters.

        Raises:
            OSError: None was written or taken in.
        """
        file, put = self.file, self.index.put
        place = file.base + file.end
        file.append(b"".join([each.line for each in new]))
        for line, (letter_id, group, failed_at, key) in new:
            put(letter_id, place, len(line) - 1, group, failed_at, key)
            place += len(line)
        self.unsaved += len(new)


class NewLetter(NamedTuple):
    """The line that puts a letter, and what the index is to know of it."""

    line: bytes
    put: lines.Put


def status_of(past: Past, now: datetime) -> LetterStatus:
    """What a letter with this past is waiting for at a certain time."""
    if past.token is not None and past.available > now.timestamp():
        return LetterStatus.CLAIMED
    return LetterStatus.PARKED if past.parked else LetterStatus.WAITING
