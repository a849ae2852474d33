"""What each medium can carry, and what must not be seen of an address. Plain functions of text; no I/O.

| medium | limit |
|---|---|
| any subject | one line |
| SNS subject | 100 characters of ASCII |
| SNS body | 256 KiB of UTF-8, with its attributes |
| SMS | 160 characters of the GSM alphabet, or 70 where a character is not in it |
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    _Weigh: TypeAlias = Callable[[str], int]

__all__ = (
    "SMS_LENGTH",
    "SMS_UNICODE_LENGTH",
    "SNS_BODY_BYTES",
    "SNS_SUBJECT_LENGTH",
    "ascii_subject",
    "cut",
    "cut_bytes",
    "e164",
    "mask_phone_number",
    "mask_url",
    "one_line",
    "sms",
)

SNS_SUBJECT_LENGTH: Final = 100
SNS_BODY_BYTES: Final = 256 * 1024
SMS_LENGTH: Final = 160
SMS_UNICODE_LENGTH: Final = 70
_LONGEST_SUBJECT: Final = 200

# The GSM 7-bit alphabet (3GPP TS 23.038); the second string's characters take two places.
_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED: Final = frozenset("^{}\\[~]|€")
# One typographic quote would cost a message more than half of its room.
_PLAINER: Final = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "`": "'"}  # noqa: RUF001 -- the very characters
)

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")


def one_line(text: str, limit: int = _LONGEST_SUBJECT) -> str:
    """``text`` without line breaks and control characters, at most ``limit`` characters: fit to be a subject."""
    # Cut first: what follows looks at every character. Four times the room is enough for any sane run of spaces.
    return cut(" ".join(_printable(text[: 4 * limit + 4]).split()) or "(no text)", limit)


def ascii_subject(text: str, limit: int = SNS_SUBJECT_LENGTH) -> str:
    """``text`` as one line of printable ASCII, at most ``limit`` characters; what has no like there becomes ``?``."""
    plain = unicodedata.normalize("NFKD", text[: 4 * limit + 4].translate(_PLAINER))
    bare = "".join(each for each in plain if not unicodedata.combining(each))
    line = " ".join(_printable(bare).split()).encode("ascii", "replace").decode("ascii")
    return cut(line or "(no text)", limit, mark="...")


def cut(text: str, limit: int, *, mark: str = "…") -> str:
    """``text`` in at most ``limit`` characters; if it had to be cut, it ends in ``mark``."""
    return text if len(text) <= limit else text[: max(limit - len(mark), 0)] + mark[:limit]


def cut_bytes(text: str, limit: int, *, mark: str = "…") -> str:
    """``text`` in at most ``limit`` bytes of UTF-8, cut between characters; if it had to be cut, it ends in ``mark``.

    A half of a surrogate pair, which UTF-8 cannot carry, becomes ``?``.
    """
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    ending = mark.encode("utf-8")
    if len(ending) > limit:
        ending = b""
    return encoded[: limit - len(ending)].decode("utf-8", "ignore") + ending.decode("utf-8")


def sms(text: str) -> str:
    """``text`` as one SMS: 160 places of the GSM alphabet, or 70 UTF-16 units if a character is not in it."""
    plain = "\n".join(line for line in text[: 8 * SMS_LENGTH].translate(_PLAINER).splitlines() if line.strip())
    plain = _printable(plain, keep="\n").strip() or "(no text)"
    if all(each in _GSM or each in _GSM_EXTENDED for each in plain):
        return _cut_by(plain, SMS_LENGTH, lambda each: 2 if each in _GSM_EXTENDED else 1)
    whole = plain.encode("utf-16-le", "replace").decode("utf-16-le")
    return _cut_by(whole, SMS_UNICODE_LENGTH, lambda each: 2 if ord(each) > 0xFFFF else 1)  # noqa: PLR2004 -- UTF-16


def e164(name: str, value: object) -> str:
    """Return ``value`` if it is a phone number in the form E.164.

    Raises:
        TypeError: It is no text.
        ValueError: It is not of that form. The message shows it masked.
    """
    form = "a phone number in the form E.164, such as '+14155550123': a plus, the country code, 7 to 15 digits in all"
    if not isinstance(value, str):
        msg = f"{name} must be {form}, not a {type(value).__name__}"
        raise TypeError(msg)
    if not _E164.fullmatch(value):
        msg = f"{name} must be {form}, without spaces or dashes, not {mask_phone_number(value[:40])!r}"
        raise ValueError(msg)
    return value


def mask_phone_number(number: str) -> str:
    """A phone number with every digit but the first as ``X``: ``+1XXXXXXXXXX``."""
    seen = 0
    masked = []
    for each in number:
        seen += each.isdigit()
        masked.append("X" if each.isdigit() and seen > 1 else each)
    return "".join(masked)


def mask_url(url: str) -> str:
    """A URL's scheme and host alone: a webhook's path and query are its password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a URL that cannot be read)"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}/…"


def _printable(text: str, keep: str = "") -> str:
    # Not printable are control characters, line separators, invisible ones that turn text round, half surrogates.
    return "".join(each if each in keep or each.isprintable() else " " for each in text)


def _cut_by(text: str, limit: int, weigh: _Weigh, *, mark: str = "...") -> str:
    if sum(map(weigh, text)) <= limit:
        return text
    room, end = limit - len(mark), 0
    for end, each in enumerate(text):  # noqa: B007 -- where it stopped is what is wanted
        room -= weigh(each)
        if room < 0:
            break
    return text[:end] + mark
