"""Where the breaker decides: a state machine without clock, lock, chance or awaiting.

Every call asks `admit` and reports with `book`. What ties the two together is a *ticket*, a number drawn once:

- all calls of one closed period share that period's ticket;
- every probe of a half-open circuit has a ticket of its own;
- each transition retires the tickets given out before it, so a result that arrives late finds no one to tell.

Legal transitions (anything else cannot be expressed):

| from | to | when |
|---|---|---|
| CLOSED | OPEN | a trip rule says so |
| OPEN | HALF_OPEN | a call arrives once the break is over |
| HALF_OPEN | CLOSED | ``success_threshold`` probes succeeded |
| HALF_OPEN | OPEN | so many probes failed that the threshold is out of reach |
| any | CLOSED | ``reset()`` |
| any | FORCED_OPEN, DISABLED, METRICS_ONLY | ``force_open()``, ``disable()``, ``metrics_only()`` |
| any | FORCED_OPEN | the first ``isolate()`` block begins |
| FORCED_OPEN | what it would be without | the last ``isolate()`` block ends |

While a block isolates the circuit it stays FORCED_OPEN: what ``reset()`` and the others ask for shows when it ends. A
circuit that was left alone meanwhile is then what it was before; an open one goes on with its break, a closed one
counts from zero.

Sources: generations as in sony/gobreaker, early half-open decisions as in failsafe-go, manual states as in
resilience4j, counted isolation as in cockatiel.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from resilio.policies.trip import TripMeter, TripRule


class CircuitState(StrEnum):
    """What a circuit does with a call."""

    CLOSED = "CLOSED"
    """Lets it through and counts."""
    OPEN = "OPEN"
    """Rejects it until the break is over."""
    HALF_OPEN = "HALF_OPEN"
    """Lets a few probes through and rejects the rest."""
    FORCED_OPEN = "FORCED_OPEN"
    """Rejects it until somebody resets the circuit."""
    DISABLED = "DISABLED"
    """Lets it through and does not look."""
    METRICS_ONLY = "METRICS_ONLY"
    """Lets it through and counts, but never opens."""


class Outcome(StrEnum):
    """How a call ended, as far as the circuit is concerned."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    """Says nothing about the dependency: ignored errors, cancellation, a permit given back."""


class Transition(NamedTuple):
    """One change of state; ``number`` counts the transitions of this circuit from 1.

    ``began_break`` is the number of failed probes in a row if a break began with it, else None.
    """

    number: int
    before: CircuitState
    after: CircuitState
    began_break: int | None


UNTRACKED = 0
"""The ticket of a call whose result nobody wants to know."""


class CircuitMachine:
    """The state of one circuit. Whoever holds it calls it under a lock, and drains ``transitions`` afterwards.

    ``flow`` is the closed period's ticket while calls flow freely, else 0: the one attribute that the path on which
    nothing fails reads without the lock. ``rejects_until`` is when an open circuit may let a probe through, without end
    while it is held open by hand, and the distant past in other states: what a rejection reads.

    ``break_length`` may be `math.inf`: then each break lasts until `set_break` says when it ends.
    """

    __slots__ = (
        "_automatic",
        "_break_length",
        "_break_number",
        "_break_over_at",
        "_drawn",
        "_half_open_timeout",
        "_isolations",
        "_manual",
        "_max_probes",
        "_probe_failures",
        "_probe_successes",
        "_probes",
        "_successes_to_close",
        "_ticket",
        "_trip",
        "failed_probes",
        "flow",
        "meter",
        "rejects_until",
        "transition_count",
        "transitions",
    )

    def __init__(
        self,
        *,
        trip: TripRule,
        break_length: float,
        half_open_max_calls: int,
        success_threshold: int,
        half_open_timeout: float,
    ) -> None:
        self._trip = trip
        self._break_length = break_length
        self._max_probes = half_open_max_calls
        self._successes_to_close = success_threshold
        self._half_open_timeout = half_open_timeout

        self.meter: TripMeter = trip.meter()
        self.failed_probes: int = 0
        self.transitions: list[Transition] = []
        self.transition_count: int = 0

        self._automatic = CircuitState.CLOSED
        self._manual: CircuitState | None = None
        self._isolations = 0
        self.rejects_until: float = -math.inf
        self._break_over_at = 0.0
        self._break_number = 0
        self._probes: dict[int, float] = {}  # ticket -> when the probe counts as lost; oldest first
        self._probe_successes = 0
        self._probe_failures = 0
        self._drawn = UNTRACKED
        self._ticket = self._draw()
        self.flow: int = self._ticket

    # -- what it is in ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> CircuitState:
        """The state as of the last call; an elapsed break shows only in `state_at`."""
        if self._isolations:
            return CircuitState.FORCED_OPEN
        return self._manual or self._automatic

    def state_at(self, now: float) -> CircuitState:
        """The state that a call at ``now`` would meet."""
        state = self.state
        if state is CircuitState.OPEN and now >= self._break_over_at:
            return CircuitState.HALF_OPEN
        return state

    def retry_after(self, now: float) -> float | None:
        """Seconds until a call may be let through; None if it would be now, or if nobody can tell yet."""
        state = self.state
        if state is CircuitState.OPEN and self._break_over_at < math.inf:
            return max(self._break_over_at - now, 0.0)
        if state is CircuitState.HALF_OPEN and self._probes and not self._has_room():
            return max(next(iter(self._probes.values())) - now, 0.0)
        return None

    # -- calls -----------------------------------------------------------------------------------------------------

    def admit(self, now: float) -> int | None:
        """A ticket for a call that starts at ``now``, or None if the circuit rejects it."""
        state = self.state
        if state is CircuitState.CLOSED or state is CircuitState.METRICS_ONLY:
            return self._ticket
        if state is CircuitState.DISABLED:
            return UNTRACKED
        if state is CircuitState.FORCED_OPEN:
            return None
        if state is CircuitState.OPEN:
            if now < self._break_over_at:
                return None
            self._half_open()
        return self._admit_probe(now)

    def book(self, ticket: int, outcome: Outcome, now: float, duration: float) -> bool:
        """Count what became of the call with ``ticket``; tell whether it was still wanted."""
        if ticket == self._ticket:
            if outcome is not Outcome.IGNORED:
                tripped = self.meter.book(failed=outcome is Outcome.FAILURE, now=now, duration=duration)
                if tripped and self.flow:
                    self.open(now)
            return True
        if self._probes.pop(ticket, None) is None:
            return False
        if outcome is not Outcome.IGNORED:
            self._book_probe(now, failed=self._trip.condemns(failed=outcome is Outcome.FAILURE, duration=duration))
        return True

    def is_under_way(self, ticket: int) -> bool:
        """Tell whether ``ticket`` is that of a probe whose result is still wanted."""
        return ticket in self._probes

    # -- probes ----------------------------------------------------------------------------------------------------

    @property
    def _probes_per_round(self) -> int:
        return max(self._max_probes, self._successes_to_close)

    def _admit_probe(self, now: float) -> int | None:
        if not self._has_room():
            # Tickets first: while this runs, the garbage collector may close a stream that gives its ticket back.
            for ticket in list(self._probes):
                if now >= self._probes.get(ticket, math.inf):
                    self._probes.pop(ticket, None)
            if not self._has_room():
                return None
        ticket = self._draw()
        self._probes[ticket] = now + self._half_open_timeout
        return ticket

    def _has_room(self) -> bool:
        answered = self._probe_successes + self._probe_failures
        return len(self._probes) < min(self._max_probes, self._probes_per_round - answered)

    def _book_probe(self, now: float, *, failed: bool) -> None:
        if failed:
            self._probe_failures += 1
            if self._probe_failures > self._probes_per_round - self._successes_to_close:
                self.failed_probes += 1
                self.open(now)
        else:
            self._probe_successes += 1
            if self._probe_successes >= self._successes_to_close:
                self._close()

    # -- transitions of its own ------------------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """Start a break; a trip rule, or a failed probe, said so."""
        self._break_over_at = now + self._break_length
        self._break_number = self.transition_count + 1
        self._change(CircuitState.OPEN, self._manual, began_break=self.failed_probes)

    def set_break(self, number: int, over_at: float, half_open_timeout: float) -> None:
        """Let the break that began with transition ``number`` end at ``over_at``, unless it is no longer on.

        A probe after it counts as lost after ``half_open_timeout`` seconds.
        """
        if number == self._break_number:
            self._break_over_at = over_at
            self._half_open_timeout = half_open_timeout
            self._note_rejections()

    def _half_open(self) -> None:
        self._change(CircuitState.HALF_OPEN, self._manual)

    def _close(self) -> None:
        self.failed_probes = 0
        self.meter.clear()
        self._change(CircuitState.CLOSED, self._manual)

    # -- manual control --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Close the circuit and forget all counts and manual states; isolations stay, they belong to their blocks."""
        self.failed_probes = 0
        self.meter.clear()
        self._change(CircuitState.CLOSED, None)

    def force(self, state: CircuitState) -> None:
        """Stay in ``state`` until the next ``reset``."""
        self.meter.clear()
        self._change(self._automatic, state)

    def isolate(self) -> None:
        """Reject every call until as many `end_isolation` have come."""
        self._change(self._automatic, self._manual, isolations=self._isolations + 1)

    def end_isolation(self) -> None:
        """Take one `isolate` back."""
        if self._isolations == 1 and self._automatic is CircuitState.CLOSED:
            self.meter.clear()
        self._change(self._automatic, self._manual, isolations=self._isolations - 1)

    # -- saving ----------------------------------------------------------------------------------------------------

    def dump(self, now: float) -> dict[str, object]:
        """What another process needs to go on from here, as JSON can carry it; times are seconds from ``now``."""
        state = self._manual or self._automatic
        left = self._break_over_at - now
        return {
            "state": str(CircuitState.OPEN if state is CircuitState.HALF_OPEN else state),
            "break_left": left if state is CircuitState.OPEN and left < math.inf else 0.0,
            "failed_probes": self.failed_probes,
            "meter": self.meter.dump(now),
        }

    def load(self, state: CircuitState, break_left: float, failed_probes: int, meter: object, now: float) -> None:
        """Go on from what another process dumped.

        Raises:
            TypeError, ValueError: ``meter`` is not what this circuit's trip rule dumps; nothing has changed.
        """
        self.meter.load(meter, now)
        self.failed_probes = failed_probes
        self._break_over_at = now + break_left
        is_automatic = state in {CircuitState.OPEN, CircuitState.CLOSED}
        self._change(state if is_automatic else CircuitState.CLOSED, None if is_automatic else state)

    # -- changing --------------------------------------------------------------------------------------------------

    def _change(
        self,
        automatic: CircuitState,
        manual: CircuitState | None,
        *,
        isolations: int | None = None,
        began_break: int | None = None,
    ) -> None:
        before = self.state
        self._automatic, self._manual = automatic, manual
        if isolations is not None:
            self._isolations = isolations
        after = self.state
        self._ticket = self._draw()
        self._probes.clear()
        self._probe_successes = self._probe_failures = 0
        self.flow = self._ticket if after is CircuitState.CLOSED else UNTRACKED
        self._note_rejections()
        if after is not before:
            self.transition_count += 1
            self.transitions.append(Transition(self.transition_count, before, after, began_break))

    def _note_rejections(self) -> None:
        state = self.state
        self.rejects_until = (
            self._break_over_at
            if state is CircuitState.OPEN
            else math.inf
            if state is CircuitState.FORCED_OPEN
            else -math.inf
        )

    def _draw(self) -> int:
        self._drawn += 1
        return self._drawn
