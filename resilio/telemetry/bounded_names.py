"""Names as attributes of a metric: each distinct one is a time series for ever, so there may only be so many."""

from __future__ import annotations

import re
import threading
from typing import Final

__all__ = ("OTHER", "BoundedNames")

OTHER: Final = "_OTHER"
"""What OpenTelemetry's conventions call a value that is none of the known ones."""

_LONGEST: Final = 100
_CLASS_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class BoundedNames:
    """Lets the first so many names through; later ones are all called ``_OTHER``. Safe from any thread.

    Args:
        limit: How many.

        >>> names = BoundedNames(1)
        >>> names("first"), names("second"), names("first")
        ('first', '_OTHER', 'first')
    """

    __slots__ = ("_known", "_limit", "_lock")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> str:
        """``name``, cut to 100 characters, or ``_OTHER``."""
        known = self._known.get(name)
        if known is not None:
            return known
        with self._lock:
            if len(self._known) >= self._limit:
                return OTHER
            shown = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
            return self._known.setdefault(name, shown)

    def of_class(self, name: str) -> str:
        """A class's name, or ``_OTHER`` for what is none: in a letter, anybody may have written anything there."""
        return self(name) if len(name) <= _LONGEST and _CLASS_NAME.fullmatch(name) else OTHER
