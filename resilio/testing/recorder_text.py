"""How recorded events read: a line for each, a diff, and the text of a failed assertion."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import EllipsisType

    from resilio._core.events import Event
    from resilio.testing.alignment import Row
    from resilio.testing.matching import EventMatcher

_MOST_LINES = 400
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An event, and when it came.

    Attributes:
        event: The event.
        elapsed: Seconds since the recording began, on the project's clock.
        is_virtual: Whether that clock was a virtual one.
    """

    event: Event
    elapsed: float
    is_virtual: bool

    def __str__(self) -> str:
        return f"{self.elapsed:10.3f} s  {line(self.event)}"


def line(event: Event) -> str:
    """An event on one line: its kind, and what it says beyond the defaults."""
    said = [
        f"{field.name}={_value(getattr(event, field.name))}"
        for field in dataclasses.fields(event)
        if field.name != "at" and (field.default is dataclasses.MISSING or getattr(event, field.name) != field.default)
    ]
    return " ".join((type(event).__name__, *said))


def timeline(moments: Sequence[Moment]) -> str:
    """One line for each event, oldest first; of very many, the first and the last."""
    if not moments:
        return "nothing happened"
    virtual = {moment.is_virtual for moment in moments}
    head = (
        "in real and virtual seconds:"
        if len(virtual) > 1
        else f"in {'virtual' if True in virtual else 'real'} seconds:"
    )
    return "\n".join((head, *_cut([str(each) for each in moments])))


def difference(
    wanted: Sequence[EventMatcher[Any] | EllipsisType], found: Sequence[Moment], rows: Sequence[Row[Moment]]
) -> str:
    """A diff: ``-`` was expected and is missing, ``+`` happened and was not expected."""
    lines: list[tuple[str, str]] = []
    for row in rows:
        if row.wanted is None:
            assert row.found is not None
            lines.append(("+", f"{found[row.found]}"))
        elif row.found is None:
            lines.append(("-", f"{'':10}    {_wanted(wanted[row.wanted])}"))
        else:
            lines.append((" ", f"{found[row.found]}"))
    shown = ["  - expected and missing, + not expected"]
    skipped = 0
    for index, (mark, said) in enumerate(lines):
        if all(each == " " for each, _ in lines[max(index - _NEIGHBOURS, 0) : index + _NEIGHBOURS + 1]):
            skipped += 1
            continue
        if skipped:
            shown.append(f"    ... {skipped} as expected ...")
            skipped = 0
        shown.append(f"  {mark} {said}")
    if skipped:
        shown.append(f"    ... {skipped} as expected ...")
    return "\n".join(_cut(shown))


def failure(what: str, details: str, seed: int | None, moments: Sequence[Moment]) -> str:
    """The text of a failed assertion."""
    parts = [what, details]
    if seed is not None:
        parts.append(f"seed {seed} (--resilio-seed={seed})")
    parts.append(f"what happened, {timeline(moments)}" if moments else "nothing happened")
    return "\n\n".join(parts)


def counted(attempts: Iterable[int]) -> str:
    """Numbers of attempts in words."""
    return ", then ".join(f"{each} attempt{'' if each == 1 else 's'}" for each in attempts) or "no retried call"


def often(count: int) -> str:
    """A number of times in words."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _wanted(wanted: EventMatcher[Any] | EllipsisType) -> str:
    return "..." if wanted is ... else repr(wanted)


def _value(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _cut(lines: list[str]) -> list[str]:
    beyond = len(lines) - _MOST_LINES
    if beyond <= 0:
        return lines
    half = _MOST_LINES // 2
    return [*lines[:half], f"    ... {beyond} more ...", *lines[-half:]]
