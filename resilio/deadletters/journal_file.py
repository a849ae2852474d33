"""The journal's file: locked, appended to whole lines at a time, read on from where one was, never trusted blindly.

Everything here happens under an exclusive ``flock`` on ``<path>.lock``, so that whatever the file ends with belongs to
a finished writer or to a dead one. The lock file, not the journal, is locked, because compaction replaces the journal.

A file that was written anew names the one that it took the place of. Whoever had that one open goes on in the new file
where the old one ended, and keeps the old one open for as long as letters are known to lie there: places in the file
are counted on across files.
"""

from __future__ import annotations

import os
import stat
import threading
from bisect import bisect_right
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from resilio.deadletters import lines
from resilio.deadletters.durable import sync, sync_directory, write_all
from resilio.deadletters.errors import DeadLetterQueueError, NotOurFileError
from resilio.deadletters.file_lock import FileLock
from resilio.deadletters.journal_kind import Kind, Origin, origin_of, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CHUNK: Final = 4 << 20
_LARGE: Final = 64 << 20
PRIVATE: Final = 0o600

Damage: TypeAlias = tuple[int, bytes, bool]
"""A damaged line: its place, its contents, and whether a line end must take the last byte's place."""


class Sight(Enum):
    """What `JournalFile.refresh` found under the path."""

    SAME = "the file that is open"
    HEIR = "a file that took its place; what is left in the old one comes first"
    OTHER = "another file, to be read from its beginning"


class Heir(NamedTuple):
    """The file that took this one's place."""

    fd: int
    identity: tuple[int, int]
    origin: Origin


class JournalFile:
    """One journal on disk. Only to be used within ``with file.locked():``, whose owner is alone with it.

    What is not beyond `size` may be read without the lock too: nobody changes that any more, but to blank a damaged
    line.

    Attributes:
        path: The file, with symbolic links resolved.
        base: The place of the open file's first byte. Places count on from one file to the one that takes its place.
        start: How long the open file was when it took the place of the one before, which is open still.
        end: How far the caller has read or written the open file; lines from here on are news.
        size: How much there was to read when `refresh` looked.
        kind: What the open file was found to be.
        vanished: Whether `refresh` found the name gone that the open file had had.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.base: int = 0
        self.start: int = 0
        self.end: int = 0
        self.size: int = 0
        self.kind: Kind = Kind.NEW
        self.vanished: bool = False
        self._fd = -1
        self._lock = FileLock(f"{path}.lock")
        self._locks = 0  # how many blocks of the owner's hold it
        self._heir: Heir | None = None
        self._former: list[tuple[int, int]] = []  # the bases and descriptors of files whose place others have taken
        self._identity = (0, 0)
        # A failed write that could not be cut off: the file, its size without, its size with it.
        self._unfinished: tuple[tuple[int, int], int, int] | None = None
        self._name_unsynced = False

    # -- opening and locking -------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the journal alone, in all processes. Blocks of one owner may lie within each other.

        Raises:
            NotOurFileError: The path is no journal.
            DeadLetterQueueError: The lock file cannot be made or locked.
        """
        if self._fd < 0:
            self._look_before_opening()
        if not self._locks:
            try:
                self._lock.acquire()
            except OSError as error:
                reason = error.strerror or error
                msg = f"cannot lock {self._lock.path}: {reason}; dead letters need a directory they may write to"
                raise DeadLetterQueueError(msg, location=self.path) from error
        self._locks += 1
        try:
            yield
        finally:
            self._locks -= 1
            if not self._locks:
                self._lock.release()

    def refresh(self) -> Sight:
        """Look what the path stands for now, and open it; an heir is opened by `follow`.

        Raises:
            NotOurFileError: It is no journal.
            DeadLetterQueueError: It cannot be opened.
        """
        self.vanished = False
        if self._fd >= 0:
            try:
                found = os.stat(self.path)  # noqa: PTH116 -- on every commit, and a Path costs more than the call
            except FileNotFoundError:
                self.vanished = True
            else:
                if (found.st_dev, found.st_ino) == self._identity:
                    if found.st_size >= self.end:
                        self._cut_unfinished(found.st_size)
                        self.size = found.st_size
                        return Sight.SAME
                elif self._finds_heir():
                    return Sight.HEIR
        self.close_file()
        self._open()
        self.size = os.fstat(self._fd).st_size
        return Sight.OTHER

    def _finds_heir(self) -> bool:
        """Tell whether the path stands for a file that took the open one's place, and open that aside."""
        self._forget_heir()
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return False
        origin = origin_of(fd)
        if origin is None or origin.inode != self._identity[1] or not self.end <= origin.until:
            os.close(fd)
            return False
        found = os.fstat(fd)
        self._heir = Heir(fd, (found.st_dev, found.st_ino), origin)
        self.size = origin.until
        return True

    def follow(self) -> Origin:
        """Go on in the heir, once all of the old file is read.

        The old file stays open for those places that are in it, until `let_go_of_former`.
        """
        heir = self._heir
        if heir is None:
            raise AssertionError
        self._former.append((self.base, self._fd))
        self.base += heir.origin.until
        self._fd, self._identity, origin = heir
        self._heir = None
        self.end = self.start = origin.start
        self.size = os.fstat(self._fd).st_size
        self._name_unsynced = True
        return origin

    @property
    def inode(self) -> int:
        """The open file's number."""
        return self._identity[1]

    @property
    def mode(self) -> int:
        """The open file's permissions."""
        return stat.S_IMODE(os.fstat(self._fd).st_mode)

    @property
    def has_former(self) -> bool:
        """Whether files are open whose place others have taken."""
        return bool(self._former)

    def let_go_of_former(self) -> None:
        """No letter is known to lie in a former file any more."""
        for _, fd in self._former:
            _close(fd)
        self._former.clear()

    def _forget_heir(self) -> None:
        if self._heir is not None:
            os.close(self._heir.fd)
            self._heir = None

    def _look_before_opening(self) -> None:
        """Refuse what is not ours before anything is made beside it."""
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot_open(error) from error
        if not stat.S_ISREG(found.st_mode):
            kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            msg = f"{self.path} is {kind}; choose a file for the dead letters"
            raise NotOurFileError(msg, location=self.path)
        try:
            fd = os.open(self.path, os.O_RDWR)
        except OSError as error:
            raise self._cannot_open(error) from error
        try:
            recognise(fd, found.st_size, self.path)
        finally:
            os.close(fd)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND
        try:
            try:
                self._fd = os.open(self.path, flags)
            except FileNotFoundError:
                self._fd = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, PRIVATE)
            found = os.fstat(self._fd)
            self._identity = (found.st_dev, found.st_ino)
            self.base = self.end = 0
            # Whoever made the file or renamed it may have died before its name was durable.
            self._name_unsynced = True
            self._cut_unfinished(found.st_size)
            self.kind = recognise(self._fd, os.fstat(self._fd).st_size, self.path)
            if self.kind is Kind.NEW:
                # At most the beginning of a first line: its writer died before anything could be kept here.
                os.ftruncate(self._fd, 0)
                self.append(lines.HEADER)
                self.make_durable()
                self.end = 0
        except OSError as error:
            self.close_file()
            raise self._cannot_open(error) from error
        except BaseException:
            self.close_file()
            raise

    def _cannot_open(self, error: OSError) -> DeadLetterQueueError:
        msg = f"cannot open the dead letter file {self.path}: {error.strerror or error}"
        return DeadLetterQueueError(msg, location=self.path)

    # -- reading -------------------------------------------------------------------------------------------------------

    def new_lines(self) -> Iterator[tuple[int, bytes]]:
        """The whole lines from `end` on, each with its place and without its end; `end` moves along.

        What the file ends with after its last line end is a torn line: `end` stays before it.
        """
        size = self.size
        want = _CHUNK
        while self.end < size:
            chunk = os.pread(self._fd, min(want, size - self.end), self.end)
            last = chunk.rfind(b"\n")
            if not chunk:  # somebody cuts the file without asking for the lock
                self.size = self.end
                return
            if last < 0:
                if self.end + len(chunk) >= size:
                    return
                want *= 2  # one line is longer than that
                continue
            place = self.base + self.end
            self.end += last + 1
            for each in chunk[:last].split(b"\n"):
                yield place, each
                place += len(each) + 1

    def torn_tail(self) -> bytes:
        """What comes after the last line end."""
        return self.read(self.base + self.end, self.size - self.end)

    def cut_tail(self) -> None:
        """Cut off what comes after the last line end."""
        os.ftruncate(self._fd, self.end)
        sync(self._fd)
        self.size = self.end

    def end_tail(self) -> None:
        """End the last line where only its end is missing."""
        write_all(self._fd, b"\n")
        self.size += 1

    def read(self, place: int, length: int) -> bytes:
        """``length`` bytes from ``place`` on."""
        fd, offset = self._fd, place - self.base
        if offset < 0:
            base, fd = self._former[bisect_right(self._former, place, key=lambda each: each[0]) - 1]
            offset = place - base
        found = os.pread(fd, length, offset)
        while len(found) < length:
            more = os.pread(fd, length - len(found), offset + len(found))
            if not more:
                break
            found += more
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, data: bytes) -> None:
        """Write whole lines at the end. They are not durable before `make_durable`.

        Raises:
            OSError: Nothing was written, or it was cut off again; if that failed too, `refresh` does it.
        """
        try:
            write_all(self._fd, data)
        except BaseException:
            self.cut_to(self.end)
            raise
        self.end += len(data)

    def make_durable(self) -> None:
        """Return when all that was appended is on the disk itself.

        Raises:
            OSError: Nobody knows what is. The kernel may call the pages clean all the same, so a second try proves
                nothing: the caller cuts off what it wrote, closes the file and reads it anew.
        """
        sync(self._fd)
        if self._name_unsynced:
            sync_directory(self.path)
            self._name_unsynced = False

    def cut_to(self, size: int) -> None:
        """Cut off a write that failed."""
        written = size
        try:
            written = os.fstat(self._fd).st_size
            os.ftruncate(self._fd, size)
            self.end = size
        except OSError:
            self._unfinished = (self._identity, size, written)

    def _cut_unfinished(self, size: int) -> None:
        if self._unfinished is None:
            return
        identity, good, written = self._unfinished
        # If others have appended since, they have done so after a repair, and theirs must stay.
        if identity == self._identity and size == written:
            os.ftruncate(self._fd, good)
            sync(self._fd)
        self._unfinished = None

    def blank(self, damaged: Iterable[Damage]) -> None:
        """Overwrite damaged lines with spaces, which every reader of JSON lines passes over."""
        fd = os.open(self.path, os.O_WRONLY)  # the other descriptor is for appending only
        try:
            for place, contents, end_line in damaged:
                if place < self.base:  # the file that it is in has lost its name
                    continue
                os.lseek(fd, place - self.base, os.SEEK_SET)
                write_all(fd, b" " * (len(contents) - end_line) + b"\n" * end_line)
            sync(fd)
        finally:
            os.close(fd)

    def replace(self, write: Callable[[int], None], *, mode: int | None = None) -> None:
        """Put another file in the journal's place, whole or not at all: written aside, synced, renamed.

        Args:
            write: Writes the contents to the descriptor it is handed.
            mode: The new file's permissions; those of the present one by default.

        Raises:
            OSError: The journal is as it was, or it is replaced and its name is not durable yet; then the next
                `make_durable` sees to it.
        """
        aside = f"{self.path}.compact"
        found = os.fstat(self._fd)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        try:
            try:
                os.fchmod(fd, stat.S_IMODE(found.st_mode) if mode is None else mode)
                write(fd)
                os.fsync(fd)
            finally:
                os.close(fd)
            Path(aside).replace(self.path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(aside).unlink()
            raise
        self._name_unsynced = True
        sync_directory(self.path)
        self._name_unsynced = False

    # -- closing -------------------------------------------------------------------------------------------------------

    def distrust(self) -> None:
        """Close the file and ask the kernel to forget what it thinks is in it, so that it is read from the disk."""
        with suppress(OSError, AttributeError):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self.close_file()

    def close_file(self) -> None:
        """Close the journal, but not its lock."""
        self._forget_heir()
        self.let_go_of_former()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self.base = self.end = 0

    def close(self) -> None:
        """Close everything; the next `locked` opens it again."""
        self.close_file()
        self._lock.close()


def _close(fd: int) -> None:
    """Close a file that may have no name any more: the last one to close a large one waits until the disk is done."""
    if os.fstat(fd).st_size < _LARGE:
        os.close(fd)
    else:
        threading.Thread(target=os.close, args=(fd,), name="resilio closes a journal").start()
