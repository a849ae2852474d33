"""What a circuit tells, and what listeners cannot do to it."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from breaker_forms import DownError, every_form, state_of, throw, tripped

from resilio import (
    CallFailed,
    CallRejected,
    CallSucceeded,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    CircuitStateChanged,
    Event,
    subscribe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from breaker_forms import Form

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def told() -> Iterator[list[Any]]:
    """All events, in the order in which they were told."""
    events: list[Any] = []
    with subscribe(events.append):
        yield events


def in_short(events: list[Any]) -> list[object]:
    """Events as a word each, transitions as number and states."""
    return [
        (each.number, str(each.before), str(each.after))
        if isinstance(each, CircuitStateChanged)
        else type(each).__name__
        for each in events
    ]


@every_form
async def test_a_life_is_told_once_and_in_order(form: Form, told: list[Any], virtual_clock: VirtualClock) -> None:
    """Each outcome, each rejection and each transition is one event, and transitions are numbered."""
    breaker = form.build(name=f"told {form}", failure_threshold=2, recovery_timeout=10)
    await form.succeed(breaker)
    await form.fail(breaker, times=2)
    await form.rejected(breaker)
    virtual_clock.advance(10)
    await form.fail(breaker)
    virtual_clock.advance(10)
    await form.succeed(breaker)
    assert in_short(told) == [
        "CallSucceeded",
        "CallFailed",
        "CallFailed",
        (1, "CLOSED", "OPEN"),
        "CallRejected",
        (2, "OPEN", "HALF_OPEN"),
        "CallFailed",
        (3, "HALF_OPEN", "OPEN"),
        (4, "OPEN", "HALF_OPEN"),
        "CallSucceeded",
        (5, "HALF_OPEN", "CLOSED"),
    ]
    assert {each.circuit for each in told} == {f"told {form}"}


@every_form
async def test_ignored_calls_are_not_told(form: Form, told: list[Any]) -> None:
    """An outcome that says nothing makes no event."""
    breaker = form.build(ignore=KeyError)
    with pytest.raises(KeyError):
        await form.call(breaker, lambda: throw(KeyError()))
    assert told == []


def test_late_results_are_not_told(told: list[Any]) -> None:
    """A result that is dropped makes no event."""
    breaker = CircuitBreaker(failure_threshold=1)
    early, other = breaker.acquire(), breaker.acquire()
    tripped(breaker)
    told.clear()
    early.success()
    other.failure(DownError())
    assert told == []


def test_a_disabled_circuit_tells_nothing_of_calls(told: list[Any]) -> None:
    """It does not look, so it has nothing to tell but its own transitions."""
    breaker = CircuitBreaker()
    breaker.disable()
    breaker.acquire().failure(DownError())
    breaker.acquire().success()
    assert in_short(told) == [(1, "CLOSED", "DISABLED")]


def test_events_carry_what_happened(told: list[Any], virtual_clock: VirtualClock) -> None:
    """Errors as text, waits in seconds, the state that rejected."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=30)
    breaker.acquire().failure(DownError("no route"))
    virtual_clock.advance(10)
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    failed, opened, rejected = told
    assert isinstance(failed, CallFailed)
    assert failed.error == "DownError: no route"
    assert isinstance(opened, CircuitStateChanged)
    assert (opened.retry_after, opened.error) == (30, "DownError: no route")
    assert isinstance(rejected, CallRejected)
    assert rejected.state is CircuitState.OPEN
    assert rejected.retry_after == pytest.approx(20)
    assert failed.at == opened.at < rejected.at


def test_manual_control_is_told(told: list[Any]) -> None:
    """Each control that changes the state is a transition; one that does not is none."""
    breaker = CircuitBreaker()
    breaker.reset()
    breaker.force_open()
    breaker.force_open()
    breaker.disable()
    breaker.metrics_only()
    breaker.reset()
    with breaker.isolate():
        breaker.disable()
    assert in_short(told) == [
        (1, "CLOSED", "FORCED_OPEN"),
        (2, "FORCED_OPEN", "DISABLED"),
        (3, "DISABLED", "METRICS_ONLY"),
        (4, "METRICS_ONLY", "CLOSED"),
        (5, "CLOSED", "FORCED_OPEN"),
        (6, "FORCED_OPEN", "DISABLED"),
    ]


def test_a_rejection_by_hand_is_told_as_such(told: list[Any]) -> None:
    """CallRejected names the state, and no wait."""
    breaker = CircuitBreaker()
    breaker.force_open()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    assert (told[-1].state, told[-1].retry_after) == (CircuitState.FORCED_OPEN, None)


# -- listeners that misbehave ------------------------------------------------------------------------------------------


def raising(event: Event) -> None:
    """A listener that is broken."""
    raise RuntimeError(f"cannot cope with {type(event).__name__}")


@every_form
async def test_a_listener_that_raises_changes_nothing(
    form: Form, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls end as they would, states change as they would, and other listeners hear all of it."""
    breaker = form.build(failure_threshold=1, recovery_timeout=10)
    heard: list[Event] = []
    with subscribe(raising), subscribe(heard.append), caplog.at_level(logging.CRITICAL + 1, logger="resilio"):
        await form.succeed(breaker)
        await form.fail(breaker)
        await form.rejected(breaker)
        virtual_clock.advance(10)
        await form.succeed(breaker)
    assert state_of(breaker) is CircuitState.CLOSED
    assert len(heard) == 7


@pytest.fixture
def breaker() -> CircuitBreaker:
    """A breaker that opens at the first failure."""
    return CircuitBreaker(failure_threshold=1, recovery_timeout=10)


def test_a_listener_may_use_the_circuit_it_hears_of(breaker: CircuitBreaker) -> None:
    """No lock is held while listeners run: reading and calling work, and find the state already changed."""
    seen: list[object] = []

    def curious(event: CircuitStateChanged) -> None:
        seen.append((event.after, breaker.state, breaker.snapshot().transitions))
        try:
            breaker.acquire()
        except CircuitBreakerOpenError as rejection:
            seen.append(rejection.retry_after is not None)

    with subscribe(curious, CircuitStateChanged):
        tripped(breaker)
    assert seen == [(CircuitState.OPEN, CircuitState.OPEN, 1), True]


def test_a_listener_may_reset_the_circuit(breaker: CircuitBreaker) -> None:
    """The call that tripped raises its own error, and the reset holds."""

    def reset(event: CircuitStateChanged) -> None:
        if event.after is CircuitState.OPEN:
            breaker.reset()

    with subscribe(reset, CircuitStateChanged), pytest.raises(DownError):
        breaker(lambda: throw(DownError()))()
    assert state_of(breaker) is CircuitState.CLOSED
    assert breaker.snapshot().transitions == 2
    tripped(breaker)
    assert state_of(breaker) is CircuitState.OPEN


@pytest.mark.parametrize("kind", [CallFailed, CircuitStateChanged])
@pytest.mark.parametrize("recovery_timeout", [10, lambda failed: 10.0 + failed], ids=["fixed", "asked"])
def test_later_listeners_hear_of_changes_in_their_order(kind: type[Event], recovery_timeout: Any) -> None:
    """A listener that resets the circuit at once does not make those after it hear of the reset first."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery_timeout)
    heard: list[Event] = []

    def reset(event: Event) -> None:
        if not isinstance(event, CircuitStateChanged) or event.after is CircuitState.OPEN:
            breaker.reset()

    with subscribe(reset, kind), subscribe(heard.append):
        tripped(breaker)
        assert in_short(heard) == ["CallFailed", (1, "CLOSED", "OPEN"), (2, "OPEN", "CLOSED")]
        heard.clear()
        tripped(breaker)
    assert in_short(heard) == ["CallFailed", (3, "CLOSED", "OPEN"), (4, "OPEN", "CLOSED")]
    opened = heard[1]
    assert isinstance(opened, CircuitStateChanged)
    assert opened.retry_after == 10


def test_a_break_that_is_reset_while_its_length_is_asked_is_told_first(told: list[Any]) -> None:
    """The function of the break's length may change the circuit; the break began before that."""

    def recovery(failed_probes: int) -> float:
        its.reset()
        return 10

    its = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    tripped(its)
    assert in_short(told) == ["CallFailed", (1, "CLOSED", "OPEN"), (2, "OPEN", "CLOSED")]


def test_an_endless_echo_of_events_is_told_without_recursion(told: list[Any]) -> None:
    """Changes that listeners answer with changes are told one after the other, not one inside of the other."""
    breaker = CircuitBreaker()

    def to_and_fro(event: CircuitStateChanged) -> None:
        if event.number < 2 * sys.getrecursionlimit():
            breaker.disable() if event.after is CircuitState.METRICS_ONLY else breaker.metrics_only()

    with subscribe(to_and_fro, CircuitStateChanged):
        breaker.disable()
    assert [each.number for each in told] == list(range(1, 2 * sys.getrecursionlimit() + 1))


def test_an_interrupted_listener_leaves_a_break_with_an_end(virtual_clock: VirtualClock) -> None:
    """The break's length is asked for before anybody is told; afterwards events are told as ever."""

    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: 10)
    with subscribe(interrupted), pytest.raises(KeyboardInterrupt):
        tripped(breaker)
    assert breaker.snapshot().retry_after == 10
    virtual_clock.advance(10)
    heard: list[Event] = []
    with subscribe(heard.append):
        breaker.acquire().success()
    assert in_short(heard) == [(2, "OPEN", "HALF_OPEN"), "CallSucceeded", (3, "HALF_OPEN", "CLOSED")]


def test_listeners_of_other_threads_are_not_waited_for(breaker: CircuitBreaker) -> None:
    """While a listener is busy, other threads call through the circuit, change it, and tell of it themselves."""
    heard_by: list[tuple[int, int]] = []
    is_through = threading.Event()

    def elsewhere() -> None:
        breaker.reset()
        breaker.acquire().success()
        is_through.set()

    def busy(event: CircuitStateChanged) -> None:
        if event.number == 1:
            threading.Thread(target=elsewhere, daemon=True).start()
            assert is_through.wait(30), "the circuit is locked while a listener runs"
        heard_by.append((event.number, threading.get_ident()))

    with subscribe(busy, CircuitStateChanged):
        tripped(breaker)
    (second, other), (first, here) = heard_by
    assert (first, second) == (1, 2)
    assert here == threading.get_ident() != other


def test_a_rejection_tells_the_state_that_rejected_it(told: list[Any]) -> None:
    """State and end of a break are read at once: no event speaks of a closed circuit that rejects."""
    breaker = CircuitBreaker()
    done = threading.Event()

    def switch() -> None:
        while not done.is_set():
            breaker.force_open()
            breaker.reset()

    switching = threading.Thread(target=switch, daemon=True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        switching.start()
        rejections: list[CircuitBreakerOpenError] = []
        while len(rejections) < 100:
            try:
                breaker.acquire()
            except CircuitBreakerOpenError as rejection:
                rejections.append(rejection)
    finally:
        done.set()
        switching.join(30)
        sys.setswitchinterval(before)
    assert {each.state for each in told if isinstance(each, CallRejected)} == {CircuitState.FORCED_OPEN}
    assert all("held open by hand" in str(each) for each in rejections)


def test_a_listener_that_fails_a_call_is_not_the_call(breaker: CircuitBreaker, virtual_clock: VirtualClock) -> None:
    """A listener that makes a failing call of its own, while a probe is admitted, does not touch the probe."""

    def meddling(event: CircuitStateChanged) -> None:
        if event.after is CircuitState.HALF_OPEN:
            with pytest.raises(CircuitBreakerOpenError):
                breaker.acquire()  # the one permit belongs to the probe that this event tells of

    tripped(breaker)
    virtual_clock.advance(10)
    with subscribe(meddling, CircuitStateChanged):
        breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


def test_a_listener_may_subscribe_and_leave(breaker: CircuitBreaker) -> None:
    """Subscribing inside a listener takes effect with the next event; leaving too."""
    heard: list[Event] = []
    subscriptions = []

    def once(event: CallFailed) -> None:
        subscriptions.append(subscribe(heard.append, CircuitStateChanged))
        first.cancel()

    first = subscribe(once, CallFailed)
    try:
        tripped(breaker)
        tripped_again = CircuitBreaker(failure_threshold=1)
        tripped(tripped_again)
    finally:
        for each in subscriptions:
            each.cancel()
    assert len(subscriptions) == 1
    assert len(heard) == 2


@pytest.mark.parametrize("kind", [CallSucceeded, CallFailed, CallRejected, CircuitStateChanged])
def test_counts_are_right_under_a_listener_that_calls(kind: type[Event], virtual_clock: VirtualClock) -> None:
    """A listener that calls through another breaker on every event leaves this one's counts exact."""
    watched, other = CircuitBreaker(failure_threshold=3, recovery_timeout=10), CircuitBreaker()

    def busy(event: Any) -> None:
        if event.circuit == "unnamed" and not inside:
            inside.append(True)
            other.acquire().success()
            inside.pop()

    inside: list[bool] = []
    outcomes: list[Callable[[], None]] = [watched.acquire().success, *[lambda: tripped(watched)] * 3]
    with subscribe(busy, kind):
        for outcome in outcomes:
            outcome()
        with pytest.raises(CircuitBreakerOpenError):
            watched.acquire()
    snapshot = watched.snapshot()
    assert (snapshot.failed, snapshot.rejected, snapshot.transitions) == (3, 1, 1)
