"""The register of named circuits: two breakers of one name are one circuit.

It is bounded. Past 10 000 names the closed circuit that was looked up longest ago is forgotten first (a service that
names circuits after its customers must not grow without end); if none is closed, the oldest of all. A circuit that
some breaker still holds keeps its identity even then: the register remembers it weakly.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from resilio.policies.circuit import Circuit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.policies.circuit_settings import CircuitSettings

CAPACITY = 10_000


class CircuitRegister:
    """Circuits by name. Safe from any thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Circuit] = OrderedDict()  # least recently looked up first
        self._alive: WeakValueDictionary[str, Circuit] = WeakValueDictionary()

    def obtain(self, name: str, settings: CircuitSettings) -> Circuit:
        """The circuit of that name, made now if there is none.

        Raises:
            ValueError: There is one with other settings.
        """
        circuit = self.find(name) or self._keep(name, Circuit(name, settings))
        # Comparing settings may run code of the user's: no lock is held here.
        if circuit.settings is not settings and (difference := circuit.settings.difference(settings)):
            advice = "give the same settings everywhere, or another name"
            msg = f"circuit {name!r} exists already, with {difference}; {advice}"
            raise ValueError(msg)
        return self._keep(name, circuit)

    def _keep(self, name: str, circuit: Circuit) -> Circuit:
        """Make ``circuit`` the one used last, unless another one has come to that name first; return the one it is."""
        with self._lock:
            circuit = self._alive.setdefault(name, circuit)
            self._kept[name] = circuit
            self._kept.move_to_end(name)
            if len(self._kept) > self._capacity:
                self._forget_one()
            return circuit

    def find(self, name: str) -> Circuit | None:
        """The circuit of that name, or None."""
        with self._lock:
            return self._alive.get(name)

    def all(self) -> list[Circuit]:
        """Every circuit that is alive, by name."""
        with self._lock:
            return [circuit for _, circuit in sorted(self._alive.items())]

    def _forget_one(self) -> None:
        # Never the one looked up last: a breaker built inside a function would have a circuit for that call alone.
        others = itertools.islice(self._kept.items(), len(self._kept) - 1)
        idle = (name for name, circuit in others if circuit.is_idle)
        del self._kept[next(idle, next(iter(self._kept)))]


circuits: CircuitRegister = CircuitRegister()


@contextmanager
def fresh() -> Iterator[CircuitRegister]:
    """Start with an empty register, and bring the present one back when the block ends. For tests."""
    global circuits  # noqa: PLW0603 -- the one register of the process
    former, circuits = circuits, CircuitRegister()
    try:
        yield circuits
    finally:
        circuits = former
