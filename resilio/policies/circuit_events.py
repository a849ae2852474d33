"""What a circuit tells. Apart from the other policies' events: a first breaker should not wait for those.

A public module's worth of all of them is `resilio.policies.events`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio._core.events import Event

if TYPE_CHECKING:
    from resilio.policies.circuit_machine import CircuitState


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitEvent(Event):
    """Anything a circuit tells.

    Attributes:
        circuit: Its name; private circuits are all called ``"unnamed"``.
    """

    circuit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitStateChanged(CircuitEvent):
    """A circuit went from one state to another.

    Attributes:
        number: Counts this circuit's transitions from 1: the order in which they happened.
        retry_after: Seconds until an open circuit lets a probe through; None in other states.
        error: The last recorded failure as text, empty if there was none.
    """

    number: int
    before: CircuitState
    after: CircuitState
    retry_after: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSucceeded(CircuitEvent):
    """A call through a circuit succeeded.

    Attributes:
        duration: Seconds it took; 0.0 where no trip rule needs the time.
    """

    duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(CircuitEvent):
    """A call through a circuit failed and was recorded.

    Attributes:
        duration: Seconds it took; 0.0 where no trip rule needs the time.
        error: The failure as text.
    """

    duration: float
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRejected(CircuitEvent):
    """A circuit did not let a call through.

    Attributes:
        state: The state that rejected it.
        retry_after: Seconds until a call may be let through; None when nobody can tell.
    """

    state: CircuitState
    retry_after: float | None
