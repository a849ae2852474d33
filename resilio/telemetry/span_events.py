"""What the policies tell, as events on the span of the call that they happened in.

Listeners run in the emitter's own context, so the current span is the one of the call. Only what says why a call went
as it did becomes a span event; a success is the span itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from resilio.deadletters.events import LetterKept
from resilio.policies.events import (
    BulkheadRejected,
    CallRejected,
    CircuitStateChanged,
    FellBack,
    Hedged,
    RateLimited,
    RetryGivenUp,
    RetryScheduled,
    TimedOut,
)
from resilio.telemetry import conventions as names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from resilio._core.events import Event

    Attributes = Mapping[str, str | int | float]

__all__ = ("add_to_span",)

# A span is one call's own, so names need no limit; texts of errors stay out all the same, for they quote users.
_KINDS: dict[type[Event], tuple[str, Callable[[Any], Attributes]]] = {
    CircuitStateChanged: (
        "resilio.circuit.state_changed",
        lambda event: {
            names.CIRCUIT: event.circuit,
            names.BEFORE: event.before.value.lower(),
            names.AFTER: event.after.value.lower(),
        },
    ),
    CallRejected: (
        "resilio.circuit.rejected",
        lambda event: {names.CIRCUIT: event.circuit, names.STATE: event.state.value.lower()},
    ),
    RetryScheduled: (
        "resilio.retry.scheduled",
        lambda event: {
            names.OPERATION: event.operation,
            names.ATTEMPT: event.attempt,
            names.DELAY: event.delay,
        },
    ),
    RetryGivenUp: (
        "resilio.retry.given_up",
        lambda event: {
            names.OPERATION: event.operation,
            names.ATTEMPT: event.attempt,
            names.RETRY_OUTCOME: event.reason,
        },
    ),
    TimedOut: ("resilio.timed_out", lambda event: {names.OPERATION: event.operation, names.LIMIT: event.seconds}),
    FellBack: ("resilio.fell_back", lambda event: {names.OPERATION: event.operation}),
    Hedged: ("resilio.hedged", lambda event: {names.OPERATION: event.operation, names.DELAY: event.delay}),
    BulkheadRejected: ("resilio.bulkhead.rejected", lambda _: {}),
    RateLimited: ("resilio.limiter.rejected", lambda event: {names.LIMITER: event.limiter}),
    LetterKept: ("resilio.dead_letter.kept", lambda event: {names.LETTER_ID: event.message_id}),
}


def add_to_span(event: Event) -> None:
    """Add an event to the current span, if there is one that is recorded and the event says something about it."""
    kind = _KINDS.get(type(event))
    if kind is None:
        return
    span = trace.get_current_span()
    if span.is_recording():
        name, told = kind
        span.add_event(name, dict(told(event)))
