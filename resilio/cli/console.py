"""Where output goes: results to stdout, everything said about them to stderr, both without a stranger's escapes."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.text import Text

from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ("age", "busy", "errors", "output", "preview", "printable", "row_text", "say", "stamp", "write_json")

_PIPE_WIDTH = 160


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the command's own end, which is quiet."""
        raise BrokenPipeError


def output() -> Console:
    """Stdout. Where that is no terminal, lines have 160 characters, or ``COLUMNS``; colour obeys ``NO_COLOR``."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
    return _Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)


def errors() -> Console:
    """Stderr, for progress and remarks."""
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


def say(text: str, *, style: str = "dim") -> None:
    """A remark to whoever watches, on stderr."""
    errors().print(Text(text, style=style), soft_wrap=True)


@contextmanager
def busy(text: str) -> Iterator[None]:
    """Show that something is at work while the block runs, where anybody watches."""
    console = errors()
    if not console.is_terminal:
        yield
        return
    with console.status(Text(text)):
        yield


def write_json(value: object, *, indent: int | None = None) -> None:
    """One JSON value on a line of stdout, or on several with ``indent``."""
    is_unicode = "utf" in (sys.stdout.encoding or "").lower()
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_unicode, indent=indent, default=str) + "\n")


def printable(text: str) -> str:
    r"""``text`` with control characters and the like as escapes: a message must not move the cursor, or hide a line.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def row_text(text: str, style: str = "") -> Text:
    """A cell of a table, which is cut rather than wrapped."""
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def preview(value: Any, longest: int = 400) -> str:
    """A message on one line."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return printable(" ".join(text[: longest * 2].split()))[:longest]


def stamp(at: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "never" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def age(seconds: float | None) -> str:
    """A length of time as people say it.

    >>> age(45), age(200), age(9000), age(200_000)
    ('45 s', '3 min', '2.5 h', '2.3 d')
    """
    if seconds is None:
        return "-"
    for limit, size, unit in ((90, 1, "s"), (5_400, 60, "min"), (129_600, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}" if unit == "h" else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def since(at: datetime) -> str:
    """How long ago something was."""
    return age(max((clock.utcnow() - at).total_seconds(), 0.0))
