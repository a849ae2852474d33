"""Encryption at rest: what a codec is, the one that comes along, and how a letter is sealed with it.

Sealed are the message, the error, the headers and the history. Id, times, status, group, source and deduplication key
stay readable, so that every store does its work without the key. Each part is bound to its letter and its place in it:
a part that was taken from another letter does not open.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from resilio.deadletters.encoding import STANDARD, carry, dump, unwrapped
from resilio.deadletters.errors import SealedLetterError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

    from resilio.deadletters.letter import DeadLetter

__all__ = ("Codec", "FernetCodec", "Sealing", "is_sealed")

_SEALED: Final = "__sealed__"
_PREFIX: Final = "sealed:v1:"
_LONGEST_MESSAGE: Final = 200  # of an error in the history; the last one is there in full


class Codec(Protocol):
    """Turns what a letter says into bytes that mean nothing without a key, and back.

    Both methods are called on the event loop's thread, and may be called from several threads at once: they must be
    quick, and do no I/O.
    """

    def seal(self, data: bytes) -> bytes:
        """Return ``data`` encrypted."""

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            Exception: It was not sealed with a key of this codec, or was altered.
        """


class FernetCodec:
    """Seals with Fernet (AES-128-CBC and HMAC-SHA256) of ``cryptography``; the extra ``crypto``.

        dlq = DeadLetterQueue(local_file_path="dead.jsonl", codec=FernetCodec(os.environ["DLQ_KEY"]))

    To rotate keys, put the new one in front: ``FernetCodec(new, old)`` seals with ``new`` and opens what either sealed.
    Letters that are exported and imported, or moved to a queue with the new codec, are sealed with the new key.

    Args:
        keys: Keys as `new_key` makes them, the one to seal with first.

    Raises:
        ModuleNotFoundError: The extra ``crypto`` is not installed.
        TypeError, ValueError: There is no key, or one is not 32 bytes in URL-safe base64.

    Safe to share between threads, event loops and queues.
    """

    __slots__ = ("_fernet",)

    def __init__(self, *keys: str | bytes) -> None:
        fernet = _fernet()
        if not keys:
            msg = "FernetCodec needs at least one key; FernetCodec.new_key() makes one"
            raise TypeError(msg)
        made = []
        for number, key in enumerate(keys, 1):
            if not isinstance(key, (str, bytes)):
                msg = f"key {number} must be text or bytes, not {type(key).__name__}"
                raise TypeError(msg)
            try:
                made.append(fernet.Fernet(key))
            except (ValueError, binascii.Error):  # the key itself is in no message
                msg = f"key {number} must be 32 bytes in URL-safe base64, as FernetCodec.new_key() makes them"
                raise ValueError(msg) from None
        self._fernet: MultiFernet = fernet.MultiFernet(made)

    def __repr__(self) -> str:
        return "<FernetCodec>"

    @staticmethod
    def new_key() -> str:
        """A key, to be kept where the letters are not."""
        key: bytes = _fernet().Fernet.generate_key()
        return key.decode()

    def seal(self, data: bytes) -> bytes:
        """Return ``data`` encrypted, with the first key."""
        return base64.urlsafe_b64decode(self._fernet.encrypt(data))

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed with any of the keys.

        Raises:
            cryptography.fernet.InvalidToken: It was sealed with none of them, or was altered.
        """
        return self._fernet.decrypt(base64.urlsafe_b64encode(sealed))


def _fernet() -> Any:
    try:
        from cryptography import fernet  # noqa: PLC0415 -- of an extra, and slow to import
    except ModuleNotFoundError as error:
        msg = "FernetCodec needs cryptography; install the extra: pip install 'resilio-toolkit[crypto]'"
        raise ModuleNotFoundError(msg, name="cryptography") from error
    return fernet


# -- letters -----------------------------------------------------------------------------------------------------------


def is_sealed(part: object) -> bool:
    """Tell whether a part of a letter is sealed; for the whole letter its ``error_info`` answers."""
    text = part.get(_SEALED) if isinstance(part, Mapping) else None
    return isinstance(text, str) and text.startswith(_PREFIX)


class Sealing:
    """Seals and opens letters with a codec.

    Args:
        codec: What encrypts.
        location: The queue, for errors.
    """

    __slots__ = ("_codec", "_location")

    def __init__(self, codec: Codec, location: str) -> None:
        self._codec = codec
        self._location = location

    def message(self, letter_id: str, message: object) -> dict[str, str]:
        """A message, sealed."""
        return {_SEALED: self._seal(letter_id, "message", message)}

    def headers(self, letter_id: str, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers, sealed; where there are none, none."""
        return {_SEALED: self._seal(letter_id, "headers", dict(headers))} if headers else {}

    def error_info(self, letter_id: str, error_info: Mapping[str, Any]) -> dict[str, str]:
        """An error, sealed; what a store copies from it into the history is sealed, too."""
        brief = [str(error_info.get("error_type", "")), str(error_info.get("error_message", ""))[:_LONGEST_MESSAGE]]
        return {
            _SEALED: self._seal(letter_id, "error_info", dict(error_info)),
            "error_message": self._seal(letter_id, "history", brief),
        }

    def letter(self, letter: DeadLetter) -> DeadLetter:
        """A whole letter, sealed."""
        key = letter.id
        return replace(
            letter,
            message=self.message(key, carry(letter.message, encoder=STANDARD)),
            error_info=self.error_info(key, letter.error_info),
            headers=self.headers(key, letter.headers),
            history=tuple(self._sealed_line(key, each) for each in letter.history),
        )

    def _sealed_line(self, letter_id: str, line: Mapping[str, Any]) -> Mapping[str, Any]:
        if "error_message" not in line:
            return line
        brief = [str(line.get("error_type", "")), str(line["error_message"])[:_LONGEST_MESSAGE]]
        return {**line, "error_type": "", "error_message": self._seal(letter_id, "history", brief)}

    def opened(self, letter: DeadLetter) -> DeadLetter:
        """A letter as it was before it was sealed; one that is not sealed as it is.

        Raises:
            SealedLetterError: The codec does not open it.
        """
        key = letter.id
        parts = {
            name: self._open(key, name, getattr(letter, name)[_SEALED])
            for name in ("message", "error_info", "headers")
            if is_sealed(getattr(letter, name))
        }
        if not parts:  # from a time before there was a codec
            return letter
        return replace(letter, **parts, history=tuple(self._opened_line(key, each) for each in letter.history))

    def _opened_line(self, letter_id: str, line: Mapping[str, Any]) -> Mapping[str, Any]:
        text = line.get("error_message")
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            return line
        error_type, error_message = self._open(letter_id, "history", text)
        return {**line, "error_type": error_type, "error_message": error_message}

    def _seal(self, letter_id: str, place: str, value: object) -> str:
        plain = dump({"id": letter_id, "place": place, "value": value})
        return _PREFIX + base64.b64encode(self._codec.seal(plain)).decode()

    def _open(self, letter_id: str, place: str, sealed: str) -> Any:
        try:
            plain = self._codec.open(base64.b64decode(sealed.removeprefix(_PREFIX), validate=True))
            found = json.loads(plain)
        except Exception as error:
            msg = (
                f"the {place} of the letter {letter_id} in {self._location} does not open with the queue's codec: it "
                "was sealed with another key, or altered; nothing was changed"
            )
            raise SealedLetterError(msg, message_id=letter_id, location=self._location) from error
        if (found["id"], found["place"]) != (letter_id, place):
            msg = f"the {place} of the letter {letter_id} in {self._location} belongs elsewhere; somebody put it there"
            raise SealedLetterError(msg, message_id=letter_id, location=self._location)
        return unwrapped(found["value"])
