"""The half-open probes that the present context is inside of.

A guarded function that calls another one guarded by the same circuit is one probe, not two: with a single permit the
inner call would otherwise be rejected, the outer one would fail of it, and the circuit would never close again.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resilio.policies.circuit_machine import CircuitMachine

Probe = tuple["CircuitMachine", int]

_probes: ContextVar[tuple[Probe, ...]] = ContextVar("resilio_probes", default=())


def enter(machine: CircuitMachine, ticket: int) -> None:
    """Note that this context is now inside the probe with ``ticket``; forget those that have ended elsewhere."""
    _probes.set((*(each for each in _probes.get() if _is_under_way(each)), (machine, ticket)))


def leave(machine: CircuitMachine, ticket: int) -> None:
    """Note that the probe with ``ticket`` is over."""
    probes = _probes.get()
    if (machine, ticket) in probes:
        _probes.set(tuple(each for each in probes if each != (machine, ticket)))


def is_inside(machine: CircuitMachine) -> bool:
    """Tell whether this context, or the one that it was copied from, is inside a probe of ``machine``."""
    return any(each[0] is machine and _is_under_way(each) for each in _probes.get())


def _is_under_way(probe: Probe) -> bool:
    machine, ticket = probe
    return machine.is_under_way(ticket)
