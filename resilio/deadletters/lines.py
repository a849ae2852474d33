"""The journal's lines: one JSON object each, sealed with a checksum as its last key.

| ``op`` | other keys | says |
|---|---|---|
| ``journal`` | ``format``, ``version`` | the first line: this file is ours |
| ``origin`` | ``inode``, ``until``, ``from``, ``lines``, ``room`` | this file took the place of another (see below) |
| ``put`` | ``letter``; ``key``, for one that has a deduplication key | a letter came |
| ``claim`` | ``ids``, ``token``, ``until`` | letters were handed out, or are kept for longer |
| ``release`` | ``ids``, ``token`` | and given back |
| ``attempt`` | ``id``, ``attempts``, ``last_failed_at``, ``parked``, ``not_before``, ``token``, ``error_info``, \
``history`` | a replay failed |
| ``edit`` | ``id``, ``message`` | a letter has another message |
| ``park`` | ``id``, ``parked`` | a letter was parked, or taken up again with no attempt counted |
| ``remove`` | ``ids`` | letters are gone |
| ``purge`` | | all letters so far are gone |

``crc`` is the CRC-32, as eight hexadecimal digits, of the line's bytes before ``,"crc"``. To read the letters by hand:
``jq -c 'select(.op == "put") | .letter' FILE``.

Release 0.1 wrote no ``origin``, ``edit`` and ``park``, no ``key``, ``not_before`` and ``history``; all else is as it
was.

A file that was written anew says in its second line which one it came from: what it holds from ``from`` on came after
all that the file with that ``inode`` holds up to ``until``; ``lines`` is how many there are before. Whoever knows that
file knows this one, but for where its lines lie. ``room`` keeps that line at one length.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from zlib import crc32

from resilio.deadletters.encoding import dump, unwrapped
from resilio.deadletters.letter import SCHEMA, moment

VERSION: Final = 1

_SEAL_LENGTH: Final = len(b',"crc":"00000000"}')
_PUT: Final = b'{"op":"put","letter":'
_PUT_CRC: Final = crc32(_PUT)
_PUT_ID: Final = b'{"op":"put","letter":{"id":"'
_KEYED_PUT: Final = b'{"op":"put","key":'
_PUTS: Final = (_PUT, _KEYED_PUT)


def seal(unsealed: bytes) -> bytes:
    """The line for a JSON object that is given without its closing brace."""
    return b'%b,"crc":"%08x"}\n' % (unsealed, crc32(unsealed))


def line(op: str, **keys: Any) -> bytes:
    """A sealed line."""
    return seal(dump({"op": op, **keys})[:-1])


def put_line(body: bytes, key: str | None = None) -> bytes:
    """The sealed line for a letter's JSON, and its deduplication key."""
    if key is None:  # as `seal` would, with one copy of the letter less
        return b'%b%b,"crc":"%08x"}\n' % (_PUT, body, crc32(body, _PUT_CRC))
    return seal(b'%b,"letter":%b' % (dump({"op": "put", "key": key})[:-1], body))


HEADER: Final = line("journal", format="resilio dead letters", version=VERSION)


def is_sealed(found: bytes) -> bool:
    """Tell whether a line, without its end, is whole and undamaged."""
    return len(found) > _SEAL_LENGTH and found[-_SEAL_LENGTH:] == b',"crc":"%08x"}' % crc32(
        memoryview(found)[:-_SEAL_LENGTH]
    )


def sealed_part(found: bytes) -> int:
    """Where in a damaged line a whole one begins, -1 if none does.

    A program that appended without repairing the torn end before glued its line to it.
    """
    at = found.find(b'{"op":', 1)
    while at > 0:
        if is_sealed(found[at:]):
            return at
        at = found.find(b'{"op":', at + 1)
    return -1


def is_put(found: bytes) -> bool:
    """Tell whether a line puts a letter."""
    return found.startswith(_PUTS)


class Put(NamedTuple):
    """What a line that puts a letter says of it that is worth knowing without reading it again.

    Attributes:
        letter_id: Its id.
        group: Its group.
        failed_at: When it failed last, in seconds since 1970.
        key: Its deduplication key.
    """

    letter_id: str
    group: str
    failed_at: float
    key: str | None = None


# A letter as `new_body` writes it ends in one of a few ways, but for the times. Nothing within a letter's message can
# look like that: an object that is part of another is followed by one more brace.
_LABELS: Final = re.compile(
    rb'"group":"([^"\\]*)","deduplication_key":(?:null|"[^"\\]*"),(?:"headers":\{[^{}]*\},)?"source":\{[^{}]*\}'
)
_GROUP: Final = b'"group":"'
_FIRST: Final = b',"attempts":0,"first_failed_at":"'
_LAST: Final = b'+00:00","last_failed_at":"'
_REST: Final = b'+00:00","status":"waiting","history":[],"schema":%d}' % SCHEMA
_TIME: Final = len("2026-01-01T00:00:00.000000")
# Where these begin, and the letter ends, counted from the line's end.
_END: Final = _SEAL_LENGTH
_LAST_TIME: Final = _END + len(_REST) + _TIME
_FIRST_TIME: Final = _LAST_TIME + len(_LAST) + _TIME
_LABELLED: Final = _FIRST_TIME + len(_FIRST)


def put_of(found: bytes) -> Put | None:
    """What a sealed line says that puts a letter, as a rule without parsing it; None for any other line."""
    if found.startswith(_PUT_ID) and found[_TIME - _LAST_TIME : -_END] == _REST:
        letter_id = found[len(_PUT_ID) : found.index(b'"', len(_PUT_ID))].decode()
        if found[-_LABELLED:-_FIRST_TIME] == _FIRST and "\\" not in letter_id:
            group = _group_in(found[found.rfind(_GROUP, 0, -_LABELLED) : -_LABELLED])
            if group is not None:
                failed_at = found[-_LAST_TIME : _TIME - _LAST_TIME].decode()
                try:
                    return Put(letter_id, group, datetime.fromisoformat(f"{failed_at}+00:00").timestamp())
                except ValueError:
                    group = None  # that is nothing usual
    if not found.startswith(_PUTS):
        return None
    keys = parse(found)
    letter = keys["letter"]
    key = unwrapped(keys.get("key"))
    try:
        group = unwrapped(letter.get("group", ""))
        return Put(letter["id"], group if isinstance(group, str) else "", _time(letter["last_failed_at"]), key)
    except (LookupError, TypeError, ValueError):
        return Put(letter["id"], "", 0.0, key)  # no letter that anybody could read; whoever tries sets the line aside


@lru_cache(maxsize=1000)  # they are the same for many letters
def _group_in(labels: bytes) -> str | None:
    usual = _LABELS.fullmatch(labels)
    return None if usual is None else usual[1].decode()


def _time(text: str) -> float:
    return moment(text).timestamp()


_SUBJECT: Final = re.compile(rb'\{"op":"(?:attempt|edit|park)","id":"([^"\\]*)"')
_SUBJECTS: Final = (b'{"op":"attempt"', b'{"op":"edit"', b'{"op":"park"')


def subject(found: bytes) -> str | None:
    """The id of the letter that a line is a part of; None for a line that no letter is made of."""
    if found.startswith(_PUTS):
        put = put_of(found)
        return None if put is None else put.letter_id
    if not found.startswith(_SUBJECTS):
        return None
    usual = _SUBJECT.match(found)
    if usual is not None:
        return usual[1].decode()
    found_id: str = parse(found)["id"]
    return found_id


def parse(found: bytes) -> dict[str, Any]:
    """A sealed line's keys."""
    keys: dict[str, Any] = json.loads(found)
    return keys
