"""Getting bytes onto the disk itself, not only into the kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover -- Windows
    fcntl = None  # type: ignore[assignment]


def sync(fd: int) -> None:
    """Return when everything written to ``fd`` is on the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # pragma: no cover -- macOS, whose fsync stops at the disk's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def sync_directory(path: str) -> None:
    """Make a file's name in its directory as durable as its contents."""
    fd = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems know no such thing
            raise
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | bytearray) -> None:
    """Write ``data`` whole, in one call as a rule."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
