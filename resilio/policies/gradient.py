"""Where an adaptive limiter decides: how many calls at once before latency grows. No clock, no awaiting.

What calls take lately is compared with what they take *at rest*, when few others run. Where the two are alike, the
limit creeps up by a small queue; where calls take more than ``tolerance`` times as long, it shrinks in proportion.
Calls that happen to run among few others tell the latency at rest. When none has for long, the limit drops for a moment
to let some: a latency that merely follows the load would be taken for usual, and the limit would grow without end.

Sources: the gradient and the queue of Gradient2Limit in Netflix's concurrency-limits; measuring at rest from Envoy's
adaptive concurrency filter.
"""

from __future__ import annotations

import math
from typing import Final

_FEWEST: Final = 10
"""Calls that say something about latency: the least for any decision."""

_REST_AFTER: Final = 50
"""Decisions among many calls after which some are let run among few."""

_LONGEST_REST: Final = 40
"""How many times the latency among many a rest may last; streams that stay open could hold it up for ever."""


class GradientLimit:
    """A concurrency limit that follows latency. Whoever holds it calls it under a lock."""

    __slots__ = (
        "_at_rest",
        "_crowded",
        "_limit",
        "_maximum",
        "_minimum",
        "_rest",
        "_round",
        "_smoothing",
        "_tolerance",
    )

    def __init__(self, *, initial: int, minimum: int, maximum: int, tolerance: float, smoothing: float) -> None:
        self._limit = float(initial)
        self._minimum = minimum
        self._maximum = maximum
        self._tolerance = tolerance
        self._smoothing = smoothing
        self._at_rest = 0.0
        self._round = _Round(_FEWEST)
        self._rest: _Rest | None = None  # while some are let run among few
        self._crowded = 0  # decisions since the last one at rest

    @property
    def limit(self) -> int:
        """How many calls may run at once."""
        return self._rest.few if self._rest else int(self._limit)

    def limit_at(self, now: float) -> int:
        """The limit for one who finds no place at ``now``: a rest that has lasted long enough is given up."""
        if self._rest and now > self._rest.until:
            self._begin_round()
        return self.limit

    def go_on_from(self, limit: int) -> None:
        """Let the limit be ``limit`` now, and move on from there."""
        self._limit = float(limit)
        self._begin_round()

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most that the limit may be."""
        return self._minimum, self._maximum

    @property
    def latency(self) -> float:
        """What a call takes among few others, in seconds; 0.0 before anything is known."""
        return self._at_rest

    def sample(self, started: float, ended: float, running: int) -> int:
        """Learn from a call, when it started and ended and how many ran then; return the new limit."""
        rest = self._rest
        if rest and not rest.counts(started, ended, running):
            return self.limit_at(ended)
        if self._round.is_over_after(ended - started, running):
            self._decide(self._round, ended)
        return self.limit

    def _few_of(self, many: float) -> int:
        """So many at once do not wait for each other, even where ``many`` are twice what the tolerance allows."""
        return max(self._minimum, int(many / (2 * self._tolerance)))

    def _decide(self, last: _Round, now: float) -> None:
        if self._rest:
            self._learn(last.mean)
        elif not self._at_rest or last.busiest <= self._few_of(self._limit):
            self._learn(last.mean)
            self._move(1.0, last.busiest)
        elif self._crowded >= _REST_AFTER:
            # A limit that callers do not reach may be far above what the dependency bears.
            few = self._few_of(min(self._limit, last.busiest))
            self._begin_rest(few, now + _LONGEST_REST * last.mean)
            return
        else:
            self._crowded += 1
            self._move(self._tolerance * self._at_rest / last.mean if last.mean else 1.0, last.busiest)
        self._begin_round()

    def _learn(self, mean: float) -> None:
        # Ten calls may be ten long ones by chance: no single rest decides.
        self._at_rest = (self._at_rest + mean) / 2 if self._at_rest else mean
        self._crowded = 0

    def _move(self, gradient: float, busiest: int) -> None:
        limit = self._limit
        wished = limit * max(0.5, min(1.0, gradient)) + math.sqrt(limit)
        if busiest < limit / 2:
            wished = min(wished, limit)  # the caller, not the limit, decides how many run
        smoothed = limit * (1 - self._smoothing) + wished * self._smoothing
        self._limit = max(self._minimum, min(self._maximum, smoothed))

    def _begin_round(self) -> None:
        self._rest = None
        self._round = _Round(max(_FEWEST, self.limit))  # about as many as run at once

    def _begin_rest(self, few: int, until: float) -> None:
        self._crowded = 0  # also if the rest comes to nothing
        self._rest = _Rest(few, until)
        # Of those that begin together the short ones end first: of these alone the mean would be too low.
        self._round = _Round(2 * max(_FEWEST, few), passed_over=few)


class _Round:
    """Some calls in a row.

    Attributes:
        busiest: The most of them that ran at once.
    """

    __slots__ = ("_calls", "_seen", "_total", "busiest")

    def __init__(self, calls: int, *, passed_over: int = 0) -> None:
        self._calls = calls
        self._seen = -passed_over
        self._total = 0.0
        self.busiest: int = 0

    def is_over_after(self, duration: float, running: int) -> bool:
        """Take in a call, and tell whether it was the last one."""
        self._seen += 1
        if self._seen > 0:
            self._total += duration
            self.busiest = max(self.busiest, running)
        return self._seen >= self._calls

    @property
    def mean(self) -> float:
        """What they took on average, in seconds."""
        return self._total / self._calls


class _Rest:
    """A time in which few calls run at once.

    Attributes:
        few: How many.
        until: When it is given up, in seconds on the clock of the calls.
    """

    __slots__ = ("_since", "few", "until")

    def __init__(self, few: int, until: float) -> None:
        self.few: int = few
        self.until: float = until
        self._since: float | None = None  # when the last of many had ended

    def counts(self, started: float, ended: float, running: int) -> bool:
        """Tell whether a call began among few."""
        if self._since is None:
            if running > self.few:
                return False
            self._since = ended
        return started >= self._since
