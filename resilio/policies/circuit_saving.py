"""A circuit that outlives its process: for commands and functions that run for a moment, again and again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from resilio._core import clock, durations
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from resilio.policies.circuit import Circuit

_VERSION = 1


def save(circuit: Circuit) -> dict[str, object]:
    """The circuit's state as JSON can carry it."""
    return {"version": _VERSION, "name": circuit.name, "saved_at": clock.utcnow().isoformat(), **circuit.dump()}


def saved_name(saved: Mapping[str, object]) -> str:
    """The name of the circuit that was saved.

    Raises:
        ValueError: ``saved`` is not what `save` made.
    """
    if not isinstance(saved, Mapping) or saved.get("version") != _VERSION:
        version = saved.get("version") if isinstance(saved, Mapping) else saved
        msg = f"a saved circuit has version {_VERSION}, not {version!r:.100}"
        raise ValueError(msg)
    name = saved.get("name")
    if not isinstance(name, str) or not name:
        msg = f"a saved circuit has a name, not {name!r:.100}"
        raise ValueError(msg)
    return name


def restore(circuit: Circuit, saved: Mapping[str, object]) -> None:
    """Put ``circuit`` into a saved state. A break goes on for what is left of it by the clock on the wall.

    Raises:
        ValueError: ``saved`` is not what `save` made for a circuit with the same trip rule; nothing has changed.
    """
    try:
        state = _state(saved["state"])
        # A clock that was set back meanwhile must not make the break longer.
        passed = max((clock.utcnow() - datetime.fromisoformat(str(saved["saved_at"]))).total_seconds(), 0.0)
        left = durations.seconds("break_left", saved["break_left"]) if state is CircuitState.OPEN else 0.0
        failed_probes = durations.whole("failed_probes", saved["failed_probes"])
        meter = _aged(saved["meter"], passed)
        circuit.control(
            lambda machine: machine.load(state, max(left - passed, 0.0), failed_probes, meter, clock.monotonic())
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        msg = f"this is no saved circuit with the same trip rule: {error}"
        raise ValueError(msg) from error


def _state(saved: object) -> CircuitState:
    state = CircuitState(str(saved))
    if state is CircuitState.HALF_OPEN:  # its probes belong to the process that made them
        msg = "a half-open circuit is saved as an open one"
        raise ValueError(msg)
    return state


def _aged(meter: object, passed: float) -> object:
    """A saved meter, ``passed`` seconds later: entries of a window have an age, counts have none."""
    if not isinstance(meter, list):
        return meter
    return [_aged_entry(each, passed) if isinstance(each, list) else each for each in meter]


def _aged_entry(entry: list[object], passed: float) -> object:
    age = entry[0] if len(entry) == 4 else None  # noqa: PLR2004 -- age, calls, failed, slow
    return [age + passed, *entry[1:]] if isinstance(age, (int, float)) else _aged(entry, passed)
