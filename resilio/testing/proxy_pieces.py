"""Data on its way through the chaos proxy: pieces, and the stages that they pass."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Direction: TypeAlias = Literal["upstream", "downstream", "both"]
"""``upstream``: from the client to the server; ``downstream``: from the server to the client."""


class Ending(Enum):
    """How a stream of data may end."""

    EOF = "end of data"
    CLOSE = "close"
    RESET = "reset"


class Piece(NamedTuple):
    """Some data on its way, or the end of it.

    Attributes:
        data: The bytes; empty for an ending.
        due: When it may be sent, on the project's monotonic clock.
        ending: What happens then; `EOF` concerns this direction alone, the others the whole connection.
        reason: What ended it, for the log.
    """

    data: bytes
    due: float
    ending: Ending | None = None
    reason: str = ""


class Deadline(NamedTuple):
    """An ending that comes by itself.

    Attributes:
        delay: Seconds after the toxic was engaged.
        ending: How the connection ends.
    """

    delay: float
    ending: Ending


class Stage:
    """A toxic at work in one direction of one connection. The plain one lets everything through."""

    buffer = 0
    """Bytes that may be under way because of this stage, beyond what a proxy holds anyway."""
    deadline: Deadline | None = None

    def feed(self, piece: Piece) -> Iterator[Piece]:
        """What becomes of ``piece``; its ``due`` is the time of its arrival, or what earlier stages made of it."""
        yield piece

    def leave(self, now: float) -> Iterator[Piece]:  # noqa: ARG002 -- a hook
        """What it held back and gives up when the toxic is removed."""
        yield from ()
