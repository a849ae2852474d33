"""Typed events, and who hears them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from resilio._core import events
from resilio._core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Knocked(Event):
    """Somebody knocked."""

    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KnockedLoudly(Knocked):
    """Somebody knocked loudly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Event):
    """Somebody left."""


def test_an_event_says_when_it_happened() -> None:
    """An event carries the time of day in UTC, unless it is given one."""
    assert Left().at.tzinfo is UTC
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    assert Left(at=moment).at == moment


def test_a_listener_hears_the_kinds_it_asked_for() -> None:
    """A base class stands for the events derived from it; other kinds are not delivered."""
    heard: list[Event] = []
    with events.subscribe(heard.append, Knocked):
        events.emit(Knocked(times=2))
        events.emit(KnockedLoudly(times=3))
        events.emit(Left())
    assert [type(event) for event in heard] == [Knocked, KnockedLoudly]


def test_a_listener_may_ask_for_several_kinds_or_for_all() -> None:
    """Several classes may be named; naming none means all."""
    some: list[Event] = []
    everything: list[Event] = []
    with events.subscribe(some.append, KnockedLoudly, Left), events.subscribe(everything.append):
        events.emit(Knocked())
        events.emit(KnockedLoudly())
        events.emit(Left())
    assert [type(event) for event in some] == [KnockedLoudly, Left]
    assert [type(event) for event in everything] == [Knocked, KnockedLoudly, Left]


def test_listeners_are_called_in_the_order_of_subscription() -> None:
    """Whoever subscribed first hears first."""
    order: list[str] = []
    with (
        events.subscribe(lambda _: order.append("first"), Left),
        events.subscribe(lambda _: order.append("next"), Left),
    ):
        events.emit(Left())
    assert order == ["first", "next"]


def test_a_cancelled_subscription_hears_nothing_more() -> None:
    """Cancelling ends the listening; doing it twice does no harm."""
    heard: list[Event] = []
    subscription = events.subscribe(heard.append, Left)
    subscription.cancel()
    subscription.cancel()
    events.emit(Left())
    assert heard == []


def test_one_listener_may_subscribe_twice() -> None:
    """Two subscriptions of one function are two; cancelling one leaves the other."""
    heard: list[Event] = []
    with events.subscribe(heard.append, Left):
        second = events.subscribe(heard.append, Left)
        events.emit(Left())
        second.cancel()
        events.emit(Left())
    assert len(heard) == 3


def test_a_listener_that_raises_is_logged_and_changes_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """The emitter and the next listeners do not notice; the log names the error."""
    heard: list[Event] = []

    def broken(_: Event) -> None:
        msg = "the listener is broken"
        raise RuntimeError(msg)

    with events.subscribe(broken, Left), events.subscribe(heard.append, Left), caplog.at_level(logging.ERROR):
        events.emit(Left())
    assert len(heard) == 1
    assert "the listener is broken" in caplog.text


def test_a_listener_may_unsubscribe_while_it_listens() -> None:
    """A listener that cancels itself hears one event, and its neighbour hears both."""
    heard: list[str] = []

    def once(_: Event) -> None:
        heard.append("once")
        subscription.cancel()

    subscription = events.subscribe(once, Left)
    with events.subscribe(lambda _: heard.append("always"), Left):
        events.emit(Left())
        events.emit(Left())
    assert heard == ["once", "always", "always"]


def test_interruptions_pass_through_the_hub() -> None:
    """Ctrl-C in a listener is not swallowed."""

    def interrupted(_: Event) -> None:
        raise KeyboardInterrupt

    with events.subscribe(interrupted, Left), pytest.raises(KeyboardInterrupt):
        events.emit(Left())


def test_subscribing_from_many_threads_loses_nobody() -> None:
    """A hundred threads subscribe and cancel at once; those who stay all hear the event."""
    heard: list[int] = []
    staying: list[events.Subscription[Left]] = []
    barrier = threading.Barrier(20)

    def join(number: int) -> None:
        barrier.wait()
        for _ in range(50):
            events.subscribe(lambda _: None, Left).cancel()
        staying.append(events.subscribe(lambda _: heard.append(number), Left))

    threads = [threading.Thread(target=join, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events.emit(Left())
    for subscription in staying:
        subscription.cancel()
    assert sorted(heard) == list(range(20))


def test_without_a_listener_there_is_none_to_ask() -> None:
    """`listeners` goes back to what it was: the emitters' quick check."""
    before = events.listeners
    with events.subscribe(lambda _: None, Left) as subscription:
        assert subscription in events.listeners
    assert events.listeners == before
