"""Carrying Python values that JSON lacks: as tagged JSON that comes back as what it was.

| a value | lies in the file as | comes back as |
|---|---|---|
| ``bytes``, ``bytearray`` | ``{"$bytes": "aGVsbG8="}``, ``{"$bytearray": ...}`` | the same |
| ``memoryview`` | ``{"$bytes": ...}`` | ``bytes`` |
| ``datetime`` | ``{"$datetime": "2026-05-04T03:02:01+02:00"}`` | the same moment |
| ``date``, ``time`` | ``{"$date": "2026-05-04"}``, ``{"$time": "03:02:01"}`` | the same |
| ``timedelta`` | ``{"$timedelta": [days, seconds, microseconds]}`` | the same |
| ``Decimal``, ``UUID`` | ``{"$decimal": "9.90"}``, ``{"$uuid": "..."}`` | the same |
| NaN, infinities | ``{"$float": "nan"}`` | the same |
| ``set``, ``frozenset`` | ``{"$set": [...]}``, ``{"$frozenset": [...]}`` | the same |
| a dict with keys other than text | ``{"$dict": [[key, value], ...]}`` | the same |
| an object with declared fields | ``{"$object": {"type": "app.User", "fields": {...}}}`` | a `KeptObject` |
| a member of an ``Enum`` | ``{"$enum": {"type": "app.Size", "name": "BIG", "value": 1}}`` | its value |

Objects with declared fields are those of dataclasses, pydantic, attrs and msgspec. A named time zone becomes its
offset. A set of which an item is no longer hashable comes back as a list, and so does a dict of which a key is not, in
pairs.

A tuple is JSON's kin, and comes back as a list, but within a set or as a dict's key, where it must be hashable. What is
named in a file is never imported or called: that is why objects come back as dicts, and members of enums as values.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import math
import sys
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("Encoder", "KeptObject")


class KeptObject(dict[str, Any]):
    """The fields of an object that was sent: a dict, with the name of the object's type beside.

        user = User(**letter.message)      # it is yours to say which class is wanted

    Attributes:
        kept_type: The type's name, as it was when the object was sent: ``"app.models.User"``. Only a note.
    """

    kept_type: str

    def __init__(self, fields: Mapping[str, Any], kept_type: str) -> None:
        super().__init__(fields)
        self.kept_type = kept_type

    def __reduce__(self) -> tuple[type[KeptObject], tuple[dict[str, Any], str]]:
        return KeptObject, (dict(self), self.kept_type)

    def __copy__(self) -> KeptObject:
        return KeptObject(self, self.kept_type)


class Tagged(NamedTuple):
    """A value that JSON lacks, as a tag and something that is nearer to JSON."""

    tag: str
    payload: object
    must_hash: bool = False  # what is in it must be hashable when it comes back


class Encoder:
    """Says what of Python's values can be carried beyond JSON; the module's text has the table.

        dlq = DeadLetterQueue(encoder=Encoder())
        dlq = DeadLetterQueue(encoder=Encoder({Money: lambda money: {"amount": money.amount, "in": money.currency}}))

    Args:
        also: Types of your own, and what makes of their objects something that can be carried. That is what comes
            back; a dict comes back as a `KeptObject`.

    Raises:
        TypeError: A key is no type, or its value no function.

    Holds no state; safe from any thread.
    """

    __slots__ = ("_also",)

    def __init__(self, also: Mapping[type, Callable[[Any], object]] | None = None) -> None:
        self._also = dict(also or {})
        for kind, make in self._also.items():
            if not isinstance(kind, type) or not callable(make):
                msg = f"also must map types to functions, not {kind!r} to {make!r}"
                raise TypeError(msg)

    def find(self, value: object) -> Tagged | None:
        """The tag for ``value``, which JSON does not carry; None for what is not known.

        Raises:
            Exception: What an object's own code raised.
        """
        for kind in type(value).__mro__:
            make = self._also.get(kind)
            if make is not None:
                return _object(value, make(value))
            known = _KNOWN.get(kind)
            if known is not None:
                return known(value)
        fields = fields_of(value)
        return None if fields is None else _object(value, fields)


def fields_of(value: object) -> object:
    """What an object of a class with declared fields holds; None for other objects."""
    kind = type(value)
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, getattr(pydantic, "BaseModel", ())):
        return value.model_dump(round_trip=True, warnings=False)  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(kind):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(kind)}
    for listing, name in (("__attrs_attrs__", "name"), ("__struct_fields__", "")):
        found = getattr(kind, listing, None)
        if isinstance(found, tuple):
            names = [getattr(each, name) if name else each for each in found]
            return {each: getattr(value, each) for each in names}
    return None


def type_name(value: object) -> str:
    """A value's type, as a note."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _object(value: object, fields: object) -> Tagged:
    return Tagged("$object", {"type": type_name(value), "fields": fields})


def _enum(value: Any) -> Tagged:
    return Tagged("$enum", {"type": type_name(value), "name": value.name, "value": value.value})


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


_KNOWN: Final[dict[type, Callable[[Any], Tagged]]] = {
    bytes: lambda value: Tagged("$bytes", _base64(value)),
    bytearray: lambda value: Tagged("$bytearray", _base64(value)),
    memoryview: lambda value: Tagged("$bytes", _base64(value)),
    dt.datetime: lambda value: Tagged("$datetime", dt.datetime.isoformat(value)),
    dt.date: lambda value: Tagged("$date", dt.date.isoformat(value)),
    dt.time: lambda value: Tagged("$time", dt.time.isoformat(value)),
    dt.timedelta: lambda value: Tagged("$timedelta", [value.days, value.seconds, value.microseconds]),
    Decimal: lambda value: Tagged("$decimal", Decimal.__str__(value)),
    UUID: lambda value: Tagged("$uuid", UUID.__str__(value)),
    float: lambda value: Tagged("$float", "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"),
    set: lambda value: Tagged("$set", list(value), must_hash=True),
    frozenset: lambda value: Tagged("$frozenset", list(value), must_hash=True),
    Enum: _enum,
    KeptObject: lambda value: Tagged("$object", {"type": value.kept_type, "fields": dict(value)}),
}


# -- coming back -------------------------------------------------------------------------------------------------------


def restore(value: Any) -> Any:
    """What a tagged value was. Never fails: what is no tag of ours stays as it is."""
    if isinstance(value, list):
        return [restore(each) for each in value]
    if not isinstance(value, dict):
        return value
    if looks_like_tag(value):
        [(tag, payload)] = value.items()
        back = _BACK.get(tag)
        if back is not None:
            try:
                return back(payload)
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
                return value
    return {key: restore(each) for key, each in value.items()}


def looks_like_tag(value: Mapping[Any, object]) -> bool:
    """Whether a dict is the shape of a tag."""
    if len(value) != 1:
        return False
    [key] = value
    return isinstance(key, str) and key.startswith("$")


def _bytes(payload: str) -> bytes:
    return base64.b64decode(payload, validate=True)


def _set(payload: list[Any]) -> Any:
    if not isinstance(payload, list):
        raise TypeError
    items = restore(payload)
    try:
        return set(items)
    except TypeError:
        return items


def _frozenset(payload: list[Any]) -> Any:
    found = _set(payload)
    return frozenset(found) if isinstance(found, set) else found


def _dict(payload: list[Any]) -> Any:
    pairs = [(restore(key), restore(each)) for key, each in payload]
    try:
        return dict(pairs)
    except TypeError:
        return [list(each) for each in pairs]


def _kept(payload: dict[str, Any]) -> Any:
    name, fields = payload["type"], restore(payload["fields"])
    return KeptObject(fields, name) if isinstance(fields, dict) else fields


_BACK: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": _bytes,
    "$bytearray": lambda payload: bytearray(_bytes(payload)),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$timedelta": lambda payload: dt.timedelta(*payload),
    "$decimal": Decimal,
    "$uuid": UUID,
    "$float": float,
    "$set": _set,
    "$frozenset": _frozenset,
    "$tuple": lambda payload: tuple(restore(payload)),
    "$dict": _dict,
    "$object": _kept,
    "$enum": lambda payload: restore(payload["value"]),
}
