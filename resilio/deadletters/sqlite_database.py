"""The SQLite file: made, recognised, opened, checked for being there still, and closed.

Two connections: one that writes, and one that reads without waiting for a write's fsync. Two habits of SQLite rule this
file. Closing any descriptor of a file gives up all of a process's locks on it, so that nothing but SQLite opens one
that exists. And a connection that crosses a fork takes its parent's locks for its own, so that all are closed before
one.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resilio.deadletters import sqlite_schema as schema
from resilio.deadletters.durable import sync_directory
from resilio.deadletters.errors import DeadLetterQueueError, NotOurFileError
from resilio.deadletters.file_lock import FileLock
from resilio.deadletters.sqlite_trouble import is_busy, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSY_TIMEOUT: Final = 30.0
"""Seconds for which a lock that another process holds is waited for."""

_PRIVATE: Final = 0o600
_SMALLEST: Final = 512  # bytes that any database has
_CHECKPOINT_PAGES: Final = 2000  # the log is carried over into the database when it has so many
_LARGEST_LOG: Final = 64 << 20  # bytes; past this a checkpoint waits for those who read
_KEPT_LOG: Final = 8 << 20
_PATIENCE_WITH_READERS: Final = 1.0

_opening = threading.Lock()  # a file that is being made has a descriptor that SQLite does not know of


class _Seat:
    """One connection, and the lock of whoever uses it."""

    __slots__ = ("connection", "identity", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.identity = (0, 0)  # of the file that it has open


class Database:
    """One file of dead letters, opened when needed. Safe from any thread, and across a fork.

    Args:
        path: The file, with symbolic links resolved.
        vanished: Called with how many letters there were when the file has lost its name while it was open.
    """

    def __init__(self, path: str, vanished: Callable[[int], None]) -> None:
        self.path = path
        self._vanished = vanished
        self._writing = _Seat()
        self._reading = _Seat()
        self._missed: tuple[int, int] | None = None
        self._enough_log = _LARGEST_LOG
        self._closer = weakref.finalize(self, _close_all, (self._writing, self._reading))
        with _registry:
            _databases.add(self)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Alone among this database's writers in this process, with a connection that is in no transaction.

        Raises:
            sqlite3.Error: From what is done inside. What was not committed is undone.
            NotOurFileError, DeadLetterQueueError: The file cannot be opened, or is not ours.
        """
        with self._seated(self._writing) as connection:
            yield connection
            self._bound_log(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The same for reading."""
        with self._seated(self._reading) as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        for seat in (self._writing, self._reading):
            with seat.lock:
                _close(seat)

    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(_size(f"{self.path}{ending}") for ending in ("", "-wal"))

    @contextmanager
    def _seated(self, seat: _Seat) -> Iterator[sqlite3.Connection]:
        with seat.lock:
            connection = self._connected(seat)
            try:
                yield connection
            except BaseException:
                # Whatever it was: what SQLite then thinks is in the file is not trusted any more.
                with suppress(sqlite3.Error):
                    connection.rollback()
                _close(seat)
                raise

    # -- opening -------------------------------------------------------------------------------------------------------

    def _connected(self, seat: _Seat) -> sqlite3.Connection:
        connection = seat.connection
        if connection is not None:
            if _identity(self.path) == seat.identity:
                return connection
            self._lose(seat, connection)
        try:
            with _opening:
                seat.connection, seat.identity = self._open()
        except sqlite3.Error as error:
            raise told(error, self.path, "open the dead letter database") from error
        except OSError as error:
            msg = f"cannot open the dead letter database {self.path}: {error.strerror or error}"
            raise DeadLetterQueueError(msg, location=self.path) from error
        return seat.connection

    def _lose(self, seat: _Seat, connection: sqlite3.Connection) -> None:
        """Somebody deleted or replaced the file: turn to the one that has the name now."""
        if self._missed != seat.identity:  # else the other connection has told of it
            self._missed = seat.identity
            try:
                [letters] = connection.execute("SELECT count(*) FROM letters").fetchone()
            except sqlite3.Error:
                letters = 0
            self._vanished(letters)
        _close(seat)

    def _open(self) -> tuple[sqlite3.Connection, tuple[int, int]]:
        self._look_before_opening()
        connection = sqlite3.connect(
            f"{Path(self.path).as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if self._is_new(connection):
                self._make(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS, whose fsync stops at the disk's cache
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_KEPT_LOG}")
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if not is_busy(error):  # somebody uses it as it was made, which is as safe and only slower
                    raise
            sync_directory(self.path)  # whoever made the file may have died before its name was durable
            identity = _identity(self.path)
        except BaseException:
            connection.close()
            raise
        if identity is None:
            connection.close()
            msg = f"{self.path} was deleted while it was opened"
            raise DeadLetterQueueError(msg, location=self.path)
        return connection, identity

    def _look_before_opening(self) -> None:
        """Make the file if there is none; refuse what SQLite would open in some other way than is wanted."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 -- as everywhere here, os takes the text as it is
        except FileNotFoundError:
            _create(self.path)
            return
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            msg = f"{self.path} is {kind}; choose a file for the dead letters"
            raise NotOurFileError(msg, location=self.path)
        if 0 < found.st_size < _SMALLEST and not _size(f"{self.path}-journal"):  # SQLite would take it for an empty one
            raise self._no_database()
        folder = str(Path(self.path).parent)
        if not os.access(self.path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not os.access(folder, os.W_OK | os.X_OK):
            msg = f"cannot write in {folder}: Permission denied; a database needs a directory it may write to"
            raise DeadLetterQueueError(msg, location=self.path)

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        try:
            [application] = connection.execute("PRAGMA application_id").fetchone()
            [version] = connection.execute("PRAGMA user_version").fetchone()
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 4")]
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise
            raise self._no_database() from error
        if application == schema.APPLICATION:
            if version > schema.VERSION:
                msg = f"{self.path} was written by a later release: its layout is {version}, not {schema.VERSION}"
                raise NotOurFileError(msg, location=self.path)
            return False
        if application or version or tables:
            what = f"with {', '.join(tables)}" if tables else f"marked {application:#x}, version {version}"
            msg = f"{self.path} is another program's database, {what}; it was left as it is, choose another file"
            raise NotOurFileError(msg, location=self.path)
        return True

    def _no_database(self) -> NotOurFileError:
        msg = (
            f"{self.path} is no SQLite database, or its beginning is damaged; it was left as it is, choose another file"
        )
        return NotOurFileError(msg, location=self.path)

    def _make(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            if self._is_new(connection):  # else somebody was faster
                for statement in (*schema.TABLES, schema.TRIGGER):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {schema.VERSION}")
                connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _bound_log(self, connection: sqlite3.Connection) -> None:
        """SQLite carries the log over by itself, but starts it anew only at a moment when nobody reads."""
        size = _size(f"{self.path}-wal")
        if size < self._enough_log:
            self._enough_log = _LARGEST_LOG
            return
        connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE_WITH_READERS * 1000)}")
        try:
            [is_blocked, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            is_blocked = True  # what was committed is safe in the log; it stays where it is
        self._enough_log = 2 * size if is_blocked else _LARGEST_LOG
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")

    # -- forking -------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close the file, and keep everybody from opening it."""
        for seat in (self._writing, self._reading):
            seat.lock.acquire()
            _close(seat)

    def after_fork(self) -> None:
        """Let everybody open it again."""
        for seat in (self._reading, self._writing):
            seat.lock.release()


def _create(path: str) -> None:
    """Make an empty file that only we can read."""
    lock = FileLock(f"{path}.lock")
    lock.acquire()
    try:
        if not Path(path).exists():
            # A database that was deleted left them. SQLite would take them for the new one's.
            with suppress(FileNotFoundError):
                Path(f"{path}-shm").unlink()
            with suppress(FileNotFoundError):
                Path(f"{path}-wal").rename(f"{path}-wal.orphaned")
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))
        Path(lock.path).unlink(missing_ok=True)
    finally:
        lock.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- on every use, and a Path costs more than the call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 -- on every commit
    except OSError:
        return 0


def _close(seat: _Seat) -> None:
    connection, seat.connection = seat.connection, None
    if connection is not None:
        with suppress(sqlite3.Error):  # of a file that has lost its name, SQLite leaves the log alone: it is another's
            connection.close()


def _close_all(seats: tuple[_Seat, ...]) -> None:
    for seat in seats:
        _close(seat)


# -- forking -----------------------------------------------------------------------------------------------------------

_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_registry = threading.Lock()  # held through a fork
_forking: list[Database] = []


def _before_fork() -> None:
    _registry.acquire()
    _forking.extend(_databases)
    for each in _forking:
        each.before_fork()


def _after_fork() -> None:
    for each in _forking:
        each.after_fork()
    _forking.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
