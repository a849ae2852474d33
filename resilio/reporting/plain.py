"""What JSON can carry, as a type."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ("PlainValue",)

PlainValue: TypeAlias = "dict[str, PlainValue] | list[PlainValue] | str | int | float | bool | None"
"""Dicts with text as keys, lists, text, numbers, True, False and None."""
