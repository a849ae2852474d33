"""The journal's lines: one JSON object each, sealed with a checksum as its last key.

| ``op`` | other keys | says |
|---|---|---|
| ``journal`` | ``format``, ``version`` | the first line: this file is ours |
| ``put`` | ``letter`` | a letter came |
| ``claim`` | ``ids``, ``token``, ``until`` | letters were handed out |
| ``release`` | ``ids``, ``token`` | and given back |
| ``attempt`` | ``id``, ``attempts``, ``last_failed_at``, ``parked``, ``token``, ``error_info`` | a replay failed |
| ``remove`` | ``ids`` | letters are gone |
| ``purge`` | | all letters so far are gone |

``crc`` is the CRC-32, as eight hexadecimal digits, of the line's bytes before ``,"crc"``. To read the letters by hand:
``jq -c 'select(.op == "put") | .letter' FILE``.
"""

from __future__ import annotations

import json
from typing import Any, Final
from zlib import crc32

from resilio.deadletters.encoding import dump

VERSION: Final = 1

_SEAL: Final = b',"crc":"'
_SEAL_LENGTH: Final = len(b',"crc":"00000000"}')
_PUT: Final = b'{"op":"put","letter":'
_PUT_ID: Final = b'{"op":"put","letter":{"id":"'


def seal(unsealed: bytes) -> bytes:
    """The line for a JSON object that is given without its closing brace."""
    return b'%b,"crc":"%08x"}\n' % (unsealed, crc32(unsealed))


def line(op: str, **keys: Any) -> bytes:
    """A sealed line."""
    return seal(dump({"op": op, **keys})[:-1])


def put_line(body: bytes) -> bytes:
    """The sealed line for a letter's JSON."""
    return seal(_PUT + body)


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
        return None
    if found.startswith(_PUT_ID):
        quoted = found[len(_PUT_ID) : found.index(b'"', len(_PUT_ID))]
        if b"\\" not in quoted:
            return quoted.decode()
    letter_id: str = json.loads(found)["letter"]["id"]
    return letter_id


def parse(found: bytes) -> dict[str, Any]:
    """A sealed line's keys."""
    keys: dict[str, Any] = json.loads(found)
    return keys
