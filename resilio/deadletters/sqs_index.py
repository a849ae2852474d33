"""What this machine knows of the letters in a queue, in a local file: listing and searching then ask SQS nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.letter import DeadLetter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from resilio.deadletters.letter_filter import LetterFilter

__all__ = ("SqsIndex",)

_PAGE: Final = 500
_GROUPS: Final = 100
# It can be lost without losing a letter, so it never waits for the disk.
_TABLE: Final = """
    PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;
    CREATE TABLE IF NOT EXISTS letters (
        id TEXT PRIMARY KEY, revision INTEGER NOT NULL, grp TEXT NOT NULL, failed_at TEXT NOT NULL,
        status TEXT NOT NULL, size INTEGER NOT NULL, body TEXT NOT NULL
    ) WITHOUT ROWID;
"""


class SqsIndex:
    """Letters by id. Its methods block. Safe from any thread; several processes may share a file.

    It knows what went through the stores that have it: what they sent, saw, edited and deleted. Of what others do to
    the queue it hears only when such a letter is received.

    Args:
        path: The file, which is made on first use; ``":memory:"`` for one that ends with the process.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def put(self, letters: Sequence[tuple[DeadLetter, int]]) -> None:
        """Remember letters, each with its revision; older versions are passed over."""
        rows = []
        for letter, revision in letters:
            body = json.dumps(letter.to_dict())
            failed_at = letter.first_failed_at.isoformat()
            group = letter.group.encode("utf-8", "backslashreplace").decode()
            rows.append((letter.id, revision, group, failed_at, letter.status.value, len(body), body))
        self._change(
            "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET revision=excluded.revision, "
            "grp=excluded.grp, status=excluded.status, size=excluded.size, body=excluded.body "
            "WHERE excluded.revision >= letters.revision",
            rows,
        )

    def remove(self, letters: Sequence[tuple[str, int]]) -> None:
        """Forget letters, each up to a revision."""
        self._change("DELETE FROM letters WHERE id = ? AND revision <= ?", letters)

    def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        rows = self._ask("SELECT body FROM letters WHERE id = ?", letter_id)
        return _letter(rows[0][0]) if rows else None

    def peek(
        self, limit: int, *, after: str | None, where: LetterFilter, ours: Mapping[str, DeadLetter]
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, by their ids, which is the order in which they came.

        Of those in ``ours`` more is known: that is how they are now.
        """
        found: list[DeadLetter] = []
        for known in self._from(after):
            letter = ours.get(known.id, known)
            if where.matches(letter):
                found.append(letter)
                if len(found) == limit:
                    break
        return found

    def _from(self, after: str | None) -> Iterator[DeadLetter]:
        last = after or ""
        while True:
            rows = self._ask("SELECT id, body FROM letters WHERE id > ? ORDER BY id LIMIT ?", last, _PAGE)
            if not rows:
                return
            for _, body in rows:
                yield _letter(body)
            last = rows[-1][0]

    def summary(self) -> tuple[str | None, int, dict[str, int]]:
        """When the oldest letter failed first, how many bytes they take, and how many each group has."""
        ((oldest, size),) = self._ask("SELECT min(failed_at), coalesce(sum(size), 0) FROM letters")
        groups = self._ask("SELECT grp, count(*) AS n FROM letters GROUP BY grp ORDER BY n DESC, grp LIMIT ?", _GROUPS)
        return oldest, size, dict(groups)

    def close(self) -> None:
        """Let go of the file. The next call opens it again; what was only in memory is forgotten."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _change(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._lock:
            try:
                with self._opened() as connection:
                    connection.executemany(statement, rows)
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._opened().execute(question, values).fetchall()
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
            connection.executescript(_TABLE)
            self._connection = connection
        return self._connection

    def _unusable(self, error: sqlite3.Error) -> DeadLetterQueueError:
        msg = f"cannot use the index {self.path}: {error}; it holds no letters of its own, so it may be deleted"
        return DeadLetterQueueError(msg, location=str(self.path))


def _letter(body: str) -> DeadLetter:
    return DeadLetter.from_dict(json.loads(body))
