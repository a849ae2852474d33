"""What a retry tells, and that telling changes nothing."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import pytest
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import (
    BackoffStrategy,
    Event,
    RetryExhaustedError,
    RetryGivenUp,
    RetryScheduled,
    RetrySucceeded,
    subscribe,
)

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


def told(way: Way, fn: Any, **settings: object) -> list[tuple[object, ...]]:
    """What a call tells, without times and names."""
    heard: list[tuple[object, ...]] = []

    def listen(event: Any) -> None:
        facts = {key: value for key, value in dataclasses.asdict(event).items() if key not in ("at", "operation")}
        heard.append((type(event).__name__, *facts.values()))

    with subscribe(listen, RetryScheduled, RetryGivenUp, RetrySucceeded):
        try:
            way.call(way.names.BackoffStrategy(jitter=None, **settings), fn)
        except Exception as error:
            heard.append((type(error).__name__,))
    return heard


@every_way
def test_a_call_that_succeeds_at_once_tells_nothing(way: Way) -> None:
    """Nothing was retried."""
    assert told(way, Flaky("meow")) == []


@every_way
def test_a_call_that_succeeds_later_tells_each_wait_and_the_success(way: Way, virtual_clock: VirtualClock) -> None:
    """Attempts count from 1; the error is told as text."""
    assert told(way, Flaky(ConnectionError("one"), TimeoutError("two"), "meow")) == [
        ("RetryScheduled", 1, "ConnectionError: one", 1.0),
        ("RetryScheduled", 2, "TimeoutError: two", 2.0),
        ("RetrySucceeded", 3),
    ]


@every_way
def test_a_call_that_is_given_up_tells_why(way: Way, virtual_clock: VirtualClock) -> None:
    """And with which attempt."""
    assert told(way, Flaky(ConnectionError("no")), max_retries=1) == [
        ("RetryScheduled", 1, "ConnectionError: no", 1.0),
        ("RetryGivenUp", 2, "ConnectionError: no", "attempts"),
        ("RetryExhaustedError",),
    ]


@every_way
def test_giving_up_is_told_with_reraise_as_well(way: Way) -> None:
    """Whatever is raised in the end."""
    assert told(way, Flaky(ConnectionError("no")), max_retries=0, reraise=True) == [
        ("RetryGivenUp", 1, "ConnectionError: no", "attempts"),
        ("ConnectionError",),
    ]


@every_way
def test_an_error_not_worth_a_retry_is_not_given_up_on(way: Way) -> None:
    """The call failed; no retry did."""
    assert told(way, Flaky(LookupError())) == [("LookupError",)]


def test_a_refused_result_is_told_by_its_repr() -> None:
    """There is no error."""
    way = Way("plain function", None)
    heard = told(way, Flaky({"status": 503}, "meow"), retry_result=lambda r: r != "meow", base_delay=0)
    assert heard[0] == ("RetryScheduled", 1, "refused result {'status': 503}", 0.0)


@every_way
def test_a_listener_that_fails_changes_nothing(
    way: Way, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported to the log."""

    def broken(_: Event) -> None:
        raise ZeroDivisionError

    fn = Flaky(ConnectionError(), "meow")
    with subscribe(broken), caplog.at_level(logging.CRITICAL, logger="resilio"):
        assert way.call(way.names.BackoffStrategy(), fn) == "meow"
    assert fn.calls == 2


def test_a_listener_may_retry_itself() -> None:
    """Events are told while nothing is held."""
    heard: list[str] = []
    strategy = resilio.sync.BackoffStrategy(base_delay=0, max_retries=1)

    def listen(event: Any) -> None:
        heard.append(event.operation.rpartition(".")[2])
        if len(heard) < 5:
            with pytest.raises(RetryExhaustedError):
                strategy.execute(inner)

    def inner() -> None:
        raise ConnectionError

    def outer() -> None:
        raise ConnectionError

    with subscribe(listen, RetryScheduled), pytest.raises(RetryExhaustedError):
        strategy.execute(outer)
    assert heard == ["outer", "inner", "inner", "inner", "inner"]


@every_way
def test_events_hold_no_error(way: Way, virtual_clock: VirtualClock) -> None:
    """Keeping events keeps nothing else alive."""
    heard: list[Event] = []
    with subscribe(heard.append), pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(max_retries=1), Flaky(ConnectionError("no")))
    for event in heard:
        for value in dataclasses.asdict(event).values():
            assert not isinstance(value, BaseException)


class Cat:
    """An object with methods of both colours."""

    def says(self) -> None:
        """Fail."""
        raise ConnectionError

    async def meows(self) -> None:
        """Fail."""
        raise ConnectionError


@pytest.mark.anyio
async def test_execute_names_what_it_calls() -> None:
    """The function, not anything of ours; bound methods and partials, too."""
    heard: list[str] = []
    strategy = BackoffStrategy(base_delay=0, max_retries=0)
    with subscribe(lambda event: heard.append(event.operation), RetryGivenUp):
        for fn in (Cat().says, Cat().meows, strategy(Cat().meows)):
            with pytest.raises(RetryExhaustedError):
                await strategy.execute(fn)
    assert heard == [
        f"{__name__}.Cat.says",
        f"{__name__}.Cat.meows",
        f"{__name__}.Cat.meows",
    ]


def test_a_call_of_a_function_named_execute_is_named_right() -> None:
    """Names come from the object, not from its spelling."""
    heard: list[str] = []

    def call_any() -> None:
        raise ConnectionError

    with (
        subscribe(lambda event: heard.append(event.operation), RetryGivenUp),
        pytest.raises(RetryExhaustedError, match=r"<locals>\.call_any failed after 1 attempt"),
    ):
        resilio.sync.with_backoff(max_retries=0)(call_any)()
    assert heard[0].endswith("<locals>.call_any")
