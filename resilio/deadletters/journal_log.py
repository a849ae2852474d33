"""The journal's file and its index, kept in step: reading on, repairing, writing, writing anew.

Like the file, only to be used under its lock.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio.deadletters import lines
from resilio.deadletters.durable import sync, sync_directory, write_all
from resilio.deadletters.encoding import unwrapped
from resilio.deadletters.errors import NotOurFileError
from resilio.deadletters.events import (
    CompactionFailed,
    DamagedLineSetAside,
    DeadLetterEvent,
    JournalCompacted,
    JournalVanished,
    LettersImported,
    TornTailRepaired,
)
from resilio.deadletters.index import LetterIndex
from resilio.deadletters.journal_file import PRIVATE, JournalFile
from resilio.deadletters.journal_import import keep_original, letters_of_array
from resilio.deadletters.journal_kind import Kind
from resilio.deadletters.letter import DeadLetter, LetterStatus, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.deadletters.index import Entry, Place

_FEW_LINES: Final = 1000  # fewer dead lines than that are not worth writing a journal anew
_BUFFER: Final = 1 << 20


class JournalLog:
    """A journal's file, and what its lines add up to.

    Attributes:
        file: The file.
        index: The letters in it.
        told: Events to emit once no lock is held any more.
    """

    def __init__(self, path: str) -> None:
        self.file: JournalFile = JournalFile(path)
        self.index: LetterIndex = LetterIndex()
        self.told: list[DeadLetterEvent] = []
        self._enough_dead = _FEW_LINES

    # -- reading on ----------------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Take in what was appended since, by whomever, and repair what a dead writer left.

        Raises:
            OSError: The file cannot be read or repaired.
            DeadLetterQueueError: It cannot be opened, or is not ours.
        """
        file = self.file
        if file.refresh():
            if file.vanished:
                self.told.append(JournalVanished(location=file.path, letters=len(self.index.letters)))
            self.index = LetterIndex()
            if file.kind is Kind.ARRAY:
                self._import()
        if file.size > file.end:
            self._read_on()
            if file.size > file.end:
                self._repair_tail()

    def forget(self) -> None:
        """Trust neither index nor kernel any more: the next `catch_up` reads everything from the disk."""
        self.file.distrust()
        self.index = LetterIndex()

    def load(self, letter_id: str, entry: Entry) -> DeadLetter | None:
        """Read a letter; None if its line has been damaged since, which is then set aside."""
        found = self._sealed(entry.put)
        try:
            letter = None if found is None else DeadLetter.from_dict(lines.parse(found)["letter"])
        except ValueError:
            letter = None
        if letter is None:
            self.index.drop([letter_id])
            return None
        if entry.attempt is not None:
            found = self._sealed(entry.attempt)
            if found is not None:
                keys = lines.parse(found)
                letter = replace(
                    letter,
                    attempts=keys["attempts"],
                    error_info=unwrapped(keys["error_info"]),
                    last_failed_at=moment(keys["last_failed_at"]),
                )
        return replace(letter, status=status_of(entry, clock.utcnow()))

    def _read_on(self) -> None:
        damaged: list[tuple[int, bytes, bool]] = []
        for offset, found in self.file.new_lines():
            if lines.is_sealed(found):
                self._apply(found, offset)
            elif found and not found.isspace():
                at = lines.sealed_part(found)
                if at > 0:
                    self._apply(found[at:], offset + at)
                damaged.append((offset, found[:at] if at > 0 else found, at > 0))
        if damaged:
            self._set_aside(damaged)

    def _apply(self, found: bytes, offset: int) -> None:
        try:
            self.index.apply(found, offset)
        except LookupError as error:
            msg = f"{self.file.path} was written by a later release: {error.args[0]}"
            raise NotOurFileError(msg, location=self.file.path) from error

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

    def _sealed(self, place: Place) -> bytes | None:
        found = self.file.read(*place)
        if lines.is_sealed(found):
            return found
        if not found.isspace():  # else somebody else has set it aside
            self._set_aside([(place.offset, found, False)])
        return None

    def _set_aside(self, damaged: Sequence[tuple[int, bytes, bool]]) -> None:
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
        for offset, contents, _ in damaged:
            self.told.append(
                DamagedLineSetAside(location=self.file.path, offset=offset, length=len(contents), kept_in=kept_in)
            )

    def _import(self) -> None:
        file = self.file
        letters = letters_of_array(file.read(0, file.size), file.path, clock.utcnow())
        original = keep_original(file.path)

        def write(fd: int) -> None:
            write_all(fd, lines.HEADER)
            for _, body in letters:
                write_all(fd, lines.put_line(body))

        file.replace(write, mode=PRIVATE)
        file.refresh()
        self.told.append(LettersImported(location=file.path, count=len(letters), original=original))

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, new: Sequence[bytes]) -> None:
        """Append whole lines and take them in; they are not durable before ``file.make_durable()``.

        Raises:
            OSError: None was written or taken in.
        """
        offset = self.file.end
        self.file.append(b"".join(new))
        for each in new:
            self.index.apply(each[:-1], offset)
            offset += len(each)

    def write_letters(self, new: Sequence[tuple[str, bytes]]) -> None:
        """The same for lines that put letters, with their ids.

        Raises:
            OSError: None was written or taken in.
        """
        offset = self.file.end
        self.file.append(b"".join([each for _, each in new]))
        for letter_id, each in new:
            self.index.put(letter_id, offset, len(each) - 1)
            offset += len(each)

    def compact_if_worth_it(self) -> None:
        """Write the journal anew if most of its lines are dead.

        If the disk refuses, the journal goes on as it is, and it is tried again later.
        """
        dead = self.index.lines - self.index.needed
        if dead < self._enough_dead or dead <= self.index.needed:
            return
        before = self.file.end
        try:
            self._compact()
        except OSError as error:
            self._enough_dead = 2 * dead
            self.forget()
            self.told.append(CompactionFailed(location=self.file.path, error=str(error)))
        else:
            self._enough_dead = _FEW_LINES
            self.told.append(JournalCompacted(location=self.file.path, before=before, after=self.file.end))

    def _compact(self) -> None:
        now = clock.utcnow().timestamp()
        fresh = LetterIndex()
        end = len(lines.HEADER)

        def write(fd: int) -> None:
            nonlocal end
            buffer = bytearray(lines.HEADER)
            for letter_id, entry in list(self.index.letters.items()):
                for each in self._lines_of(letter_id, entry, now):
                    fresh.apply(each, end)
                    buffer += each
                    buffer += b"\n"
                    end += len(each) + 1
                if len(buffer) > _BUFFER:
                    write_all(fd, buffer)
                    buffer.clear()
            write_all(fd, buffer)

        self.file.replace(write)
        self.file.refresh()
        self.file.end = end
        self.index = fresh

    def _lines_of(self, letter_id: str, entry: Entry, now: float) -> list[bytes]:
        put = self._sealed(entry.put)
        if put is None:
            return []
        found = [put]
        attempt = None if entry.attempt is None else self._sealed(entry.attempt)
        if attempt is not None:
            found.append(attempt)
        if entry.token is not None and entry.available > now:
            until = datetime.fromtimestamp(entry.available, UTC).isoformat()
            found.append(lines.line("claim", ids=[letter_id], token=entry.token, until=until)[:-1])
        return found


def status_of(entry: Entry, now: datetime) -> LetterStatus:
    """What a letter is waiting for at a certain time."""
    if entry.token is not None and entry.available > now.timestamp():
        return LetterStatus.CLAIMED
    return LetterStatus.PARKED if entry.parked else LetterStatus.WAITING
