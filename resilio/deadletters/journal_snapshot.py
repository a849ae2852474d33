"""The index as it was, kept in a file beside the journal, so that opening a large journal does not read all of it.

``<path>.index`` begins with a sealed line of JSON: which journal it belongs to, and up to where (``until``) it holds
what that one's lines add up to. Blocks of some thousand letters follow, each with its checksum, and a last one that is
empty. It is written while the journal goes on, so that a block may know more than the journal said at ``until``. No
harm in that: the lines from there on are applied again, and all of them say what is, not what is to be changed.

Nothing in it is trusted that does not fit: another journal, a journal that was cut or whose last lines before ``until``
are others, a torn file, a wrong checksum. Then the journal is read, and the next snapshot takes its place.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from resilio.deadletters import lines
from resilio.deadletters.index import LetterIndex, Past, Place
from resilio.deadletters.journal_aside import Aside

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from io import BufferedReader

    from resilio.deadletters.journal_file import JournalFile
    from resilio.deadletters.journal_log import JournalLog

_LAYOUT: Final = 1
_BLOCK: Final = 2000  # letters
_HEAD: Final = struct.Struct(
    "<IIII"
)  # of a block: letters, bytes of ids, bytes of the rest, checksum of all that follows
_SEEN: Final = 64 << 10  # bytes of the journal before `until` that must be as they were
_SHARE: Final = 8  # of a journal's bytes, so much is not worth another snapshot
_COLUMNS: Final = ("Q", "I", "I", "d")
_ROW: Final = sum(array(each).itemsize for each in _COLUMNS)


def snapshot_path(path: str) -> str:
    """Where a journal's snapshot lies."""
    return f"{path}.index"


class _Unfit(Exception):  # noqa: N818 -- no error: the journal is read instead
    """The snapshot does not fit."""


# -- writing -----------------------------------------------------------------------------------------------------------


def save_snapshot(log: JournalLog) -> Generator[None, None, bool]:
    """Write a snapshot, a little with each step; tell whether there is one now.

    To be run without anybody else at the log during a step.

    Raises:
        OSError: The disk refuses; the old snapshot is as it was.
    """
    file, index, unsaved = log.file, log.index, log.unsaved
    until, base = file.end, file.base
    if _saved_until(file) > until - until // _SHARE:  # by another process
        log.unsaved = 0
        return True
    header = {
        "layout": _LAYOUT,
        "order": sys.byteorder,
        "inode": file.inode,
        "until": until,
        "seen": _checksum_before(file, until),
        "base": base,
        "lines": index.lines,
    }
    ids = list(index.letters)
    aside = Aside.begin(f"{snapshot_path(file.path)}.new")
    if aside is None:
        return False
    try:
        yield from aside.clear()
        aside.write(lines.line("index", format="resilio dead letters", **header))
        for start in range(0, len(ids), _BLOCK):
            aside.write(_block(index, ids[start : start + _BLOCK]))
            yield
            if log.index is not index or file.base != base:  # the journal was replaced, and what is here with it
                return False
        aside.write(_HEAD.pack(0, 0, 0, 0))
        aside.sync()
        try:
            file.make_durable()  # it must not know more than the journal does after a power cut
        except BaseException:
            log.forget()
            raise
        aside.put_in_place_of(snapshot_path(file.path))
        log.unsaved -= unsaved
        return True
    finally:
        aside.close()


def _saved_until(file: JournalFile) -> int:
    try:
        with open(snapshot_path(file.path), "rb") as found:  # noqa: PTH123 -- the same thing, and shorter
            until: int = _header(file, found.readline())["until"]
    except (OSError, ValueError, LookupError, TypeError, _Unfit):
        return 0
    return until


def _checksum_before(file: JournalFile, until: int) -> int:
    start = max(until - _SEEN, 0)
    return crc32(file.read(file.base + start, until - start))


def _block(index: LetterIndex, ids: Sequence[str]) -> bytes:
    """What is known of those of these letters that are still here."""
    here = [(letter_id, slot) for letter_id in ids if (slot := index.letters.get(letter_id)) is not None]
    slots = [slot for _, slot in here]
    columns = index.columns
    groups: dict[int, int] = {}  # numbers are given to other groups in time, so each block has its own
    numbers = array("I", [groups.setdefault(columns.groups[slot], len(groups)) for slot in slots])
    rest = {
        "groups": [index.groups.name(number) for number in groups],
        "keys": {at: key for at, slot in enumerate(slots) if (key := index.key_of.get(slot)) is not None},
        "pasts": {at: _told(past) for at, slot in enumerate(slots) if (past := index.pasts.get(slot)) is not None},
    }
    names = json.dumps([letter_id for letter_id, _ in here]).encode()
    more = json.dumps(rest).encode()
    body = b"".join(
        (
            names,
            array("Q", [columns.offsets[slot] for slot in slots]).tobytes(),
            array("I", [columns.lengths[slot] for slot in slots]).tobytes(),
            numbers.tobytes(),
            array("d", [columns.failed[slot] for slot in slots]).tobytes(),
            more,
        )
    )
    return _HEAD.pack(len(here), len(names), len(more), crc32(body)) + body


def _told(past: Past) -> list[Any]:
    return [getattr(past, name) for name in Past.__slots__]


# -- reading -----------------------------------------------------------------------------------------------------------


class Snapshot(NamedTuple):
    """What a snapshot holds.

    Attributes:
        letters: The index.
        until: Up to where in the file.
        base: The place of the file's first byte.
    """

    letters: LetterIndex
    until: int
    base: int


def read_snapshot(file: JournalFile) -> Snapshot | None:
    """Read the snapshot of the open journal; None if there is none that fits."""
    try:
        with open(snapshot_path(file.path), "rb") as found:  # noqa: PTH123 -- the same thing, and shorter
            return _read(file, found)
    except (OSError, ValueError, LookupError, TypeError, struct.error, _Unfit):
        return None


def _read(file: JournalFile, found: BufferedReader) -> Snapshot:
    header = _header(file, found.readline())
    index = LetterIndex()
    snapshot = Snapshot(index, header["until"], header["base"])
    room = os.fstat(found.fileno()).st_size
    while True:
        letters, name_bytes, more_bytes, checksum = _HEAD.unpack(found.read(_HEAD.size))
        if not letters and not name_bytes:
            break
        length = name_bytes + letters * _ROW + more_bytes
        if length > room:
            raise _Unfit
        body = found.read(length)
        if crc32(body) != checksum:
            raise _Unfit
        _take(index, letters, body, name_bytes)
    index.lines = header["lines"]
    index.line_up()
    return snapshot


def _header(file: JournalFile, first: bytes) -> dict[str, Any]:
    """What the first line says, if the rest is about this very journal."""
    if not lines.is_sealed(first[:-1]):
        raise _Unfit
    header = lines.parse(first)
    until = header["until"]
    if (header["op"], header["layout"], header["order"]) != ("index", _LAYOUT, sys.byteorder):
        raise _Unfit
    if (
        header["inode"] != file.inode
        or not 0 < until <= max(file.size, file.end)
        or _checksum_before(file, until) != header["seen"]
    ):
        raise _Unfit
    return header


def _take(index: LetterIndex, letters: int, body: bytes, at: int) -> None:
    ids = json.loads(body[:at])
    parts: list[array[Any]] = []
    for code in _COLUMNS:
        part: array[Any] = array(code)
        part.frombytes(body[at : at + letters * part.itemsize])
        at += letters * part.itemsize
        parts.append(part)
    rest = json.loads(body[at:])
    first = len(index.columns.offsets)
    sizes = Counter(parts[2])
    numbers = [index.groups.enter(name, sizes[number]) for number, name in enumerate(rest["groups"])]
    parts[2] = array("I", map(numbers.__getitem__, parts[2]))
    index.columns.extend(*parts)
    index.letters.update(zip(ids, range(first, first + letters), strict=True))
    index.needed += letters
    for number, key in rest["keys"].items():
        index.keys[key] = ids[int(number)]
        index.key_of[first + int(number)] = key
    for number, told in rest["pasts"].items():
        past = Past(0)
        for name, value in zip(Past.__slots__, told, strict=True):
            setattr(past, name, Place(*value) if isinstance(value, list) else value)
        index.enter(ids[int(number)], past)
