"""What is told of a group of incidents: that they fire, still fire, or are over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from resilio.alerting.incident_book import Word

__all__ = ("addressed", "worded")

_LISTED: Final = 20


def worded(word: Word) -> tuple[str, dict[str, object]]:
    """The message and its details."""
    told = word.firing or word.resolved
    first = told[0].summary
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    message = f"{word.rule.name}: {first}{more}"
    if not word.firing:
        message = f"{word.rule.name} is over: {first}{more}"
    details: dict[str, object] = {"rule": word.rule.name}
    if len(told) == 1:
        details |= {**told[0].details, **told[0].labels}
    else:
        key = "firing" if word.firing else "over"
        details[key] = [{"summary": each.summary, **each.labels, **each.details} for each in told[:_LISTED]]
        details["number"] = len(told)
    if word.firing and word.resolved:
        details["over"] = [each.summary for each in word.resolved[:_LISTED]]
    if word.is_repeated:
        details["still"] = True
    return message, details


def addressed(word: Word) -> dict[str, Any]:
    """How bad it is, and which trouble it is about."""
    group = ",".join(f"{name}={value}" for name, value in word.group)
    return {
        "severity": word.rule.severity if word.firing else ErrorSeverity.INFO,
        "error_type": "alert",
        "dedup_key": f"alert:{word.rule.name}:{group}",
        "resolves": None if word.firing else word.rule.severity,
    }
