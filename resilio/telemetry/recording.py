"""From a typed event to a measurement: one small function for each kind, found by the event's class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio.alerting.events import NotificationFailed, NotificationsDropped, NotificationSent
from resilio.deadletters.events import (
    LetterDeleted,
    LetterKept,
    LetterMoved,
    LetterReplayed,
    LettersExpired,
    LettersPurged,
    ReplayFailed,
)
from resilio.policies.events import (
    BulkheadRejected,
    CallFailed,
    CallRejected,
    CallSucceeded,
    CircuitStateChanged,
    FellBack,
    Hedged,
    RateLimited,
    RetryGivenUp,
    RetryScheduled,
    RetrySucceeded,
    TimedOut,
)
from resilio.reporting.events import ErrorReported, OperationEnded
from resilio.telemetry import conventions as names
from resilio.telemetry.bounded_names import BoundedNames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from opentelemetry.metrics import Counter

    from resilio._core.events import Event
    from resilio.telemetry.instruments import Instruments
    from resilio.telemetry.observation import Tally

__all__ = ("Recording", "place_name")


class Recording:
    """Turns events into measurements. Safe from any thread.

    Args:
        instruments: What they are written to.
        calls: What counts the calls through circuits.
        circuits: Which names of circuits go through.
        limit: How many names of each other kind go through.
    """

    def __init__(self, instruments: Instruments, calls: Tally, circuits: BoundedNames, limit: int) -> None:
        self._to = instruments
        self._calls = calls
        self._circuit = circuits
        self._operation = BoundedNames(limit)
        self._queue = BoundedNames(limit)
        self._error = BoundedNames(limit)
        self._other = BoundedNames(limit)  # channels, limiters, categories: names from code, a few
        self.queue_names: Mapping[str, str] = {}
        to = instruments
        self._by_kind: dict[type[Event], Callable[[Any], None]] = {
            CallSucceeded: lambda event: calls.add(circuits(event.circuit), "success"),
            CallFailed: lambda event: calls.add(circuits(event.circuit), "failure"),
            CallRejected: lambda event: calls.add(circuits(event.circuit), "rejected"),
            CircuitStateChanged: self._transition,
            RetryScheduled: self._retry,
            RetrySucceeded: lambda event: self._retried(event.operation, "success"),
            RetryGivenUp: self._given_up,
            TimedOut: lambda event: self._for_operation(to.timeouts, event),
            FellBack: lambda event: self._for_operation(to.fallbacks, event),
            Hedged: lambda event: self._for_operation(to.hedges, event),
            BulkheadRejected: lambda _: to.bulkheads.add(1),
            RateLimited: lambda event: to.limiters.add(1, {names.LIMITER: self._other(event.limiter)}),
            OperationEnded: self._ended,
            ErrorReported: self._reported,
            LetterKept: self._kept,
            LetterReplayed: lambda event: self._replayed(event.location, "success"),
            ReplayFailed: lambda event: self._replayed(event.location, "parked" if event.parked else "failure"),
            LetterDeleted: lambda event: self._removed(event.location, "deleted", 1),
            LetterMoved: lambda event: self._removed(event.location, "moved", 1),
            LettersExpired: lambda event: self._removed(event.location, "expired", event.count),
            LettersPurged: lambda event: self._removed(event.location, "purged", event.count),
            NotificationSent: lambda event: self._notified(event.channel, "sent", event.count),
            NotificationFailed: lambda event: self._notified(event.channel, "failed", 1),
            NotificationsDropped: lambda event: self._notified(event.channel, "dropped", event.count),
        }

    def record(self, event: Event) -> None:
        """Take one event in; one of an unknown kind says nothing."""
        take = self._by_kind.get(type(event))
        if take is not None:
            take(event)

    def queue(self, location: str) -> str:
        """What the queue at a location is called."""
        return self.queue_names.get(location) or self._queue(place_name(location))

    def _transition(self, event: CircuitStateChanged) -> None:
        told = {
            names.CIRCUIT: self._circuit(event.circuit),
            names.BEFORE: event.before.value.lower(),
            names.AFTER: event.after.value.lower(),
        }
        self._to.transitions.add(1, told)

    def _retry(self, event: RetryScheduled) -> None:
        operation = {names.OPERATION: self._operation(event.operation)}
        self._to.retries.add(1, operation)
        self._to.waits.record(event.delay, operation)

    def _given_up(self, event: RetryGivenUp) -> None:
        self._retried(event.operation, event.reason)
        if event.reason == "budget":
            self._to.budget_refusals.add(1, {names.OPERATION: self._operation(event.operation)})

    def _retried(self, operation: str, outcome: str) -> None:
        self._to.retry_ends.add(1, {names.OPERATION: self._operation(operation), names.RETRY_OUTCOME: outcome})

    def _for_operation(self, counter: Counter, event: TimedOut | FellBack | Hedged) -> None:
        counter.add(1, {names.OPERATION: self._operation(event.operation)})

    def _ended(self, event: OperationEnded) -> None:
        told = {names.OPERATION: self._operation(event.operation), names.OPERATION_OUTCOME: event.outcome}
        self._to.operations.record(event.duration, told)

    def _reported(self, event: ErrorReported) -> None:
        report = event.report
        told = {
            names.CATEGORY: self._other(report.category),
            names.SEVERITY: str(report.severity).lower(),
            names.OPERATION: self._operation(report.operation),
        }
        self._to.errors.add(1, told)

    def _kept(self, event: LetterKept) -> None:
        told = {names.QUEUE: self.queue(event.location)}
        if event.error_type:
            told[names.ERROR_TYPE] = self._error.of_class(event.error_type)
        self._to.kept.add(1, told)

    def _replayed(self, location: str, outcome: str) -> None:
        self._to.replays.add(1, {names.QUEUE: self.queue(location), names.REPLAY_OUTCOME: outcome})

    def _removed(self, location: str, reason: str, count: int) -> None:
        self._to.removed.add(count, {names.QUEUE: self.queue(location), names.REMOVAL_REASON: reason})

    def _notified(self, channel: str, outcome: str, count: int) -> None:
        told = {names.CHANNEL: self._other(channel), names.NOTIFICATION_OUTCOME: outcome}
        self._to.notifications.add(count, told)


def place_name(location: str) -> str:
    """The last part of a path or URL: the file's name, the queue's name.

    >>> place_name("https://sqs.eu-central-1.amazonaws.com/123456789012/orders-dlq")
    'orders-dlq'
    """
    return location.replace("\\", "/").rstrip("/").rpartition("/")[2] or location
