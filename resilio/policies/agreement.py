"""Whether two settings say the same, where functions are made anew by each call of the code around them."""

from __future__ import annotations

import functools
from types import CellType, FunctionType

Pairs = frozenset[tuple[int, int]]


def agree(mine: object, other: object, assumed: Pairs = frozenset()) -> bool:
    """Tell whether two settings are interchangeable.

    Values are if they are equal; functions if they are the same code over values that agree: a lambda made anew by
    each call is no change. What cannot be compared does not agree.

    Args:
        mine: A setting.
        other: Another one.
        assumed: Pairs of functions, by id, that are being compared already: a function may refer to itself.
    """
    if mine is other or (id(mine), id(other)) in assumed:
        return True
    if isinstance(mine, FunctionType) and isinstance(other, FunctionType):
        parts = (_held(mine), _held(other)) if mine.__code__ == other.__code__ else None
    elif isinstance(mine, functools.partial) and isinstance(other, functools.partial):
        parts = _bound(mine), _bound(other)
    else:
        try:
            return bool(mine == other)
        except Exception:  # a closure may hold anything, an array for one
            return False
    if parts is None or len(parts[0]) != len(parts[1]):
        return False
    assumed |= {(id(mine), id(other))}
    return all(agree(*pair, assumed) for pair in zip(*parts, strict=True))


def _held(function: FunctionType) -> list[object]:
    # What decides beside the code: defaults, and the variables it closes over.
    cells = map(_content, function.__closure__ or ())
    return [*(function.__defaults__ or ()), *_items(function.__kwdefaults__ or {}), *cells]


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # no value assigned yet
        return None


def _bound(partial: functools.partial[object]) -> list[object]:
    return [partial.func, *partial.args, *_items(partial.keywords)]


def _items(named: dict[str, object]) -> list[object]:
    return [each for item in sorted(named.items(), key=lambda item: item[0]) for each in item]
