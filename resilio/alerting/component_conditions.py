"""What an alert rule looks at: circuits, dead letters, and how fast an error budget burns."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol, Self

from resilio._core import clock, durations, events
from resilio.alerting.conditions import Finding
from resilio.policies import registry
from resilio.policies.circuit_machine import CircuitState
from resilio.policies.events import CallFailed, CallSucceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from resilio._core.durations import Duration
    from resilio.deadletters.store import DeadLetterStats
    from resilio.policies.events import CircuitEvent

__all__ = ("BurnRate", "CallCounter", "CircuitOpenFor", "DeadLettersAbove", "HasStats")

_NOT_CLOSED: Final = frozenset({CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.FORCED_OPEN})
_STRETCH: Final = 10.0
_STRETCHES: Final = 6 * 360  # six hours


class CircuitOpenFor:
    """A circuit has let nothing through, but probes, for a while; an incident for each circuit.

    Args:
        longer_than: Seconds.
        names: Which circuits; all named ones of this process by default.
    """

    __slots__ = ("_since", "longer_than", "names")

    def __init__(self, longer_than: Duration = 60.0, *, names: Iterable[str] | None = None) -> None:
        self.longer_than: float = durations.seconds("longer_than", longer_than)
        self.names: frozenset[str] | None = None if names is None else frozenset(names)
        self._since: dict[str, float] = {}

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        now, today = clock.monotonic(), clock.utcnow()
        former, self._since = self._since, {}
        found = []
        for circuit in registry.circuits.all():
            if self.names is not None and circuit.name not in self.names:
                continue
            snapshot = circuit.snapshot()
            if snapshot.state not in _NOT_CLOSED:
                continue
            age = 0.0 if snapshot.changed_at is None else max((today - snapshot.changed_at).total_seconds(), 0.0)
            # An open circuit that probes in vain changes its state all the time, and is not closed all the time.
            since = self._since[circuit.name] = min(former.get(circuit.name, now), now - age)
            if now - since > self.longer_than:
                details = {"open_for": round(now - since, 1), "last_failure": snapshot.last_failure}
                summary = f"circuit {circuit.name} has been open for more than {self.longer_than:g} s"
                found.append(Finding(summary=summary, labels={"circuit": circuit.name}, details=details))
        return found


class HasStats(Protocol):
    """What tells how many letters there are; a `DeadLetterQueue` does."""

    async def stats(self) -> DeadLetterStats:
        """How many there are, and how old the oldest is."""


class DeadLettersAbove:
    """Too many dead letters, or one that has lain there too long.

    Args:
        queue: Where they are.
        more_than: So many are still well; None for any number.
        older_than: Seconds that a letter may lie there; None for any time.

    Raises:
        ValueError: Neither ``more_than`` nor ``older_than`` is given.
    """

    __slots__ = ("more_than", "older_than", "queue")

    def __init__(self, queue: HasStats, *, more_than: int | None = None, older_than: Duration | None = None) -> None:
        if more_than is None and older_than is None:
            msg = "more_than or older_than must be given"
            raise ValueError(msg)
        self.queue: HasStats = queue
        self.more_than: int | None = durations.optional(durations.whole, "more_than", more_than)
        self.older_than: float | None = durations.optional(durations.seconds, "older_than", older_than)

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        stats = await self.queue.stats()
        found = []
        if self.more_than is not None and stats.total > self.more_than:
            found.append(f"there are more than {self.more_than} dead letters")
        age = stats.oldest_age or 0.0
        if self.older_than is not None and stats.total and age > self.older_than:
            found.append(f"a dead letter is older than {self.older_than:g} s")
        details = {"total": stats.total, "parked": stats.parked, "oldest_age": round(age, 1)}
        return (Finding(summary=" and ".join(found), details=details),) if found else ()


class BurnRate:
    """An error budget is being spent so fast that it will not last: over a long window, and still just now.

    A service that may fail in one call of a thousand (``objective=0.999``) and fails in 14.4 of a thousand spends in an
    hour what should last for two per cent of a month. Two windows, as in the SRE Workbook, chapter 5: the long one is
    sure of it, the short one lets the alert end soon after the trouble.

    Args:
        outcomes: Gives failed and all calls of the last so many seconds; a `CallCounter` has such a method.
        objective: The share of calls that should succeed, above 0 and below 1.
        factor: How many times faster than it may the budget burns.
        long: Seconds of the long window.
        short: Seconds of the short one.
        at_least: Fewer calls in the long window say nothing.
    """

    __slots__ = ("at_least", "factor", "long", "objective", "outcomes", "short")

    def __init__(
        self,
        outcomes: Callable[[float], tuple[int, int]],
        *,
        objective: float = 0.999,
        factor: float = 14.4,
        long: Duration = 3600.0,
        short: Duration = 300.0,
        at_least: int = 10,
    ) -> None:
        self.outcomes: Callable[[float], tuple[int, int]] = outcomes
        self.objective: float = durations.number("objective", objective, above=0, at_most=1)
        if self.objective == 1:
            msg = "objective must be below 1: where nothing may fail there is no budget"
            raise ValueError(msg)
        self.factor: float = durations.number("factor", factor, above=0)
        self.long: float = durations.seconds("long", long, above=0)
        self.short: float = durations.seconds("short", short, above=0, at_most=self.long)
        self.at_least: int = durations.whole("at_least", at_least, at_least=1)

    async def findings(self) -> Sequence[Finding]:
        """What is wrong just now; as in `Condition`."""
        if self.outcomes(self.long)[1] < self.at_least:
            return ()
        long, short = self._burning(self.long), self._burning(self.short)
        # A hair of tolerance: 1 - 0.999 is not 0.001.
        if min(long, short) < self.factor * (1 - 1e-9):
            return ()
        summary = f"the error budget of {1 - self.objective:.3%} burns more than {self.factor:g} times too fast"
        return (Finding(summary=summary, details={"long_window": round(long, 2), "short_window": round(short, 2)}),)

    def _burning(self, seconds: float) -> float:
        failed, calls = self.outcomes(seconds)
        return failed / calls / (1 - self.objective) if calls else 0.0


class CallCounter:
    """Counts what the circuits of this process see, for `BurnRate`, in stretches of ten seconds for six hours.

    Args:
        circuits: Names of the circuits; all by default.

    Listens from when it is made until ``close()``, or to the end of its ``with`` block. Safe from any thread.
    """

    __slots__ = ("_circuits", "_counts", "_lock", "_subscription")

    def __init__(self, circuits: Iterable[str] | None = None) -> None:
        self._circuits = None if circuits is None else frozenset(circuits)
        self._counts: OrderedDict[int, list[int]] = OrderedDict()
        self._lock = threading.Lock()
        self._subscription = events.subscribe(self._count, CallSucceeded, CallFailed)

    def _count(self, event: CircuitEvent) -> None:
        if self._circuits is None or event.circuit in self._circuits:
            self.add(failed=isinstance(event, CallFailed))

    def add(self, *, failed: bool) -> None:
        """Count a call that was made in another way."""
        stretch = int(clock.monotonic() // _STRETCH)
        with self._lock:
            counts = self._counts.setdefault(stretch, [0, 0])
            counts[0] += failed
            counts[1] += 1
            if len(self._counts) > _STRETCHES:
                self._counts.popitem(last=False)

    def outcomes(self, seconds: float) -> tuple[int, int]:
        """Failed and all calls of the last ``seconds``, to the next stretch."""
        since = int((clock.monotonic() - seconds) // _STRETCH)
        with self._lock:
            counted = [counts for stretch, counts in self._counts.items() if stretch > since]
        return sum(each[0] for each in counted), sum(each[1] for each in counted)

    def close(self) -> None:
        """Stop listening."""
        self._subscription.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
