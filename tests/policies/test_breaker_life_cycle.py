from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from breaker_forms import DownError, every_form, state_of, throw

from resilio import CircuitState

if TYPE_CHECKING:
    from breaker_forms import Form

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = [pytest.mark.anyio, every_form]


async def test_a_closed_circuit_lets_calls_through(form: Form) -> None:
    """A closed circuit hands over the result and stays closed."""
    breaker = form.build()
    assert await form.call(breaker, lambda: 42) == 42
    assert state_of(breaker) is CircuitState.CLOSED


async def test_failures_below_the_threshold_leave_the_circuit_closed(form: Form) -> None:
    """One failure less than the threshold opens nothing."""
    breaker = form.build(failure_threshold=3)
    await form.fail(breaker, times=2)
    assert state_of(breaker) is CircuitState.CLOSED
    assert breaker.snapshot().counts == {"consecutive_failures": 2}


async def test_a_success_starts_the_count_anew(form: Form) -> None:
    """Failures must come in a row to open the circuit."""
    breaker = form.build(failure_threshold=2)
    await form.fail(breaker)
    await form.succeed(breaker)
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.CLOSED
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.OPEN


async def test_five_failures_open_a_circuit_by_default(form: Form) -> None:
    """The default threshold is five."""
    breaker = form.build()
    await form.fail(breaker, times=4)
    assert state_of(breaker) is CircuitState.CLOSED
    await form.fail(breaker)
    assert state_of(breaker) is CircuitState.OPEN


async def test_the_call_that_trips_raises_its_own_error(form: Form) -> None:
    """The last failure before the break comes through as itself, not as a rejection."""
    breaker = form.build(failure_threshold=1)
    error = DownError("mine")
    with pytest.raises(DownError) as caught:
        await form.call(breaker, lambda: throw(error))
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert state_of(breaker) is CircuitState.OPEN


async def test_an_error_keeps_the_traceback_to_where_it_was_raised(form: Form) -> None:
    """The innermost frame of a guarded call's error is the work's own."""
    with pytest.raises(DownError) as caught:
        await form.call(form.build(), lambda: throw(DownError()))
    assert caught.traceback[-1].name == "throw"


async def test_an_open_circuit_rejects_without_calling(form: Form) -> None:
    """While the circuit is open no work is reached."""
    breaker = form.build(failure_threshold=1)
    await form.fail(breaker)
    for _ in range(3):
        await form.rejected(breaker)
    assert breaker.snapshot().rejected == 3
    assert breaker.snapshot().failed == 1


async def test_a_rejection_names_the_circuit_the_wait_and_the_last_failure(
    form: Form, virtual_clock: VirtualClock
) -> None:
    """The rejection has the circuit's name, the seconds left of the break, and the last failure as its cause."""
    breaker = form.build(failure_threshold=2, recovery_timeout=30)
    await form.fail(breaker)
    last = await form.fail(breaker)
    virtual_clock.advance(12)
    rejection = await form.rejected(breaker)
    assert rejection.breaker == breaker.name
    assert rejection.retry_after == pytest.approx(18)
    assert rejection.__cause__ is last


async def test_a_break_lasts_until_its_last_instant(form: Form, virtual_clock: VirtualClock) -> None:
    """A call just before the end of the break is rejected."""
    breaker = form.build(failure_threshold=1, recovery_timeout=30)
    await form.fail(breaker)
    virtual_clock.advance(29.999)
    await form.rejected(breaker)
    assert state_of(breaker) is CircuitState.OPEN


async def test_a_call_at_the_very_end_of_the_break_probes(form: Form, virtual_clock: VirtualClock) -> None:
    """The end of the break compares with >=."""
    breaker = form.build(failure_threshold=1, recovery_timeout=timedelta(seconds=32))
    await form.fail(breaker)
    virtual_clock.advance(32)
    assert state_of(breaker) is CircuitState.HALF_OPEN
    await form.succeed(breaker)


async def test_reading_the_state_does_not_change_it(form: Form, virtual_clock: VirtualClock) -> None:
    """An open circuit shows half-open once its break is over, but the transition waits for a call."""
    breaker = form.build(failure_threshold=1, recovery_timeout=1)
    await form.fail(breaker)
    virtual_clock.advance(1)
    assert (breaker.state, breaker.snapshot().state) == (CircuitState.HALF_OPEN, CircuitState.HALF_OPEN)
    assert breaker.snapshot().transitions == 1
    await form.succeed(breaker)
    assert breaker.snapshot().transitions == 3


async def test_a_successful_probe_closes_the_circuit(form: Form, virtual_clock: VirtualClock) -> None:
    """After one good probe calls flow again."""
    breaker = form.build(failure_threshold=1, recovery_timeout=10)
    await form.fail(breaker)
    virtual_clock.advance(10)
    await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.CLOSED
    await form.succeed(breaker)


async def test_a_circuit_that_closed_again_counts_from_zero(form: Form, virtual_clock: VirtualClock) -> None:
    """Failures from before the break are forgotten when the circuit closes."""
    breaker = form.build(failure_threshold=3, recovery_timeout=10)
    await form.fail(breaker, times=3)
    virtual_clock.advance(10)
    await form.succeed(breaker)
    await form.fail(breaker, times=2)
    assert state_of(breaker) is CircuitState.CLOSED


async def test_a_failed_probe_starts_another_break(form: Form, virtual_clock: VirtualClock) -> None:
    """The probe's own error comes through, and a full break follows."""
    breaker = form.build(failure_threshold=1, recovery_timeout=10)
    await form.fail(breaker)
    virtual_clock.advance(10)
    last = await form.fail(breaker)
    rejection = await form.rejected(breaker)
    assert rejection.retry_after == pytest.approx(10)
    assert rejection.__cause__ is last
    assert breaker.snapshot().failed_probes == 1


async def test_as_many_successes_as_asked_for_close_the_circuit(form: Form, virtual_clock: VirtualClock) -> None:
    """With success_threshold=3 the third good probe closes, not the second."""
    breaker = form.build(failure_threshold=1, recovery_timeout=10, success_threshold=3)
    await form.fail(breaker)
    virtual_clock.advance(10)
    await form.succeed(breaker)
    await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.HALF_OPEN
    await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.CLOSED


async def test_a_break_without_length_probes_at_once(form: Form) -> None:
    """recovery_timeout=0 rejects nobody who comes alone."""
    breaker = form.build(failure_threshold=1, recovery_timeout=0)
    await form.fail(breaker)
    await form.fail(breaker)
    await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.CLOSED
