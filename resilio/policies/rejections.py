"""What a circuit raises instead of calling, and how it knows its own rejections again."""

from __future__ import annotations

from resilio.errors import CircuitBreakerOpenError
from resilio.policies.circuit_machine import CircuitState

_LONGEST_CHAIN = 100


_WHY = {
    CircuitState.HALF_OPEN: "half-open, and as many calls as it allows are trying the dependency now",
    CircuitState.FORCED_OPEN: "held open by hand until it is reset or its isolation ends",
}


def rejection_in(state: CircuitState, name: str, retry_after: float | None, mark: int) -> CircuitBreakerOpenError:
    """The error for a call that a circuit does not let through in ``state``."""
    return CircuitBreakerOpenError.rejection(name, retry_after, mark, _WHY.get(state))


def is_rejection_by(mark: int, error: BaseException) -> bool:
    """Tell whether ``error`` is a rejection by the circuit with this ``mark``."""
    return isinstance(error, CircuitBreakerOpenError) and error._circuit == mark  # noqa: SLF001 -- the mark's place


def cut_rejections(mark: int, error: BaseException) -> None:
    """Take their causes from the marked circuit's rejections behind ``error``, a failure that the circuit will hold.

    Raised while handling such a rejection, it would hold the failure before it, that one the next, and so on without
    end.
    """
    seen, links = {id(error)}, [error]
    while links and len(seen) < _LONGEST_CHAIN:
        for earlier in _behind(links.pop()):
            if is_rejection_by(mark, earlier):
                earlier.__cause__ = earlier.__context__ = None
            elif id(earlier) not in seen:
                seen.add(id(earlier))
                links.append(earlier)


def _behind(error: BaseException) -> list[BaseException]:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [each for each in (error.__cause__, error.__context__, *members) if each is not None]
