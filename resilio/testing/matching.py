"""Saying which event one means: by its class, or by its class and some of its attributes."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum
from types import BuiltinFunctionType, EllipsisType, FunctionType, MethodType
from typing import Any, Generic, TypeAlias, TypeVar

from resilio._core.events import Event

E = TypeVar("E", bound=Event)

# A class, or an object that can be called, is a value that an attribute may have.
_PREDICATES = (FunctionType, BuiltinFunctionType, MethodType)


class EventMatcher(Generic[E]):
    """What `match` returns: tells whether an event is meant. A value; safe to share."""

    __slots__ = ("_wanted", "kind")

    def __init__(self, kind: type[E], wanted: dict[str, Any]) -> None:
        self.kind: type[E] = kind
        self._wanted = wanted

    def __call__(self, event: Event) -> bool:
        """Tell whether ``event`` is of the kind and has the attributes."""
        return isinstance(event, self.kind) and all(
            _agrees(getattr(event, name), wanted) for name, wanted in self._wanted.items()
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(wanted)}" for name, wanted in self._wanted.items())
        return f"{self.kind.__name__}({shown})" if shown else self.kind.__name__


Expected: TypeAlias = type[Event] | EventMatcher[Any]
"""An event that is meant: a class of events, or what `match` returned."""

ExpectedInSequence: TypeAlias = Expected | EllipsisType
"""The same, or ``...`` for any number of events."""


def match(kind: type[E], /, **attributes: Any) -> EventMatcher[E]:
    """Stand for an event of this kind that has these attributes.

    Args:
        kind: A class of events; a base class stands for all below it.
        attributes: What some of its attributes must be: a value to equal (for an enum its name in either case will do),
            a compiled regular expression to be found in its text, or a plain function of the value that says so.

    Raises:
        TypeError: ``kind`` is no class of events, or has no attribute of that name.

        >>> from resilio import CircuitStateChanged
        >>> match(CircuitStateChanged, circuit="openai-api", after="open")
        CircuitStateChanged(circuit='openai-api', after='open')
    """
    checked_kind(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for name in attributes:
        if name not in known:
            msg = f"{kind.__name__} has no attribute {name!r}; it has {', '.join(sorted(known))}"
            raise TypeError(msg)
    return EventMatcher(kind, attributes)


def matcher(expected: Expected) -> EventMatcher[Any]:
    """What a user means by ``expected``.

    Raises:
        TypeError: It is neither a class of events nor what `match` returns.
    """
    return expected if isinstance(expected, EventMatcher) else EventMatcher(checked_kind(expected), {})


def checked_kind(kind: object) -> type[Event]:
    """Return ``kind`` if it is a class of events.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(kind, type) and issubclass(kind, Event):
        return kind
    msg = f"expected a class of events such as CircuitStateChanged, or match(CircuitStateChanged, ...), not {kind!r}"
    raise TypeError(msg)


def _agrees(value: object, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return wanted.search(str(value)) is not None
    if isinstance(wanted, _PREDICATES):
        return bool(wanted(value))
    if isinstance(value, Enum) and isinstance(wanted, str):
        return wanted.lower() in (value.name.lower(), str(value.value).lower())
    return bool(value == wanted)


def _shown(wanted: Any) -> str:
    if isinstance(wanted, re.Pattern):
        return f"/{wanted.pattern}/"
    if isinstance(wanted, _PREDICATES):
        return wanted.__name__
    return repr(str(wanted)) if isinstance(wanted, str) else repr(wanted)
