"""A letter as an SQS message, and back.

The body is the letter's JSON, so that an operator can read it in the console. A letter that was edited or that failed
again is another message with the same id and a higher ``revision``. One that is too large is compressed::

    {"id": "0198...", "revision": 2, "size": 2405113, "zlib": "eJzt3..."}

Our id stands in the body and in the attribute ``resilio_id``: SQS gives a message another id when it moves it.
Whatever else lies in the queue, put there by SQS's own redrive policy or by another program, is a letter too: its body
is the message, and its id is SQS's.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from resilio.deadletters.encoding import dump
from resilio.deadletters.letter import DeadLetter, LetterStatus, moment
from resilio.deadletters.sqs_errors import LetterTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("LARGEST", "Parcel", "Received", "opened", "revised", "sealed")

LARGEST: Final = 1_048_576
"""The most that SQS takes, in bytes with the attributes: for one message, and for all of a batch together."""

ID_ATTRIBUTE: Final = "resilio_id"
_TEXT_TYPE: Final = "String"
_REVISION: Final = "revision"
_NOT_BEFORE: Final = "not_before"
# What JSON leaves as it is and SQS does not take, because XML has no place for it.
_REFUSED: Final = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter ready for SQS.

    Attributes:
        letter_id: Our id.
        revision: 0 as it came; one more with each edit and failed replay.
        body: The message's body.
        size: What SQS counts, in bytes: body and attributes.
        group: The message group that it belongs to in a FIFO queue.
        salt: Makes a FIFO queue take it although it has had the same one in the last five minutes.
    """

    letter_id: str
    revision: int
    body: str
    size: int
    group: str
    salt: str = ""

    def entry(self, entry_id: str, *, is_fifo: bool) -> dict[str, Any]:
        """The same as an entry of a batch."""
        entry: dict[str, Any] = {
            "Id": entry_id,
            "MessageBody": self.body,
            "MessageAttributes": {ID_ATTRIBUTE: {"DataType": _TEXT_TYPE, "StringValue": self.letter_id}},
        }
        if is_fifo:
            # The key of the letter would not do: SQS remembers an id for five minutes, even when the message was
            # deleted meanwhile, and a letter that was acknowledged would be lost.
            entry["MessageDeduplicationId"] = f"{self.letter_id}.{self.revision}{self.salt}"
            entry["MessageGroupId"] = self.group
        return entry


def sealed(letter_id: str, body: bytes, *, limit: int, location: str, by_group: bool = False) -> Parcel:
    """Make a message of a letter's JSON; compress it if it is too large as it is.

    Args:
        letter_id: Our id.
        body: The letter's JSON.
        limit: The most that the queue takes, in bytes.
        location: The queue.
        by_group: Whether letters of one group follow one another in a FIFO queue.

    Raises:
        LetterTooLargeError: It is too large even compressed.
    """
    text = _REFUSED.sub(lambda found: f"\\u{ord(found[0]):04x}", body.decode())
    fields = json.loads(text) if by_group or b'"revision"' in body else {}
    revision = _revision(fields)
    group = _group_id(str(fields.get("group", ""))) if by_group else letter_id
    room = limit - len(ID_ATTRIBUTE) - len(_TEXT_TYPE) - len(letter_id.encode())
    taken = len(text.encode())
    if taken > room:
        squeezed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
        size = taken
        text = json.dumps({"id": letter_id, _REVISION: revision, "size": size, "zlib": squeezed})
        taken = len(text)
        if taken > room:
            msg = (
                f"the letter {letter_id} takes {size} bytes, {taken} compressed, and {location} has room for {room}; "
                "give the queue a local_file_path too, which keeps such letters whole"
            )
            raise LetterTooLargeError(msg, size=taken + limit - room, limit=limit, location=location)
    return Parcel(letter_id, revision, text, taken + limit - room, group)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as SQS handed it out.

    Attributes:
        letter: The letter in it.
        revision: Which version of the letter this is.
        not_before: Until then the letter is not handed out again.
        handle: SQS's receipt for it.
        sqs_id: SQS's id of the message: another one tells a copy from the same message that was handed out again.
    """

    letter: DeadLetter
    revision: int
    not_before: datetime | None
    handle: str
    sqs_id: str


def opened(message: Mapping[str, Any]) -> Received:
    """Take a letter out of a message."""
    fields = _fields(message["Body"])
    letter, revision, not_before = None, 0, None
    if fields is not None:
        try:
            letter = DeadLetter.from_dict(fields)
            revision = _revision(fields)
            not_before = moment(fields[_NOT_BEFORE]) if fields.get(_NOT_BEFORE) else None
        except (TypeError, ValueError):
            letter = None
    if letter is None:
        letter, revision, not_before = _foreign(message), 0, None
    elif revision == 0:
        letter = replace(letter, status=LetterStatus.WAITING)  # a letter that comes is waiting, whatever it was before
    return Received(letter, revision, not_before, message["ReceiptHandle"], message["MessageId"])


def revised(letter: DeadLetter, revision: int, *, parked: bool, not_before: datetime | None) -> bytes:
    """The JSON of another version of a letter."""
    status = LetterStatus.PARKED if parked else LetterStatus.WAITING
    fields = {**replace(letter, status=status).to_dict(), _REVISION: revision}
    if not_before is not None:
        fields[_NOT_BEFORE] = not_before.isoformat()
    return dump(fields)


def _fields(body: str) -> dict[str, Any] | None:
    """What a body of ours says, None if it is not ours, or damaged."""
    try:
        fields = json.loads(body)
        if isinstance(fields, dict) and "zlib" in fields and "size" in fields:
            squeezed = base64.b64decode(fields["zlib"], validate=True)
            fields = json.loads(zlib.decompressobj().decompress(squeezed, int(fields["size"]) + 1))
    except (ValueError, TypeError, zlib.error, binascii.Error, RecursionError):
        return None
    return fields if isinstance(fields, dict) and "first_failed_at" in fields else None


def _foreign(message: Mapping[str, Any]) -> DeadLetter:
    """A letter made of a message that is not ours."""
    body = message["Body"]
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = body
    attributes = message.get("Attributes") or {}
    try:
        sent = datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC)
    except (KeyError, ValueError, OverflowError):
        sent = datetime.fromtimestamp(0, UTC)
    headers = {
        name: str(each["StringValue"])
        for name, each in (message.get("MessageAttributes") or {}).items()
        if "StringValue" in each
    }
    return DeadLetter(
        id=message["MessageId"],
        message=content,
        error_info={"error_type": "", "error_message": "sent to the queue by another program, or moved there by SQS"},
        first_failed_at=sent,
        last_failed_at=sent,
        headers=headers,
    )


def _revision(fields: Mapping[str, Any]) -> int:
    found = fields.get(_REVISION, 0)
    return found if isinstance(found, int) and found >= 0 else 0


def _group_id(group: str) -> str:
    """A group's name with the characters and the length that SQS allows."""
    return re.sub(r"[^A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]", "_", group)[:128] or "none"
