"""Checking what a user passes in, once, at the edge, under the parameter's own name."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Real
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Duration: TypeAlias = float | timedelta
"""Seconds as a number, or a ``timedelta``."""

T = TypeVar("T")


def number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    finite: bool = True,
) -> float:
    """Return ``value`` as a float, or say what is wrong with it.

    Raises:
        TypeError: ``value`` is no number; ``bool`` and strings are none.
        ValueError: It is NaN, infinite where that is not allowed, or out of range.
    """
    allowed = _allowed("a number", at_least, above, at_most)
    if isinstance(value, bool) or not isinstance(value, Real):
        msg = f"{name} must be {allowed}, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    result = float(value)
    if math.isnan(result) or (finite and math.isinf(result)) or _outside(result, at_least, above, at_most):
        msg = f"{name} must be {allowed}, not {value!r}"
        raise ValueError(msg)
    return result


def seconds(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_most: float | None = None,
    finite: bool = True,
) -> float:
    """Return a duration as seconds: at least 0 unless ``above`` says more; a ``timedelta`` is converted.

    Raises:
        TypeError: ``value`` is neither a number nor a ``timedelta``.
        ValueError: It is NaN, negative, or out of range.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    try:
        return number(
            name, value, at_least=None if above is not None else 0, above=above, at_most=at_most, finite=finite
        )
    except (TypeError, ValueError) as error:
        msg = str(error).replace("must be a number", "must be seconds or a timedelta", 1)
        raise type(error)(msg) from None


def whole(name: str, value: object, *, at_least: int = 0, at_most: int | None = None) -> int:
    """Return ``value`` if it is a whole number in range.

    Raises:
        TypeError: ``value`` is not an ``int``; ``bool`` and strings are none.
        ValueError: It is out of range.
    """
    allowed = _allowed("a whole number", at_least, None, at_most)
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be {allowed}, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    if _outside(value, at_least, None, at_most):
        msg = f"{name} must be {allowed}, not {value!r}"
        raise ValueError(msg)
    return value


def optional(check: Callable[..., T], name: str, value: object, **limits: object) -> T | None:
    """Return None for None, else what ``check`` returns for the value."""
    return None if value is None else check(name, value, **limits)


def _outside(value: float, at_least: float | None, above: float | None, at_most: float | None) -> bool:
    return (
        (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (at_most is not None and value > at_most)
    )


def _allowed(kind: str, at_least: float | None, above: float | None, at_most: float | None) -> str:
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", at_least), ("above", above), ("at most", at_most))
        if limit is not None
    ]
    return f"{kind}, {' and '.join(limits)}" if limits else kind


def flag(name: str, value: object) -> bool:
    """Return ``value`` if it is True or False.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, bool):
        return value
    msg = f"{name} must be True or False, not {value!r}"
    raise TypeError(msg)
