"""Where a rate limiter decides: a token bucket in two numbers. No clock, no awaiting, no list of calls.

The bucket holds up to ``burst`` tokens and gains one every ``interval`` seconds. Instead of the tokens it stores the
moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371), so that nothing needs to be
refilled.
"""

from __future__ import annotations


class TokenBucket:
    """So many calls per second, and a few at once. Whoever holds it calls it under a lock."""

    __slots__ = ("_allowance", "_full_at", "interval")

    def __init__(self, interval: float, burst: int) -> None:
        self.interval: float = interval
        self._allowance = interval * (burst - 1)
        self._full_at = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token if there is one at ``now``."""
        full_at = self._full_at
        if full_at <= now:
            self._full_at = now + self.interval
            return True
        if full_at - now > self._allowance + ROUNDING:
            return False
        self._full_at = full_at + self.interval
        return True

    def wait(self, now: float, ahead: int) -> float:
        """Seconds from ``now`` until there is a token for the call behind ``ahead`` others."""
        # In this order, as `take` has it: a difference that `take` finds too long never rounds to nothing.
        return max(self._full_at - now - self._allowance, 0.0) + ahead * self.interval


# Adding 0.1 s ten times gives 0.9999999999999999: a token that is a nanosecond away is there.
ROUNDING = 1e-9
