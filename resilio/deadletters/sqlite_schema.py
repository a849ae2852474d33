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
    from datetime import datetime

    from resilio.deadletters.letter_filter import LetterFilter

APPLICATION: Final = 0x52_44_4C_51
"""What marks a database as ours, in its header: "RDLQ"."""

VERSION: Final = 1
"""The layout that this release writes and reads."""

BY_TIME: Final = "INDEXED BY letters_by_time"

GIVEN_BACK: Final = 0
FRESH: Final = 1
AGAIN: Final = 2

# The sums in `totals` and `counts` are kept with the letters, so that nobody has to count a million of them. Letters
# come in batches, whose writer adds them up; whatever deletes or parks one, a person with a shell included, is seen by
# a trigger.
TRIGGERS: Final = (
    """
    CREATE TRIGGER letters_gone AFTER DELETE ON letters BEGIN
        DELETE FROM contents WHERE seq = old.seq;
        UPDATE totals SET letters = letters - 1, parked = parked - old.parked;
        UPDATE counts SET letters = letters - 1 WHERE grp = old.grp;
        DELETE FROM counts WHERE grp = old.grp AND letters <= 0;
    END
    """,
    """
    CREATE TRIGGER letters_parked AFTER UPDATE OF parked ON letters WHEN new.parked <> old.parked BEGIN
        UPDATE totals SET parked = parked + new.parked - old.parked;
    END
    """,
)

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
    "CREATE TABLE totals (letters INTEGER NOT NULL, parked INTEGER NOT NULL, places INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0, 0)",
    # Contents that failed their checksum, set aside: nothing reads them but a person.
    "CREATE TABLE damaged (seq INTEGER, id TEXT, set_aside_at REAL, crc INTEGER, body BLOB, attempt BLOB)",
    "CREATE INDEX letters_next ON letters (line, available, place) WHERE parked = 0",
    "CREATE INDEX letters_next_of_group ON letters (grp, line, available, place) WHERE parked = 0",
    "CREATE INDEX letters_next_of_error ON letters (error_type, line, available, place) WHERE parked = 0",
    "CREATE INDEX letters_by_group ON letters (grp)",
    "CREATE INDEX letters_by_error ON letters (error_type)",
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


def looking_index(where: LetterFilter) -> str:
    """The index that finds letters in the order in which they came; none where most letters are meant."""
    if where.group is not None:
        name = "letters_by_group"
    elif where.error is not None:
        name = "letters_by_error"
    elif where.status is LetterStatus.PARKED:
        name = "letters_kept_parked"
    elif where.status is LetterStatus.CLAIMED:
        name = "letters_claimed"
    elif where.since is not None:
        return BY_TIME
    else:
        return ""
    return f"INDEXED BY {name}"


def claiming_index(where: LetterFilter) -> str:
    """The index that has the letters in the order in which they are handed out."""
    if where.group is not None:
        return "letters_next_of_group"
    return "letters_next" if where.error is None else "letters_next_of_error"
