"""Letters as rows: keeping them, finding who is next, reading them back, writing down what became of them.

Within the transaction of whoever calls, which is alone with the database then.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from resilio._core import clock
from resilio.deadletters import sqlite_schema as schema
from resilio.deadletters.encoding import dump, may_hold, unwrapped, with_message
from resilio.deadletters.letter import DeadLetter, LetterBody, LetterStatus, attempt_line, longer, moment
from resilio.deadletters.sqlite_schema import AGAIN, FRESH, GIVEN_BACK, text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.store import Add, Book

_COLUMNS: Final = "seq, id, line, attempts, parked, token, available, crc, body, attempt"
_ADD: Final = (
    "INSERT OR IGNORE INTO letters (seq, place, id, grp, error_type, first_failed_at, last_failed_at, attempts, "
    "deduplication_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MANY: Final = 10_000
_AT_ONCE: Final = 500  # rows that one look takes, so that no look keeps the log from being carried over for long


class Row(NamedTuple):
    """One letter, as it lies in the database."""

    seq: int
    id: str
    line: int
    attempts: int
    parked: int
    token: str | None
    available: float
    crc: int
    body: bytes
    attempt: bytes | None

    @property
    def is_whole(self) -> bool:
        """Whether its contents are what was written; somebody with a shell may even have made a text of them."""
        is_bytes = isinstance(self.body, bytes) and isinstance(self.attempt, bytes | None)
        return is_bytes and self.crc == _crc(self.body, self.attempt)

    def status(self, now: float) -> LetterStatus:
        """What it is waiting for."""
        if self.token is not None and self.available > now:
            return LetterStatus.CLAIMED
        return LetterStatus.PARKED if self.parked else LetterStatus.WAITING

    def letter(self, status: LetterStatus) -> DeadLetter | None:
        """The letter; None if it is damaged."""
        if not self.is_whole:
            return None
        try:
            data = json.loads(self.body)
            if self.attempt is not None:
                data.update(json.loads(self.attempt))
            data["attempts"] = self.attempts
            data["status"] = status
            return DeadLetter.from_dict(data)
        except (ValueError, TypeError, AttributeError, RecursionError):  # nobody who sealed it wrote a letter
            return None


def rows(connection: sqlite3.Connection, conditions: str, values: Sequence[Any] = (), index: str = "") -> Iterator[Row]:
    """The letters that fulfil ``conditions``, with their contents, which are looked up last."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM letters {index} CROSS JOIN contents USING (seq) WHERE {conditions}",  # noqa: S608 -- ours
        values,
    )
    return map(Row._make, found)


def row_of(connection: sqlite3.Connection, letter_id: str) -> Row | None:
    """One letter."""
    return next(rows(connection, "id = ?", [text(letter_id)]), None)


def row_at(connection: sqlite3.Connection, seq: int) -> Row | None:
    """The same by its place in the table."""
    return next(rows(connection, "seq = ?", [seq]), None)


def total(connection: sqlite3.Connection) -> int:
    """How many letters there are."""
    [count] = connection.execute("SELECT coalesce(sum(letters), 0) FROM counts").fetchone()
    return int(count)


def page(
    connection: sqlite3.Connection, limit: int, after: str | None, where: LetterFilter
) -> Iterator[tuple[Row, DeadLetter | None]]:
    """Up to ``limit`` letters that ``where`` means, in the order in which they came, and those that are damaged."""
    now = clock.utcnow()
    wanted, values = schema.conditions(where, now)
    indexes = schema.looking_indexes(where)
    if where.since is not None and "time" in indexes[0][0] and _are_many(connection, where.since):
        indexes = [("", "1")]  # sorting them all for one page takes longer than passing over those before
    start = 0
    if after is not None:
        known = connection.execute("SELECT seq FROM letters WHERE id = ?", [text(after)]).fetchone()
        if known is not None:
            [start] = known
        else:  # it is gone meanwhile; ids sort by time
            wanted += " AND id > ?"
            values.append(text(after))
    needle = None if where.text is None else where.text.casefold()
    count = 0
    while count < limit:
        at_once = _AT_ONCE if needle is not None else min(limit - count, _AT_ONCE)
        seen = 0
        found = [
            rows(connection, f"seq > ? AND {condition}{wanted} ORDER BY seq LIMIT ?", [start, *values, at_once], index)
            for index, condition in indexes
        ]
        for row in islice(heapq.merge(*found), at_once):  # no two have the same seq, so that no more is compared
            seen += 1
            start = row.seq
            if needle is not None and not _may_hold(row, needle):
                continue
            letter = row.letter(row.status(now.timestamp()))
            if letter is None:
                yield row, None
            elif needle is None or where.matches(letter):
                count += 1
                yield row, letter
                if count == limit:
                    return
        if seen < at_once:
            return


def _are_many(connection: sqlite3.Connection, since: datetime) -> bool:
    found = connection.execute(
        "SELECT 1 FROM letters INDEXED BY letters_by_time WHERE last_failed_at >= ? LIMIT 1 OFFSET ?",
        [since.timestamp(), _MANY],
    )
    return found.fetchone() is not None


def _may_hold(row: Row, needle: str) -> bool:
    """Rule out, without parsing it, most of what does not hold a text: a million letters are looked through so."""
    if not isinstance(row.body, bytes) or not isinstance(row.attempt, bytes | None):
        return True
    return may_hold(row.body, needle) or (row.attempt is not None and may_hold(row.attempt, needle))


# -- coming ------------------------------------------------------------------------------------------------------------


def add(connection: sqlite3.Connection, letters: Sequence[Add]) -> list[str | Exception]:
    """Keep letters; give for each the id under which it is kept, or why its body is none."""
    [last] = connection.execute("SELECT max(fresh, (SELECT coalesce(max(seq), 0) FROM letters)) FROM places").fetchone()
    outcomes: list[str | Exception] = []
    new: list[tuple[Any, ...]] = []
    contents: list[tuple[int, int, bytes]] = []
    keys: dict[str, str] = {}
    seq = last
    for letter_id, body, key in letters:
        if key is not None:
            kept = _known(connection, letter_id) or keys.get(key) or _with_key(connection, key)
            if kept is not None:
                outcomes.append(kept)
                continue
        try:
            group, error_type, first, at, attempts = _filed(body)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            outcomes.append(ValueError(f"{letter_id}: not a dead letter: {error!r}"))
            continue
        if key is not None:
            keys[key] = letter_id
        seq += 1
        new.append(
            (seq, seq, text(letter_id), group, error_type, first, at, attempts, None if key is None else text(key))
        )
        raw = bytes(body)
        contents.append((seq, crc32(raw), raw))
        outcomes.append(letter_id)
    count = connection.executemany(_ADD, new).rowcount if new else 0
    if count != len(new):  # some are there already
        found = {seq for (seq,) in connection.execute("SELECT seq FROM letters WHERE seq > ?", [last])}
        new = [each for each in new if each[0] in found]
        contents = [each for each in contents if each[0] in found]
    connection.executemany("INSERT INTO contents (seq, crc, body) VALUES (?, ?, ?)", contents)
    connection.executemany(
        "INSERT INTO counts VALUES (?, ?) ON CONFLICT (grp) DO UPDATE SET letters = letters + excluded.letters",
        Counter([each[3] for each in new]).items(),
    )
    return outcomes


def _known(connection: sqlite3.Connection, letter_id: str) -> str | None:
    found = connection.execute("SELECT 1 FROM letters WHERE id = ?", [text(letter_id)]).fetchone()
    return None if found is None else letter_id


def _with_key(connection: sqlite3.Connection, key: str) -> str | None:
    found = connection.execute("SELECT id FROM letters WHERE deduplication_key = ?", [text(key)]).fetchone()
    return None if found is None else id_of(found[0])


def _filed(body: bytes) -> tuple[Any, ...]:
    """What a letter is filed under: group, error, when it failed first and last, attempts."""
    if type(body) is LetterBody:
        at = body.failed_at.timestamp()
        return text(body.group), _error_type(body.error_type), at, at, 0
    data = json.loads(body)
    error_info = unwrapped(data["error_info"])
    return (
        text(unwrapped(data.get("group", ""))),
        _error_type(error_info.get("error_type")),
        moment(data["first_failed_at"]).timestamp(),
        moment(data["last_failed_at"]).timestamp(),
        int(data["attempts"]),
    )


def _error_type(found: object) -> str | bytes | None:
    return text(found) if isinstance(found, str) else None


def id_of(found: str | bytes) -> str:
    """An id as it was before `text`."""
    return found if isinstance(found, str) else found.decode("utf-8", "surrogatepass")


def _crc(body: bytes, attempt: bytes | None) -> int:
    return crc32(body) if attempt is None else crc32(attempt, crc32(body))


# -- being handed out --------------------------------------------------------------------------------------------------


def next_free(connection: sqlite3.Connection, limit: int, where: LetterFilter, now: datetime) -> Iterator[Row]:
    """Letters that may be handed out, in their order: ``limit`` of them, or more where ``where`` asks for a text."""
    if where.status not in {None, LetterStatus.WAITING}:
        return
    wanted, values = schema.conditions(where, now)
    needle = None if where.text is None else where.text.casefold()
    for index, condition in schema.lines_in_order(where):
        found = rows(
            connection,
            f"{condition % wanted} LIMIT ?",
            [now.timestamp(), *values, limit if needle is None else -1],
            index,
        )
        for row in found:
            if needle is None or _may_hold(row, needle):
                yield row


def claim(connection: sqlite3.Connection, these: Iterable[Row], token: str, until: datetime) -> None:
    """Hand letters out."""
    connection.executemany(
        "UPDATE letters SET token = ?, available = ?, line = ? WHERE seq = ?",
        [(token, until.timestamp(), AGAIN, row.seq) for row in these],
    )


def pass_fresh(connection: sqlite3.Connection, rows: Sequence[Row], limit: int) -> None:
    """Remember how far the line of fresh letters is handed out, after a claim that took whichever were next."""
    fresh = [row.seq for row in rows if row.line == FRESH]
    if len(rows) < limit or rows[-1].line == AGAIN:
        connection.execute("UPDATE places SET fresh = max(fresh, (SELECT coalesce(max(seq), 0) FROM letters))")
    elif fresh:
        connection.execute("UPDATE places SET fresh = max(fresh, ?)", [fresh[-1]])


def release(connection: sqlite3.Connection, token: str) -> None:
    """Give back what is claimed."""
    connection.execute("UPDATE letters SET token = NULL, line = ?, available = 0 WHERE token = ?", [GIVEN_BACK, token])


def extend(connection: sqlite3.Connection, token: str, until: datetime) -> bool:
    """Move the end of a claim, and tell whether anything is under it."""
    found = connection.execute("UPDATE letters SET available = ? WHERE token = ?", [until.timestamp(), token])
    return found.rowcount > 0


# -- changing and going ------------------------------------------------------------------------------------------------


def book(connection: sqlite3.Connection, failed: Book) -> int | None:
    """Write down a failed attempt."""
    row = row_of(connection, failed.letter_id)
    letter = None if row is None else row.letter(LetterStatus.WAITING)
    if row is None or letter is None:
        return None
    attempts = row.attempts + 1
    at = failed.failed_at
    attempt = dump(
        {
            "last_failed_at": at.isoformat(timespec="microseconds"),
            "error_info": failed.error_info,
            "history": longer(letter.history, attempt_line(attempts, at, failed.error_info)),
        }
    )
    connection.execute(
        "UPDATE contents SET attempt = ?, crc = ? WHERE seq = ?", [attempt, _crc(row.body, attempt), row.seq]
    )
    is_parked = failed.park_at is not None and attempts >= failed.park_at
    connection.execute(
        "UPDATE letters SET attempts = ?, parked = ?, last_failed_at = ?, error_type = ? WHERE seq = ?",
        [attempts, is_parked, at.timestamp(), _error_type(failed.error_info.get("error_type")), row.seq],
    )
    if row.token is None or row.token == failed.token:
        # It goes to the end: those that have waited longer are next.
        due = at if failed.not_before is None else failed.not_before
        connection.execute("UPDATE places SET last = last + 1")
        [place] = connection.execute("SELECT last FROM places").fetchone()
        connection.execute(
            "UPDATE letters SET token = NULL, line = ?, available = ?, place = ? WHERE seq = ?",
            [AGAIN, due.timestamp(), place, row.seq],
        )
    return attempts


def edit(connection: sqlite3.Connection, letter_id: str, message: object) -> bool:
    """Put another message into a letter."""
    row = row_of(connection, letter_id)
    if row is None or not row.is_whole:
        return False
    body = with_message(row.body, message)
    connection.execute("UPDATE contents SET body = ?, crc = ? WHERE seq = ?", [body, _crc(body, row.attempt), row.seq])
    return True


def park(connection: sqlite3.Connection, letter_id: str, *, is_parked: bool) -> bool:
    """Park a letter, or take it up again."""
    if is_parked:
        found = connection.execute("UPDATE letters SET parked = 1 WHERE id = ?", [text(letter_id)])
        return found.rowcount > 0
    found = connection.execute(
        "UPDATE letters SET parked = 0, attempts = 0, line = CASE WHEN token IS NULL THEN ? ELSE line END, "
        "available = CASE WHEN token IS NULL THEN 0 ELSE available END WHERE id = ?",
        [GIVEN_BACK, text(letter_id)],
    )
    return found.rowcount > 0


def remove(connection: sqlite3.Connection, letter_id: str) -> bool:
    """Delete a letter."""
    return connection.execute("DELETE FROM letters WHERE id = ?", [text(letter_id)]).rowcount > 0


def prune(connection: sqlite3.Connection, older_than: datetime | None, at_most: int | None) -> list[str]:
    """Delete what is past its time, parked letters first, each kind in the order in which it came."""
    free = "(token IS NULL OR available <= ?)"
    now = clock.utcnow().timestamp()
    past: list[tuple[int, str]] = []
    if older_than is not None:
        past += connection.execute(
            "SELECT seq, id FROM letters INDEXED BY letters_by_time "  # noqa: S608 -- our own words
            f"WHERE last_failed_at < ? AND {free} ORDER BY parked DESC, seq",
            [older_than.timestamp(), now],
        )
    delete(connection, past)
    if at_most is not None:
        beyond = total(connection) - at_most
        for condition, index in (("parked = 1", "INDEXED BY letters_kept_parked"), ("parked = 0", "NOT INDEXED")):
            if beyond > 0:
                found = connection.execute(
                    f"SELECT seq, id FROM letters {index} WHERE {condition} AND {free} ORDER BY seq LIMIT ?",  # noqa: S608
                    [now, beyond],
                ).fetchall()
                delete(connection, found)
                beyond -= len(found)
                past += found
    return [id_of(each) for _, each in past]


def delete(connection: sqlite3.Connection, these: Iterable[tuple[int, str]]) -> None:
    """Delete letters."""
    connection.executemany("DELETE FROM letters WHERE seq = ?", [(seq,) for seq, _ in these])


def purge(connection: sqlite3.Connection) -> int:
    """Delete every letter, and tell how many there were."""
    count = total(connection)
    # Without triggers SQLite empties a table at once. They come back with the same commit.
    connection.execute("DROP TRIGGER letters_gone")
    for table in ("letters", "contents", "counts"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- our own names
    connection.execute(schema.TRIGGER)
    return count


def set_aside(connection: sqlite3.Connection, damaged: Iterable[Row]) -> None:
    """Move letters that cannot be read any more to where only a person looks, as they are."""
    now = clock.utcnow().timestamp()
    for each in damaged:
        connection.execute(
            "INSERT INTO damaged SELECT seq, id, ?, crc, body, attempt FROM letters JOIN contents USING (seq) "
            "WHERE seq = ?",
            [now, each.seq],
        )
        connection.execute("DELETE FROM letters WHERE seq = ?", [each.seq])
