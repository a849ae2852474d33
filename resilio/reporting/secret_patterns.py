"""Finding secrets in a text by what they look like, in a time that grows with the text and no faster.

Each pattern is bounded, begins with a character that is rare, and runs only where a marker of its secret is in the
text at all: a text without secrets costs about a dozen searches for short literals. A text is cut before any pattern
runs; a secret that lies across the cut is found all the same, for the search looks a little beyond it.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Final, TypeAlias

from resilio.reporting.sensitive_keys import is_sensitive_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("REDACTED", "is_card_number", "redact_text", "weight_of")

REDACTED: Final = "[redacted]"
"""What stands in place of a secret."""

Span: TypeAlias = tuple[int, int, str]
"""From where to where, and what to write there instead."""

_BEYOND: Final = 2_048
"""How many characters beyond the cut are searched, for the secret that lies across it."""

_MOST_PASSES: Final = 4
_CUT: Final = re.compile(r"… \[\d{1,12} more characters\](?:_\d{1,3})?\Z")
_ENDS_OF_A_CUT: Final = frozenset("]0123456789")
_LONGEST_TAIL: Final = 40

_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,16384}+(?:-----END[^-\n]{0,60}-----)?"
)
_URL: Final = re.compile(r"://([^\s/?#\"'<>]{1,512})@")
_JWT: Final = re.compile(r"eyJ(?<![\w-]...)[\w-]{8,2048}+(?:\.[\w-]{0,8192}+){1,2}")
_SCHEME: Final = re.compile(
    r"[bB](?<![\w-].)(?:(?i:earer)[ ]{1,3}+(?:(?i:bearer|basic)[ ]{1,3}+){0,8}+(?=\S{6})"
    r"|(?i:asic)[ ]{1,3}+(?=\S{8})(?=[A-Za-z]{0,256}?(?:[0-9=+/]|[a-z][A-Z])))([^\s\"',;<>]{1,4096}+)"
)
_AWS: Final = re.compile(r"A[KSBC][IC]A(?<![A-Za-z0-9]....)[A-Z0-9]{16}(?![A-Za-z0-9])")
_VENDORS: Final = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}|glpat-[\w-]{16,255}|xox[abeprs]-[\w-]{10,255}"
    r"|sk-[\w-]{16,255}|[rs]k_(?:live|test)_\w{10,255}|whsec_\w{10,255}|AIza[\w-]{30,64}|ya29\.[\w-]{20,255}"
    r"|SG\.[\w-]{16,64}\.[\w-]{16,64}|npm_\w{30,64}|pypi-\w{16,255}|hf_\w{20,255}"
)
_VENDOR_MARKS: Final = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "sk-", "k_live_", "k_test_", "whsec_"),
    *("AIza", "ya29.", "SG.", "npm_", "pypi-", "hf_"),
)
_PHONE: Final = re.compile(r"\+(?<!\w.)(?<!\+.)1[2-9]\d{9}(?!\d)")
_CARD: Final = re.compile(r"[2-6](?<![\w.+-].)(?:[ -]?\d){12,18}+(?!-?\d|[A-Za-z_])")
_PAIR: Final = re.compile(r"\(b?[\"']([A-Za-z_][\w-]{1,127}+)[\"'],[ ]?b?[\"']([^\"']{1,2048}+)")

_BETWEEN: Final = re.compile(r"(?:%3(?i:[ad])|=>?|:)[ \t]{0,3}+")
_NAME_CHARACTERS: Final = string.ascii_letters + string.digits + "_-"
_NAME_ROOM: Final = 136
_VALUE: Final = re.compile(
    r"""(?:(?i:bearer|basic|token|digest|apikey|negotiate)[ ]{1,3}+){0,8}+
    (?:[bBrRuU]{0,2}+\\?"(?:[^"\\]|\\.){0,2048}+"?
      |[bBrRuU]{0,2}+\\?'(?:[^'\\]|\\.){0,2048}+'?
      |[\[({][^\])}]{0,2048}+[\])}]?
      |(?:[^\s,;&]|,(?=\S)){1,2048}+)""",
    re.VERBOSE,
)
_REST_OF_LINE: Final = re.compile(r"[^\r\n\"'\\]{0,4096}")
_NUMBER: Final = re.compile(r"[0-9][0-9._]{0,30}+(?![^\s,;&)}\]])")


def redact_text(
    text: str,
    *,
    longest: int = 4_096,
    slack: int = 0,
    is_sensitive: Callable[..., bool] = is_sensitive_key,
    found: set[str] | None = None,
) -> str:
    """A text without the secrets that can be told by their looks, and not longer than it may be.

    To redact it again changes nothing: what says that a text was cut is no part of it, and ``[redacted]`` counts as one
    character, so that no text grows by what is taken out of it.

    Args:
        text: Any text.
        longest: How many of its characters are kept.
        slack: A text with so many characters more than that is not cut yet.
        is_sensitive: Tells whether a word before ``=`` or ``:`` names a secret, as `is_sensitive_key` does.
        found: Takes up the values that stood after such a word, so that they can be looked for elsewhere.
    """
    body, tail = text, ""
    if text[-1:] in _ENDS_OF_A_CUT and (told := _CUT.search(text, max(0, len(text) - _LONGEST_TAIL))) is not None:
        body, tail = text[: told.start()], told[0]
    if len(body) <= longest + slack and body.isascii():  # as nearly all are
        cleaned = _cleaned(body, len(body), is_sensitive, found)
    else:
        most = len(REDACTED) * (longest + slack) + _BEYOND  # a text of nothing but ``[redacted]``
        missing = max(0, len(body) - most)
        body = _writable(body[:most])
        if missing or weight_of(body) > longest + slack:
            tail = f"… [{missing + len(body) - longest} more characters]"
            cleaned = _cleaned(body[: longest + _BEYOND], longest, is_sensitive, found)
        else:
            cleaned = _cleaned(body, len(body), is_sensitive, found)
    for _ in range(_MOST_PASSES):  # what is left may look like a secret now that its surroundings are gone
        if len(cleaned) == len(body) and cleaned == body:
            break
        body, cleaned = cleaned, _cleaned(cleaned, len(cleaned), is_sensitive, found)
    return cleaned + tail if tail else cleaned


def _writable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates


def weight_of(text: str) -> int:
    """How long a text counts as; ``[redacted]`` is one character."""
    return len(text) - (len(REDACTED) - 1) * text.count(REDACTED)


def _cleaned(text: str, longest: int, is_sensitive: Callable[..., bool], found: set[str] | None) -> str:
    """At least the first ``longest`` characters, without secrets; what follows is only looked at."""
    spans = [*_by_looks(text), *_by_name(text, is_sensitive, found)]
    if not spans:
        return text[:longest]
    pieces: list[str] = []
    kept = 0
    for start, end, instead in sorted(spans):
        if start >= longest:
            break
        if start >= kept:
            pieces += (text[kept:start], instead if end <= longest else REDACTED)  # half a mask would be cut again
        kept = max(kept, end)
    return "".join((*pieces, text[kept : max(longest, kept)]))


def _by_looks(text: str) -> Iterator[Span]:
    if "://" in text and "@" in text:
        yield from ((*match.span(1), REDACTED) for match in _URL.finditer(text))
    if "eyJ" in text:
        yield from _whole(_JWT, text)
    if "-----BEGIN" in text:
        yield from _whole(_PEM, text)
    if "A" in text:
        yield from _whole(_AWS, text)
    if ("_" in text or "-" in text or "." in text or "AIza" in text) and any(mark in text for mark in _VENDOR_MARKS):
        yield from _whole(_VENDORS, text)
    lowered = text.lower()
    if "bearer " in lowered or "basic " in lowered:
        yield from ((*match.span(1), REDACTED) for match in _SCHEME.finditer(text))
    if "+1" in text:
        yield from (
            (match.start() + 2, match.end() - 4, "*" * (match.end() - match.start() - 6))
            for match in _PHONE.finditer(text)
        )
    yield from ((*match.span(), REDACTED) for match in _CARD.finditer(text) if is_card_number(match[0]))


def _whole(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    return ((*match.span(), REDACTED) for match in pattern.finditer(text))


def _by_name(text: str, is_sensitive: Callable[..., bool], found: set[str] | None) -> Iterator[Span]:
    """``password=...``, ``"apiKey": "..."``, ``('Authorization', '...')`` and their like."""
    if "(" in text:
        for match in _PAIR.finditer(text):
            if is_sensitive(match[1]):
                if found is not None:
                    found.add(match[2])
                yield (*match.span(2), REDACTED)
    done = 0
    for between in _BETWEEN.finditer(text):
        start = between.start()
        if start < done:
            continue  # within a value that is gone already
        name = _name_before(text, start)
        if name is None:
            continue
        after = between.end()
        if not is_sensitive(name, holds_number=_NUMBER.match(text, after) is not None):
            continue
        value = _value_at(text, after, is_sensitive)
        if value is None:
            continue
        if found is not None:
            found.add(value[0].strip("\\\"'"))
        done = value.end()
        if name[-6:].lower() == "cookie" and (line := _REST_OF_LINE.match(text, done)) is not None:
            done = line.end()  # a cookie's own names and values go on to the end of the line
        yield (after, done, REDACTED)


def _value_at(text: str, at: int, is_sensitive: Callable[..., bool]) -> re.Match[str] | None:
    value = _VALUE.match(text, at)
    while value is not None and value[0][-1] in ":=" and is_sensitive(value[0][:-1]):
        blanks = text[value.end() : value.end() + 8]
        further = _VALUE.match(text, value.end() + len(blanks) - len(blanks.lstrip(" \t")))
        if further is None:
            break
        value = further  # that was another name, and this is its value
    return value


def _name_before(text: str, end: int) -> str | None:
    before = text[max(0, end - _NAME_ROOM) : end]
    tail = before.rstrip(" \t").rstrip("]").rstrip("\"'").rstrip("\\")
    if len(before) - len(tail) > 8 or not tail:  # noqa: PLR2004 -- a quote, a bracket and some blanks
        return None
    name = tail[len(tail.rstrip(_NAME_CHARACTERS)) :].lstrip("0123456789-")
    return name if len(name) > 1 else None


def is_card_number(text: str) -> bool:
    """Tell whether some digits are the number of a payment card: of a known kind, with a check digit that is right."""
    digits = [ord(each) - 48 for each in text if "0" <= each <= "9"]
    known = _CARDS.get(len(digits))
    if known is None or known.match("".join(map(str, digits))) is None:
        return False
    doubled = (each * 2 - 9 * (each > 4) for each in digits[-2::-2])  # noqa: PLR2004 -- Luhn, ISO/IEC 7812-1
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


# Of each length, what a number begins with: Visa, Mastercard, Amex, Diners, Discover, JCB, UnionPay, Maestro.
_CARDS: Final = {
    13: re.compile("4"),
    14: re.compile("3(?:0[0-5]|[689])"),
    15: re.compile("3[47]"),
    16: re.compile("4|5[0-8]|2[2-7]|3[5689]|6"),
    19: re.compile("4|6"),
}
