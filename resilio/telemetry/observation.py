"""What is looked at when somebody collects, in place of being told: circuits, queues, the tracker, tallied calls."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation

from resilio.policies import registry
from resilio.policies.circuit_machine import CircuitState
from resilio.telemetry import conventions as names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from resilio.reporting.tracker import ErrorTracker
    from resilio.telemetry.bounded_names import BoundedNames
    from resilio.telemetry.queue_probe import QueueProbe

__all__ = ("Observed", "Tally")


class Tally:
    """Counts calls by circuit and outcome. Safe from any thread.

    A counter of the SDK takes 5 µs for each addition; this one takes a fiftieth, and the SDK adds up when it collects.
    """

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, circuit: str, outcome: str) -> None:
        """Count one call."""
        with self._lock:
            self._counts[circuit, outcome] += 1

    def read(self) -> Iterator[Observation]:
        """The counts since the beginning."""
        with self._lock:
            counts = list(self._counts.items())
        for (circuit, outcome), count in counts:
            yield Observation(count, {names.CIRCUIT: circuit, names.OUTCOME: outcome})


class Observed:
    """Everything that is looked at on behalf of one instrumentation. Each method gives one metric's observations."""

    def __init__(self, circuit_names: BoundedNames) -> None:
        self.calls: Tally = Tally()
        self.tracker: ErrorTracker | None = None
        self.queues: tuple[QueueProbe, ...] = ()
        self._circuit_names = circuit_names

    def circuit_states(self) -> Iterable[Observation]:
        """For each circuit and state, how many circuits are in it: 1 or 0, but for those that are called ``_OTHER``."""
        found: Counter[tuple[str, CircuitState]] = Counter()
        for circuit in registry.circuits.all():
            shown = self._circuit_names(circuit.name)
            present = circuit.state
            for state in CircuitState:
                found[shown, state] += state is present
        return [
            Observation(count, {names.CIRCUIT: circuit, names.STATE: state.value.lower()})
            for (circuit, state), count in found.items()
        ]

    def letters(self) -> Iterable[Observation]:
        """How many letters lie in each queue."""
        for probe in self.queues:
            stats = probe.read()
            if stats is None:
                continue
            by_status: Mapping[str, int] = {
                "waiting": stats.waiting,
                "claimed": stats.claimed,
                "parked": stats.parked,
            }
            for status, count in by_status.items():
                yield Observation(count, {names.QUEUE: probe.name, names.LETTER_STATUS: status})

    def oldest_ages(self) -> Iterable[Observation]:
        """How long the oldest letter of each queue has lain there."""
        for probe in self.queues:
            stats = probe.read()
            if stats is not None:
                yield Observation(max(stats.oldest_age or 0.0, 0.0), {names.QUEUE: probe.name})

    def error_groups(self) -> Iterable[Observation]:
        """How many different errors the tracker has seen."""
        if self.tracker is not None:
            yield Observation(int(self.tracker.get_error_summary()["unique_errors"]))
