"""What a message may be: any JSON value; and what happens to the rest, which is never a silent loss.

Dicts with text as keys, lists, text, whole numbers, finite numbers, true, false and None are carried. Tuples come back
as lists, subclasses as their JSON kin. Control characters, lone surrogates and emoji survive; a high surrogate followed
by a low one comes back as the one character that they stand for. Where the queue has an ``encoder``, more is carried,
as tags within one mark: `resilio.deadletters.encoder` has the table::

    {"__tagged__": {"price": {"$decimal": "9.99"}}}

Anything else is refused by name, or represented where the queue has a ``fallback``::

    {"__unencodable__": "decimal.Decimal", "representation": "Decimal('9.99')"}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from resilio.deadletters.encoder import Encoder, KeptObject, looks_like_tag, restore, type_name
from resilio.deadletters.errors import UnencodableMessageError

__all__ = ("Representation", "carry", "dump", "is_carried", "may_hold", "unwrapped", "with_message")

Representation: TypeAlias = Callable[[Any], str]
"""Makes a text that stands for a value which JSON cannot carry, such as ``repr``."""

DEEPEST: Final = 200
"""How deep a message may be nested: less than what any JSON reader's recursion takes."""

_WRAPPED: Final = "__json__"
_TAGGED: Final = "__tagged__"
_LARGEST: Final = 10**4300  # Python reads no longer numbers from text, so that a file cannot stall it
_SCALARS: Final = frozenset({str, bool, type(None)})
_TEXT: Final = frozenset({str})
_CONTAINERS: Final = frozenset({dict, list})

_utf8 = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":")).encode

# Ten times as fast where it is installed, and the same but for how the exponents of large and small numbers look. It
# would write down more than JSON carries, and not a number as null: it only gets what is carried.
_fast: Callable[[Any], bytes] | None
try:
    from orjson import dumps as _fast
except ImportError:
    _fast = None


def dump(fields: Mapping[str, object]) -> bytes:
    """``fields``, which JSON can carry, as one line of JSON in UTF-8 that every reader takes.

    Lone surrogates have no UTF-8, and some readers (jq among them) stop at their escapes. A field that has some is
    embedded, as the text of its JSON: ``{"__json__": "..."}``. `unwrapped` takes it out again.

    Raises:
        UnencodableMessageError: A ``TypeError``: even the encoder cannot carry it.
    """
    if any(map(_looks_wrapped, fields.values())):
        return _dump_wrapped(fields)
    try:
        return _dump_fast(fields) or _utf8(fields).encode()
    except UnicodeEncodeError:
        return _dump_wrapped(fields)
    except (TypeError, ValueError):  # a message that was taken out of its tags
        return _dump_wrapped({name: carry(each, name=name, encoder=STANDARD) for name, each in fields.items()})


def _dump_fast(fields: Mapping[str, object]) -> bytes | None:
    if _fast is None or not all(map(is_carried, fields.values())):
        return None
    try:
        return _fast(fields)
    except TypeError:  # lone surrogates, and numbers of more than 64 bits
        return None


def with_message(body: bytes, message: object) -> bytes:
    """A letter's JSON with another message, which JSON carries, in it."""
    fields = json.loads(body)
    return _utf8({**fields, "message": _wrapped(message)}).encode()


def _dump_wrapped(fields: Mapping[str, object]) -> bytes:
    return _utf8({name: _wrapped(each) for name, each in fields.items()}).encode()


def unwrapped(field: Any) -> Any:
    """A field as it was before `carry` and `dump`."""
    if type(field) is dict and len(field) == 1:
        if _WRAPPED in field:
            field = json.loads(field[_WRAPPED])
        if _looks_tagged(field):
            return restore(field[_TAGGED])
    return field


def _looks_wrapped(field: object) -> bool:
    return type(field) is dict and len(field) == 1 and _WRAPPED in field


def _looks_tagged(field: object) -> bool:
    """Whether it is the mark around tags, which stands around a dict or a list."""
    return type(field) is dict and len(field) == 1 and type(field.get(_TAGGED)) in _CONTAINERS


def _wrapped(field: object) -> object:
    if _looks_wrapped(field):
        return {_WRAPPED: _ascii(field)}
    try:
        _utf8(field).encode()
    except UnicodeEncodeError:
        return {_WRAPPED: _ascii(field)}
    return field


_WORDS: Final = re.compile(r"[0-9a-z]+")


def may_hold(raw: bytes, needle: str) -> bool:
    """Rule out that a text, with its cases folded, occurs in what ``raw`` is the JSON of; without parsing it.

    That tells for sure only of plain ASCII: other letters may fold into ASCII, and tags come back as something else.
    """
    word = _longest_word(needle)
    return word in raw.lower() or not raw.isascii() or b"\\u" in raw or b'"__tagged__"' in raw


@lru_cache(maxsize=64)
def _longest_word(needle: str) -> bytes:
    return max(_WORDS.findall(needle), key=len, default="").encode()


def carry(
    message: object,
    *,
    name: str = "message",
    fallback: Representation | None = None,
    encoder: Encoder | None = None,
) -> Any:
    """Return what JSON can carry of ``message``: itself as a rule, else a copy with tags or representations in it.

    Args:
        message: Any value.
        name: What the error calls it.
        fallback: Makes the text that stands for a part that neither JSON nor ``encoder`` can carry.
        encoder: Carries more than JSON does. What it carries comes back as the encoder's table says.

    Raises:
        UnencodableMessageError: A ``TypeError``: something in it cannot be carried, and there is no ``fallback``.
    """
    if is_carried(message):
        return message
    is_tagging = encoder is not None or (isinstance(message, dict) and _TAGGED in message)
    return _Converter(fallback, encoder, is_tagging=is_tagging).carried(message, name)


def is_carried(message: object) -> bool:
    """Tell whether JSON carries ``message`` as it is."""
    return _is_plain(message, DEEPEST) and not _looks_tagged(message)


def represented(value: object, text: str) -> dict[str, str]:
    """The mark that stands for a value which JSON cannot carry."""
    return {"__unencodable__": type_name(value), "representation": text}


def safe_repr(value: object) -> str:
    """``repr(value)``, or what went wrong with it: for what must not fail over a representation."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type_name(value)} whose repr raised {type(error).__name__}>"


def _is_plain(value: object, room: int) -> bool:
    """Tell whether JSON carries ``value`` as it is, by looking at exact types only: the fast way, and no copy."""
    kind = type(value)
    inside: Iterable[object]
    if kind is dict:
        inside = value.values()  # type: ignore[attr-defined]
        if not _TEXT.issuperset(map(type, value)):  # type: ignore[call-overload]
            return False
    elif kind is list or kind is tuple:
        inside = value  # type: ignore[assignment]
    else:
        return kind in _SCALARS or _is_plain_number(value, kind)
    if not room:
        return False
    for each in inside:  # noqa: SIM110 -- `all` would take a second frame for each level
        if type(each) not in _SCALARS and not _is_plain(each, room - 1):
            return False
    return True


def _is_plain_number(value: Any, kind: type) -> bool:
    if kind is int:
        return bool(-_LARGEST < value < _LARGEST)
    return kind is float and math.isfinite(value)


class _Converter:
    """Walks a message that is not plain, and knows where in it it is."""

    __slots__ = ("_around", "_depth", "_encoder", "_fallback", "_has_tags", "_is_tagging")

    def __init__(self, fallback: Representation | None, encoder: Encoder | None, *, is_tagging: bool) -> None:
        self._fallback = fallback
        self._encoder = encoder
        self._is_tagging = is_tagging  # then what only looks like a tag is told from one
        self._has_tags = False
        self._around: set[int] = set()  # the objects that the present value lies in
        self._depth = 0  # of the JSON around it

    def carried(self, message: object, name: str) -> Any:
        """The whole message."""
        found = self.convert(message, name)
        return {_TAGGED: found} if self._has_tags or _looks_tagged(found) else found

    def convert(self, value: object, path: str, *, must_hash: bool = False) -> Any:
        if self._encoder is not None and isinstance(value, KeptObject):
            return self._encoded(value, path, type_name(value))
        if isinstance(value, str):
            return str.__str__(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return self._number(value, path)
        if isinstance(value, (dict, list, tuple)):
            return self._container(value, path, must_hash=must_hash)
        return self._encoded(value, path, type_name(value))

    def _number(self, value: float, path: str) -> Any:
        number = int(value) if isinstance(value, int) else float(value)
        if _is_plain_number(number, type(number)):
            return number
        what = "a whole number of more than 4300 digits" if isinstance(number, int) else repr(number)
        return self._encoded(number, path, what, original=value)

    def _container(self, value: Any, path: str, *, must_hash: bool) -> Any:
        trouble = self._enter(value)
        if trouble:
            return self._give_up(value, path, trouble)
        try:
            if isinstance(value, dict):
                return self._dict(value, path)
            items = [self.convert(each, f"{path}[{at}]", must_hash=must_hash) for at, each in enumerate(value)]
            return self._tag("$tuple", items) if must_hash and isinstance(value, tuple) else items
        finally:
            self._leave(value)

    def _dict(self, value: dict[Any, Any], path: str) -> Any:
        odd = next((key for key in value if not isinstance(key, str)), None)
        if odd is None and None not in value and not (self._is_tagging and looks_like_tag(value)):
            return {str.__str__(key): self.convert(each, f"{path}[{_quoted(key)}]") for key, each in value.items()}
        if not self._is_tagging or (self._encoder is None and not looks_like_tag(value)):
            what = f"{type_name(value)} with a key of type {type_name(odd)} ({safe_repr(odd)[:50]})"
            return self._give_up(value, path, what)
        pairs = []
        for key, each in value.items():
            place = _quoted(key) if isinstance(key, str) else safe_repr(key)[:50]
            kept_key = self.convert(key, f"the key {place} of {path}", must_hash=True)
            pairs.append([kept_key, self.convert(each, f"{path}[{place}]")])
        return self._tag("$dict", pairs)

    # -- beyond JSON ---------------------------------------------------------------------------------------------------

    def _encoded(self, value: object, path: str, what: str, *, original: object = None) -> Any:
        """A value that is none of JSON's."""
        try:
            found = None if self._encoder is None else self._encoder.find(value)
        except Exception as error:
            what = f"{what} whose own code raised {type(error).__name__} ({safe_repr(error)[:100]})"
            found = None
        if found is None:
            return self._give_up(value if original is None else original, path, what)
        if isinstance(found.payload, str):
            return self._tag(found.tag, found.payload)
        trouble = self._enter(value, 3)
        if trouble:
            return self._give_up(value, path, trouble)
        try:
            if isinstance(found.payload, dict):
                return self._object(found.tag, found.payload, path)
            items: Any = found.payload
            kept = [self.convert(each, f"{path}[{at}]", must_hash=found.must_hash) for at, each in enumerate(items)]
            return self._tag(found.tag, kept)
        finally:
            self._leave(value, 3)

    def _object(self, tag: str, parts: dict[str, Any], path: str) -> Any:
        inner = "fields" if "fields" in parts else "value"
        found = parts[inner]
        if type(found) is dict and all(isinstance(each, str) for each in found):
            kept: Any = {key: self.convert(each, f"{path}.{key}") for key, each in found.items()}
            if looks_like_tag(kept):
                kept = self.convert(found, path)
        else:
            kept = self.convert(found, path)
        return self._tag(tag, {**parts, inner: kept})

    def _tag(self, tag: str, payload: object) -> dict[str, object]:
        self._has_tags = True
        return {tag: payload}

    def _enter(self, value: object, levels: int = 1) -> str:
        """Go into something that becomes so many levels of JSON; what is wrong with that, if anything."""
        if id(value) in self._around:
            return f"{type_name(value)} that contains itself"
        if self._depth + levels > DEEPEST:
            return f"{type_name(value)} nested deeper than {DEEPEST} levels"
        self._around.add(id(value))
        self._depth += levels
        return ""

    def _leave(self, value: object, levels: int = 1) -> None:
        self._around.discard(id(value))
        self._depth -= levels

    def _give_up(self, value: object, path: str, what: str) -> dict[str, str]:
        if self._fallback is None:
            more = "" if self._encoder is not None else "with encoder=Encoder() to keep more of Python's values, or "
            msg = (
                f"{path}: {what} cannot be kept as JSON; convert it first, or build the queue {more}with fallback=repr "
                "to keep a representation of it"
            )
            raise UnencodableMessageError(msg, field=path, value=type_name(value))
        text = self._fallback(value)
        if not isinstance(text, str):
            msg = f"{path}: fallback must return text, not {type_name(text)}"
            raise UnencodableMessageError(msg, field=path, value=type_name(value))
        return represented(value, text)


STANDARD: Final = Encoder()
"""Carries whatever came out of a tag."""


def _quoted(key: str) -> str:
    text = key if len(key) <= 50 else f"{key[:50]}…"  # noqa: PLR2004 -- enough to find the place
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
