"""Laying what was expected beside what happened, so that as much as possible agrees: the diff of two sequences.

The edit distance of Wagner and Fischer without replacement, and with a wildcard that takes any number of things.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Generic, TypeVar

T = TypeVar("T")
Wanted = Callable[[T], bool] | EllipsisType

_MOST_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """One line of the diff.

    Attributes:
        wanted: The index of what was expected here; None if this was not expected.
        found: The index of what happened; None if it is missing.
    """

    wanted: int | None
    found: int | None


def align(wanted: Sequence[Wanted[T]], found: Sequence[T]) -> list[Row[T]]:
    """Lay ``found`` beside ``wanted``.

    Args:
        wanted: A predicate for each thing expected, or ``...`` for any number of things.
        found: What happened, in order.

    Returns:
        Rows in order. What a ``...`` took stands in rows of its index; one that took nothing has none.
    """
    start = 0
    while (
        start < min(len(wanted), len(found))
        and (one := wanted[start]) is not ...
        and callable(one)
        and one(found[start])
    ):
        start += 1
    same: list[Row[T]] = [Row(index, index) for index in range(start)]
    if (len(wanted) - start) * (len(found) - start) > _MOST_CELLS:  # too much for a table: all that follows differs
        missing = [Row[T](index, None) for index in range(start, len(wanted)) if wanted[index] is not ...]
        return [*same, *missing, *(Row[T](None, index) for index in range(start, len(found)))]
    return [*same, *_aligned(wanted, found, start)]


def agrees(wanted: Sequence[Wanted[T]], rows: Sequence[Row[T]]) -> bool:
    """Tell whether nothing is missing and nothing was unexpected."""
    return all(row.wanted is not None and (row.found is not None or wanted[row.wanted] is ...) for row in rows)


def _aligned(wanted: Sequence[Wanted[T]], found: Sequence[T], start: int) -> list[Row[T]]:
    # cost[i][j]: what is missing or unexpected from wanted[i] and found[j] on, at the least.
    rows, columns = len(wanted) - start, len(found) - start
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    same = [[False] * columns for _ in range(rows)]
    for j in reversed(range(columns)):
        cost[rows][j] = columns - j
    for i in reversed(range(rows)):
        one = wanted[start + i]
        below, here = cost[i + 1], cost[i]
        here[columns] = below[columns] + (0 if isinstance(one, EllipsisType) else 1)
        for j in reversed(range(columns)):
            if isinstance(one, EllipsisType):
                here[j] = min(below[j], here[j + 1])
            elif one(found[start + j]):
                same[i][j] = True
                here[j] = below[j + 1]
            else:
                here[j] = 1 + min(below[j], here[j + 1])
    return list(_walk(wanted, cost, same, start))


def _walk(wanted: Sequence[Wanted[T]], cost: list[list[int]], same: list[list[bool]], start: int) -> Sequence[Row[T]]:
    result: list[Row[T]] = []
    rows, columns = len(cost) - 1, len(cost[0]) - 1
    i = j = 0
    while i < rows or j < columns:
        is_any = i < rows and wanted[start + i] is ...
        if i < rows and j < columns and same[i][j]:
            result.append(Row(start + i, start + j))
            i, j = i + 1, j + 1
        elif is_any and (j == columns or cost[i + 1][j] <= cost[i][j + 1]):
            i += 1
        elif is_any:
            result.append(Row(start + i, start + j))
            j += 1
        elif i < rows and (j == columns or cost[i + 1][j] <= cost[i][j + 1]):
            result.append(Row(start + i, None))
            i += 1
        else:
            result.append(Row(None, start + j))
            j += 1
    return result
