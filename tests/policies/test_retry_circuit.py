"""A retry before an open circuit: it ends at once, or waits for the circuit if told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import CircuitBreakerOpenError, CircuitState, RetryExhaustedError

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


@every_way
@pytest.mark.parametrize(
    "given",
    [None, Exception, (CircuitBreakerOpenError,), [CircuitBreakerOpenError, ConnectionError], lambda _: True],
)
def test_an_open_circuit_ends_a_retry_at_once_whatever_is_retried(way: Way, given: Any) -> None:
    """The break is far longer than any back-off: attempts would be burnt for nothing."""
    error = CircuitBreakerOpenError("open", breaker="cats", retry_after=30)
    fn = Flaky(error)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        way.call(way.names.BackoffStrategy(retry_exceptions=given, base_delay=0), fn)
    assert caught.value is error
    assert fn.calls == 1


@every_way
def test_a_circuit_that_opens_meanwhile_ends_the_retries(way: Way, virtual_clock: VirtualClock) -> None:
    """Two failures open it, the third attempt is turned away, and there is no fourth."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=2, recovery_timeout=60)
    fn = Flaky(ConnectionError)
    with pytest.raises(CircuitBreakerOpenError):
        way.call(way.names.BackoffStrategy(max_retries=10), breaker(fn))
    assert fn.calls == 2


@every_way
def test_wait_for_circuit_waits_until_the_circuit_lets_calls_through(way: Way, virtual_clock: VirtualClock) -> None:
    """As long as the rejection says, and then the probe succeeds."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1, recovery_timeout=60)
    fn = Flaky(ConnectionError(), "meow")
    strategy = way.names.BackoffStrategy(max_retries=2, jitter=None, wait_for_circuit=True)
    assert way.call(strategy, breaker(fn)) == "meow"
    assert fn.waits == [60]
    assert breaker.state is CircuitState.CLOSED


@every_way
def test_wait_for_circuit_waits_no_longer_than_the_bound(way: Way, virtual_clock: VirtualClock) -> None:
    """`max_retry_after` bounds what a circuit can ask for as well; then the retries run out."""
    error = CircuitBreakerOpenError("open", breaker="cats", retry_after=1000)
    fn = Flaky(error)
    strategy = way.names.BackoffStrategy(max_retries=2, wait_for_circuit=True, max_retry_after=50, base_delay=0)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(strategy, fn)
    assert caught.value.last_exception is error
    assert fn.waits == [50, 50]


@every_way
def test_wait_for_circuit_backs_off_when_nobody_knows_how_long(way: Way, virtual_clock: VirtualClock) -> None:
    """A half-open circuit that is busy gives no time."""
    fn = Flaky(CircuitBreakerOpenError("busy", breaker="cats"), "meow")
    assert way.call(way.names.BackoffStrategy(wait_for_circuit=True, jitter=None), fn) == "meow"
    assert fn.waits == [1]


@every_way
def test_wait_for_circuit_holds_beside_a_tenacity_strategy(way: Way, virtual_clock: VirtualClock) -> None:
    """The strategy decides about all other errors."""
    fn = Flaky(CircuitBreakerOpenError("open", breaker="cats", retry_after=5), LookupError(), "meow")
    strategy = way.names.BackoffStrategy(
        wait_for_circuit=True, retry=tenacity.retry_if_exception_type(LookupError), base_delay=0
    )
    assert way.call(strategy, fn) == "meow"
    assert fn.waits == [5, 0]


@every_way
def test_a_closed_circuit_is_no_matter(way: Way, virtual_clock: VirtualClock) -> None:
    """Failures below the threshold are retried as ever."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=3)
    fn = Flaky(ConnectionError(), ConnectionError(), "meow")
    assert way.call(way.names.BackoffStrategy(), breaker(fn)) == "meow"
