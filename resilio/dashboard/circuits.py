"""The circuits of this process: how they are, and what an operator may do with them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio.dashboard.rows import CircuitRow
from resilio.policies import registry
from resilio.policies.circuit_machine import CircuitMachine, CircuitState

if TYPE_CHECKING:
    from resilio.policies.circuit import Circuit

__all__ = ("CIRCUIT_ACTIONS", "CircuitDesk")

CIRCUIT_ACTIONS: Final = {
    "reset": "Close it and forget what it counted",
    "isolate": "Reject every call until the isolation ends",
    "end-isolation": "Let calls through again",
    "force-open": "Reject every call until it is reset",
}
"""What can be done with a circuit, and what that means."""

_WORST_FIRST: Final = (
    CircuitState.FORCED_OPEN,
    CircuitState.OPEN,
    CircuitState.HALF_OPEN,
    CircuitState.METRICS_ONLY,
    CircuitState.DISABLED,
    CircuitState.CLOSED,
)


class CircuitDesk:
    """The named circuits of this process. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._isolated: dict[str, tuple[Circuit, str]] = {}  # by the dashboard, and by whom

    def rows(self) -> list[CircuitRow]:
        """All of them, those that reject calls first."""
        rows = [self._row(circuit) for circuit in registry.circuits.all()]
        return sorted(rows, key=lambda each: (_WORST_FIRST.index(CircuitState(each.state)), each.name))

    def find(self, name: str) -> CircuitRow | None:
        """The circuit of that name; None if there is none in this process."""
        circuit = registry.circuits.find(name)
        return None if circuit is None else self._row(circuit)

    def act(self, name: str, action: str, *, who: str) -> str:
        """Do one of `CIRCUIT_ACTIONS`; return what came of it, in words.

        Raises:
            KeyError: This process has no such circuit, or there is no such action.
        """
        circuit = registry.circuits.find(name)
        if circuit is None or action not in CIRCUIT_ACTIONS:
            raise KeyError(name if circuit is None else action)
        if action == "reset":
            circuit.control(CircuitMachine.reset)
        elif action == "force-open":
            circuit.control(_force_open)
        elif action == "isolate":
            with self._lock:
                if name in self._isolated:
                    return f"{name} was isolated already"
                self._isolated[name] = (circuit, who)
            circuit.control(CircuitMachine.isolate)
        else:
            with self._lock:
                found = self._isolated.pop(name, None)
            if found is None:
                return f"{name} was not isolated from here"
            found[0].control(CircuitMachine.end_isolation)
        return f"{name} is {str(circuit.state).lower().replace('_', ' ')} now"

    def _row(self, circuit: Circuit) -> CircuitRow:
        found = circuit.snapshot()
        now = clock.utcnow().timestamp()
        with self._lock:
            _, who = self._isolated.get(circuit.name, (None, ""))
        return CircuitRow(
            name=found.name,
            state=str(found.state),
            trip=str(circuit.settings.trip),
            counts=dict(found.counts),
            retry_at=None if found.retry_after is None else now + found.retry_after,
            rejected=found.rejected,
            failed=found.failed,
            failed_probes=found.failed_probes,
            transitions=found.transitions,
            changed_at=None if found.changed_at is None else found.changed_at.timestamp(),
            last_failure=found.last_failure,
            isolated_by=who,
        )


def _force_open(machine: CircuitMachine) -> None:
    machine.force(CircuitState.FORCED_OPEN)
