"""Reading inbound messages from a file: JSON lines or CSV. A line that cannot be used is reported; no other is lost.

JSON lines: an object a line, ``{"from": "+447700900123", "body": "Hello cat"}``. CSV (a name that ends in ``.csv``): a
header line with at least the columns ``from`` and ``body``. Both are UTF-8; further members and columns are ignored.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_BODY = 100_000
"""Characters; what is longer is no text message."""

# (number of the line, what it holds or what is wrong with it)
_Row = tuple[int, object]


@dataclass(frozen=True, slots=True)
class Message:
    """An inbound text message.

    Attributes:
        sid: What Twilio calls it; unique.
        sender: The telephone number it came from.
        body: Its text, perhaps empty.
    """

    sid: str
    sender: str
    body: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that could not be used.

    Attributes:
        line: Its number in the file, from 1.
        reason: What is wrong with it.
    """

    line: int
    reason: str


def read(path: Path) -> tuple[list[Message], list[Skipped]]:
    """The messages of a file, in order, and the lines that are none.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is CSV without the two columns.
    """
    # Bytes that are no UTF-8 become lone surrogates, so that they spoil their own line alone.
    text = path.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text)
    messages, skipped = [], []
    for line, row in rows:
        found = _message_in(row)
        if isinstance(found, Message):
            messages.append(found)
        else:
            skipped.append(Skipped(line, found))
    return messages, skipped


def _message_in(row: object) -> Message | str:
    """The message that a row holds, or what is wrong with the row."""
    if isinstance(row, Exception):
        return str(row)
    if not isinstance(row, dict):
        return f"expected an object, found {_shown(row)}"
    sender, body = row.get("from"), row.get("body")
    if not isinstance(sender, str) or not sender.strip():
        return f"'from' must be a telephone number as text, not {_shown(sender)}"
    if not isinstance(body, str) or len(body) > LONGEST_BODY:
        return f"'body' must be text of at most {LONGEST_BODY} characters, not {_shown(body)}"
    return Message(f"SM{uuid4().hex}", sender, body) if _is_unicode(sender + body) else "not UTF-8, or half a character"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _json_rows(text: str) -> Iterator[_Row]:
    # `splitlines` would also split at the separators that may stand unescaped in a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            yield number, ValueError(f"no JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:  # a number of too many digits, brackets nested too deeply
            yield number, ValueError(f"no JSON that can be read: {error}")


def _csv_rows(text: str) -> Iterator[_Row]:
    lines = [f"{line}\n" for line in text.split("\n")]
    try:
        header = [name.strip().lower() for name in next(csv.reader(lines[:1]), [])]
    except csv.Error:
        header = []
    if not {"from", "body"} <= set(header):
        msg = f"the first line of a CSV file must name the columns 'from' and 'body'; this one is {_shown(lines[0])}"
        raise ValueError(msg)
    at = 1
    while at < len(lines):
        # A new reader for each record: after a line that it cannot parse, one and the same would swallow good ones.
        reader = csv.reader(islice(lines, at, None), strict=True)
        number = at + 1
        try:
            values = next(reader)
        except csv.Error as error:
            yield number, ValueError(f"no CSV: {error}")
            at += 1
            continue
        at += reader.line_num
        if not values:
            continue
        if len(values) != len(header):
            yield number, ValueError(f"expected {len(header)} columns, found {len(values)}")
            continue
        yield number, dict(zip(header, values, strict=True))


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 -- what fits on a line
