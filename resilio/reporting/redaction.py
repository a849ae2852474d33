"""Taking secrets out of whatever leaves the process: by the name they stand under, and by what they look like."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from resilio._core import durations
from resilio.reporting.causes import ErrorCause, text_of
from resilio.reporting.secret_patterns import REDACTED, is_card_number, redact_text, weight_of
from resilio.reporting.sensitive_keys import is_sensitive_key

if TYPE_CHECKING:
    from resilio.reporting.plain import PlainValue

__all__ = ("Redactor", "redact")

_DEEPEST: Final = 8
_MOST_VALUES: Final = 500
_MOST_TEXT: Final = 16_384
_LONGEST_KEY: Final = 200
_ROOM_FOR_A_NUMBER: Final = 4
_PLAIN_KEY: Final = 16
_LARGEST: Final = 10**100
_SMALLEST_CARD: Final = 10**12
_SHORTEST_SECRET: Final = 5
_MOST_SECRETS: Final = 64
_SCHEME: Final = re.compile(r"\A(?i:bearer|basic|token|digest) +")
_NO_SECRETS: Final = frozenset({"false", "undefined", "not set", "unset", "empty", "missing", "required"})


class Redactor:
    """Makes a copy of any value that holds no secrets, is not large, and that JSON can carry.

    A copy of the copy is the same.

    Args:
        keys: More names whose values are secrets. Upper and lower case are the same.
        keep: Names whose values are none, whatever they look like.
        secrets: Texts that must appear nowhere: the values of your own keys and passwords. Texts of fewer than five
            characters are refused.
        longest: The most characters that are kept of one text.

    Raises:
        ValueError: A secret is too short to be looked for, or ``longest`` is out of range.
        TypeError: One of them is no text.

    Frozen after it is made: safe across threads and loops.

        >>> redactor = Redactor(keys=["shoe_size"], secrets=["open-sesame"])
        >>> redactor({"shoe_size": 44, "said": "open-sesame!", "monkey": "banana"})
        {'shoe_size': '[redacted]', 'said': '[redacted]!', 'monkey': 'banana'}
    """

    __slots__ = ("_keep", "_keys", "_longest", "_secrets")

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        keep: Iterable[str] = (),
        secrets: Iterable[str] = (),
        longest: int = 4_096,
    ) -> None:
        self._keys = frozenset(each.lower() for each in _texts("keys", keys))
        self._keep = frozenset(each.lower() for each in _texts("keep", keep))
        self._secrets = frozenset(_texts("secrets", secrets))
        if any(len(each) < _SHORTEST_SECRET for each in self._secrets):
            msg = f"secrets must be texts of at least {_SHORTEST_SECRET} characters; one of those given is shorter"
            raise ValueError(msg)
        self._longest = durations.whole("longest", longest, at_least=16)

    def __call__(self, value: object) -> PlainValue:
        """The copy: dicts, lists, texts, numbers, True, False and None.

        Dataclasses and mappings become dicts, sequences and sets lists, everything else its ``repr``. Of what is too
        deep, too wide or goes in circles, the rest is left out, and a text says so. Never raises an ``Exception``.
        """
        walk = self.walk()
        copied: PlainValue = walk.scrubbed(walk.copy(value))
        return copied

    def walk(self) -> Walk:
        """Begin the redaction of several values that belong together."""
        return Walk(self.is_sensitive, self._longest, set(self._secrets))

    def is_sensitive(self, key: object, *, holds_number: bool = False) -> bool:
        """Tell whether what stands under ``key`` is a secret; a number may be a mere amount."""
        if self._keys or self._keep:
            name = text_of(key).lower()
            if name in self._keep:
                return False
            if name in self._keys:
                return True
        return is_sensitive_key(key, holds_number=holds_number)


class Walk:
    """The redaction of one thing: what it may still hold, and the secrets that came to light on the way.

    A value found under a secret's name in one place is taken out of all the texts by `scrubbed`.
    """

    __slots__ = ("_is_sensitive", "_longest", "_secrets", "_text_left", "_values_left")

    def __init__(self, is_sensitive: Any, longest: int, secrets: set[str]) -> None:
        self._is_sensitive = is_sensitive
        self._longest = longest
        self._secrets = secrets
        self._values_left = _MOST_VALUES
        self._text_left = _MOST_TEXT

    def text(self, value: object, *, longest: int | None = None, slack: int = 0) -> str:
        """A text, or the text of anything, without what looks like a secret."""
        most = min(self._longest if longest is None else longest, max(self._text_left, 64))
        return self._said(
            redact_text(text_of(value), longest=most, slack=slack, is_sensitive=self._is_sensitive, found=self._secrets)
        )

    def _said(self, text: str) -> str:
        self._text_left -= weight_of(text)
        return text

    def copy(self, value: object) -> PlainValue:
        """A plain copy of anything, without what is a secret by its name or by its looks."""
        try:
            return self._copy(value, _DEEPEST, set())
        except Exception as error:
            return self.text(f"<{type(value).__name__} that cannot be read: {type(error).__name__}>")

    def entries(self, mapping: Mapping[Any, object]) -> dict[str, PlainValue]:
        """A plain copy of a mapping."""
        copied = self.copy(mapping)
        return copied if isinstance(copied, dict) else {"context": copied}

    def secret(self, value: object) -> None:
        """Take note of a value that is a secret, for `scrubbed`."""
        if isinstance(value, bytes):
            value = value[: self._longest].decode("utf-8", "replace")
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
            value = str(value)
        if isinstance(value, str):
            self._secrets.add(value)
        elif isinstance(value, Mapping):
            for each in list(value.values())[:_MOST_SECRETS]:
                if isinstance(each, (str, bytes, int)):
                    self.secret(each)
        elif isinstance(value, (list, tuple, AbstractSet)):
            for each in list(value)[:_MOST_SECRETS]:
                if isinstance(each, (str, bytes, int)):
                    self.secret(each)

    def scrubbed(self, value: Any) -> Any:
        """``value``, a plain one, with every secret that came to light taken out of its texts."""
        if not self._secrets:
            return value
        words = {_SCHEME.sub("", each) for each in self._secrets}
        wanted = sorted((each for each in words if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)
        wanted = [each for each in wanted if each not in REDACTED and each.lower() not in _NO_SECRETS]
        return _scrub(value, wanted[:_MOST_SECRETS]) if wanted else value

    def _copy(self, value: object, deeper: int, above: set[int]) -> PlainValue:  # noqa: C901, PLR0911, PLR0912 -- one branch for each kind of value
        self._values_left -= 1
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value  # type: ignore[return-value]
        if kind is int:
            return self._whole(value)  # type: ignore[arg-type]
        if isinstance(value, Enum):
            return self._copy(value.value, deeper, above)
        if isinstance(value, int):
            return self._whole(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else self._said(repr(float(value)))
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, (bytes, bytearray)):
            return self.text(bytes(value[: self._longest + 1]).decode("utf-8", "backslashreplace"))
        if isinstance(value, (date, time)):
            return self._said(value.isoformat())
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, BaseException):
            return self.text(f"{kind.__name__}: {text_of(value)}")
        if deeper <= 0 or self._values_left <= 0:
            return self._said("[left out: too deep or too large]")
        if id(value) in above:
            return self._said("[left out: it contains itself]")
        above.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._pairs(value.items(), len(value), deeper - 1, above)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                fields = [(each.name, getattr(value, each.name, None)) for each in dataclasses.fields(value)]
                return self._pairs(fields, len(fields), deeper - 1, above)
            if isinstance(value, tuple) and hasattr(value, "_asdict"):
                named = value._asdict()
                return self._pairs(named.items(), len(named), deeper - 1, above)
            if isinstance(value, (list, tuple, AbstractSet)):
                return self._many(value, deeper - 1, above)
        finally:
            above.discard(id(value))
        return self.text(_safe_repr(value))

    def _whole(self, value: int) -> PlainValue:
        if not -_LARGEST < value < _LARGEST:
            return self._said(f"[a number of {value.bit_length()} bits]")
        if value >= _SMALLEST_CARD and is_card_number(str(value)):
            return self._said(REDACTED)
        return value

    def _pairs(self, pairs: Iterable[tuple[object, object]], count: int, deeper: int, above: set[int]) -> PlainValue:
        copied: dict[str, PlainValue] = {}
        for key, value in pairs:
            left = count - len(copied)
            if self._values_left <= 0 and left > 1:  # a single one takes no more room than what would be said instead
                copied["…"] = self._said(f"[{left} more]")
                break
            plain = self._name(key)
            name, others = plain, 1
            while name in copied:
                others += 1
                name = f"{plain}_{others}"
            copied[name] = self._under(key, name, value, deeper, above)
        return copied

    def _under(self, key: object, name: str, value: object, deeper: int, above: set[int]) -> PlainValue:
        if value is None or isinstance(value, bool):
            return value
        holds_number = isinstance(value, (int, float))
        if self._is_sensitive(key, holds_number=holds_number) or (
            name != key and self._is_sensitive(name, holds_number=holds_number)
        ):
            self.secret(value)
            self._values_left -= 1
            return self._said(REDACTED)
        return self._copy(value, deeper, above)

    def _name(self, key: object) -> str:
        if type(key) is str and len(key) < _PLAIN_KEY and key.isidentifier():
            return self._said(key)
        text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        return self.text(text, longest=_LONGEST_KEY, slack=_ROOM_FOR_A_NUMBER)

    def _many(self, values: Any, deeper: int, above: set[int]) -> PlainValue:
        # A pair is often a name and its value: headers, forms, query parameters.
        if isinstance(values, tuple) and len(values) == 2 and isinstance(values[0], (str, bytes)):  # noqa: PLR2004
            self._values_left -= 2
            name = self._name(values[0])
            return [name, self._under(values[0], name, values[1], deeper, above)]
        copied: list[PlainValue] = []
        for value in values:
            left = len(values) - len(copied)
            if self._values_left <= 0 and left > 1:
                copied.append(self._said(f"[{left} more]"))
                break
            copied.append(self._copy(value, deeper, above))
        return copied


def _scrub(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for each in secrets:
            if each in value:
                value = value.replace(each, REDACTED)
        return value
    if isinstance(value, dict):
        return {_scrub(key, secrets): _scrub(each, secrets) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_scrub(each, secrets) for each in value)
    if isinstance(value, ErrorCause):
        return dataclasses.replace(
            value, error_message=_scrub(value.error_message, secrets), notes=_scrub(value.notes, secrets)
        )
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in secrets:
        return REDACTED
    return value


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def _texts(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        msg = f"{name} must be several texts, such as [{values!r}], not one text"
        raise TypeError(msg)
    listed = list(values)
    for each in listed:
        if not isinstance(each, str):
            msg = f"{name} must be texts, not {type(each).__name__}"
            raise TypeError(msg)
    return listed


_redactor = Redactor()


def redact(value: object) -> PlainValue:
    """Make a copy of ``value`` without secrets: for logs, mails, tickets, and whatever else leaves the process.

    What stands under a name such as ``password``, ``apiKey`` or ``Authorization`` is taken out wherever it is nested;
    so is what looks like a secret in any text: bearer tokens, URLs with credentials, JSON web tokens, private keys,
    keys of AWS and others, payment cards; of phone numbers in the form ``+1XXXXXXXXXX`` the last four digits stay.

    Args:
        value: Anything; it is not changed.

    Returns:
        Dicts, lists, texts, numbers, True, False and None; bounded in depth, width and length. Never raises an
        ``Exception``. Safe across threads and loops. `Redactor` takes names and secrets of your own.

        >>> redact({"user": "tzara", "apiKey": "abc-123", "url": "https://tzara:dada@example.com/cats"})
        {'user': 'tzara', 'apiKey': '[redacted]', 'url': 'https://[redacted]@example.com/cats'}
    """
    return _redactor(value)
