"""What a message may be: any JSON value; and what happens to the rest, which is never a silent loss.

Dicts with text as keys, lists, text, whole numbers, finite numbers, true, false and None are carried. Tuples come back
as lists, subclasses as their JSON kin. Control characters, lone surrogates and emoji survive; a high surrogate followed
by a low one comes back as the one character that they stand for. Anything else is refused by name, or represented
where the queue has a ``fallback``::

    {"__unencodable__": "decimal.Decimal", "representation": "Decimal('9.99')"}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from resilio.deadletters.errors import UnencodableMessageError

__all__ = ("Fallback", "carry", "dump", "is_carried", "unwrapped")

Fallback: TypeAlias = Callable[[Any], str]
"""Makes a text that stands for a value which JSON cannot carry, such as ``repr``."""

DEEPEST: Final = 200
"""How deep a message may be nested: less than what any JSON reader's recursion takes."""

_WRAPPED: Final = "__json__"
_LARGEST: Final = 10**4300  # Python reads no longer numbers from text, so that a file cannot stall it
_SCALARS: Final = frozenset({str, bool, type(None)})
_TEXT: Final = frozenset({str})

_utf8 = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def dump(fields: Mapping[str, object]) -> bytes:
    """``fields``, which JSON can carry, as one line of JSON in UTF-8 that every reader takes.

    Lone surrogates have no UTF-8, and some readers (jq among them) stop at their escapes. A field that has some is
    embedded, as the text of its JSON: ``{"__json__": "..."}``. `unwrapped` takes it out again.
    """
    if any(map(_looks_wrapped, fields.values())):
        return _dump_wrapped(fields)
    try:
        return _utf8(fields).encode()
    except UnicodeEncodeError:
        return _dump_wrapped(fields)


def _dump_wrapped(fields: Mapping[str, object]) -> bytes:
    return _utf8({name: _wrapped(each) for name, each in fields.items()}).encode()


def unwrapped(field: Any) -> Any:
    """A field as it was before `dump`."""
    return json.loads(field[_WRAPPED]) if _looks_wrapped(field) else field


def _looks_wrapped(field: object) -> bool:
    return type(field) is dict and len(field) == 1 and _WRAPPED in field


def _wrapped(field: object) -> object:
    if _looks_wrapped(field):
        return {_WRAPPED: _ascii(field)}
    try:
        _utf8(field).encode()
    except UnicodeEncodeError:
        return {_WRAPPED: _ascii(field)}
    return field


def carry(message: object, *, name: str = "message", fallback: Fallback | None = None) -> Any:
    """Return what JSON can carry of ``message``: itself as a rule, else a copy with representations in it.

    Args:
        message: Any value.
        name: What the error calls it.
        fallback: Makes the text that stands for a part that JSON cannot carry.

    Raises:
        UnencodableMessageError: A ``TypeError``: something in it cannot be carried, and there is no ``fallback``.
    """
    if is_carried(message):
        return message
    return _Converter(fallback).convert(message, name)


def is_carried(message: object) -> bool:
    """Tell whether JSON carries ``message`` as it is."""
    return _is_plain(message, DEEPEST)


def represented(value: object, text: str) -> dict[str, str]:
    """The mark that stands for a value which JSON cannot carry."""
    return {"__unencodable__": _type_name(value), "representation": text}


def safe_repr(value: object) -> str:
    """``repr(value)``, or what went wrong with it: for what must not fail over a representation."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{_type_name(value)} whose repr raised {type(error).__name__}>"


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

    __slots__ = ("_around", "_fallback")

    def __init__(self, fallback: Fallback | None) -> None:
        self._fallback = fallback
        self._around: set[int] = set()  # the containers that the present value lies in

    def convert(self, value: object, path: str) -> Any:
        if isinstance(value, str):
            return str.__str__(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, (int, float)):
            return self._number(value, path)
        if isinstance(value, (dict, list, tuple)):
            return self._container(value, path)
        return self._give_up(value, path, _type_name(value))

    def _number(self, value: float, path: str) -> Any:
        number = int(value) if isinstance(value, int) else float(value)
        if _is_plain_number(number, type(number)):
            return number
        what = "a whole number of more than 4300 digits" if isinstance(number, int) else repr(number)
        return self._give_up(value, path, what)

    def _container(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], path: str) -> Any:
        if id(value) in self._around:
            return self._give_up(value, path, f"{_type_name(value)} that contains itself")
        if len(self._around) == DEEPEST:
            return self._give_up(value, path, f"{_type_name(value)} nested deeper than {DEEPEST} levels")
        self._around.add(id(value))
        try:
            if not isinstance(value, dict):
                return [self.convert(each, f"{path}[{at}]") for at, each in enumerate(value)]
            for key in value:
                if not isinstance(key, str):
                    what = f"{_type_name(value)} with a key of type {_type_name(key)} ({safe_repr(key)[:50]})"
                    return self._give_up(value, path, what)
            return {str.__str__(key): self.convert(each, f"{path}[{_quoted(key)}]") for key, each in value.items()}
        finally:
            self._around.discard(id(value))

    def _give_up(self, value: object, path: str, what: str) -> dict[str, str]:
        if self._fallback is None:
            msg = (
                f"{path}: {what} cannot be kept as JSON; convert it first, or build the queue with fallback=repr "
                "to keep a representation of it"
            )
            raise UnencodableMessageError(msg, field=path, value=_type_name(value))
        text = self._fallback(value)
        if not isinstance(text, str):
            msg = f"{path}: fallback must return text, not {_type_name(text)}"
            raise UnencodableMessageError(msg, field=path, value=_type_name(value))
        return represented(value, text)


def _quoted(key: str) -> str:
    text = key if len(key) <= 50 else f"{key[:50]}…"  # noqa: PLR2004 -- enough to find the place
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
