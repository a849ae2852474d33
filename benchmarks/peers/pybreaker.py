"""pybreaker: a breaker for blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybreaker

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import pybreaker"
FIRST_BREAKER = "pybreaker.CircuitBreaker()"
_NOT_ASYNC = "its async form is for Tornado"
LACKS = dict.fromkeys(
    (
        "breaker_closed",
        "breaker_execute",
        "breaker_block",
        "breaker_open",
        "breaker_tasks",
        "breaker_rate",
        "breaker_window",
        "breaker_time_window",
    ),
    _NOT_ASYNC,
)


def breaker_blocking(fn: Operation) -> Operation:
    return pybreaker.CircuitBreaker(fail_max=settings.FAILURES, reset_timeout=settings.BREAK)(fn)
