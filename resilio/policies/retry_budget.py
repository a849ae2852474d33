"""Retry budget: retries may add a share to the load, and no more.

**About.** When everything fails, every client retries, and a dependency that was merely slow is kept down by its own
callers. A budget allows retries in proportion to calls: each call deposits, each retry withdraws, and both are
forgotten after ``ttl`` seconds. The budget is asked before the wait, not after it.

**Usage.** ::

    budget = RetryBudget(percent=0.2)                      # one for all calls to a dependency
    strategy = BackoffStrategy(budget=budget)
    hedge = Hedge(delay=0.1, budget=budget)                # hedges are retries, too

**Defaults.** One retry in five calls, and ten a second on top, over 10 s: a client that makes few calls can retry.

**Events.** A refused retry is told by `RetryGivenUp` with the reason ``"budget"``; ``RetryExhaustedError.context`` says
the same. A hedge that is refused is not made, which changes nothing for its caller and is not told.

**Patterns.**

- *One budget per dependency,* given to every retry and hedge that leads there, async and blocking ones alike.
- *A hedge inside of a retry* sees every attempt as a call: with one budget for both, halve ``percent``.

**Anti-patterns.**

- *A budget per call.* Bad: ``BackoffStrategy(budget=RetryBudget())`` in a function. Good: one at the top of the module.
  Why: a new budget has its whole floor, so that nothing is ever refused.
- *A floor that is the load.* Bad: ``min_per_second=1000`` before a service that bears 100. Good: a tenth of what it
  bears. Why: the floor is granted also when every call fails.

Source: Finagle's RetryBudget, over a window of ``ttl`` seconds.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from resilio._core import clock, durations
from resilio.policies.windows import RecentCalls

if TYPE_CHECKING:
    from resilio._core.durations import Duration


class RetryBudget:
    """Allows retries in proportion to calls.

    Args:
        percent: Retries allowed per call, as a share: 0.2 is one retry in five calls. At least 0.
        min_per_second: Retries allowed per second however few calls there are, so that a quiet client can retry at all.
        ttl: Seconds for which a call counts.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to share between retries, hedges, threads and event loops; exact.

        >>> budget = RetryBudget(percent=0.5, min_per_second=0)
        >>> budget.deposit(), budget.deposit(), budget.withdraw(), budget.withdraw()
        (None, None, True, False)
    """

    __slots__ = ("_calls", "_lock", "_reserve", "min_per_second", "percent", "ttl")

    def __init__(self, percent: float = 0.2, min_per_second: float = 10.0, ttl: Duration = 10.0) -> None:
        self.percent: float = durations.number("percent", percent, at_least=0, at_most=1000)
        self.min_per_second: float = durations.number("min_per_second", min_per_second, at_least=0)
        self.ttl: float = durations.seconds("ttl", ttl, above=0)
        self._reserve = self.min_per_second * self.ttl
        self._lock = threading.Lock()
        # Two windows in one: `calls` counts both kinds, `failed` the retries among them.
        self._calls = RecentCalls(self.ttl)

    def deposit(self) -> None:
        """Count a first attempt."""
        now = clock.monotonic()
        with self._lock:
            self._calls.add(now, failed=False)

    def withdraw(self) -> bool:
        """Take one retry out of the budget; False if there is none left."""
        now = clock.monotonic()
        with self._lock:
            if self._balance(now) < 1:
                return False
            self._calls.add(now, failed=True)
            return True

    @property
    def balance(self) -> float:
        """How many retries are left now."""
        now = clock.monotonic()
        with self._lock:
            return self._balance(now)

    def _balance(self, now: float) -> float:
        both, retries, _ = self._calls.totals(now)
        # 5 calls at 20 % are one retry, whatever 0.2 * 5 is in binary.
        return round((both - retries) * self.percent + self._reserve - retries, 9)

    def __repr__(self) -> str:
        return f"<RetryBudget percent={self.percent:g} min_per_second={self.min_per_second:g} ttl={self.ttl:g}>"
