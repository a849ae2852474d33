"""What an error came from: its chain of causes, the members of groups, and notes, within bounds.

A chain may be endless (each retry that chains to the one before), may go in circles, and a group may hold a thousand
errors. All of it becomes texts: nothing here keeps an exception, and with it its frames and their variables, alive.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from resilio.reporting.plain import PlainValue

__all__ = ("ErrorCause", "causes_of", "next_cause", "notes_of", "text_of")

WIDEST: Final = 15
DEEPEST: Final = 10
_MOST_CAUSES: Final = 60
_MOST_NOTES: Final = 10
_LONGEST_TEXT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCause:
    """One of the errors below the one that is reported.

    Attributes:
        error_type: Its class.
        error_message: Its text, redacted and cut.
        relation: ``"cause"`` (``raise ... from``), ``"context"`` (raised while handling it) or ``"member"`` of a group.
        depth: How far below the reported error it is, from 1.
        notes: What was added to it, redacted and cut.
        members: How many errors it holds, if it is a group; at most fifteen of them follow.
    """

    error_type: str
    error_message: str
    relation: str
    depth: int
    notes: tuple[str, ...] = ()
    members: int = 0

    def to_dict(self) -> dict[str, PlainValue]:
        """The same as a dict that JSON can carry."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ErrorCause:
        """As `to_dict` told it.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            error_type=str(saved["error_type"]),
            error_message=str(saved["error_message"]),
            relation=str(saved["relation"]),
            depth=int(saved["depth"]),
            notes=tuple(map(str, saved["notes"])),
            members=int(saved["members"]),
        )


def causes_of(error: BaseException, clean: Callable[[str, int], str]) -> tuple[ErrorCause, ...]:
    """The errors below ``error``, nearest first, a group's members before its own cause.

    Args:
        error: It is only looked at.
        clean: Redacts a text and cuts it to a length.
    """
    if error.__cause__ is None and error.__context__ is None and not isinstance(error, BaseExceptionGroup):
        return ()
    found: list[ErrorCause] = []
    seen = {id(error)}
    waiting = list(reversed([*_below(error, 1)]))
    while waiting and len(found) < _MOST_CAUSES:
        each, relation, depth = waiting.pop()
        if id(each) in seen or depth > DEEPEST:
            continue
        seen.add(id(each))
        found.append(
            ErrorCause(
                error_type=type(each).__name__,
                error_message=clean(text_of(each), _LONGEST_TEXT),
                relation=relation,
                depth=depth,
                notes=notes_of(each, clean),
                members=len(each.exceptions) if isinstance(each, BaseExceptionGroup) else 0,
            )
        )
        waiting.extend(reversed([*_below(each, depth + 1)]))
    return tuple(found)


def next_cause(error: BaseException) -> BaseException | None:
    """What ``error`` came from, as Python would print it."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def notes_of(error: BaseException, clean: Callable[[str, int], str]) -> tuple[str, ...]:
    """The error's notes, redacted and cut."""
    notes: Any = getattr(error, "__notes__", None)
    if not isinstance(notes, (list, tuple)):
        return ()
    return tuple(clean(text_of(each), _LONGEST_TEXT) for each in notes[:_MOST_NOTES])


def text_of(value: object) -> str:
    """``str(value)``, whatever it raises."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def _below(error: BaseException, depth: int) -> Iterator[tuple[BaseException, str, int]]:
    if isinstance(error, BaseExceptionGroup):
        yield from ((each, "member", depth) for each in error.exceptions[:WIDEST])
    cause = next_cause(error)
    if cause is not None:
        yield cause, "context" if error.__cause__ is None else "cause", depth
