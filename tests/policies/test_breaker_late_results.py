"""A result that began before the last transition changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from breaker_forms import DownError, every_waiting_form, state_of, throw, tripped

from resilio import CircuitBreaker, CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from breaker_forms import Waiting

    from resilio import CircuitSnapshot, Permit
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

BREAK = 10.0


def build(**settings: int) -> CircuitBreaker:
    """A breaker that opens at the second failure."""
    return CircuitBreaker(failure_threshold=2, recovery_timeout=BREAK, **settings)  # type: ignore[arg-type]


def trip(breaker: CircuitBreaker) -> None:
    """Open it."""
    tripped(breaker)
    tripped(breaker)
    assert state_of(breaker) is CircuitState.OPEN


def unchanged(breaker: CircuitBreaker, act: Callable[[], object]) -> None:
    """Assert that ``act`` leaves everything that the circuit tells as it was."""
    before = (state_of(breaker), _without_times(breaker.snapshot()))
    act()
    assert (state_of(breaker), _without_times(breaker.snapshot())) == before


def _without_times(snapshot: CircuitSnapshot) -> dict[str, object]:
    return {name: getattr(snapshot, name) for name in snapshot.__slots__ if name != "retry_after"}


def settle(permit: Permit, ending: str) -> Callable[[], object]:
    """The end of a call, still to come."""
    return permit.success if ending == "success" else lambda: permit.failure(DownError("late"))


either_way = pytest.mark.parametrize("ending", ["success", "failure"])


@either_way
def test_a_result_from_before_the_trip_changes_nothing_while_open(ending: str, virtual_clock: VirtualClock) -> None:
    """A call that began when the circuit was closed ends during the break: it neither closes nor prolongs it."""
    breaker = build()
    early = breaker.acquire()
    trip(breaker)
    virtual_clock.advance(4)
    unchanged(breaker, settle(early, ending))
    assert breaker.snapshot().retry_after == pytest.approx(BREAK - 4)


@either_way
def test_a_result_from_before_the_trip_changes_nothing_at_half_open(ending: str, virtual_clock: VirtualClock) -> None:
    """The same during the probe: it does not stand in for the probe, and takes no permit from it."""
    breaker = build()
    early = breaker.acquire()
    trip(breaker)
    virtual_clock.advance(BREAK)
    probe = breaker.acquire()
    unchanged(breaker, settle(early, ending))
    probe.success()
    assert state_of(breaker) is CircuitState.CLOSED


@either_way
def test_a_result_from_before_the_trip_changes_nothing_when_closed_again(
    ending: str, virtual_clock: VirtualClock
) -> None:
    """The same after the circuit closed again: the new period counts its own calls alone."""
    breaker = build()
    early = breaker.acquire()
    trip(breaker)
    virtual_clock.advance(BREAK)
    breaker.acquire().success()
    tripped(breaker)  # one failure of two
    unchanged(breaker, settle(early, ending))
    tripped(breaker)
    assert state_of(breaker) is CircuitState.OPEN


@either_way
def test_a_late_probe_of_an_earlier_round_changes_nothing(ending: str, virtual_clock: VirtualClock) -> None:
    """A probe whose round was decided without it has no say in the next round."""
    breaker = build(half_open_max_calls=2, success_threshold=2)
    trip(breaker)
    virtual_clock.advance(BREAK)
    late, quick = breaker.acquire(), breaker.acquire()
    quick.failure(DownError())  # two successes are out of reach
    assert state_of(breaker) is CircuitState.OPEN
    unchanged(breaker, settle(late, ending))


@either_way
def test_a_late_probe_has_no_say_in_the_next_round(ending: str, virtual_clock: VirtualClock) -> None:
    """The next round's own probes decide, whatever an old probe says in between."""
    breaker = build(half_open_max_calls=2, success_threshold=2)
    trip(breaker)
    virtual_clock.advance(BREAK)
    late, quick = breaker.acquire(), breaker.acquire()
    quick.failure(DownError())
    virtual_clock.advance(BREAK)
    first, second = breaker.acquire(), breaker.acquire()
    unchanged(breaker, settle(late, ending))
    first.success()
    assert state_of(breaker) is CircuitState.HALF_OPEN
    second.success()
    assert state_of(breaker) is CircuitState.CLOSED


@either_way
def test_a_probe_that_lost_its_permit_changes_nothing(ending: str, virtual_clock: VirtualClock) -> None:
    """Once another caller has a hung probe's permit, the hung one's result is dropped."""
    breaker = build()
    trip(breaker)
    virtual_clock.advance(BREAK)
    hung = breaker.acquire()
    virtual_clock.advance(BREAK)
    second = breaker.acquire()
    unchanged(breaker, settle(hung, ending))
    second.success()
    assert state_of(breaker) is CircuitState.CLOSED


@either_way
def test_a_result_from_before_a_reset_changes_nothing(ending: str) -> None:
    """reset() starts afresh: calls under way belong to the past."""
    breaker = build()
    early = breaker.acquire()
    tripped(breaker)
    breaker.reset()
    tripped(breaker)
    unchanged(breaker, settle(early, ending))


@either_way
@pytest.mark.parametrize("control", ["force_open", "disable", "metrics_only"])
def test_a_result_from_before_a_manual_state_changes_nothing(control: str, ending: str) -> None:
    """The same for every state set by hand, and after it."""
    breaker = build()
    first, second = breaker.acquire(), breaker.acquire()
    getattr(breaker, control)()
    unchanged(breaker, settle(first, ending))
    breaker.reset()
    unchanged(breaker, settle(second, ending))


@either_way
def test_a_result_from_a_disabled_period_changes_nothing(ending: str) -> None:
    """A call let through while the circuit did not look is not looked at later either."""
    breaker = build()
    breaker.disable()
    blind, blind_too = breaker.acquire(), breaker.acquire()
    unchanged(breaker, settle(blind, ending))
    breaker.reset()
    tripped(breaker)
    unchanged(breaker, settle(blind_too, ending))


@either_way
def test_a_result_from_before_an_isolation_changes_nothing(ending: str) -> None:
    """A call that began before the isolation and ends in it, or after it, is dropped."""
    breaker = build()
    first, second = breaker.acquire(), breaker.acquire()
    with breaker.isolate():
        unchanged(breaker, settle(first, ending))
    unchanged(breaker, settle(second, ending))


@either_way
@every_waiting_form
async def test_late_results_change_nothing_in_any_form(form: Waiting, ending: str, virtual_clock: VirtualClock) -> None:
    """A call in any form that outlives the closed period is dropped, and still returns or raises what it should."""
    breaker = build()
    release = anyio.Event()
    ended: list[object] = []

    async def work() -> object:
        await release.wait()
        return "late" if ending == "success" else throw(DownError("late"))

    async def caller() -> None:
        try:
            ended.append(await form.call(breaker, work))
        except DownError as error:
            ended.append(str(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        with virtual_clock.hold():
            await anyio.wait_all_tasks_blocked()
            trip(breaker)
            virtual_clock.advance(BREAK)
            probe = breaker.acquire()
            release.set()
            await anyio.wait_all_tasks_blocked()
            assert ended == ["late"]
            assert state_of(breaker) is CircuitState.HALF_OPEN
            probe.success()
    assert state_of(breaker) is CircuitState.CLOSED
    assert breaker.snapshot().failed == 2
