"""The standard pipeline: what a call over a network should have if nobody has thought about it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio.policies.backoff import BackoffStrategy
from resilio.policies.bulkhead import Bulkhead
from resilio.policies.circuit_breaker import CircuitBreaker
from resilio.policies.pipeline import Pipeline
from resilio.policies.timeout import Timeout
from resilio.policies.trip_rates import FailureRate
from resilio.policies.windows import TimeWindow

if TYPE_CHECKING:
    from resilio._core.durations import Duration
    from resilio.policies.retry_budget import RetryBudget
    from resilio.policies.trip import TripRule


def standard_pipeline(
    name: str | None = None,
    *,
    max_concurrent: int = 1000,
    total_timeout: Duration = 30.0,
    max_retries: int = 3,
    base_delay: Duration = 2.0,
    budget: RetryBudget | None = None,
    trip: TripRule | None = None,
    recovery_timeout: Duration = 5.0,
    attempt_timeout: Duration = 10.0,
) -> Pipeline:
    """Limiter, total timeout, retry, breaker, attempt timeout: in this order, with sensible numbers.

    The shape and most numbers are those of Microsoft.Extensions.Http.Resilience. One is not: its circuit opens at 10 %
    of failures, which turns a partial fault into a full outage; ours opens at half of at least 20 calls in 30 seconds.

    Args:
        name: The circuit's name; None for a private one.
        max_concurrent: Calls at once; more fail with `BulkheadFullError`.
        total_timeout: Seconds for all attempts together.
        max_retries: Attempts after the first.
        base_delay: Seconds before the first retry, before jitter.
        budget: Limits retries across calls.
        trip: When the circuit opens.
        recovery_timeout: Seconds that it stays open.
        attempt_timeout: Seconds for each attempt.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Arguments are out of range, or defeat each other.

        >>> standard_pipeline("crm")
        <Pipeline Bulkhead → Timeout → BackoffStrategy → CircuitBreaker → Timeout>
    """
    return Pipeline(
        Bulkhead(max_concurrent),
        Timeout(total_timeout),
        BackoffStrategy(max_retries=max_retries, base_delay=base_delay, budget=budget),
        CircuitBreaker(
            name=name,
            trip=FailureRate(0.5, window=TimeWindow(30.0), minimum_calls=20) if trip is None else trip,
            recovery_timeout=recovery_timeout,
        ),
        Timeout(attempt_timeout),
    )
