"""Telling a journal from what is none, without touching it."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any, Final, NamedTuple

from resilio.deadletters import lines
from resilio.deadletters.errors import NotOurFileError

_FIRST_LOOK: Final = 1 << 20
_ORIGIN_LENGTH: Final = 160  # of the line, with its end
BEGINNING: Final = len(lines.HEADER) + _ORIGIN_LENGTH
"""How long the first two lines of a file that was written anew are."""


class Kind(Enum):
    """What a file turned out to be."""

    NEW = "new"
    JOURNAL = "journal"
    ARRAY = "array"
    """A JSON array, as simpler programs keep their dead letters in: to be imported."""


def recognise(fd: int, size: int, path: str) -> Kind:
    """Tell what the file is.

    Raises:
        NotOurFileError: It is nothing that we know.
    """
    head = os.pread(fd, min(size, _FIRST_LOOK), 0)
    if head.startswith(lines.HEADER):
        return Kind.JOURNAL
    if size <= len(lines.HEADER) and all(
        found in (0, wanted) for found, wanted in zip(head, lines.HEADER, strict=False)
    ):
        return Kind.NEW
    if size < _FIRST_LOOK and not head.strip():
        return Kind.NEW
    ours = next((each for each in head.split(b"\n") if lines.is_sealed(each)), None)
    if ours is None:
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            return Kind.ARRAY
        start = head[:40].decode("utf-8", "replace")
        msg = f"{path} is no dead letter journal: it begins with {start!r}; it was left as it is, choose another"
        raise NotOurFileError(msg, location=path)
    first = lines.parse(ours)
    if first.get("op") == "journal" and first.get("version") != lines.VERSION:
        msg = f"{path} is a journal of version {first.get('version')}, which this release cannot read"
        raise NotOurFileError(msg, location=path)
    return Kind.JOURNAL


class Origin(NamedTuple):
    """Which file this one took the place of.

    Attributes:
        inode: That file's number.
        until: How long it was in the end.
        start: What lies here before that offset is what that file came to; what comes after it is new.
        lines: How many lines lie before it.
    """

    inode: int
    until: int
    start: int
    lines: int

    def line(self) -> bytes:
        """The line that says so, always of one length."""
        keys: dict[str, Any] = {"inode": self.inode, "until": self.until, "from": self.start, "lines": self.lines}
        short = lines.line("origin", **keys, room="")
        return lines.line("origin", **keys, room=" " * (_ORIGIN_LENGTH - len(short)))


def origin_of(fd: int) -> Origin | None:
    """Which file the open one took the place of; None if it does not say."""
    head = os.pread(fd, BEGINNING, 0)
    if not head.startswith(lines.HEADER):
        return None
    found = head[len(lines.HEADER) : -1]
    if not lines.is_sealed(found):
        return None
    keys = lines.parse(found)
    if keys["op"] != "origin":
        return None
    return Origin(keys["inode"], keys["until"], keys["from"], keys["lines"])
