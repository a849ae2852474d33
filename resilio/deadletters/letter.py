"""The dead letter: a message that could not be handled, and why."""

from __future__ import annotations

import os
import reprlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Self

from resilio._core import dice
from resilio.deadletters.encoding import STANDARD, carry, dump, unwrapped

__all__ = ("SCHEMA", "DeadLetter", "LetterIds", "LetterStatus")

SCHEMA: Final = 2
"""The layout that this release writes. Version 1 had no group, history, source, headers or deduplication key."""


class LetterStatus(StrEnum):
    """What a letter is waiting for."""

    WAITING = "waiting"
    """Free for whoever asks first."""
    CLAIMED = "claimed"
    """Handed to somebody, until the visibility timeout has passed."""
    PARKED = "parked"
    """It has used up its attempts; only a call with its id replays it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DeadLetter(Mapping[str, Any]):
    """A message that could not be handled, and why; also a mapping: ``letter["message"]``, ``dict(letter)``.

    Attributes:
        id: Its name in the queue; ids sort by the time at which they were made.
        message: The message as it was given.
        error_info: Why it failed the last time; for an exception ``error_type``, ``error_message`` and more.
        attempts: How many replays have failed so far; 0 for a letter that nobody tried to replay.
        first_failed_at: When it became a dead letter, UTC.
        last_failed_at: When it failed last, UTC.
        status: What it is waiting for, as seen when it was read.
        group: Letters with the same one failed for the same reason; the fingerprint of the error report if it has one.
        history: What each failed replay said: ``attempt``, ``failed_at``, ``error_type`` and ``error_message``, oldest
            first. Of many, the first and the last ten, with ``{"left_out": n}`` between them.
        source: Where it failed: ``operation``, ``host``, ``pid`` and ``version`` of this package.
        headers: What the sender wrote on it, such as a content type or a trace's id.
        deduplication_key: While this letter is there, another with the same key is not kept; None for none.
        schema: Which version of this layout it was written in.

    A frozen value: safe to hand around, and it pickles if its message does.
    """

    id: str
    message: Any
    error_info: Mapping[str, Any]
    first_failed_at: datetime
    last_failed_at: datetime
    attempts: int = 0
    status: LetterStatus = LetterStatus.WAITING
    group: str = ""
    history: Sequence[Mapping[str, Any]] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    deduplication_key: str | None = None
    schema: int = SCHEMA

    def __getitem__(self, name: str) -> Any:
        if name in _NAMES:
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def __repr__(self) -> str:
        return (
            f"<DeadLetter {self.id} {self.status}, attempts: {self.attempts}, "
            f"error: {reprlib.repr(self.error_info.get('error_type', ''))}, message: {reprlib.repr(self.message)}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The letter as a dict that JSON can carry: times as ISO 8601 text."""
        return {
            "id": self.id,
            "message": carry(self.message, encoder=STANDARD),
            "error_info": dict(self.error_info),
            "attempts": self.attempts,
            "first_failed_at": self.first_failed_at.isoformat(timespec="microseconds"),
            "last_failed_at": self.last_failed_at.isoformat(timespec="microseconds"),
            "status": self.status.value,
            "group": self.group,
            "history": [dict(each) for each in self.history],
            "source": dict(self.source),
            "headers": dict(self.headers),
            "deduplication_key": self.deduplication_key,
            "schema": self.schema,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a letter from what `to_dict` or the journal gave; keys of a later version are passed over.

        Raises:
            ValueError: A field is missing or is not what it should be.
        """
        try:
            return cls(
                id=_text(data["id"]),
                message=unwrapped(data["message"]),
                error_info=dict(unwrapped(data["error_info"])),
                attempts=int(data["attempts"]),
                first_failed_at=moment(data["first_failed_at"]),
                last_failed_at=moment(data["last_failed_at"]),
                status=LetterStatus(data["status"]),
                group=_text(data.get("group", "")),
                history=tuple(unwrapped(data.get("history", ()))),
                source=dict(unwrapped(data.get("source", {}))),
                headers=dict(unwrapped(data.get("headers", {}))),
                deduplication_key=data.get("deduplication_key"),
                schema=int(data.get("schema", 1)),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"not a dead letter: {type(error).__name__}: {error}"
            raise ValueError(msg) from error


_NAMES = tuple(each.name for each in fields(DeadLetter))


def moment(text: str) -> datetime:
    """The time that an ISO 8601 text stands for; without an offset it is taken as UTC."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"an id must be text, not {value!r}"
        raise TypeError(msg)
    return value


_COUNTER = 1 << 12


class LetterIds:
    """Makes ids that sort by time: version 7 UUIDs (RFC 9562) with a counter, so that one source never goes back.

    While the machine's clock is behind the last id, the counter goes on from there. Safe from any thread.
    """

    __slots__ = ("_count", "_head", "_lock", "_tail", "_time")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._time = 0  # milliseconds since 1970
        self._count = 0  # of ids in that millisecond
        self._head = self._tail = ""  # what they have in common

    def next(self, now: datetime) -> str:
        """An id for something that happens ``now``."""
        time = int(now.timestamp() * 1000)
        with self._lock:
            self._count += 1
            if time > self._time or self._count == _COUNTER:
                self._time = max(time, self._time + 1)
                self._count = 0
                stamp, chance = f"{self._time:012x}", dice.randbytes(8)
                tail = chance.hex()
                self._head = f"{stamp[:8]}-{stamp[8:]}-7"
                self._tail = f"-{'89ab'[chance[0] & 3]}{tail[1:4]}-{tail[4:]}"
            return f"{self._head}{self._count:03x}{self._tail}"


_ids = LetterIds()


def next_id(now: datetime) -> str:
    """An id for something that happens ``now``; those of one process sort in the order in which they were made."""
    return _ids.next(now)


def _begin_anew() -> None:
    # A forked child has a copy of the counter, and of a lock that somebody may have held.
    global _ids  # noqa: PLW0603 -- one source for the process
    _ids = LetterIds()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class LetterBody(bytes):
    """A letter's JSON, and what a store may file it under without parsing that.

    Attributes:
        error_type: The ``error_type`` in its ``error_info``.
        group: Its group.
        failed_at: When it failed first, and last, UTC.
    """

    error_type: object
    group: str
    failed_at: datetime


def new_body(
    letter_id: str,
    message: object,
    error_info: object,
    now: datetime,
    *,
    group: str = "",
    source: bytes = b"{}",
    headers: object = None,
    deduplication_key: str | None = None,
) -> LetterBody:
    """The JSON of a letter that comes now, as `DeadLetter.to_dict` would give it, without making one first.

    All of it must be what JSON can carry, and texts must have a UTF-8; ``source`` is JSON already.
    """
    at = now.isoformat(timespec="microseconds")
    told = {"message": message, "error_info": error_info, "group": group, "deduplication_key": deduplication_key}
    if headers:
        told["headers"] = headers
    body = LetterBody(
        b'{"id":"%b",%b,"source":%b,"attempts":0,"first_failed_at":"%b","last_failed_at":"%b",%b}'
        % (letter_id.encode(), dump(told)[1:-1], source, at.encode(), at.encode(), _NEW)
    )
    body.error_type = error_info.get("error_type") if isinstance(error_info, Mapping) else None
    body.group = group
    body.failed_at = now
    return body


_NEW = b'"status":"waiting","history":[],"schema":%d' % SCHEMA


# -- history -----------------------------------------------------------------------------------------------------------

_FIRST_ATTEMPTS: Final = 10
_LAST_ATTEMPTS: Final = 10
_LONGEST_TEXT: Final = 2000  # the last error is there in full, in the letter's error_info


def attempt_line(attempt: int, failed_at: datetime, error_info: Mapping[str, Any]) -> dict[str, Any]:
    """What a letter's history says of a failed replay."""
    return {
        "attempt": attempt,
        "failed_at": failed_at.isoformat(timespec="microseconds"),
        "error_type": str(error_info.get("error_type", ""))[:_LONGEST_TEXT],
        "error_message": str(error_info.get("error_message", ""))[:_LONGEST_TEXT],
    }


def longer(history: Sequence[Mapping[str, Any]], line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """``history`` with one more line: of many, the first and the last ten, with ``{"left_out": n}`` between them."""
    lines = [*history, line]
    if len(lines) <= _FIRST_ATTEMPTS + _LAST_ATTEMPTS:
        return lines
    beyond = lines[_FIRST_ATTEMPTS:-_LAST_ATTEMPTS]
    left_out = sum(each.get("left_out", 1) for each in beyond)
    return [*lines[:_FIRST_ATTEMPTS], {"left_out": left_out}, *lines[-_LAST_ATTEMPTS:]]
