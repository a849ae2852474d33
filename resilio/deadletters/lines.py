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
from typing import Any, Final, NamedTuple
from zlib import crc32

from resilio.deadletters.encoding import dump, unwrapped
from resilio.deadletters.letter import moment

VERSION: Final = 1

_SEAL: Final = b',"crc":"'
_SEAL_LENGTH: Final = len(b',"crc":"00000000"}')
_PUT: Final = b'{"op":"put","letter":'
_PUT_ID: Final = b'{"op":"put","letter":{"id":"'
_KEYED_PUT: Final = b'{"op":"put","key":'


def seal(unsealed: bytes) -> bytes:
    """The line for a JSON object that is given without its closing brace."""
    return b'%b,"crc":"%08x"}\n' % (unsealed, crc32(unsealed))


def line(op: str, **keys: Any) -> bytes:
    """A sealed line."""
    return seal(dump({"op": op, **keys})[:-1])


def put_line(body: bytes, key: str | None = None) -> bytes:
    """The sealed line for a letter's JSON, and its deduplication key."""
    if key is None:
        return seal(_PUT + body)
    return seal(b'%b,"letter":%b' % (dump({"op": "put", "key": key})[:-1], body))


HEADER: Final = line("journal", format="resilio dead letters", version=VERSION)


def is_sealed(found: bytes) -> bool:
    """Tell whether a line, without its end, is whole and undamaged."""
    seal_at = len(found) - _SEAL_LENGTH
    if seal_at <= 0 or found[seal_at : seal_at + 8] != _SEAL or found[-2:] != b'"}':
        return False
    return found[-10:-2] == b"%08x" % crc32(memoryview(found)[:seal_at])


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


def put_id(found: bytes) -> str | None:
    """The letter's id if the line is a put, without parsing the letter; None for any other line."""
    if not found.startswith(_PUT):
        return parse(found)["letter"]["id"] if found.startswith(_KEYED_PUT) else None
    if found.startswith(_PUT_ID):
        quoted = found[len(_PUT_ID) : found.index(b'"', len(_PUT_ID))]
        if b"\\" not in quoted:
            return quoted.decode()
    letter_id: str = json.loads(found)["letter"]["id"]
    return letter_id


def put_key(found: bytes) -> str | None:
    """The deduplication key in a line that puts a letter."""
    if not found.startswith(_KEYED_PUT):
        return None
    key: str = unwrapped(parse(found)["key"])
    return key


_SUBJECT: Final = re.compile(rb'\{"op":"(?:attempt|edit|park)","id":"([^"\\]*)"')
_SUBJECTS: Final = (b'{"op":"attempt"', b'{"op":"edit"', b'{"op":"park"')


def subject(found: bytes) -> str | None:
    """The id of the letter that a line is a part of; None for a line that no letter is made of."""
    letter_id = put_id(found)
    if letter_id is not None or not found.startswith(_SUBJECTS):
        return letter_id
    usual = _SUBJECT.match(found)
    if usual is not None:
        return usual[1].decode()
    found_id: str = parse(found)["id"]
    return found_id


class Label(NamedTuple):
    """What a letter's own line says of it that is worth knowing without reading it again.

    Attributes:
        group: Its group.
        failed_at: When it failed last, in seconds since 1970.
    """

    group: str
    failed_at: float


UNLABELLED: Final = Label("", 0.0)


# The end of the letter as `new_body` writes it. Nothing within a letter's message can look like that: an object that is
# part of another is followed by one more brace.
_USUAL_END: Final = re.compile(
    rb'"group":"([^"\\]*)","deduplication_key":(?:null|"[^"\\]*"),(?:"headers":\{[^{}]*\},)?"source":\{[^{}]*\},'
    rb'"attempts":\d+,"first_failed_at":"[^"]*","last_failed_at":"([^"\\]*)","status":"waiting","history":\[\],'
    rb'"schema":\d+\},"crc":"[0-9a-f]{8}"\}\Z'
)


def label_of(found: bytes) -> Label:
    """The label of a letter, from the sealed line that puts it; as a rule without parsing the letter."""
    at = found.rfind(b'"group":"')
    usual = _USUAL_END.match(found, at) if at > 0 else None
    if usual is not None:
        try:
            return Label(usual[1].decode(), moment(usual[2].decode()).timestamp())
        except ValueError:
            pass  # then it is nothing usual
    try:
        letter = parse(found)["letter"]
        group = unwrapped(letter.get("group", ""))
        return Label(group if isinstance(group, str) else "", moment(letter["last_failed_at"]).timestamp())
    except (LookupError, TypeError, ValueError):
        return UNLABELLED  # no letter that anybody could read; whoever tries sets the line aside


def parse(found: bytes) -> dict[str, Any]:
    """A sealed line's keys."""
    keys: dict[str, Any] = json.loads(found)
    return keys
