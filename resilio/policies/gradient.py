"""Where an adaptive limiter decides: how many calls at once before latency grows. No clock, no awaiting.

Short-term latency is compared with long-term latency. Where they are alike, the limit creeps up by a small queue; where
calls have become slower than ``tolerance`` times their long-term length, the limit shrinks in proportion.

Source: Gradient2Limit of Netflix's concurrency-limits.
"""

from __future__ import annotations

import math

_LONG_TERM = 600
"""Calls over which the long-term latency is averaged."""

_WARM_UP = 10
"""Calls after which the average is weighted; before that it is a plain mean."""


class GradientLimit:
    """A concurrency limit that follows latency. Whoever holds it calls it under a lock."""

    __slots__ = ("_limit", "_long_term", "_maximum", "_minimum", "_samples", "_smoothing", "_tolerance")

    def __init__(self, *, initial: int, minimum: int, maximum: int, tolerance: float, smoothing: float) -> None:
        self._limit = float(initial)
        self._minimum = minimum
        self._maximum = maximum
        self._tolerance = tolerance
        self._smoothing = smoothing
        self._long_term = 0.0
        self._samples = 0

    @property
    def limit(self) -> int:
        """How many calls may run at once."""
        return int(self._limit)

    def go_on_from(self, limit: int) -> None:
        """Let the limit be ``limit`` now, and move on from there."""
        self._limit = float(limit)

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most that the limit may be."""
        return self._minimum, self._maximum

    @property
    def latency(self) -> float:
        """The long-term latency in seconds."""
        return self._long_term

    def sample(self, duration: float, running: int) -> int:
        """Learn from a call that took ``duration`` seconds while ``running`` calls ran; return the new limit."""
        self._samples += 1
        weight = 1 / self._samples if self._samples <= _WARM_UP else 2 / (_LONG_TERM + 1)
        self._long_term += (duration - self._long_term) * weight
        if duration and self._long_term / duration > 2:  # noqa: PLR2004 -- as in the source
            self._long_term *= 0.95  # a past outage must not set the pace for long
        if running < self._limit / 2:
            return self.limit  # the caller, not the limit, decides how many run: nothing to learn about more
        gradient = 1.0
        if duration > 0:
            gradient = max(0.5, min(1.0, self._tolerance * self._long_term / duration))
        wished = self._limit * gradient + math.sqrt(self._limit)
        smoothed = self._limit * (1 - self._smoothing) + wished * self._smoothing
        self._limit = max(self._minimum, min(self._maximum, smoothed))
        return self.limit
