"""The local store for millions of letters: an SQLite database that several processes share.

It behaves as the journal does. A batch of operations is one transaction, and nothing is acknowledged before SQLite has
synced it to the disk. Opening reads nothing; claiming, acknowledging and searching by error, group or time go through
indexes, whatever the backlog. Blocking: the queue calls it in worker threads.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from resilio._core import clock, events
from resilio.deadletters import sqlite_letters as letters
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError
from resilio.deadletters.events import DamagedLineSetAside, JournalVanished
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.sqlite_database import Database
from resilio.deadletters.sqlite_trouble import cause, told
from resilio.deadletters.store import (
    Add,
    Book,
    Claim,
    ClaimNext,
    ClaimOne,
    DeadLetterStats,
    Edit,
    Extend,
    Park,
    Prune,
    Purge,
    Release,
    Remove,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.sqlite_letters import Row
    from resilio.deadletters.store import Operation, Outcome

__all__ = ("SqliteStore",)

# What is lost with the power when it is not synced: for these, nothing that anybody was promised.
_FLEETING: Final = (ClaimNext, ClaimOne, Release, Extend)
_MOST_GROUPS: Final = 100


class SqliteStore:
    """A `BlockingStore` in an SQLite database.

        store = ThreadedStore(SqliteStore("letters.db"))

    Safe from any thread and across a fork; any number of them, in any number of processes, may have one file open. The
    file must lie on a disk of this machine: SQLite's locks do not reach over a network.

    Args:
        path: The file. It is made on first use, for its owner alone to read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location: str = os.path.realpath(path)
        self._database = Database(self.location, self._vanished)
        self._telling = threading.Lock()
        self._told: list[events.Event] = []
        self._aside: list[Row] = []  # moved in the present transaction

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do ``operations`` in order; return their outcomes once all that was promised is on the disk.

        Raises:
            LetterNotKeptError: The disk refused, or another process held the database for too long. None of them was
                done, and none is left half done.
            DeadLetterQueueError: The file cannot be opened, is damaged, or is not ours.
        """
        with self._events_told_after(), self._writing() as connection:
            is_fleeting = all(isinstance(each, _FLEETING) for each in operations)
            connection.execute(f"PRAGMA synchronous = {'NORMAL' if is_fleeting else 'FULL'}")
            connection.execute("BEGIN IMMEDIATE")
            self._aside.clear()
            outcomes = self._decide_all(connection, operations)
            connection.execute("COMMIT")
            self._tell_of_damage()
            return outcomes

    def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        with self._events_told_after():
            with self._reading() as connection:
                row = letters.row_of(connection, letter_id)
            if row is None:
                return None
            letter = row.letter(row.status(clock.utcnow().timestamp()))
            if letter is None:
                self._set_aside_alone([row])
            return letter

    def peek(self, limit: int, *, after: str | None, where: LetterFilter) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""
        with self._events_told_after():
            found: list[DeadLetter] = []
            damaged: list[Row] = []
            with self._reading() as connection:
                for row, letter in letters.page(connection, limit, after, where):
                    if letter is None:
                        damaged.append(row)
                    else:
                        found.append(letter)
            if damaged:
                self._set_aside_alone(damaged)
            return found

    def stats(self) -> DeadLetterStats:
        """What lies here."""
        with self._events_told_after(), self._reading() as connection:
            connection.execute("BEGIN")  # one moment for all of it
            now = clock.utcnow()
            total = letters.total(connection)
            [kept_parked] = connection.execute("SELECT count(*) FROM letters WHERE parked = 1").fetchone()
            [claimed, claimed_parked] = connection.execute(
                "SELECT count(*), coalesce(sum(parked), 0) FROM letters INDEXED BY letters_claimed "
                "WHERE token IS NOT NULL AND available > ?",
                [now.timestamp()],
            ).fetchone()
            oldest = connection.execute("SELECT first_failed_at FROM letters ORDER BY seq LIMIT 1").fetchone()
            groups = connection.execute(
                "SELECT grp, letters FROM counts WHERE grp <> '' ORDER BY letters DESC, grp LIMIT ?", [_MOST_GROUPS]
            ).fetchall()
            connection.execute("COMMIT")
        parked = kept_parked - claimed_parked
        since = None if oldest is None else datetime.fromtimestamp(oldest[0], UTC)
        return DeadLetterStats(
            total=total,
            waiting=total - claimed - parked,
            claimed=claimed,
            parked=parked,
            oldest_failed_at=since,
            oldest_age=None if since is None else (now - since).total_seconds(),
            bytes=self._database.bytes(),
            groups={letters.id_of(group): count for group, count in groups},
        )

    def close(self) -> None:
        """Let go of the file. The next call opens it again."""
        self._database.close()

    # -- sessions ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database.writing() as connection:
                yield connection
        except sqlite3.Error as error:
            raise told(error, self.location, "write to", is_writing=True) from cause(error)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database.reading() as connection:
                yield connection
        except sqlite3.Error as error:
            raise told(error, self.location, "read") from cause(error)

    @contextmanager
    def _events_told_after(self) -> Iterator[None]:
        """Emit what happened once no lock is held any more."""
        try:
            yield
        finally:
            with self._telling:
                happened, self._told = self._told, []
            if events.listeners:
                for each in happened:
                    events.emit(each)

    def _vanished(self, count: int) -> None:
        with self._telling:
            self._told.append(JournalVanished(location=self.location, letters=count))

    # -- operations ----------------------------------------------------------------------------------------------------

    def _decide_all(self, connection: sqlite3.Connection, operations: Sequence[Operation]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        new: list[Add] = []
        for operation in operations:
            if isinstance(operation, Add):
                new.append(operation)
                continue
            if new:  # all others look at what those before them have left
                outcomes += letters.add(connection, new)
                new.clear()
            outcomes.append(self._decide(connection, operation))
        if new:
            outcomes += letters.add(connection, new)
        return outcomes

    def _decide(self, connection: sqlite3.Connection, operation: Operation) -> Outcome:  # noqa: PLR0911 -- a table
        match operation:
            case ClaimNext():
                return self._claim_next(connection, operation)
            case ClaimOne():
                return self._claim_one(connection, operation)
            case Release(token):
                letters.release(connection, token)
                return None
            case Extend(token, seconds):
                until = clock.utcnow() + timedelta(seconds=seconds)
                return until if letters.extend(connection, token, until) else None
            case Remove(letter_id):
                return letters.remove(connection, letter_id)
            case Book():
                return letters.book(connection, operation)
            case Edit(letter_id, message):
                return letters.edit(connection, letter_id, message)
            case Park(letter_id, is_parked):
                return letters.park(connection, letter_id, is_parked=is_parked)
            case Prune(older_than, at_most):
                return letters.prune(connection, older_than, at_most)
            case Purge():
                return letters.purge(connection)
            case _:
                msg = f"unknown operation {operation!r}"
                raise TypeError(msg)

    def _claim_next(self, connection: sqlite3.Connection, wanted: ClaimNext) -> list[Claim]:
        limit, seconds, token, where = wanted
        now = clock.utcnow()
        until = now + timedelta(seconds=seconds)
        text = None if where.text is None else LetterFilter(text=where.text)  # the rest is asked of the database
        found: list[Claim] = []
        rows: list[Row] = []
        damaged: list[Row] = []
        for row in letters.next_free(connection, limit, where, now):
            if len(found) == limit:
                break
            letter = row.letter(LetterStatus.CLAIMED)
            if letter is None:
                damaged.append(row)
            elif text is None or text.matches(letter):
                rows.append(row)
                found.append(Claim(letter, token, until))
        letters.claim(connection, rows, token, until)
        if damaged:
            self._set_aside(connection, damaged)
            if len(found) < limit:
                return found + self._claim_next(connection, wanted._replace(limit=limit - len(found)))
        elif where.is_empty:
            letters.pass_fresh(connection, rows, limit)
        return found

    def _claim_one(self, connection: sqlite3.Connection, wanted: ClaimOne) -> Claim | Exception:
        letter_id, seconds, token, held = wanted
        row = letters.row_of(connection, letter_id)
        now = clock.utcnow()
        if row is not None:
            if row.token not in {None, held} and row.available > now.timestamp():
                until = datetime.fromtimestamp(row.available, UTC)
                return MessageClaimedError(
                    f"the letter {letter_id} is claimed until {until.isoformat()}",
                    message_id=letter_id,
                    until=until,
                    retry_after=row.available - now.timestamp(),
                    location=self.location,
                )
            letter = row.letter(LetterStatus.CLAIMED)
            if letter is not None:
                until = now + timedelta(seconds=seconds)
                letters.claim(connection, [row], token, until)
                return Claim(letter, token, until)
            self._set_aside(connection, [row])
        msg = f"there is no letter {letter_id} in {self.location}"
        return MessageNotFoundError(msg, message_id=letter_id, location=self.location)

    # -- damage --------------------------------------------------------------------------------------------------------

    def _set_aside(self, connection: sqlite3.Connection, damaged: Sequence[Row]) -> None:
        letters.set_aside(connection, damaged)
        self._aside += damaged

    def _set_aside_alone(self, damaged: Sequence[Row]) -> None:
        """What reading has found: if it cannot be moved now, it stays where it is and is found again."""
        with suppress(sqlite3.Error, DeadLetterQueueError), self._database.writing() as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._aside.clear()
            still = [row for row in (letters.row_at(connection, each.seq) for each in damaged) if row is not None]
            self._set_aside(connection, [row for row in still if row.letter(LetterStatus.WAITING) is None])
            connection.execute("COMMIT")
            self._tell_of_damage()

    def _tell_of_damage(self) -> None:
        kept_in = f"{self.location}, table damaged"
        with self._telling:
            self._told += [
                DamagedLineSetAside(location=self.location, offset=each.seq, length=len(each.body), kept_in=kept_in)
                for each in self._aside
            ]
