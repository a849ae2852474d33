"""A file that is written beside the journal, a little at a time, and put into another's place once it is whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resilio.deadletters.durable import sync, write_all
from resilio.deadletters.file_lock import try_lock
from resilio.deadletters.journal_file import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_MUCH: Final = 1 << 20  # bytes to sync at a time: so that no fsync takes long, those of others included
_AT_ONCE: Final = 64 << 20  # bytes to cut off at a time


class Aside:
    """A file under a name of its own, locked: of several processes that have the same in mind only one does it.

    What a process that died has left of one is written over by the next.

    Attributes:
        size: How much was written.
    """

    __slots__ = ("_fd", "_path", "_unsynced", "size")

    def __init__(self, path: str, fd: int) -> None:
        self.size: int = 0
        self._path = path
        self._fd = fd
        self._unsynced = 0

    @classmethod
    def begin(cls, path: str, *, mode: int = PRIVATE) -> Self | None:
        """Begin one, which may have to be cleared; None if another process is at it.

        Raises:
            OSError: The disk refuses.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            if try_lock(fd, path):
                os.fchmod(fd, mode)
                return cls(path, fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def clear(self) -> Iterator[None]:
        """Cut off what is there already, a little with each step: a disk takes its time over a large file."""
        for size in range(os.fstat(self._fd).st_size - _AT_ONCE, 0, -_AT_ONCE):
            os.ftruncate(self._fd, size)
            yield
        os.ftruncate(self._fd, 0)

    def write(self, data: bytes | bytearray) -> None:
        """Write at the end."""
        write_all(self._fd, data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced > _MUCH:
            self.sync()

    def write_over(self, data: bytes, offset: int) -> None:
        """Write over what is there already."""
        os.lseek(self._fd, offset, os.SEEK_SET)
        write_all(self._fd, data)
        os.lseek(self._fd, 0, os.SEEK_END)

    def sync(self) -> None:
        """Return when all of it is on the disk."""
        sync(self._fd)
        self._unsynced = 0

    def put_in_place_of(self, path: str) -> None:
        """Give it its final name, which is not durable before its directory is."""
        Path(self._path).replace(path)
        self._path = ""

    def close(self) -> None:
        """Let go of it; without its final name it is deleted."""
        if self._path:
            with suppress(OSError):
                Path(self._path).unlink()
        with suppress(OSError):
            os.close(self._fd)
