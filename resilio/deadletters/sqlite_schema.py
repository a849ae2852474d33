"""What lies in a database of dead letters, and how a filter is asked of it.

A letter is two rows: a small one in ``letters``, which changes with every claim, and a large one in ``contents``, which
as a rule does not. To look by hand: ``sqlite3 FILE 'SELECT body FROM contents'``.

Letters that may be handed out stand in one of three lines: those that were given back, those that were never claimed
and never failed, and those that failed or whose claim ran out or runs. Within a line goes first what has been
``available`` longest, then what has the lowest ``place``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from resilio.deadletters.letter import LetterStatus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from resilio.deadletters.letter_filter import LetterFilter

APPLICATION: Final = 0x52_44_4C_51
"""What marks a database as ours, in its header: "RDLQ"."""

VERSION: Final = 1
"""The layout that this release writes and reads."""

_UNPASSED: Final = " AND seq > (SELECT fresh FROM places)"

GIVEN_BACK: Final = 0
FRESH: Final = 1
AGAIN: Final = 2

# `counts` is kept with the letters, so that nobody has to count a million of them. Letters come in batches, whose
# writer adds them up; whatever deletes one, a person with a shell included, is seen by a trigger.
TRIGGER: Final = """
    CREATE TRIGGER letters_gone AFTER DELETE ON letters BEGIN
        DELETE FROM contents WHERE seq = old.seq;
        UPDATE counts SET letters = letters - 1 WHERE grp = old.grp;
        DELETE FROM counts WHERE grp = old.grp AND letters <= 0;
    END
    """

TABLES: Final = (
    """
    CREATE TABLE letters (
        seq INTEGER PRIMARY KEY,           -- the order in which they came
        id TEXT NOT NULL UNIQUE,
        grp TEXT NOT NULL,
        error_type TEXT,
        first_failed_at REAL NOT NULL,     -- seconds since 1970, as are all times here
        last_failed_at REAL NOT NULL,
        attempts INTEGER NOT NULL,
        parked INTEGER NOT NULL DEFAULT 0,
        token TEXT,                        -- the claim that it is under; one that ran out stays until the next
        line INTEGER NOT NULL DEFAULT 1,
        available REAL NOT NULL DEFAULT 0, -- from when on it may be handed out; with a token, when the claim runs out
        place INTEGER NOT NULL,
        deduplication_key TEXT
    )
    """,
    """
    CREATE TABLE contents (
        seq INTEGER PRIMARY KEY,
        crc INTEGER NOT NULL,              -- CRC-32 of body and attempt
        body BLOB NOT NULL,                -- the letter as it came, as JSON
        attempt BLOB                       -- what its failed replays changed, as JSON
    )
    """,
    "CREATE TABLE counts (grp TEXT PRIMARY KEY, letters INTEGER NOT NULL) WITHOUT ROWID",
    # Letters that failed stand behind those that have not, whenever those came: that is `last`. No letter up to `fresh`
    # is in the line of those that were never handed out, so that they are found without an index.
    "CREATE TABLE places (last INTEGER NOT NULL, fresh INTEGER NOT NULL)",
    "INSERT INTO places VALUES (281474976710656, 0)",
    # Contents that failed their checksum, set aside: nothing reads them but a person.
    "CREATE TABLE damaged (seq INTEGER, id TEXT, set_aside_at REAL, crc INTEGER, body BLOB, attempt BLOB)",
    # A letter that comes goes into as few of these as will do: each is a page more to be written with its batch.
    "CREATE INDEX letters_next ON letters (line, available, place) WHERE parked = 0 AND line <> 1",
    "CREATE INDEX letters_fresh_by_group ON letters (grp) WHERE line = 1",
    "CREATE INDEX letters_fresh_by_error ON letters (error_type) WHERE line = 1",
    "CREATE INDEX letters_other_by_group ON letters (grp, parked, line, available, place) WHERE line <> 1",
    "CREATE INDEX letters_other_by_error ON letters (error_type, parked, line, available, place) WHERE line <> 1",
    "CREATE INDEX letters_by_time ON letters (last_failed_at)",
    "CREATE INDEX letters_by_token ON letters (token) WHERE token IS NOT NULL",
    "CREATE INDEX letters_claimed ON letters (available) WHERE token IS NOT NULL",
    "CREATE INDEX letters_kept_parked ON letters (parked) WHERE parked = 1",
    "CREATE UNIQUE INDEX letters_by_key ON letters (deduplication_key) WHERE deduplication_key IS NOT NULL",
)


def text(value: str) -> str | bytes:
    """A text as SQLite takes it: lone surrogates have no UTF-8, and go in as the bytes that they would be."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def conditions(where: LetterFilter, now: datetime) -> tuple[str, list[Any]]:
    """What a row must fulfil, but for ``where.text``, which only the letter itself can tell: SQL, and its values."""
    found: list[str] = []
    values: list[Any] = []

    def must(condition: str, *these: Any) -> None:
        found.append(f" AND {condition}")
        values.extend(these)

    if where.error is not None:
        must("error_type = ?", text(where.error))
    if where.group is not None:
        must("grp = ?", text(where.group))
    if where.since is not None:
        must("last_failed_at >= ?", where.since.timestamp())
    if where.until is not None:
        must("last_failed_at < ?", where.until.timestamp())
    match where.status:
        case LetterStatus.CLAIMED:
            must("token IS NOT NULL AND available > ?", now.timestamp())
        case LetterStatus.PARKED:
            must("parked = 1 AND (token IS NULL OR available <= ?)", now.timestamp())
        case LetterStatus.WAITING:
            must("parked = 0 AND (token IS NULL OR available <= ?)", now.timestamp())
        case _:
            pass
    return "".join(found), values


def looking_indexes(where: LetterFilter) -> list[tuple[str, str]]:
    """The indexes that find letters, in the order in which they came, and what holds for all in each.

    None where most letters are meant.
    """
    if where.group is not None or where.error is not None:
        column = "error" if where.group is None else "group"
        return [
            (f"INDEXED BY letters_fresh_by_{column}", f"line = {FRESH}"),
            (f"INDEXED BY letters_other_by_{column}", f"line <> {FRESH}"),
        ]
    match where.status:
        case LetterStatus.PARKED:
            return [("INDEXED BY letters_kept_parked", "parked = 1")]
        case LetterStatus.CLAIMED:
            return [("INDEXED BY letters_claimed", "token IS NOT NULL")]
        case _:
            return [("INDEXED BY letters_by_time" if where.since is not None else "", "1")]


def lines_in_order(where: LetterFilter) -> Iterator[tuple[str, str]]:
    """Who may be handed out next: each line, as the index to use and the condition and order of its letters."""
    column = None if where.group is None and where.error is None else "error" if where.group is None else "group"
    for line in (GIVEN_BACK, FRESH, AGAIN):
        condition = f"parked = 0 AND line = {line} AND available <= ?"
        if line == FRESH:
            index = "NOT INDEXED" if column is None else f"INDEXED BY letters_fresh_by_{column}"
            yield index, f"{condition}{_UNPASSED}%s ORDER BY seq"
        else:
            index = "INDEXED BY letters_next" if column is None else f"INDEXED BY letters_other_by_{column}"
            yield index, f"{condition} AND line <> {FRESH}%s ORDER BY available, place"
