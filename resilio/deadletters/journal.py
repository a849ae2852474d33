"""The local store: a journal of JSON lines that several processes share.

Nothing is acknowledged before it is on the disk. A batch of operations is decided under the lock, written as whole
lines, synced once, and only then told to its callers. What a dead writer left behind is repaired before anything is
appended. Blocking: the queue calls it in worker threads.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Final

from resilio._core import clock, events
from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError
from resilio.deadletters.file_lock import require_locks
from resilio.deadletters.journal_chores import Chores
from resilio.deadletters.journal_log import JournalLog
from resilio.deadletters.journal_operations import perform
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.store import Add, ClaimNext, ClaimOne, DeadLetterStats, Extend, Release

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import Operation, Outcome

__all__ = ("Journal",)

# What is lost with the power when it is not synced: for these, nothing that anybody was promised.
_FLEETING: Final = (ClaimNext, ClaimOne, Release, Extend)
_AT_A_TIME: Final = 200  # letters to look at before others have their turn
_MOST_GROUPS: Final = 100


class Journal:
    """A `BlockingStore` on a file of JSON lines.

    Safe from any thread; any number of them, in any number of processes, may have one file open.

    Args:
        path: The file. It is made on first use.

    Raises:
        DeadLetterQueueError: This system has no ``flock``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location: str = os.path.realpath(path)
        require_locks(self.location)
        self._log = JournalLog(self.location)
        self._chores = Chores(self._log)
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
                outcomes = perform(log, operations)
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
            self._chores.do_small_ones()
            return outcomes

    def tidy(self, *, is_idle: bool) -> bool:
        """Do a little of what the journal needs from time to time, and tell whether there is more to do just now.

        Nobody waits for that but those who want the journal in the few milliseconds that it takes.

        Args:
            is_idle: Whether nobody wants anything else: then also what can wait for that is done.
        """
        with self._telling(), self._mutex:
            try:
                return self._chores.do_some(is_idle=is_idle)
            except BaseException:
                self._log.forget()
                raise

    def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        with self._session() as log:
            return log.load(letter_id) if letter_id in log.index.letters else None

    def peek(self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them.

        Others have their turn in between: a letter that comes or goes meanwhile may be among them or not.
        """
        found: list[DeadLetter] = []
        with self._session() as log:
            ids = _after(log.index.letters, after)
            first = list(islice(ids, _AT_A_TIME))
            rest = list(ids) if len(first) == _AT_A_TIME and (limit > _AT_A_TIME or not where.is_empty) else []
            self._look_at(log, first, limit, where, found)
        for start in range(0, len(rest), _AT_A_TIME):
            if len(found) == limit:
                break
            with self._session() as log:
                self._look_at(log, rest[start : start + _AT_A_TIME], limit, where, found)
        return found

    @staticmethod
    def _look_at(log: JournalLog, ids: Sequence[str], limit: int, where: LetterFilter, found: list[DeadLetter]) -> None:
        for letter_id in ids:
            if len(found) == limit:
                return
            if letter_id in log.index.letters and log.means(where, letter_id):
                letter = log.load(letter_id)
                if letter is not None:
                    found.append(letter)

    def stats(self) -> DeadLetterStats:
        """What lies here."""
        with self._session() as log:
            index, now = log.index, clock.utcnow()
            total = len(index.letters)
            claimed, of_them_parked = index.held_until(now.timestamp())
            parked = len(index.parked) - of_them_parked
            first = next(iter(index.letters), None)
            oldest = None if first is None else log.load(first)
            since = None if oldest is None else oldest.first_failed_at
            return DeadLetterStats(
                total=total,
                waiting=total - claimed - parked,
                claimed=claimed,
                parked=parked,
                oldest_failed_at=since,
                oldest_age=None if since is None else (now - since).total_seconds(),
                bytes=log.file.end,
                groups=index.groups.largest(_MOST_GROUPS),
            )

    def close(self) -> None:
        """Let go of the files, after what the journal needs from time to time. The next call opens them again."""
        while self.tidy(is_idle=True):
            pass
        with self._mutex:
            self._log.forget()
            self._log.file.close()

    @contextmanager
    def _session(self) -> Iterator[JournalLog]:
        """Alone with the journal, and up to date with it."""
        with self._telling(), self._mutex:
            log = self._log
            try:
                while True:
                    with log.file.locked():
                        try:
                            if log.look():
                                log.catch_up()
                                yield log
                                return
                        except LetterNotKeptError:  # whoever raised it has put things right
                            raise
                        except BaseException:
                            log.forget()
                            raise
                    log.read_ahead()
            except OSError as error:
                msg = f"cannot read or repair {self.location}: {error.strerror or error}"
                raise DeadLetterQueueError(msg, location=self.location) from error

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Emit what is to be told once nothing is locked any more."""
        try:
            yield
        finally:
            told, self._log.told = self._log.told, []
            if events.listeners:
                for each in told:
                    events.emit(each)


def _after(letters: dict[str, int], after: str | None) -> Iterator[str]:
    """The ids that come after that of ``after``."""
    if after is None:
        return iter(letters)
    if after in letters:
        return islice(dropwhile(after.__ne__, letters), 1, None)
    return (each for each in letters if each > after)  # it is gone meanwhile; ids sort by time
