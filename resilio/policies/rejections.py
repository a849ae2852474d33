"""What a circuit raises instead of calling, and how it knows its own rejections again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio.errors import CircuitBreakerOpenError
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from resilio.policies.circuit import Circuit

_REJECTED_BY = "_rejected_by"
_LONGEST_CHAIN = 100
_WHOLE_SECONDS = 10


def rejection_by(circuit: Circuit, state: CircuitState, retry_after: float | None) -> CircuitBreakerOpenError:
    """The error for a call that ``circuit`` does not let through in ``state``; marked, for names are not unique."""
    if state is CircuitState.HALF_OPEN:
        why = "is half-open, and as many calls as it allows are trying the dependency now"
    elif state is CircuitState.FORCED_OPEN:
        why = "is held open by hand until it is reset or its isolation ends"
    else:
        why = "is open"
    when = "" if retry_after is None else f"; try again in {_shown(retry_after)} s"
    rejection = CircuitBreakerOpenError(
        f"circuit {circuit.name!r} {why}{when}", breaker=circuit.name, retry_after=retry_after, state=str(state)
    )
    rejection.__dict__[_REJECTED_BY] = id(circuit)
    return rejection


def is_rejection_by(circuit: Circuit, error: BaseException) -> bool:
    """Tell whether ``error`` is a rejection by this very circuit."""
    return isinstance(error, CircuitBreakerOpenError) and error.__dict__.get(_REJECTED_BY) == id(circuit)


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


def _shown(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= _WHOLE_SECONDS else f"{seconds:.2g}"
