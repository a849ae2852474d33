"""When a failed letter is tried again, how fast letters are replayed, and when a run should stop by itself.

Plain decisions: no clock and no store in here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from resilio._core import dice, durations

__all__ = ("FailureWatch", "Pace", "ReplayDelay", "StopWhenFailing")

_MOST_DOUBLINGS: Final = 64  # beyond, any delay has reached its limit


@dataclass(frozen=True, slots=True)
class ReplayDelay:
    """How long a letter rests after a failed replay: twice as long each time, half of it by chance.

    The chance keeps letters that failed together from coming back together.

    Attributes:
        first: Seconds after the first failure; 0 for no rest at all.
        longest: The most seconds.
    """

    first: float
    longest: float

    def after(self, attempts: int) -> float:
        """Seconds of rest after so many failures, at least 1."""
        whole = min(self.first * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS), self.longest)
        return dice.uniform(whole / 2, whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWhenFailing:
    """When a run over many letters stops by itself, because what made them fail has not gone.

        await dlq.reprocess_all(stop_when_failing=StopWhenFailing(consecutive=3))

    Each letter that is tried in vain uses up one of its attempts, and loads a backend that is down already.

    Attributes:
        consecutive: So many failures one after the other stop the run; None for any number.
        ratio: When of the last ``of_last`` replays at least this share failed, the run stops; None for any share.
        of_last: How many replays the share is of; fewer are not judged.

    Raises:
        TypeError, ValueError: A value is not what it should be; the message names it.
    """

    consecutive: int | None = 10
    ratio: float | None = 0.5
    of_last: int = 20

    def __post_init__(self) -> None:
        durations.optional(durations.whole, "consecutive", self.consecutive, at_least=1)
        durations.optional(durations.number, "ratio", self.ratio, above=0, at_most=1)
        durations.whole("of_last", self.of_last, at_least=1)


class FailureWatch:
    """Looks at the outcomes of one run.

    Args:
        rule: When to stop; None for never.
    """

    __slots__ = ("_last", "_row", "_rule")

    def __init__(self, rule: StopWhenFailing | None) -> None:
        self._rule = rule
        self._row = 0
        self._last: deque[bool] = deque(maxlen=1 if rule is None else rule.of_last)

    def see(self, *, failed: bool) -> str:
        """Take in an outcome; a text that is not empty says why the run should stop."""
        rule = self._rule
        self._last.append(failed)
        self._row = self._row + 1 if failed else 0
        if rule is None or not failed:
            return ""
        if rule.consecutive is not None and self._row >= rule.consecutive:
            return f"{self._row} replays in a row have failed"
        if rule.ratio is not None and len(self._last) == rule.of_last:
            count = sum(self._last)
            if count >= rule.ratio * rule.of_last:
                return f"of the last {rule.of_last} replays {count} have failed"
        return ""


class Pace:
    """Spreads starts evenly, so that there are at most ``rate`` a second; one that comes late is not made up for.

    Args:
        rate: Starts per second; None for as fast as they come.
    """

    __slots__ = ("_gap", "_next")

    def __init__(self, rate: float | None) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._next = float("-inf")

    def wait(self, now: float) -> float:
        """Take the next place, and tell how many seconds it is away."""
        at = max(now, self._next)
        self._next = at + self._gap
        return at - now
