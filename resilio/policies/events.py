"""What the policies tell: one frozen value per thing that happened.

Listen with ``resilio.subscribe(listener, CircuitStateChanged, ...)``; a listener may block no one and break nothing.
Events hold no exception objects, only their class names and texts, so that keeping them keeps nothing else alive.
"""

from __future__ import annotations

from dataclasses import dataclass

from resilio._core.events import Event
from resilio.policies.circuit_events import CallFailed, CallRejected, CallSucceeded, CircuitEvent, CircuitStateChanged

__all__ = (
    "BulkheadRejected",
    "CallFailed",
    "CallRejected",
    "CallSucceeded",
    "CircuitEvent",
    "CircuitStateChanged",
    "FellBack",
    "Hedged",
    "RateLimited",
    "RetryEvent",
    "RetryGivenUp",
    "RetryScheduled",
    "RetrySucceeded",
    "TimedOut",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryEvent(Event):
    """Anything a retry tells.

    Attributes:
        operation: The name of what is retried.
        attempt: Attempts made so far, from 1.
        error: The last error as text, or the refused result's ``repr``.
    """

    operation: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(RetryEvent):
    """An attempt failed and another one will follow.

    Attributes:
        delay: Seconds until it starts.
    """

    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGivenUp(RetryEvent):
    """An attempt failed and no other one will follow.

    Attributes:
        reason: Why not: ``"attempts"``, ``"duration"``, ``"stop"`` (a tenacity strategy), ``"budget"``.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySucceeded(Event):
    """A call succeeded after at least one retry.

    Attributes:
        operation: The name of what was retried.
        attempts: How many attempts it took.
    """

    operation: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInterrupted(Event):
    """A stream under a retry broke off after its first item. Whether it goes on, the next event of the retry tells.

    Attributes:
        operation: The name of what gave the stream.
        items: How many items had come out, earlier attempts included.
        error: The failure as text.
    """

    operation: str
    items: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(Event):
    """A call took longer than it was given.

    Attributes:
        operation: The name of what was called.
        seconds: The time it was given.
    """

    operation: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack(Event):
    """A fallback answered in place of a failed call.

    Attributes:
        operation: The name of what was called.
        error: The failure as text.
    """

    operation: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadRejected(Event):
    """A bulkhead had no place for a call, or not in time.

    Attributes:
        running: Calls running just then.
        waiting: Calls waiting just then.
    """

    running: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited(Event):
    """A limiter or a throttle turned a call away.

    Attributes:
        limiter: Which kind it was, or its name.
        retry_after: Seconds until a call would be let through; None when nobody can tell.
    """

    limiter: str
    retry_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedged(Event):
    """A call was slow, and another one was sent beside it.

    Attributes:
        operation: The name of what is called.
        calls: How many are under way now.
        delay: Seconds the earlier ones had by then.
    """

    operation: str
    calls: int
    delay: float
