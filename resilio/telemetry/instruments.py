"""The instruments of one meter, made once for each provider, whoever is looked at through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio.telemetry.conventions import WAITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

    from resilio.telemetry.observation import Observed

__all__ = ("Instruments",)


class Instruments:
    """What measurements are written to.

    A provider never lets go of an observable instrument. So there is one set for each, and ``observed`` is what it
    looks at: None while nothing is instrumented.

    Args:
        meter: Where the instruments come from.
    """

    def __init__(self, meter: Meter) -> None:
        self.observed: Observed | None = None
        count = meter.create_counter
        self.transitions: Counter = count("resilio.circuit.transitions", "{transition}", "Changes of a circuit's state")
        self.retries: Counter = count("resilio.retries", "{retry}", "Attempts after the first one")
        self.retry_ends: Counter = count("resilio.retry.ends", "{call}", "How retried calls ended")
        self.budget_refusals: Counter = count(
            "resilio.retry.budget.refusals", "{retry}", "Retries that a budget did not allow"
        )
        self.timeouts: Counter = count("resilio.timeouts", "{call}", "Calls that took longer than they were given")
        self.fallbacks: Counter = count("resilio.fallbacks", "{call}", "Answers in place of an error")
        self.hedges: Counter = count("resilio.hedges", "{call}", "Calls sent beside a slow one")
        self.bulkheads: Counter = count("resilio.bulkhead.rejections", "{call}", "Calls that found no place")
        self.limiters: Counter = count("resilio.limiter.rejections", "{call}", "Calls that a limiter turned away")
        self.errors: Counter = count("resilio.errors", "{error}", "Errors that were reported")
        self.kept: Counter = count("resilio.dead_letters.kept", "{letter}", "Letters that were kept")
        self.replays: Counter = count("resilio.dead_letters.replays", "{letter}", "Replays of letters")
        self.removed: Counter = count(
            "resilio.dead_letters.removed", "{letter}", "Letters that left a queue without a replay"
        )
        self.notifications: Counter = count("resilio.notifications", "{notification}", "What channels were given")
        self.waits: Histogram = meter.create_histogram(
            "resilio.retry.wait.duration", "s", "Waits before a retry", explicit_bucket_boundaries_advisory=WAITS
        )
        self.operations: Histogram = meter.create_histogram(
            "resilio.operation.duration", "s", "Logged operations", explicit_bucket_boundaries_advisory=WAITS
        )

        meter.create_observable_counter(
            "resilio.circuit.calls",
            [self._looking(lambda observed: observed.calls.read())],
            "{call}",
            "Calls through circuits, by outcome",
        )
        gauge = meter.create_observable_up_down_counter
        gauge(
            "resilio.circuit.state",
            [self._looking(lambda observed: observed.circuit_states())],
            "{circuit}",
            "1 for the state that a circuit is in, 0 for the others",
        )
        gauge(
            "resilio.dead_letters",
            [self._looking(lambda observed: observed.letters())],
            "{letter}",
            "Letters in a queue, by status",
        )
        gauge(
            "resilio.error.groups",
            [self._looking(lambda observed: observed.error_groups())],
            "{group}",
            "Different errors that were seen",
        )
        meter.create_observable_gauge(
            "resilio.dead_letters.oldest.age",
            [self._looking(lambda observed: observed.oldest_ages())],
            "s",
            "Since the oldest letter of a queue failed",
        )

    def _looking(
        self, look: Callable[[Observed], Iterable[Observation]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            observed = self.observed
            return [] if observed is None else list(look(observed))

        return observe
