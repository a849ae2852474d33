from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio import (
    BackoffStrategy,
    CallFailed,
    CallRejected,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    CircuitStateChanged,
    Event,
    FellBack,
    RetryGivenUp,
    RetryScheduled,
    RetrySucceeded,
    TimedOut,
    subscribe,
    sync,
)
from resilio._core import clock, events
from resilio.policies.events import CircuitEvent, RetryEvent
from resilio.testing import EventRecorder, match

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.testing import VirtualClock


def fetch() -> None:
    """Fails, always."""
    raise ConnectionError("down")


def fail(times: int, breaker: sync.CircuitBreaker) -> None:
    """Make calls that fail or are rejected."""
    for _ in range(times):
        with pytest.raises((ConnectionError, CircuitBreakerOpenError)):
            breaker.execute(fetch)


def retry(attempts: int, fn: Callable[[], None] = fetch) -> None:
    """Make so many attempts at ``fn``, with waits of a second and more between them."""
    with pytest.raises(ConnectionError):
        sync.BackoffStrategy(max_retries=attempts - 1, jitter=None, reraise=True).execute(fn)


def message_of(failure: pytest.ExceptionInfo[AssertionError]) -> str:
    """The text of a failed assertion."""
    return str(failure.value)


@pytest.fixture
def outage(virtual_clock: VirtualClock) -> EventRecorder:
    """What is told of a circuit that opens at once, and closes after ten virtual seconds."""
    with EventRecorder() as recorder:
        breaker = sync.CircuitBreaker(name="warehouse", failure_threshold=2, recovery_timeout=10)
        fail(3, breaker)
        clock.sleep_blocking(10)
        breaker.execute(lambda: None)
    return recorder


# -- recording ---------------------------------------------------------------------------------------------------------


def test_it_records_every_event_in_order_from_the_start_of_the_block_to_its_end() -> None:
    """What happens before and after the block is none of its business."""
    breaker = sync.CircuitBreaker(failure_threshold=2)
    fail(1, breaker)
    with EventRecorder() as recorder:
        fail(2, breaker)
    fail(1, breaker)
    assert [type(event) for event in recorder] == [CallFailed, CircuitStateChanged, CallRejected]
    assert len(recorder) == 3
    assert isinstance(recorder[-1], CallRejected)


def test_an_empty_recorder_is_still_something() -> None:
    """`if recorder:` tells whether there is one, not whether it has heard anything."""
    assert EventRecorder()


def test_nobody_listens_any_more_after_the_block() -> None:
    """Leaving the block, also by an error, costs emitters nothing from then on."""
    before = events.listeners
    with pytest.raises(ZeroDivisionError), EventRecorder():
        raise ZeroDivisionError
    assert events.listeners == before


def test_one_recorder_does_not_record_twice_at_once() -> None:
    """Each event would be there twice."""
    with EventRecorder() as recorder, pytest.raises(RuntimeError, match="recording already"), recorder:
        pass


def test_it_records_from_any_thread_and_loses_nothing() -> None:
    """Events of many threads are all there."""
    with EventRecorder() as recorder:
        threads = [threading.Thread(target=retry, args=(1,)) for _ in range(20)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(recorder.of(RetryGivenUp)) == 20


@pytest.mark.anyio
async def test_it_records_policies_of_the_event_loop_in_virtual_time(
    virtual_clock: VirtualClock, resilio_events: EventRecorder
) -> None:
    """On either backend, the timeline counts virtual seconds from the start of the test's body."""

    async def slow() -> None:
        raise TimeoutError("slow")

    strategy = BackoffStrategy(max_retries=2, base_delay=1, jitter=None, reraise=True)
    await anyio.sleep(5)
    with pytest.raises(TimeoutError):
        await strategy.execute(slow)
    assert [round(moment.elapsed, 6) for moment in resilio_events.moments] == [5, 6, 8]
    assert all(moment.is_virtual for moment in resilio_events.moments)


def test_clear_forgets_and_counts_from_there(virtual_clock: VirtualClock) -> None:
    """A long test can look at one part of it at a time."""
    with EventRecorder() as recorder:
        retry(1)
        clock.sleep_blocking(100)
        recorder.clear()
        clock.sleep_blocking(1)
        retry(1)
    assert [moment.elapsed for moment in recorder.moments] == [1]


# -- looking -----------------------------------------------------------------------------------------------------------


def test_of_gives_the_events_of_a_kind(outage: EventRecorder) -> None:
    """A class stands for itself and all below it; several for any of them; a matcher says more."""
    assert [event.after for event in outage.of(CircuitStateChanged)] == ["OPEN", "HALF_OPEN", "CLOSED"]
    assert len(outage.of(CircuitEvent)) == len(outage.of(Event)) == len(outage)
    assert len(outage.of(CallFailed, CallRejected)) == 3
    [opened] = outage.of(match(CircuitStateChanged, after=CircuitState.OPEN))
    assert opened.retry_after == 10


def test_where_narrows_to_events_with_certain_attributes(virtual_clock: VirtualClock) -> None:
    """Events of one circuit can be looked at without those of another."""
    with EventRecorder() as recorder:
        for name in ("a", "b"):
            fail(2, sync.CircuitBreaker(name=name, failure_threshold=2))
        retry(1)
    narrowed = recorder.where(circuit="b")
    narrowed.assert_sequence(CallFailed, CallFailed, CircuitStateChanged)
    narrowed.assert_none(RetryEvent)
    assert len(recorder.of(CircuitStateChanged)) == 2


def test_where_refuses_an_attribute_that_no_event_has() -> None:
    """A misspelt name would narrow to nothing, and every `assert_none` would pass."""
    with pytest.raises(TypeError, match="no kind of event has an attribute 'circut'"):
        EventRecorder().where(circut="a")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, True),
        ({"after": CircuitState.OPEN}, True),
        ({"after": "open"}, True),
        ({"after": "OPEN", "circuit": "warehouse"}, True),
        ({"after": "closed"}, False),
        ({"circuit": "WAREHOUSE"}, False),
        ({"retry_after": pytest.approx(10)}, True),
        ({"retry_after": lambda seconds: seconds > 5}, True),
        ({"retry_after": lambda seconds: seconds > 50}, False),
        ({"error": re.compile("down$")}, True),
        ({"error": re.compile("^down")}, False),
        ({"circuit": "warehouse", "number": 2}, False),
    ],
)
def test_a_matcher_looks_at_values_texts_and_predicates(
    outage: EventRecorder, attributes: dict[str, object], *, expected: bool
) -> None:
    """An attribute is equal to a value, contains an expression, or is what a function wants; enums go by name, too."""
    assert match(CircuitStateChanged, **attributes)(outage.of(CircuitStateChanged)[0]) is expected


def test_a_matcher_is_of_its_kind_alone(outage: EventRecorder) -> None:
    """Another kind of event with the same attributes is not meant."""
    assert not match(CallRejected, circuit="warehouse")(outage[0])


def test_a_matcher_refuses_what_cannot_be_right() -> None:
    """An attribute that the event does not have, and what is no event, are errors and no mismatch."""
    with pytest.raises(TypeError, match="CircuitStateChanged has no attribute 'afterr'; it has after, at, before"):
        match(CircuitStateChanged, afterr="open")
    with pytest.raises(TypeError, match="expected a class of events such as CircuitStateChanged"):
        match(str)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="expected a class of events"):
        EventRecorder().of("CallFailed")  # type: ignore[call-overload]


# -- sequences ---------------------------------------------------------------------------------------------------------


def test_a_sequence_is_all_events_of_the_kinds_it_names_in_their_order(outage: EventRecorder) -> None:
    """Other kinds are passed over."""
    outage.assert_sequence(
        match(CircuitStateChanged, after="open"),
        match(CircuitStateChanged, after="half_open"),
        match(CircuitStateChanged, after="closed"),
    )
    outage.assert_sequence(
        CallFailed, CallFailed, CircuitStateChanged, CallRejected, CircuitStateChanged, CircuitStateChanged
    )
    outage.assert_sequence(CallRejected)


def test_dots_stand_for_any_number_of_events(outage: EventRecorder) -> None:
    """Also for none."""
    closed = match(CircuitStateChanged, after="closed")
    outage.assert_sequence(..., closed)
    outage.assert_sequence(..., closed, ...)
    outage.assert_sequence(CallFailed, ..., closed)
    with pytest.raises(AssertionError):
        outage.assert_sequence(closed, ...)
    with pytest.raises(AssertionError):
        outage.assert_sequence(CallFailed, ..., closed, closed)


@pytest.mark.parametrize(
    "expected",
    [
        pytest.param((CallFailed,), id="one too many happened"),
        pytest.param((CallFailed, CallFailed, CallFailed), id="one is missing"),
        pytest.param((CallRejected, CallFailed, CallFailed), id="in another order"),
        pytest.param((TimedOut,), id="nothing of the kind happened"),
        pytest.param((match(CallFailed, error=re.compile("up")), CallFailed), id="with another attribute"),
    ],
)
def test_a_sequence_that_differs_is_a_failure(outage: EventRecorder, expected: tuple[type[Event], ...]) -> None:
    """Too many, too few, another order, another attribute: all of it fails."""
    with pytest.raises(AssertionError):
        outage.assert_sequence(*expected)


def test_a_failure_shows_the_difference_the_seed_and_the_timeline(outage: EventRecorder) -> None:
    """What was missing has a minus, what was not expected a plus; below is everything that happened, with its time."""
    outage.seed = 4711
    with pytest.raises(AssertionError) as failure:
        outage.assert_sequence(
            match(CircuitStateChanged, after="open"),
            TimedOut,
            match(CircuitStateChanged, after="closed"),
        )
    text = message_of(failure)
    lines = [line.split() for line in text.splitlines()]
    assert ["-", "TimedOut"] in lines
    [unexpected] = [line for line in text.splitlines() if line.startswith("  + ")]
    assert "10.000 s  CircuitStateChanged circuit='warehouse' number=2 before=OPEN after=HALF_OPEN" in unexpected
    assert "seed 4711 (--resilio-seed=4711)" in text
    timeline = text.partition("what happened, in virtual seconds:\n")[2].splitlines()
    assert len(timeline) == len(outage)
    assert timeline[0] == "     0.000 s  CallFailed circuit='warehouse' duration=0 error='ConnectionError: down'"


def test_the_difference_is_the_smallest_one(virtual_clock: VirtualClock) -> None:
    """One missing event at the front does not make all that follow look wrong."""
    with EventRecorder() as recorder:
        retry(5)
    with pytest.raises(AssertionError) as failure:
        recorder.assert_sequence(RetryGivenUp, *[RetryScheduled] * 4, RetryGivenUp)
    difference = message_of(failure).partition("- expected and missing")[2].partition("what happened")[0]
    assert len(re.findall(r"^  - ", difference, flags=re.MULTILINE)) == 1
    assert not re.findall(r"^  \+ ", difference, flags=re.MULTILINE)


def test_a_long_difference_leaves_out_what_is_as_expected() -> None:
    """Of hundreds of events only those near a difference are shown, and a timeline has an end."""
    with EventRecorder() as recorder:
        for _ in range(600):
            retry(1)
    with pytest.raises(AssertionError) as failure:
        recorder.assert_sequence(*[RetryGivenUp] * 300, RetryScheduled, *[RetryGivenUp] * 300)
    text = message_of(failure)
    assert "... 297 as expected ..." in text
    assert "... 200 more ..." in text
    assert len(text.splitlines()) < 430


def test_a_sequence_without_events_is_refused(resilio_events: EventRecorder) -> None:
    """It would be true whatever happened."""
    for expected in ((), (...,)):
        with pytest.raises(TypeError, match="name at least one event"):
            resilio_events.assert_sequence(*expected)


# -- attempts ----------------------------------------------------------------------------------------------------------


def test_attempts_are_those_of_each_retried_call(virtual_clock: VirtualClock) -> None:
    """Given up, or ended well after all: the calls are counted in the order in which they ended."""
    answers = [ConnectionError(), ConnectionError(), None]

    def flaky() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    with EventRecorder() as recorder:
        retry(4)
        retry(2)
        sync.BackoffStrategy(max_retries=5).execute(flaky)
    recorder.assert_attempts(fetch, 4, 2)
    recorder.assert_attempts("fetch", 4, 2)
    recorder.assert_attempts(f"{__name__}.fetch", 4, 2)
    recorder.assert_attempts(flaky, 3)
    recorder.assert_sequence(..., RetrySucceeded)


def test_one_attempt_is_no_retry() -> None:
    """A call that ended with its first attempt told nothing; one that was given up there told that."""
    with EventRecorder() as recorder:
        sync.BackoffStrategy().execute(lambda: None)
        recorder.assert_attempts("fetch", 1)
        retry(1)
        recorder.assert_attempts("fetch", 1)
    assert recorder.attempts(fetch) == [1]


@pytest.mark.anyio
async def test_attempts_of_calls_at_once_are_told_apart(
    virtual_clock: VirtualClock, resilio_events: EventRecorder
) -> None:
    """Ten calls of one function, each failing more often than the one before."""
    strategy = BackoffStrategy(max_retries=20, jitter=None, base_delay=1)

    async def flaky(failures: list[int]) -> None:
        failures[0] -= 1
        if failures[0] >= 0:
            raise ConnectionError

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(strategy.execute, flaky, [number])
    assert sorted(resilio_events.attempts(flaky)) == list(range(2, 11))


def test_a_call_that_has_not_ended_counts_its_attempts_so_far(virtual_clock: VirtualClock) -> None:
    """An error that is not worth another attempt ends a call without a word; its attempts are counted all the same."""
    errors: list[Exception] = [ConnectionError(), ValueError()]

    def fails_differently() -> None:
        raise errors.pop(0)

    with EventRecorder() as recorder, pytest.raises(ValueError):  # noqa: PT011 -- which one does not matter
        sync.BackoffStrategy().execute(fails_differently)
    recorder.assert_attempts(fails_differently, 2)


def test_other_attempts_are_a_failure_that_says_so(virtual_clock: VirtualClock) -> None:
    """The message has what was expected, what happened, and, for a name that nobody retried, which ones were."""
    with EventRecorder(seed=5) as recorder:
        retry(2)
    with pytest.raises(AssertionError) as failure:
        recorder.assert_attempts("fetch", 3)
    assert "expected: 3 attempts\nhappened: 2 attempts" in message_of(failure)
    assert "seed 5" in message_of(failure)
    with pytest.raises(AssertionError) as failure:
        recorder.assert_attempts("fletch", 2)
    assert f"retries were heard of: {__name__}.fetch" in message_of(failure)
    with pytest.raises(AssertionError):
        recorder.assert_attempts("fetch", 1)


def test_a_name_for_two_operations_is_refused() -> None:
    """Their attempts must not be mixed."""

    class Other:
        def fetch(self) -> None:
            raise ConnectionError

    with EventRecorder() as recorder:
        retry(1)
        retry(1, Other().fetch)
    with pytest.raises(ValueError, match="'fetch' stands for several operations"):
        recorder.attempts("fetch")
    assert recorder.attempts("Other.fetch") == [1]


# -- none --------------------------------------------------------------------------------------------------------------


def test_none_is_none(outage: EventRecorder) -> None:
    """Of a kind, of several, of any kind, or with certain attributes."""
    outage.assert_none(TimedOut)
    outage.assert_none(TimedOut, FellBack)
    outage.assert_none(match(CircuitStateChanged, circuit="another"))
    EventRecorder().assert_none()
    with pytest.raises(AssertionError, match="there should be no CallRejected, and there were 1"):
        outage.assert_none(CallRejected)
    with pytest.raises(AssertionError, match="there should be no event, and there were 7"):
        outage.assert_none()
    with pytest.raises(AssertionError, match=r"no CircuitStateChanged\(after='open'\)"):
        outage.assert_none(match(CircuitStateChanged, after="open"))


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_timeline_says_which_seconds_it_counts(virtual_clock: VirtualClock) -> None:
    """Virtual ones where a virtual clock is in force."""
    recorder = EventRecorder()
    assert recorder.timeline() == "nothing happened"
    with recorder:
        clock.sleep_blocking(2.5)
        retry(1)
    head, line = recorder.timeline().splitlines()
    assert head == "in virtual seconds:"
    assert line.startswith("     2.500 s  RetryGivenUp operation=")


def test_a_timeline_in_real_time_says_so() -> None:
    """Without a virtual clock seconds are real."""
    with EventRecorder() as recorder:
        retry(1)
    assert recorder.timeline().startswith("in real seconds:\n")


def test_other_listeners_hear_the_same(virtual_clock: VirtualClock, resilio_events: EventRecorder) -> None:
    """Recording takes nothing away."""
    heard: list[Event] = []
    with subscribe(heard.append):
        retry(2)
    assert heard == list(resilio_events)


@pytest.mark.anyio
async def test_a_breaker_of_the_event_loop_is_recorded(resilio_events: EventRecorder) -> None:
    """On every backend."""
    breaker = CircuitBreaker(name="loop", failure_threshold=1)
    with pytest.raises(ConnectionError):
        await breaker.execute(fetch)
    resilio_events.assert_sequence(match(CircuitStateChanged, circuit="loop", after="open"))
