"""A notification as text for people and as values that JSON carries. Nothing here fails over what it is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import islice
from typing import Any, Final

from resilio.alerting.media import cut, one_line
from resilio.alerting.notification import Notification
from resilio.errors import ErrorSeverity

__all__ = ("as_document", "as_fields", "as_text", "from_document", "plain", "title_of")

_DEEPEST: Final = 6
_MOST_ITEMS: Final = 100
_LONGEST_TEXT: Final = 16_384


def title_of(notification: Notification) -> str:
    """One line: the severity, or that it is over, and the message."""
    return one_line(f"[{'RESOLVED' if notification.resolved else notification.severity}] {notification.message}")


def as_document(notification: Notification) -> dict[str, Any]:
    """The notification as a JSON document."""
    document: dict[str, Any] = {
        "id": notification.id,
        "message": cut(notification.message, _LONGEST_TEXT),
        "severity": str(notification.severity),
        "error_type": notification.error_type,
        "at": notification.at.isoformat(timespec="milliseconds"),
        "details": plain(notification.details),
        "resolved": notification.resolved,
        "count": notification.count,
    }
    if notification.dedup_key is not None:
        document["dedup_key"] = notification.dedup_key
    return document


def from_document(document: Mapping[str, Any]) -> Notification:
    """The notification that `as_document` made ``document`` of; a resolved one counts as the end of what it tells.

    Raises:
        ValueError: It is no such document.
    """
    try:
        severity = ErrorSeverity(document["severity"])
        return Notification(
            id=str(document["id"]),
            message=str(document["message"]),
            severity=severity,
            error_type=document["error_type"],
            details=dict(document["details"]),
            at=datetime.fromisoformat(document["at"]),
            dedup_key=document.get("dedup_key"),
            resolves=severity if document["resolved"] else None,
            count=int(document["count"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"not a notification: {type(error).__name__}: {error}"
        raise ValueError(msg) from error


def as_fields(notification: Notification, *, most: int, longest: int) -> list[tuple[str, str]]:
    """The details as short texts by name: at most ``most`` of at most ``longest`` characters each."""
    fields = [("error_type", notification.error_type)] if notification.error_type else []
    fields += [(str(name), _shown(value)) for name, value in islice(plain(notification.details).items(), most)]
    return [(one_line(name, 100), cut(value, longest) or "(empty)") for name, value in fields[:most]]


def as_text(notification: Notification) -> str:
    """The notification as a letter in plain text."""
    lines = [notification.message, ""]
    facts = [("Severity", str(notification.severity)), ("At", notification.at.isoformat(sep=" ", timespec="seconds"))]
    if notification.error_type:
        facts.insert(1, ("Error type", notification.error_type))
    if notification.resolved:
        facts.insert(0, ("Resolved", "yes"))
    lines += [f"{name}: {value}" for name, value in facts]
    if notification.details:
        lines += ["", *_block(plain(notification.details), "")]
    return "\n".join((*lines, "", f"Notification {notification.id}"))


def plain(value: object, depth: int = _DEEPEST) -> Any:
    """What JSON can carry of ``value``, within bounds; of the rest, its ``repr``."""
    if value is None or isinstance(value, bool):
        return value
    # JSON knows no NaN, and other languages no whole number beyond a double's.
    if (type(value) is int and abs(value) < 2**53) or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return cut(str(value), _LONGEST_TEXT).encode("utf-8", "replace").decode("utf-8")
    if (
        depth
        and isinstance(value, (Mapping, Sequence, AbstractSet))
        and not isinstance(value, (bytes, bytearray, memoryview))
    ):
        try:
            return _inside(value, depth - 1)
        except Exception as error:
            return f"<{type(value).__name__} that cannot be read: {type(error).__name__}>"
    return cut(_repr(value), _LONGEST_TEXT)


def _inside(value: Mapping[Any, Any] | Sequence[Any] | AbstractSet[Any], depth: int) -> Any:
    beyond = len(value) - _MOST_ITEMS
    if isinstance(value, Mapping):
        items = islice(value.items(), _MOST_ITEMS)
        kept = {cut(each if isinstance(each, str) else _repr(each), 200): plain(item, depth) for each, item in items}
        return kept if beyond <= 0 else {**kept, "…": f"{beyond} more"}
    listed = [plain(each, depth) for each in islice(value, _MOST_ITEMS)]
    return listed if beyond <= 0 else [*listed, f"… {beyond} more"]


def _block(value: Any, indent: str) -> list[str]:
    lines: list[str] = []
    for name, each in value.items():
        if isinstance(each, dict) and each:
            lines += [f"{indent}{name}:", *_block(each, f"{indent}  ")]
        else:
            text = _shown(each)
            # Lines of a traceback stay lines, set in, so that none can pass for one of ours.
            lines.append(f"{indent}{name}: {text}" if "\n" not in text else f"{indent}{name}:")
            lines += [f"{indent}  | {line}" for line in text.splitlines()] if "\n" in text else []
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name}={_shown(each)}" for name, each in value.items())
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _repr(value: object) -> str:
    try:
        return repr(value).encode("utf-8", "replace").decode("utf-8")
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
