"""interlock-cb: a breaker with windows, and a pipeline around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock import CircuitBreaker, Config, Pipeline, WindowType
from tenacity import retry_if_exception_type, wait_none

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import interlock"
FIRST_BREAKER = "interlock.CircuitBreaker(name='breaker')"
LACKS = dict.fromkeys(
    ("breaker_closed", "breaker_execute", "breaker_block", "breaker_blocking"), "counts failures in a window only"
)


def _breaker(window_type: WindowType = WindowType.COUNT_BASED, window_size: int = settings.WINDOW) -> CircuitBreaker:
    config = Config(
        failure_rate_threshold=settings.RATIO,
        minimum_number_of_calls=settings.FAILURES,
        slow_call_duration_threshold=settings.SLOW,
        slow_call_rate_threshold=settings.RATIO,
        wait_duration_in_open=settings.BREAK,
        window_type=window_type,
        window_size=window_size,
    )
    return CircuitBreaker(name="breaker", config=config)


def breaker_window(fn: Operation) -> Operation:
    return _breaker()(fn)


breaker_open = breaker_tasks = breaker_rate = breaker_window


def breaker_time_window(fn: Operation) -> Operation:
    return _breaker(WindowType.TIME_BASED, settings.SPAN)(fn)


def retry_none(fn: Operation) -> Operation:
    return (
        Pipeline.builder()
        .retry(attempts=settings.ATTEMPTS, retry=retry_if_exception_type(ConnectionError), wait=wait_none())
        .build()
    )(fn)


retry_two = retry_none


def retry_breaker(fn: Operation) -> Operation:
    return (
        Pipeline.builder()
        .retry(attempts=settings.ATTEMPTS, retry=retry_if_exception_type(ConnectionError), wait=wait_none())
        .circuit_breaker(_breaker())
        .build()
    )(fn)


def bulkhead(fn: Operation) -> Operation:
    return Pipeline.builder().bulkhead(settings.PLACES).build()(fn)


def timeout(fn: Operation) -> Operation:
    return Pipeline.builder().timeout(settings.SECONDS).build()(fn)


def stack(fn: Operation) -> Operation:
    return (
        Pipeline.builder()
        .fallback(lambda _: None)
        .retry(attempts=settings.ATTEMPTS, retry=retry_if_exception_type(ConnectionError), wait=wait_none())
        .circuit_breaker(_breaker())
        .bulkhead(settings.PLACES)
        .timeout(settings.SECONDS)
        .build()
    )(fn)
