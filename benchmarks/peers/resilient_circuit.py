"""resilient-circuit: a breaker and a retry."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from resilient_circuit import CircuitProtectorPolicy, FixedDelay, RetryWithBackoffPolicy, SafetyNet

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import resilient_circuit"
FIRST_BREAKER = "resilient_circuit.CircuitProtectorPolicy()"
LACKS = dict.fromkeys(("breaker_window", "breaker_time_window"), "does not look at how long calls take")


def _breaker() -> CircuitProtectorPolicy:
    return CircuitProtectorPolicy(
        failure_limit=Fraction(settings.FAILURES, settings.FAILURES), cooldown=settings.BREAK_DELTA
    )


def _retry() -> RetryWithBackoffPolicy:
    return RetryWithBackoffPolicy(
        max_retries=settings.ATTEMPTS - 1,
        backoff=FixedDelay(timedelta(0)),
        should_handle=lambda error: isinstance(error, ConnectionError),
    )


def breaker_closed(fn: Operation) -> Operation:
    return _breaker()(fn)


breaker_open = breaker_tasks = breaker_blocking = breaker_closed


def breaker_rate(fn: Operation) -> Operation:
    limit = Fraction(settings.WINDOW // 2, settings.WINDOW)
    return CircuitProtectorPolicy(failure_limit=limit, cooldown=settings.BREAK_DELTA)(fn)


def retry_none(fn: Operation) -> Operation:
    return _retry()(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return SafetyNet(policies=(_retry(), _breaker()))(fn)
