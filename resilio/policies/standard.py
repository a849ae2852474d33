"""Standard pipeline: what a call over a network should have if nobody has thought about it yet.

**About.** Five layers, from the outside in: a limiter, so that one slow dependency cannot take all calls; a timeout for
all attempts together; a retry; a breaker, which sees every attempt; a timeout for each attempt.

**Usage.** ::

    crm = standard_pipeline("crm")

    @crm
    async def customer(number: int) -> Customer: ...

    print(crm.describe())                                   # every layer with its settings
    crm.replace(*standard_pipeline("crm", total_timeout=20).policies)   # at run time

**Defaults.** 1000 calls at once → 30 s in all → 3 retries from 2 s, exponential, with full jitter → a circuit that
opens at half of at least 20 calls in 30 s, for 5 s → 10 s for each attempt.

**Events.** Those of its layers: `BulkheadRejected`, `TimedOut`, `RetryScheduled`, `RetryGivenUp`, `RetrySucceeded`,
`CircuitStateChanged`, `CallRejected`, `CallFailed`, `CallSucceeded`.

**Patterns.**

- *One pipeline for each dependency,* made once, with the dependency's name.
- *A last resort around it:* ``Pipeline(Fallback("Meow?"), standard_pipeline("model"))``.
- *A shared budget,* ``budget=RetryBudget()``, where many pipelines lead to the same dependency.

**Anti-patterns.**

- *A pipeline for each call.* Bad: ``await standard_pipeline().execute(fetch)`` in a function. Good: one, at the top of
  the module. Why: a new pipeline knows nothing of the calls before, so its circuit never opens and its limiter never
  fills.
- *For what must not be done twice.* Bad: around a payment. Good: ``max_retries=0``, or an idempotency key. Why: a call
  that timed out may have had its effect.
- *One pipeline for two dependencies.* Bad: ``standard_pipeline("backend")`` around mail and search. Good: one each.
  Why: the healthy one is cut off with the sick one.

Source: the shape and most numbers of Microsoft.Extensions.Http.Resilience.
"""

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
        # A thread that the total timeout leaves behind must not go on with attempts.
        BackoffStrategy(max_retries=max_retries, base_delay=base_delay, budget=budget, max_duration=total_timeout),
        CircuitBreaker(
            name=name,
            trip=FailureRate(0.5, window=TimeWindow(30.0), minimum_calls=20) if trip is None else trip,
            recovery_timeout=recovery_timeout,
        ),
        Timeout(attempt_timeout),
    )
