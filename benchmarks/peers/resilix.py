"""resilix: most policies, merged into one wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilix import CircuitBreaker, protect

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import resilix"
FIRST_BREAKER = "resilix.CircuitBreaker()"
LACKS = dict.fromkeys(
    ("breaker_rate", "breaker_window", "breaker_time_window"), "counts failures, consecutive or in a window, no rates"
)


def breaker_closed(fn: Operation) -> Operation:
    return CircuitBreaker(failures=settings.FAILURES, reset_timeout=settings.BREAK)(fn)


breaker_open = breaker_tasks = breaker_blocking = breaker_closed


def retry_none(fn: Operation) -> Operation:
    return protect.when(ConnectionError, retry=settings.ATTEMPTS)(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return retry_none(protect.circuit(failures=settings.FAILURES, reset_timeout=settings.BREAK)(fn))


def bulkhead(fn: Operation) -> Operation:
    return protect.bulkhead(settings.PLACES, wait=False)(fn)


def timeout(fn: Operation) -> Operation:
    return protect.timeout(settings.SECONDS)(fn)


def stack(fn: Operation) -> Operation:
    guarded = bulkhead(timeout(fn))
    guarded = protect.circuit(failures=settings.FAILURES, reset_timeout=settings.BREAK)(guarded)
    return protect.when(Exception, retry=settings.ATTEMPTS, return_=None)(guarded)
