"""What happened, as the policies told it: every event of a test, to look at, to assert on, and to print.

    with EventRecorder() as events:
        ...
    events.assert_sequence(RetryScheduled, RetryScheduled, RetryGivenUp)

In a pytest test the fixture ``resilio_events`` is such a recorder, from its start to its end.
"""

from __future__ import annotations

import threading
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, overload

from resilio._core import clock, events
from resilio._core.clock import SystemClock
from resilio._core.events import Event
from resilio.testing import recorder_text as text
from resilio.testing.alignment import agrees, align
from resilio.testing.attempts import attempts_of, name_given, operations_named
from resilio.testing.matching import EventMatcher, Expected, ExpectedInSequence, matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio._core.events import Subscription

__all__ = ("EventRecorder",)

E = TypeVar("E", bound=Event)


class EventRecorder:
    """Records every event of the process between ``with`` and the end of the block, in the order in which they came.

    Iterate over it, index it, ask it for events `of` a kind, or narrow it with `where` first::

        for event in resilio_events: ...
        opened = resilio_events.of(CircuitStateChanged)[0]
        resilio_events.where(circuit="openai-api").assert_sequence(
            match(CircuitStateChanged, after="open"),
            match(CircuitStateChanged, after="half_open"),
            match(CircuitStateChanged, after="closed"),
        )

    An assertion that fails prints the difference, the seed, and everything that happened.

    Args:
        seed: The seed of the run, for the text of failures; None if there is none.

    It holds every event until `clear`. Safe to use from any thread and any event loop.
    """

    def __init__(self, *, seed: int | None = None) -> None:
        self.seed = seed
        self._lock = threading.Lock()
        self._heard: list[tuple[Event, float, bool]] = []
        self._subscription: Subscription[Event] | None = None
        self._origin = clock.monotonic()

    # -- recording -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start to record.

        Raises:
            RuntimeError: It records already.
        """
        if self._subscription is not None:
            msg = "this recorder is recording already; make another"
            raise RuntimeError(msg)
        self.restart()
        self._subscription = events.subscribe(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel()

    def restart(self) -> None:
        """Count the seconds of the timeline from here. What was recorded stays, at seconds below zero."""
        self._origin = clock.monotonic()

    def clear(self) -> None:
        """Forget what was recorded, and count the seconds from here."""
        with self._lock:
            self._heard.clear()
        self.restart()

    def _record(self, event: Event) -> None:
        is_virtual = not isinstance(clock.current(), SystemClock)
        with self._lock:
            self._heard.append((event, clock.monotonic(), is_virtual))

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def moments(self) -> tuple[text.Moment, ...]:
        """The events with the seconds at which they came, oldest first."""
        with self._lock:
            heard = tuple(self._heard)
        return tuple(
            text.Moment(event=event, elapsed=round(at - self._origin, 6), is_virtual=is_virtual)
            for event, at, is_virtual in heard
        )

    def __iter__(self) -> Iterator[Event]:
        with self._lock:
            return iter([event for event, _, _ in self._heard])

    def __len__(self) -> int:
        return len(self._heard)

    def __getitem__(self, index: int) -> Event:
        return self._heard[index][0]

    def __bool__(self) -> bool:
        return True  # a recorder that has heard nothing is a recorder

    @overload
    def of(self, kind: type[E] | EventMatcher[E], /) -> list[E]: ...
    @overload
    def of(self, *kinds: Expected) -> list[Event]: ...
    def of(self, *kinds: Expected) -> list[Any]:
        """The events of these kinds, oldest first; a base class stands for all below it.

        Raises:
            TypeError: One of them is no class of events.
        """
        wanted = [matcher(kind) for kind in kinds]
        return [event for event in self if any(each(event) for each in wanted)]

    def where(self, **attributes: Any) -> EventRecorder:
        """What was recorded so far of events that have these attributes, as a recorder to look at and assert on.

        Args:
            attributes: What the attributes must be, as for `match`: ``where(circuit="openai-api")``.

        Raises:
            TypeError: No kind of event has an attribute of that name.
        """
        for name in attributes:
            if not any(hasattr(kind, name) for kind in _kinds_below(Event)):
                msg = f"no kind of event has an attribute {name!r}"
                raise TypeError(msg)
        narrowed = EventRecorder(seed=self.seed)
        narrowed._origin = self._origin
        with self._lock:
            narrowed._heard = [each for each in self._heard if _has(each[0], attributes)]
        return narrowed

    def attempts(self, operation: str | Callable[..., Any]) -> list[int]:
        """How many attempts each retried call of ``operation`` made, in the order in which those calls ended.

        A call that ends with its first attempt tells nothing and is not in the list, unless its strategy gave it up.
        Calls that have not ended come last, with the attempts that were made or are waited for.

        Args:
            operation: The function, or its name: ``"shop.orders.fetch"``, or the end of it, ``"fetch"``.

        Raises:
            ValueError: The name stands for more than one operation.
        """
        names = operations_named(operation, self)
        if len(names) > 1:
            msg = f"{operation!r} stands for several operations: {', '.join(sorted(names))}; say more of the name"
            raise ValueError(msg)
        return attempts_of(names, self)

    def timeline(self) -> str:
        """One line for each event, oldest first: the seconds since the recording began, and what it says."""
        return text.timeline(self.moments)

    def __repr__(self) -> str:
        return f"<EventRecorder {len(self)} events>"

    # -- asserting -----------------------------------------------------------------------------------------------------

    def assert_sequence(self, *expected: ExpectedInSequence) -> None:
        """Assert that these events happened, in this order, and no others of the same kinds.

        Events of kinds that are not named are passed over::

            events.assert_sequence(RetryScheduled, RetryScheduled, RetryGivenUp)
            events.assert_sequence(..., match(CircuitStateChanged, after="closed"))     # how it ended

        Args:
            expected: Classes of events, and what `match` returns; ``...`` stands for any number of events.

        Raises:
            AssertionError: They did not; the message shows the difference, the seed and the timeline.
            TypeError: One of them is none of these, or no event is named at all.
        """
        __tracebackhide__ = True
        wanted = [each if isinstance(each, EllipsisType) else matcher(each) for each in expected]
        kinds = tuple({each.kind for each in wanted if isinstance(each, EventMatcher)})
        if not kinds:
            msg = "name at least one event; that there was none of a kind is for assert_none(kind) to say"
            raise TypeError(msg)
        found = [each for each in self.moments if isinstance(each.event, kinds)]
        predicates = [each if isinstance(each, EllipsisType) else _of_moment(each) for each in wanted]
        rows = align(predicates, found)
        if not agrees(predicates, rows):
            self._fail("the events are not the expected ones", text.difference(wanted, found, rows))

    def assert_attempts(self, operation: str | Callable[..., Any], *attempts: int) -> None:
        """Assert how many attempts the calls of ``operation`` took.

            events.assert_attempts("fetch", 3)        # one call was retried: it took three attempts
            events.assert_attempts("fetch", 3, 2)     # two calls, in the order in which they ended
            events.assert_attempts("fetch", 1)        # no call was retried

        Args:
            operation: The function, or its name, or the end of it.
            attempts: One number for each retried call; see `attempts`.

        Raises:
            AssertionError: It were others; the message shows the seed and the timeline.
            ValueError: The name stands for more than one operation.
        """
        __tracebackhide__ = True
        found = self.attempts(operation)
        if found == [each for each in attempts if each != 1] or found == list(attempts):
            return
        name = name_given(operation)
        heard = sorted(operations_named("", self))
        lines = [
            f"expected: {text.counted(attempts)}",
            f"happened: {text.counted(found)}",
            *([] if found else [f"retries were heard of: {', '.join(heard) or 'nothing'}"]),
        ]
        self._fail(f"{name} did not take the expected attempts", "\n".join(lines))

    def assert_none(self, *kinds: Expected) -> None:
        """Assert that no event of these kinds happened; without kinds, no event at all.

        Raises:
            AssertionError: One did; the message shows which, the seed and the timeline.
            TypeError: One of ``kinds`` is no class of events.
        """
        __tracebackhide__ = True
        wanted = [matcher(kind) for kind in kinds or (Event,)]
        found = [each for each in self.moments if any(one(each.event) for one in wanted)]
        if found:
            named = " or ".join(map(repr, wanted)) if kinds else "event"
            self._fail(f"there should be no {named}, and there were {len(found)}", text.timeline(found))

    def _fail(self, what: str, details: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(text.failure(what, details, self.seed, self.moments))


def _has(event: Event, attributes: dict[str, Any]) -> bool:
    return all(hasattr(event, name) for name in attributes) and EventMatcher(Event, attributes)(event)


def _kinds_below(kind: type[Event]) -> Iterator[type[Event]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds_below(each)


def _of_moment(wanted: EventMatcher[Any]) -> Callable[[text.Moment], bool]:
    return lambda moment: wanted(moment.event)
