from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from breaker_forms import every_form, state_of, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState

if TYPE_CHECKING:
    from breaker_forms import Form

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@every_form
async def test_force_open_rejects_until_reset(form: Form, virtual_clock: VirtualClock) -> None:
    """A circuit forced open rejects however long one waits, and tells nobody to wait."""
    breaker = form.build(recovery_timeout=1)
    breaker.force_open()
    virtual_clock.advance(3600)
    rejection = await form.rejected(breaker)
    assert rejection.retry_after is None
    assert rejection.__cause__ is None
    assert "by hand" in str(rejection)
    breaker.reset()
    await form.succeed(breaker)


@every_form
async def test_disable_lets_everything_through_and_counts_nothing(form: Form) -> None:
    """A disabled circuit never opens, and its failures are not recorded."""
    breaker = form.build(failure_threshold=1)
    breaker.disable()
    await form.fail(breaker, times=5)
    await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.DISABLED
    assert (breaker.snapshot().failed, breaker.snapshot().counts) == (0, {"consecutive_failures": 0})


@every_form
async def test_metrics_only_counts_but_never_opens(form: Form) -> None:
    """A circuit in metrics_only records failures and stays where it is."""
    breaker = form.build(failure_threshold=2)
    breaker.metrics_only()
    await form.fail(breaker, times=5)
    assert state_of(breaker) is CircuitState.METRICS_ONLY
    assert (breaker.snapshot().failed, breaker.snapshot().counts) == (5, {"consecutive_failures": 5})
    await form.succeed(breaker)
    assert breaker.snapshot().counts == {"consecutive_failures": 0}


def test_metrics_only_goes_on_counting_past_the_threshold() -> None:
    """Where the circuit would have opened nothing begins anew: calls under way then are counted as well."""
    breaker = CircuitBreaker(failure_threshold=1)
    breaker.metrics_only()
    under_way = [breaker.acquire() for _ in range(3)]
    for permit in under_way:
        permit.failure()
    assert breaker.snapshot().counts == {"consecutive_failures": 3}


@every_form
async def test_reset_forgets_what_was_counted(form: Form) -> None:
    """After reset() the count begins at zero, also after metrics_only."""
    breaker = form.build(failure_threshold=2)
    breaker.metrics_only()
    await form.fail(breaker, times=5)
    breaker.reset()
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.reset()
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.CLOSED


def test_reset_closes_an_open_circuit() -> None:
    """An operator need not wait for the break to end."""
    breaker = CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    breaker.reset()
    assert state_of(breaker) is CircuitState.CLOSED
    breaker.acquire().success()


def test_manual_states_replace_each_other() -> None:
    """The last control holds."""
    breaker = CircuitBreaker()
    breaker.force_open()
    breaker.disable()
    assert state_of(breaker) is CircuitState.DISABLED
    breaker.metrics_only()
    assert state_of(breaker) is CircuitState.METRICS_ONLY


@every_form
async def test_isolate_rejects_while_the_block_runs(form: Form) -> None:
    """Inside the block nothing is let through; after it everything is."""
    breaker = form.build()
    with breaker.isolate():
        await form.rejected(breaker)
    await form.succeed(breaker)


def test_isolation_ends_with_an_error_as_well() -> None:
    """A block that fails does not leave the circuit isolated."""
    breaker = CircuitBreaker()
    with pytest.raises(LookupError), breaker.isolate():
        raise LookupError
    assert state_of(breaker) is CircuitState.CLOSED


def test_nested_isolations_are_counted() -> None:
    """The circuit is free when the last block ends, whichever that is."""
    breaker = CircuitBreaker()
    first, second = breaker.isolate(), breaker.isolate()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # not the order in which they began
    assert state_of(breaker) is CircuitState.FORCED_OPEN
    second.__exit__(None, None, None)
    assert state_of(breaker) is CircuitState.CLOSED


def test_isolations_of_several_threads_are_counted() -> None:
    """Twenty threads isolate at once; the circuit is free when the last of them has ended."""
    breaker = CircuitBreaker()
    inside, leave = threading.Barrier(21), threading.Event()
    states: list[CircuitState] = []

    def isolate() -> None:
        with breaker.isolate():
            inside.wait(10)
            assert leave.wait(10)
            states.append(breaker.state)

    threads = [threading.Thread(target=isolate) for _ in range(20)]
    for each in threads:
        each.start()
    inside.wait(10)
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    leave.set()
    for each in threads:
        each.join(10)
    assert states == [CircuitState.FORCED_OPEN] * 20
    assert state_of(breaker) is CircuitState.CLOSED


def test_an_isolation_counts_once_in_the_history() -> None:
    """Nested blocks make one transition there and one back."""
    breaker = CircuitBreaker()
    with breaker.isolate(), breaker.isolate(), breaker.isolate():
        assert breaker.snapshot().transitions == 1
    assert breaker.snapshot().transitions == 2


def test_an_open_circuit_goes_on_with_its_break_after_an_isolation(virtual_clock: VirtualClock) -> None:
    """The break's end does not move."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=30)
    tripped(breaker)
    virtual_clock.advance(10)
    with breaker.isolate():
        virtual_clock.advance(10)
    assert breaker.snapshot().retry_after == pytest.approx(10)


def test_an_isolated_circuit_has_one_state_for_both_colours() -> None:
    """Isolating through the async name rejects blocking callers."""
    breaker = CircuitBreaker(name="shared between colours")
    twin = resilio.sync.CircuitBreaker(name="shared between colours")
    with breaker.isolate(), pytest.raises(CircuitBreakerOpenError):
        twin.execute(lambda: None)
    twin.execute(lambda: None)


def test_a_half_open_round_starts_anew_after_an_isolation(virtual_clock: VirtualClock) -> None:
    """Probes under way when the isolation began have no say; fresh ones decide."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=5, success_threshold=2)
    tripped(breaker)
    virtual_clock.advance(5)
    breaker.acquire().success()
    with breaker.isolate():
        pass
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.HALF_OPEN
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED
