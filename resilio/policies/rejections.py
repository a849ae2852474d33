"""What a circuit raises instead of calling, and how it knows its own rejections again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio.errors import CircuitBreakerOpenError
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from resilio.policies.circuit import Circuit

_LONGEST_CHAIN = 100


_WHY = {
    CircuitState.OPEN: "open",
    CircuitState.HALF_OPEN: "half-open, and as many calls as it allows are trying the dependency now",
    CircuitState.FORCED_OPEN: "held open by hand until it is reset or its isolation ends",
}


def rejection_by(circuit: Circuit, state: CircuitState, retry_after: float | None) -> CircuitBreakerOpenError:
    """The error for a call that ``circuit`` does not let through in ``state``; marked, for names are not unique."""
    return CircuitBreakerOpenError.rejection(circuit.name, retry_after, _WHY.get(state, "open"), id(circuit))


def is_rejection_by(circuit: Circuit, error: BaseException) -> bool:
    """Tell whether ``error`` is a rejection by this very circuit."""
    return isinstance(error, CircuitBreakerOpenError) and error._circuit == id(circuit)  # noqa: SLF001 -- its mark


def cut_rejections(circuit: Circuit, error: BaseException) -> None:
    """Take their causes from the circuit's own rejections behind ``error``, a failure that the circuit will hold.

    Raised while handling such a rejection, it would hold the failure before it, that one the next, and so on without
    end.
    """
    seen, links = {id(error)}, [error]
    while links and len(seen) < _LONGEST_CHAIN:
        for earlier in _behind(links.pop()):
            if is_rejection_by(circuit, earlier):
                earlier.__cause__ = earlier.__context__ = None
            elif id(earlier) not in seen:
                seen.add(id(earlier))
                links.append(earlier)


def _behind(error: BaseException) -> list[BaseException]:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [each for each in (error.__cause__, error.__context__, *members) if each is not None]
