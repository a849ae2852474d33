"""The local store: a journal of JSON lines that several processes share.

Nothing is acknowledged before it is on the disk. A batch of operations is decided under the lock, written as whole
lines, synced once, and only then told to its callers. What a dead writer left behind is repaired before anything is
appended. Blocking: the queue calls it in worker threads.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Final

from resilio._core import clock, events
from resilio.deadletters import lines
from resilio.deadletters.errors import (
    DeadLetterQueueError,
    LetterNotKeptError,
    MessageClaimedError,
    MessageNotFoundError,
)
from resilio.deadletters.journal_log import JournalLog, status_of
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.store import (
    Add,
    Book,
    Claim,
    ClaimNext,
    ClaimOne,
    DeadLetterStats,
    Purge,
    Release,
    Remove,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import Operation, Outcome

__all__ = ("Journal",)

# What is lost with the power when it is not synced: for these, nothing that anybody was promised.
_FLEETING: Final = (ClaimNext, ClaimOne, Release)


class Journal:
    """A `BlockingStore` on a file of JSON lines.

    Safe from any thread; any number of them, in any number of processes, may have one file open.

    Args:
        path: The file. It is made on first use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location: str = os.path.realpath(path)
        self._log = JournalLog(self.location)
        self._mutex = threading.Lock()

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do ``operations`` in order; return their outcomes once all that was promised is on the disk.

        Raises:
            LetterNotKeptError: The disk refused. None of them was done, and none is left half done.
            DeadLetterQueueError: The file cannot be opened, or is not ours.
        """
        with self._session() as log:
            start = log.file.end
            is_syncing = False
            try:
                outcomes = self._decide_all(log, operations)
                is_syncing = not all(isinstance(each, _FLEETING) for each in operations)
                if is_syncing:
                    log.file.make_durable()
            except OSError as error:
                # A refused append of letters leaves all as it was. Else the index may be ahead, or the disk behind.
                if is_syncing or log.file.end != start or not all(isinstance(each, Add) for each in operations):
                    log.file.cut_to(start)
                    log.forget()
                msg = f"cannot write to {self.location}: {error.strerror or error}; nothing of it was kept"
                raise LetterNotKeptError(msg, location=self.location) from error
            log.compact_if_worth_it()
            return outcomes

    def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        with self._session() as log:
            entry = log.index.letters.get(letter_id)
            return None if entry is None else log.load(letter_id, entry)

    def peek(self, limit: int, *, after: str | None = None, status: LetterStatus | None = None) -> list[DeadLetter]:
        """Letters in the order in which they came, without claiming them."""
        with self._session() as log:
            letters: Iterator[str] = iter(list(log.index.letters))
            if after in log.index.letters:
                letters = islice(dropwhile(lambda each: each != after, letters), 1, None)
            elif after is not None:  # it is gone meanwhile; ids sort by time
                letters = (each for each in letters if each > after)
            now = clock.utcnow()
            found: list[DeadLetter] = []
            for letter_id in letters:
                if len(found) == limit:
                    break
                entry = log.index.letters[letter_id]
                if status is None or status_of(entry, now) is status:
                    letter = log.load(letter_id, entry)
                    if letter is not None:
                        found.append(letter)
            return found

    def stats(self) -> DeadLetterStats:
        """What lies here."""
        with self._session() as log:
            now = clock.utcnow()
            total = len(log.index.letters)
            claimed = log.index.held_until(now.timestamp())
            parked = sum(status_of(each, now) is LetterStatus.PARKED for each in log.index.parked.values())
            first = next(iter(log.index.letters.items()), None)
            oldest = None if first is None else log.load(*first)
            since = None if oldest is None else oldest.first_failed_at
            return DeadLetterStats(
                total=total,
                waiting=total - claimed - parked,
                claimed=claimed,
                parked=parked,
                oldest_failed_at=since,
                oldest_age=None if since is None else (now - since).total_seconds(),
                bytes=log.file.end,
            )

    def close(self) -> None:
        """Let go of the files. The next call opens them again."""
        with self._mutex:
            self._log.forget()
            self._log.file.close()

    @contextmanager
    def _session(self) -> Iterator[JournalLog]:
        """Alone with the journal, and up to date with it."""
        told: list[events.Event] = []
        try:
            with self._mutex:
                log = self._log
                try:
                    with log.file.locked():
                        try:
                            log.catch_up()
                            yield log
                        except LetterNotKeptError:  # whoever raised it has put things right
                            raise
                        except BaseException:
                            log.forget()
                            raise
                except OSError as error:
                    msg = f"cannot read or repair {self.location}: {error.strerror or error}"
                    raise DeadLetterQueueError(msg, location=self.location) from error
                finally:
                    told.extend(log.told)
                    log.told.clear()
        finally:
            if events.listeners:
                for each in told:
                    events.emit(each)

    # -- operations ----------------------------------------------------------------------------------------------------

    def _decide_all(self, log: JournalLog, operations: Sequence[Operation]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        letters: list[tuple[str, bytes]] = []
        known = log.index.letters
        for operation in operations:
            if isinstance(operation, Add):
                if operation.letter_id not in known:
                    letters.append((operation.letter_id, lines.put_line(operation.body)))
                outcomes.append(None)
                continue
            if letters:  # all others look at what those before them have left
                log.write_letters(letters)
                letters.clear()
            new: list[bytes] = []
            outcomes.append(self._decide(log, operation, new))
            if new:
                log.write(new)
        if letters:
            log.write_letters(letters)
        return outcomes

    def _decide(self, log: JournalLog, operation: Operation, new: list[bytes]) -> Outcome:
        index = log.index
        match operation:
            case ClaimNext(limit, seconds, token):
                return self._claim(log, index.next_free(limit, clock.utcnow().timestamp()), seconds, token, new)
            case ClaimOne():
                return self._claim_one(log, operation, new)
            case Release(token):
                held = index.held_by(token)
                if held:
                    new.append(lines.line("release", ids=held, token=token))
                return None
            case Remove(letter_id):
                is_there = letter_id in index.letters
                if is_there:
                    new.append(lines.line("remove", ids=[letter_id]))
                return is_there
            case Book():
                return self._book(log, operation, new)
            case Purge():
                if index.letters:
                    new.append(lines.line("purge"))
                return len(index.letters)
            case _:
                msg = f"unknown operation {operation!r}"
                raise TypeError(msg)

    def _claim(
        self, log: JournalLog, letter_ids: Sequence[str], seconds: float, token: str, new: list[bytes]
    ) -> list[Claim]:
        until = clock.utcnow() + timedelta(seconds=seconds)
        letters = [log.load(each, log.index.letters[each]) for each in letter_ids]
        claims = [
            Claim(replace(letter, status=LetterStatus.CLAIMED), token, until)
            for letter in letters
            if letter is not None
        ]
        if claims:
            ids = [each.letter.id for each in claims]
            new.append(lines.line("claim", ids=ids, token=token, until=until.isoformat(timespec="microseconds")))
        return claims

    def _claim_one(self, log: JournalLog, wanted: ClaimOne, new: list[bytes]) -> Claim | Exception:
        letter_id = wanted.letter_id
        entry = log.index.letters.get(letter_id)
        now = clock.utcnow()
        if entry is not None:
            left = entry.available - now.timestamp()
            if entry.token not in (None, wanted.held) and left > 0:
                until = datetime.fromtimestamp(entry.available, UTC)
                return MessageClaimedError(
                    f"the letter {letter_id} is claimed until {until.isoformat()}",
                    message_id=letter_id,
                    until=until,
                    retry_after=left,
                    location=self.location,
                )
            claims = self._claim(log, [letter_id], wanted.seconds, wanted.token, new)
            if claims:
                return claims[0]
        msg = f"there is no letter {letter_id} in {self.location}"
        return MessageNotFoundError(msg, message_id=letter_id, location=self.location)

    def _book(self, log: JournalLog, failed: Book, new: list[bytes]) -> int | None:
        entry = log.index.letters.get(failed.letter_id)
        letter = None if entry is None else log.load(failed.letter_id, entry)
        if letter is None:
            return None
        attempts = letter.attempts + 1
        new.append(
            lines.line(
                "attempt",
                id=failed.letter_id,
                attempts=attempts,
                last_failed_at=failed.failed_at.isoformat(timespec="microseconds"),
                parked=failed.park_at is not None and attempts >= failed.park_at,
                token=failed.token,
                error_info=failed.error_info,
            )
        )
        return attempts
