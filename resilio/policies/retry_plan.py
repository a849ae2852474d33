"""Where a retry decides: go on after how long, or give up and why. No clock, no dice, no sleeping in here.

Sources: the three jitters and their names from Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog,
2015); the cap comes before the jitter, so that capped clients stay spread out.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Jitter = Literal["full", "equal", "decorrelated"]

JITTERS: tuple[Jitter, ...] = ("full", "equal", "decorrelated")

EARLIER_FAILURES_KEPT = 5


Failure = tuple[str, tuple[object, ...]]
"""How an attempt failed: the error's class and arguments. It holds no exception, and so no traceback and no frames."""

_TEXT_IS_THE_ARGUMENT = frozenset(
    each
    for each in vars(builtins).values()
    if isinstance(each, type)
    and issubclass(each, Exception)
    and each.__str__ in (BaseException.__str__, OSError.__str__)
)


def is_plain(error: Exception) -> bool:
    """Tell whether ``error`` is a builtin that says nothing beyond its one argument: no header, no attribute."""
    return type(error) in _TEXT_IS_THE_ARGUMENT and len(error.args) < 2 and not error.__dict__  # noqa: PLR2004 -- one


@dataclass(frozen=True, slots=True)
class BackoffPlan:
    """How long to wait, how often, and for how long in all. Times in seconds.

    Attributes:
        is_random: Whether a wait depends on chance at all.
    """

    base_delay: float
    max_delay: float
    exponential_base: float
    jitter: Jitter | None
    max_retries: int | None
    max_duration: float | None
    max_retry_after: float

    is_random: bool = field(init=False, repr=False, compare=False)
    _capped: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        capped = tuple(map(self._cap, range(1, _TABULATED + 1)))
        object.__setattr__(self, "_capped", capped)
        object.__setattr__(self, "is_random", self.jitter is not None and any(capped))

    def delay(self, retry: int, previous: float, roll: float) -> float:
        """The wait before retry number ``retry`` (from 1).

        Args:
            retry: Which retry comes next.
            previous: The wait before the last one, 0.0 for none: what decorrelated jitter grows from.
            roll: A random number in [0, 1).
        """
        capped = self._capped[retry - 1] if retry <= _TABULATED else self._cap(retry)
        jitter = self.jitter
        if jitter is None:
            return capped
        if jitter == "full":
            return roll * capped
        if jitter == "equal":
            return capped / 2 + roll * capped / 2
        low = min(self.base_delay, self.max_delay)
        return min(self.max_delay, low + roll * max(3 * max(previous, low) - low, 0.0))

    def _cap(self, retry: int) -> float:
        try:
            return min(self.max_delay, self.base_delay * self.exponential_base ** (retry - 1))
        except OverflowError:  # past 1.8e308 the cap has long been reached
            return self.max_delay if self.base_delay else 0.0


_TABULATED = 16
"""Retries whose delay is computed once; few calls go on longer."""


class RetryRun:
    """One call being retried: its attempts so far, and the errors worth remembering."""

    __slots__ = ("_earlier", "attempt", "plan", "previous_delay", "started_at")

    def __init__(self, plan: BackoffPlan, started_at: float) -> None:
        self.plan: BackoffPlan = plan
        self.started_at: float = started_at
        self.attempt: int = 1
        self.previous_delay: float = 0.0
        self._earlier: list[Failure] = []

    def decide(
        self,
        failure: Failure,
        now: float,
        roll: float,
        retry_after: float | None = None,
        delay: float | None = None,
        max_attempts: int | None = None,
        refuses: Callable[[float], str | None] | None = None,
    ) -> float | str:
        """Say what follows the failure of the present attempt: the wait in seconds, or the reason why nothing does.

        A wait is booked: from here on the next attempt is the present one.

        Args:
            failure: How the present attempt failed.
            now: Seconds on the monotonic clock; only looked at if the plan has a ``max_duration``.
            roll: A random number in [0, 1).
            retry_after: Seconds that the server asked to wait; lengthens the wait up to the plan's bound.
            delay: The wait that somebody else computed, in place of the plan's.
            max_attempts: A cap on top of the plan's.
            refuses: Somebody else's limits, asked last: told the wait that would follow, gives the reason to end.

        Returns:
            Seconds to wait; or the limit that was met: ``"attempts"``, ``"duration"``, or what ``refuses`` gave.
        """
        plan, attempt = self.plan, self.attempt
        if (plan.max_retries is not None and attempt > plan.max_retries) or (
            max_attempts is not None and attempt >= max_attempts
        ):
            return "attempts"
        wait = plan.delay(attempt, self.previous_delay, roll) if delay is None else delay
        if retry_after is not None:
            wait = max(wait, min(retry_after, plan.max_retry_after))
        if plan.max_duration is not None:
            left = self.started_at + plan.max_duration - now
            if left <= 0:
                return "duration"
            wait = min(wait, left)
        if refuses is not None:
            reason = refuses(wait)
            if reason is not None:
                return reason
        earlier = self._earlier
        earlier.append(failure)
        if len(earlier) > EARLIER_FAILURES_KEPT:
            del earlier[0]
        self.previous_delay = wait
        self.attempt = attempt + 1
        return wait

    def history(self) -> list[str]:
        """The attempts before the present one, a line each, oldest first; beyond five only a count."""
        forgotten = self.attempt - 1 - len(self._earlier)
        lines = [f"attempt {number}: {_told(*failure)}" for number, failure in enumerate(self._earlier, forgotten + 1)]
        if not forgotten:
            return lines
        return [f"{forgotten} earlier attempt{'s' if forgotten > 1 else ''} failed as well", *lines]


def _told(kind: str, args: tuple[object, ...], longest: int = 200) -> str:
    try:
        text = f"{kind}: {', '.join(map(str, args))}"
    except Exception as unprintable:
        text = f"{kind} (its text cannot be had: {type(unprintable).__name__})"
    return text if len(text) <= longest else text[: longest - 1] + "…"
