"""What a check-up found: one line a check, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ("Finding", "Verdict")


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and no trouble."""
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check.

    Attributes:
        area: What it belongs to: ``settings``, ``queue``, ``channels`` or ``installation``.
        name: What was checked.
        verdict: How it came out.
        told: What was found.
        advice: What to do, for anything that is not as it should be.
    """

    area: str
    name: str
    verdict: Verdict
    told: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as a dict that JSON can carry."""
        return {**asdict(self), "verdict": self.verdict.value}
