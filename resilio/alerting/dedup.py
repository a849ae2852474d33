"""The same trouble, told once in a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from resilio.errors import ErrorSeverity

_MOST_KEYS: Final = 10_000


@dataclass(slots=True)
class _Told:
    at: float
    severity: ErrorSeverity
    resolved: bool
    repeated: int = 0


class DedupWindow:
    """Remembers for ``seconds`` what was told under a key. Reads no clock; safe from any thread.

    Holds 10 000 keys; beyond that the one told longest ago is forgotten, and told again.
    """

    __slots__ = ("_lock", "_seconds", "_told")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, key: str, severity: ErrorSeverity, *, resolved: bool, now: float) -> int | None:
        """Whether ``key`` is to be told: None if it was a moment ago, else how often it came since it was told last.

        Worse than what was told, and the other of trouble and its end, is always to be told.
        """
        with self._lock:
            told = self._told.get(key)
            repeated = 0
            if told is not None:
                is_old = now - told.at >= self._seconds
                if not is_old and told.resolved == resolved and severity <= told.severity:
                    told.repeated += 1
                    return None
                repeated = told.repeated
                del self._told[key]
            self._told[key] = _Told(now, severity, resolved)
            if len(self._told) > _MOST_KEYS:
                self._told.popitem(last=False)
            return repeated

    def release(self, key: str) -> None:
        """Forget ``key``: nobody heard of it."""
        with self._lock:
            self._told.pop(key, None)
