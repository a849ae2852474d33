"""Errors and results as texts that events can carry."""

from __future__ import annotations


def told(error: BaseException | None, *, longest: int = 200) -> str:
    """An error as events tell it: ``ClassName: text``, cut to ``longest`` characters; empty for None."""
    if error is None:
        return ""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception as unprintable:
        text = f"{type(error).__name__} (its text cannot be had: {type(unprintable).__name__})"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shown(result: object, *, longest: int = 200) -> str:
    """A result as events tell it: its ``repr``, cut to ``longest`` characters."""
    try:
        text = repr(result)
    except Exception as unprintable:
        return f"a {type(result).__name__} (its repr cannot be had: {type(unprintable).__name__})"
    return text if len(text) <= longest else text[: longest - 1] + "…"
