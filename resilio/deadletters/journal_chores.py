"""What a journal needs from time to time beside its letters' own work: when it is worth it, and a little at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import CompactionFailed, SnapshotFailed
from resilio.deadletters.journal_compaction import compact, move_over
from resilio.deadletters.journal_snapshot import save_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from resilio.deadletters.journal_log import JournalLog

    Chore = Callable[[JournalLog], Generator[None, None, bool]]

FEW_LINES: Final = 1000
"""Fewer dead lines than that are not worth writing a journal anew."""
SMALL: Final = 1000
"""A journal of at most so many letters, and
"""
SMALL_SIZE: Final = 4 << 20
"""at most so many bytes is written anew at once."""
LARGE: Final = 8 << 20
"""Bytes from which on a journal has a snapshot of its index beside it."""
MANY_LINES: Final = 10_000
"""So many lines that are not in the snapshot are worth another one when nobody wants anything else."""
BUSY_LINES: Final = 100_000
"""So many are while there is other work."""
_SHARE: Final = 8  # of so many letters one line is worth it, if that is more


class Chores:
    """Finds out what a journal needs, and does it. To be called by whoever is alone with the log.

    Args:
        log: The journal.
    """

    def __init__(self, log: JournalLog) -> None:
        self._log = log
        self._chore: Chore = compact
        self._job: Generator[None, None, bool] | None = None
        # What could not be done is put off until there are so many dead lines, or lines that are not in the snapshot.
        self._compact_from = 0
        self._save_from = 0

    def do_small_ones(self) -> None:
        """Under the lock: write a small journal anew if that is worth it, while everybody waits."""
        log = self._log
        if self._job is not None or len(log.index.letters) > SMALL or not self._is_worth_compacting():
            return
        parts = [log.index.place(slot).length for slot in log.index.letters.values()]
        if sum(parts) <= SMALL_SIZE:
            self._begin(compact)
            while self._goes_on():
                pass
            if log.file.has_former:
                self._begin(move_over)
                while self._goes_on():
                    pass

    def do_some(self, *, is_idle: bool) -> bool:
        """Do a little, and tell whether there is more to do just now."""
        if self._job is None:
            chore = self._due(is_idle=is_idle)
            if chore is None:
                return False
            self._begin(chore)
        return self._goes_on() or self._due(is_idle=is_idle) is not None

    def abandon(self) -> None:
        """Leave what was begun."""
        if self._job is not None:
            self._job.close()
            self._job = None

    def _due(self, *, is_idle: bool) -> Chore | None:
        log = self._log
        if log.file.has_former:
            return move_over
        if self._is_worth_compacting():
            return compact
        if log.file.end >= LARGE:
            share = max(MANY_LINES, len(log.index.letters) // _SHARE)
            enough = share if is_idle else max(BUSY_LINES, len(log.index.letters))
            if log.unsaved >= max(enough, self._save_from):
                return save_snapshot
        return None

    def _is_worth_compacting(self) -> bool:
        index = self._log.index
        dead = index.lines - index.needed
        return dead >= max(FEW_LINES, self._compact_from) and dead > index.needed

    def _begin(self, chore: Chore) -> None:
        self._chore, self._job = chore, chore(self._log)

    def _goes_on(self) -> bool:
        """Take a step, and tell whether there are more."""
        if self._job is None:
            return False
        try:
            next(self._job)
        except StopIteration as end:
            self._job = None
            self._put_off(0 if end.value else 1)
        except (OSError, DeadLetterQueueError) as error:
            # Nobody's letter depends on it. If it is the journal that is in trouble, the next to use it is told.
            self._job = None
            self._put_off(2)
            kind = SnapshotFailed if self._chore is save_snapshot else CompactionFailed
            self._log.told.append(kind(location=self._log.file.path, error=str(error)))
        except BaseException:
            self._job = None
            raise
        else:
            return True
        return False

    def _put_off(self, how_far: int) -> None:
        """Note that a chore was done (0), somebody else is at it (1), or the disk refuses (2)."""
        log = self._log
        if self._chore is compact:
            dead = log.index.lines - log.index.needed
            self._compact_from = (0, dead + FEW_LINES, 2 * dead)[how_far]
        elif self._chore is save_snapshot:
            self._save_from = (0, log.unsaved + MANY_LINES, 2 * log.unsaved + MANY_LINES)[how_far]
