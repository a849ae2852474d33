"""Why a message failed, as a dict that JSON can carry, from whatever the caller has at hand.

This never fails over its contents: a letter must not be lost because its reason was hard to write down. What JSON
cannot carry is represented by its ``repr``, and marked. What is cut says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from resilio.deadletters.encoding import carry, is_carried, safe_repr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from types import TracebackType

__all__ = ("brief", "describe")

_LONGEST_TEXT: Final = 16_384
_MOST_CAUSES: Final = 10
_FIRST_FRAMES: Final = 10
_LAST_FRAMES: Final = 40


def describe(error_info: object, now: datetime) -> dict[str, Any]:
    """Make the ``error_info`` of a letter.

    Args:
        error_info: A mapping is kept as it is. An exception becomes ``error_type``, ``error_message``, ``timestamp``,
            ``causes`` and ``traceback``, and for the project's own errors ``category``, ``code`` and ``retryable``.
            Of an error report, or any object with a ``to_dict()``, that dict is kept.
        now: The time of the failure, UTC.

    Raises:
        TypeError: ``error_info`` is none of these.
    """
    if type(error_info) is dict and is_carried(error_info):
        return error_info
    if isinstance(error_info, BaseException):
        return _of_exception(error_info, now)
    if not isinstance(error_info, Mapping):
        to_dict = getattr(error_info, "to_dict", None)
        found = to_dict() if callable(to_dict) and not isinstance(error_info, type) else None
        if not isinstance(found, Mapping):
            msg = (
                "error_info must be a dict, an exception or an error report with a to_dict(), "
                f"not {safe_repr(error_info)[:200]} ({type(error_info).__name__})"
            )
            raise TypeError(msg)
        error_info = found
    plain: dict[str, Any] = carry({_key(key): each for key, each in error_info.items()}, fallback=safe_repr)
    return plain


def brief(error: BaseException) -> str:
    """An error as one line for an event: its class and its text."""
    info = _brief(error)
    return f"{info['error_type']}: {info['error_message']}"


def _of_exception(error: BaseException, now: datetime) -> dict[str, Any]:
    info = {**_brief(error), "timestamp": now.isoformat(timespec="microseconds")}
    for name in ("category", "code", "retryable"):
        found = getattr(error, name, None)
        if isinstance(found, (str, bool)):
            info[name] = found
    notes = getattr(error, "__notes__", None)
    if notes:
        info["notes"] = [_cut(str(note)) for note in notes[:_MOST_CAUSES]]
    info["causes"] = [_brief(each) for each in _causes(error)]
    if isinstance(error, BaseExceptionGroup):
        info["exceptions"] = [_brief(each) for each in error.exceptions[:_MOST_CAUSES]]
    info["traceback"] = _traceback(error.__traceback__)
    plain: dict[str, Any] = carry(info, fallback=safe_repr)
    return plain


def _brief(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)
    except Exception:
        text = safe_repr(error)
    return {"error_type": type(error).__name__, "error_message": _cut(text)}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What the error came from, nearest first, as Python would print it; bounded, and proof against circles."""
    seen = {id(error)}
    while len(seen) <= _MOST_CAUSES:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or id(cause) in seen:
            return
        seen.add(id(cause))
        yield cause
        error = cause


def _traceback(step: TracebackType | None) -> str:
    """The frames without their source lines: reading those from disk takes a hundred times as long."""
    frames = []
    while step is not None:
        code = step.tb_frame.f_code
        frames.append(f'File "{code.co_filename}", line {step.tb_lineno}, in {code.co_qualname}')
        step = step.tb_next
    left_out = len(frames) - _FIRST_FRAMES - _LAST_FRAMES
    if left_out > 0:
        frames[_FIRST_FRAMES:-_LAST_FRAMES] = [f"... {left_out} frames left out ..."]
    return "\n".join(frames)


def _cut(text: str) -> str:
    beyond = len(text) - _LONGEST_TEXT
    return text if beyond <= 0 else f"{text[:_LONGEST_TEXT]}… [{beyond} more characters]"


def _key(key: object) -> str:
    return key if isinstance(key, str) else safe_repr(key)
