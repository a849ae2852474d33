"""A lock that processes share, on a file of its own."""

from __future__ import annotations

import os

from resilio.deadletters.errors import DeadLetterQueueError

try:
    import fcntl
except ImportError:  # pragma: no cover -- Windows
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """An exclusive ``flock`` on a file that holds nothing, made if need be. Not for several threads at once.

    Two locks on one path exclude each other, in one process too; a process that dies gives its lock back.

    Args:
        path: The lock file.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path: str = path
        self._fd = -1

    def acquire(self) -> None:
        """Wait until nobody else has the lock, and take it.

        Raises:
            OSError: The file cannot be made or locked.
        """
        while True:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._has_its_name():
                return
            # Somebody deleted the lock file: a lock on a file without a name keeps nobody out.
            self.close()

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; the next `acquire` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _has_its_name(self) -> bool:
        return _has_name(self._fd, self.path)


def try_lock(fd: int, path: str) -> bool:
    """Lock an open file alone, unless another process has it locked, or it is not what ``path`` stands for any more.

    Closing it gives the lock back.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _has_name(fd, path)


def require_locks(path: str) -> None:
    """Say so where files cannot be locked.

    Raises:
        DeadLetterQueueError: This system has no ``flock``.
    """
    if fcntl is None:
        msg = (
            f"dead letters in {path}: a journal needs flock(2), which this system lacks; give the file the ending "
            ".db, and the letters are kept in SQLite"
        )
        raise DeadLetterQueueError(msg, location=path)


def _has_name(fd: int, path: str) -> bool:
    try:
        named = os.stat(path)  # noqa: PTH116 -- on every commit, and a Path costs more than the call
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))
