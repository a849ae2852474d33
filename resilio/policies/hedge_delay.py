"""When to hedge: after a fixed time, after what a function says, or at a quantile of what calls usually take."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING

from resilio._core import durations
from resilio._core.colour import refuse_unless_plain
from resilio._core.mishaps import log_exception

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.durations import Duration


class LatencyQuantile:
    """A delay learnt from successful calls: at the quantile 0.95 one call in twenty is hedged.

    Args:
        quantile: Above 0 and below 1; one minus the extra load you allow.
        calls: How many of the last successes count, at least 2.
        warm_up: Successes before anything is hedged, at least 1.

    Safe to share between threads and event loops.

        >>> delay = LatencyQuantile(0.5, warm_up=3)
        >>> for seconds in (0.1, 0.2, 0.3):
        ...     delay.learn(seconds)
        >>> delay()
        0.2
    """

    __slots__ = ("_calls", "_latest", "_lock", "_sorted", "_warm_up", "quantile")

    def __init__(self, quantile: float, *, calls: int = 1000, warm_up: int = 100) -> None:
        self.quantile: float = durations.number("quantile", quantile, above=0, at_most=0.9999)
        self._calls = durations.whole("calls", calls, at_least=2)
        self._warm_up = durations.whole("warm_up", warm_up, at_least=1, at_most=calls)
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float | None:
        """The delay in seconds; None while too little is known."""
        with self._lock:
            if len(self._sorted) < self._warm_up:
                return None
            return self._sorted[int(self.quantile * len(self._sorted))]

    def learn(self, duration: float) -> None:
        """Count a success that took ``duration`` seconds."""
        with self._lock:
            self._latest.append(duration)
            insort(self._sorted, duration)
            if len(self._latest) > self._calls:
                oldest = self._latest.popleft()
                del self._sorted[bisect_left(self._sorted, oldest)]

    def __repr__(self) -> str:
        return f"LatencyQuantile({self.quantile:g})"


def checked(delay: Duration | Callable[[], float | None]) -> Callable[[], float | None]:
    """``delay`` as a function that returns seconds or None.

    Raises:
        TypeError: It is neither a duration nor a plain function.
        ValueError: It is negative or NaN.
    """
    if isinstance(delay, LatencyQuantile):
        return delay
    if not callable(delay):
        fixed = durations.seconds("delay", delay)
        return lambda: fixed
    refuse_unless_plain("delay", delay)

    def asked() -> float | None:
        try:
            return durations.optional(durations.seconds, "what delay returned", delay())
        except Exception:
            # The call itself may well succeed: it must not fail of the question when to make another one.
            log_exception("the delay of a hedge failed: %r; this call is not hedged", delay)
            return None

    return asked
