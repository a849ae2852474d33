"""What SQLite's errors mean for a queue of dead letters, and what to do about them."""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import Final

from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError

_PRIMARY: Final = 0xFF
_LIKE: Final = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def told(error: sqlite3.Error, path: str, doing: str, *, is_writing: bool = False) -> DeadLetterQueueError:
    """The error that a caller gets for one of SQLite's.

    Args:
        error: What SQLite said.
        path: The database.
        doing: What was tried: "open the dead letter database".
        is_writing: Whether letters are not kept, or removed, because of it.
    """
    code = _code(error)
    number = _LIKE.get(code)
    if code in _DAMAGED:
        msg = (
            f"cannot {doing} {path}: it is damaged ({error}). Nothing was deleted: stop what uses it, put it and "
            f"{path}-wal aside, and write what can be saved into a new one: sqlite3 ASIDE .recover | sqlite3 {path}"
        )
        return DeadLetterQueueError(msg, location=path)
    if code in _BUSY:
        reason = f"{error}: another process holds it; is a shell in a transaction there?"
    else:
        reason = str(error) if number is None else f"{os.strerror(number)} ({error})"
    if not is_writing:
        return DeadLetterQueueError(f"cannot {doing} {path}: {reason}", location=path)
    return LetterNotKeptError(f"cannot {doing} {path}: {reason}; nothing of it was kept", location=path)


def cause(error: sqlite3.Error) -> Exception:
    """SQLite's error as the operating system would have put it, where it says so."""
    number = _LIKE.get(_code(error))
    if number is None:
        return error
    like = OSError(number, os.strerror(number))
    like.__cause__ = error
    return like


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether somebody else held a lock for too long."""
    return _code(error) in _BUSY


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # Python's own complaints have none
    return code & _PRIMARY
