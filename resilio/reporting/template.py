"""Texts with ``{names}`` in them, and nothing more: no attributes, no items, no conversions, no widths.

``str.format`` would let a template read ``{error.__init__.__globals__}`` or ask for a hundred million blanks. Here a
placeholder is a bare name, which is checked when the template is made; a name without a value is an ellipsis, and a
long value is cut.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

from resilio.reporting.causes import text_of
from resilio.reporting.secret_patterns import redact_text
from resilio.reporting.sensitive_keys import is_sensitive_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("Template",)

_LONGEST_TEMPLATE: Final = 2_000
_LONGEST_VALUE: Final = 100
_MISSING: Final = "…"


class Template:
    """A text with places for values.

    Args:
        source: The text; ``{name}`` is a place, ``{{`` and ``}}`` are braces.

    Raises:
        ValueError: A placeholder is more than a bare name, a brace has no partner, or the text is too long.
        TypeError: ``source`` is no text.

        >>> Template("{name} has no cats").render({"name": "Tzara"})
        'Tzara has no cats'
    """

    __slots__ = ("_parts", "source")

    def __init__(self, source: str) -> None:
        if not isinstance(source, str):
            msg = f"a template must be a text, not {source!r} ({type(source).__name__})"
            raise TypeError(msg)
        if len(source) > _LONGEST_TEMPLATE:
            msg = f"a template must have at most {_LONGEST_TEMPLATE} characters, not {len(source)}"
            raise ValueError(msg)
        self.source: str = source
        self._parts = tuple(_parsed(source))

    @property
    def is_fixed(self) -> bool:
        """Whether there is no place for a value in it."""
        return all(name is None for _, name in self._parts)

    def render(self, values: Mapping[str, object]) -> str:
        """The text with the values in their places. Never raises an ``Exception``."""
        return "".join(
            literal if name is None else literal + _shown(name, values.get(name)) for literal, name in self._parts
        )


def _parsed(source: str) -> list[tuple[str, str | None]]:
    try:
        parts = list(string.Formatter().parse(source))
    except ValueError as error:
        msg = f"the template {source!r} cannot be read: {error}; write {{{{ and }}}} for braces"
        raise ValueError(msg) from None
    for _, name, form, conversion in parts:
        if name is not None and (not name.isidentifier() or name.startswith("__") or form or conversion):
            msg = (
                f"the template {source!r} may name values such as {{field}}, but neither their attributes or items "
                f"nor a format: {name!r} cannot be used"
            )
            raise ValueError(msg)
    return [(literal, name) for literal, name, _, _ in parts]


def _shown(name: str, value: object) -> str:
    if value is None or is_sensitive_key(name, holds_number=isinstance(value, (int, float))):
        return _MISSING
    if isinstance(value, int) and abs(value) >= 10**_LONGEST_VALUE:
        return _MISSING
    text = redact_text(text_of(value), longest=2 * _LONGEST_VALUE)
    if not text.isprintable():
        text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
