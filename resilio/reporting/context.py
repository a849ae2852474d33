"""The surroundings of an error: when, on what machine, with how much memory in use."""

from __future__ import annotations

import sys
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock
from resilio.reporting.causes import text_of
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.reporting.plain import PlainValue

__all__ = ("enhance_error_context", "environment")

_FRESH: Final = 1.0
"""Seconds for which a reading of the memory is used again."""


def enhance_error_context(error: BaseException, context: Mapping[str, object] | None = None) -> dict[str, Any]:
    """What is worth knowing about an error, in one dict for a log line or a ticket.

    To the caller's ``context`` it adds ``error_type``, ``error_message``, ``timestamp`` (ISO 8601, UTC),
    ``python_version``, ``platform`` and ``memory_usage`` (per cent of the machine's memory, read at most once a second;
    None where it cannot be read). Where a name is in both, the caller's value stands.

    Args:
        error: The error.
        context: Anything worth knowing, by name. It is not changed.

    Returns:
        A new dict without secrets, that JSON can carry; see `redact`. Never raises an ``Exception`` over its contents.

    Safe across threads and loops.

        >>> enhanced = enhance_error_context(ValueError("no cats"), {"user_id": 7, "password": "meow"})
        >>> enhanced["error_type"], enhanced["user_id"], enhanced["password"]
        ('ValueError', 7, '[redacted]')
    """
    enhanced = redact(
        {
            "error_type": type(error).__name__,
            "error_message": text_of(error),
            "timestamp": clock.utcnow().isoformat(),
            **environment(),
            **(context or {}),
        }
    )
    return enhanced if isinstance(enhanced, dict) else {"context": enhanced}


def environment() -> dict[str, PlainValue]:
    """The facts about interpreter and machine, in a dict of the caller's own."""
    return {**_facts(), "memory_usage": _memory.percent()}


@lru_cache(maxsize=1)
def _facts() -> dict[str, PlainValue]:
    import platform  # noqa: PLC0415 -- it may run a program to find out, which is for the first error to pay

    return {"python_version": sys.version, "platform": platform.platform()}


class _Memory:
    """The share of the machine's memory that is in use, read at most once a second."""

    __slots__ = ("_lock", "_percent", "_read_at")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._percent: float | None = None
        self._read_at: float | None = None

    def percent(self) -> float | None:
        now = clock.monotonic()
        with self._lock:
            # Another clock may have been installed since, so "later" may be earlier.
            if self._read_at is None or not 0 <= now - self._read_at < _FRESH:
                self._read_at = now
                self._percent = _read_memory()
            return self._percent


def _read_memory() -> float | None:
    try:
        import psutil  # noqa: PLC0415 -- 20 ms to import, for the first error to pay

        return float(psutil.virtual_memory().percent)
    except Exception:
        return None  # a container without /proc must not cost us the report of the error


_memory = _Memory()
