"""Editing a message that is shown without its secrets, and keeping the secrets.

An operator sees a redacted copy of the message. What they leave as it is keeps its value; what they change has the new
one. So a field that reads ``[redacted]`` may stay, and its secret is still there afterwards.
"""

from __future__ import annotations

import json
from typing import Any, Final

from resilio.reporting.redaction import redact
from resilio.reporting.secret_patterns import REDACTED

__all__ = ("EditError", "as_text", "edited", "is_editable")

_MOST_VALUES: Final = 400
_MOST_TEXT: Final = 12_000


class EditError(ValueError):
    """What was typed cannot be the message."""


def as_text(value: object) -> str:
    """A value without its secrets, as JSON to look at."""
    return json.dumps(redact(value), ensure_ascii=False, indent=2)


def is_editable(message: object) -> bool:
    """Whether all of a message is shown: of a large one the end is left out, and so it cannot be edited."""
    try:
        text = json.dumps(message, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= _MOST_TEXT and _count(message) <= _MOST_VALUES and "[left out:" not in as_text(message)


def edited(text: str, message: object) -> Any:
    """The message that ``text``, an edited copy of what `as_text` showed of ``message``, stands for.

    Raises:
        EditError: It is no JSON, or something reads ``[redacted]`` that stood elsewhere before.
    """
    try:
        wanted = json.loads(text)
    except ValueError as error:
        msg = f"The message must be JSON: {error}"
        raise EditError(msg) from error
    shown = json.loads(json.dumps(redact(message)))
    return _merged(wanted, shown, message, "message")


def _merged(wanted: Any, shown: Any, original: Any, path: str) -> Any:
    if wanted == shown and type(wanted) is type(shown):
        return original
    if isinstance(wanted, dict):
        known = shown if isinstance(shown, dict) else {}
        whole = original if isinstance(original, dict) and len(original) == len(known) else {}
        # The names of keys are redacted, too: they correspond by their order.
        originals = dict(zip(known, whole.items(), strict=False))
        made = {}
        for key, value in wanted.items():
            if key in originals:
                name, old = originals[key]
                made[name] = _merged(value, known[key], old, f"{path}.{key}")
            else:
                made[key] = _merged(value, _NOTHING, _NOTHING, f"{path}.{key}")
        return made
    if isinstance(wanted, list):
        is_alike = isinstance(shown, list) and isinstance(original, (list, tuple)) and len(wanted) == len(original)
        pairs = zip(shown, original, strict=True) if is_alike and len(shown) == len(wanted) else None
        olds = list(pairs) if pairs is not None else [(_NOTHING, _NOTHING)] * len(wanted)
        return [
            _merged(value, *old, f"{path}[{index}]")
            for index, (value, old) in enumerate(zip(wanted, olds, strict=True))
        ]
    if isinstance(wanted, str) and REDACTED in wanted:
        msg = f"{path} holds {REDACTED}, whose value is not shown: leave that field as it was, or write the whole value"
        raise EditError(msg)
    return wanted


_NOTHING: Final = object()


def _count(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return 1 + sum(map(_count, value))
    return 1
