"""Which letters are meant: what looking, claiming and replaying many have in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from resilio.deadletters.encoding import safe_repr
from resilio.deadletters.letter import LetterStatus

if TYPE_CHECKING:
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter

__all__ = ("EVERY_LETTER", "LetterFilter")


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """Says which letters are meant. What is left out does not matter; all that is given must hold.

        await dlq.reprocess_all(LetterFilter(error="ConnectTimeout", since=yesterday))

    Attributes:
        error: The error's class, as in ``error_info["error_type"]``.
        group: The letter's group.
        status: What it is waiting for.
        since: It failed last at this time or later, UTC.
        until: It failed last before this time, UTC.
        text: Occurs somewhere in its id, message, error or headers; upper and lower case are the same.

    Raises:
        ValueError: ``status`` is unknown, or ``since`` or ``until`` has no offset from UTC.
    """

    error: str | None = None
    group: str | None = None
    status: LetterStatus | str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.status is not None:
            object.__setattr__(self, "status", LetterStatus(self.status))
        for name in ("since", "until"):
            at = getattr(self, name)
            if at is not None and at.tzinfo is None:
                msg = f"{name} must have an offset from UTC, such as datetime(..., tzinfo=UTC), not {at!r}"
                raise ValueError(msg)

    @property
    def is_empty(self) -> bool:
        """Whether every letter is meant."""
        return self == EVERY_LETTER

    def matches(self, letter: DeadLetter) -> bool:
        """Tell whether this letter is meant."""
        return (
            (self.error is None or letter.error_info.get("error_type") == self.error)
            and (self.group is None or letter.group == self.group)
            and (self.status is None or letter.status is self.status)
            and (self.since is None or letter.last_failed_at >= self.since)
            and (self.until is None or letter.last_failed_at < self.until)
            and (self.text is None or self.text.casefold() in _text_of(letter))
        )


EVERY_LETTER: Final = LetterFilter()


def _text_of(letter: DeadLetter) -> str:
    parts = (letter.id, letter.message, dict(letter.error_info), dict(letter.headers))
    try:
        text = json.dumps(parts, ensure_ascii=False, default=repr)
    except TypeError:  # a dict with keys that JSON has not even a text for
        text = json.dumps((letter.id, safe_repr(letter.message), *parts[2:]), ensure_ascii=False, default=repr)
    return text.casefold()
