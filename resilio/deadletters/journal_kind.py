"""Telling a journal from what is none, without touching it."""

from __future__ import annotations

import os
from enum import Enum
from typing import Final

from resilio.deadletters import lines
from resilio.deadletters.errors import NotOurFileError

_FIRST_LOOK: Final = 1 << 20


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
