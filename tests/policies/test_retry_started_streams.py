"""With ``retry_started_streams`` a stream begins anew also after items have come out, and those come twice."""

from __future__ import annotations

import gc
import weakref
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import tenacity
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import (
    BackoffStrategy,
    Pipeline,
    RetryBudget,
    RetryExhaustedError,
    RetryScheduled,
    RetrySucceeded,
    Timeout,
    subscribe,
    with_backoff,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from resilio import Policy
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

again = with_backoff(base_delay=0, max_retries=3, retry_started_streams=True)


class Feed:
    """Gives three items; each of its first starts fails behind so many of them.

    Attributes:
        open_now: How many of its streams are open.
    """

    def __init__(self, *fails_behind: int, error: type[BaseException] = ConnectionError) -> None:
        self._fails_behind = list(fails_behind)
        self._error = error
        self.starts = 0
        self.open_now = 0

    def _start(self) -> int:
        self.starts += 1
        assert self.open_now == 0, "the one before has not been closed"
        self.open_now += 1
        return self._fails_behind.pop(0) if self._fails_behind else 99

    def items(self) -> Generator[int, Any, str]:
        """A plain generator."""
        fails_behind = self._start()
        try:
            for item in range(4):
                if item == fails_behind:
                    raise self._error
                if item < 3:
                    yield item
            return "done"
        finally:
            self.open_now -= 1

    async def stream(self) -> AsyncGenerator[int]:
        """An async generator."""
        source = self.items()
        try:
            for item in source:
                await anyio.lowlevel.checkpoint()
                yield item
        finally:
            source.close()


async def read(policy: Policy, source: Callable[[], AsyncGenerator[int]]) -> list[int]:
    """All that comes out."""
    async with aclosing(policy(source)()) as opened:
        return [item async for item in opened]


def read_blocking(policy: Policy, source: Callable[[], Generator[int, Any, Any]]) -> list[int]:
    """The same without an event loop."""
    return list(policy(source)())


# -- both colours ------------------------------------------------------------------------------------------------------

EXPECTED = [0, 1, 0, 1, 2, 0, 1, 2]


async def test_a_stream_begins_anew_and_its_items_come_twice() -> None:
    """Wherever it fails; each is closed before the next one begins."""
    feed = Feed(2, 3, 0)
    assert await read(again, feed.stream) == EXPECTED
    assert (feed.starts, feed.open_now) == (4, 0)


@pytest.mark.parametrize("build", [BackoffStrategy, resilio.sync.BackoffStrategy], ids=["async", "blocking"])
def test_a_generator_begins_anew_and_its_items_come_twice(build: Callable[..., Policy]) -> None:
    """Under a strategy of either colour."""
    feed = Feed(2, 3, 0)
    assert read_blocking(build(base_delay=0, max_retries=3, retry_started_streams=True), feed.items) == EXPECTED
    assert (feed.starts, feed.open_now) == (4, 0)


async def test_unless_told_so_a_stream_that_has_begun_is_not_retried() -> None:
    """The default, in both colours."""
    feed, blocking = Feed(2), Feed(2)
    with pytest.raises(ConnectionError):
        await read(BackoffStrategy(base_delay=0), feed.stream)
    with pytest.raises(ConnectionError):
        read_blocking(BackoffStrategy(base_delay=0), blocking.items)
    assert (feed.starts, blocking.starts) == (1, 1)


async def test_the_attempts_are_those_of_the_whole_stream() -> None:
    """An item in between gives none back."""
    feed = Feed(1, 2, 3, 1, 1, 1)
    with pytest.raises(RetryExhaustedError, match="stream failed after 4 attempts") as caught:
        await read(again, feed.stream)
    assert (caught.value.attempts, feed.starts, feed.open_now) == (4, 4, 0)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_the_attempts_are_those_of_the_whole_generator() -> None:
    """In blocking code as well."""
    feed = Feed(1, 2, 3, 1, 1, 1)
    with pytest.raises(RetryExhaustedError, match="items failed after 4 attempts") as caught:
        read_blocking(again, feed.items)
    assert (caught.value.attempts, feed.starts, feed.open_now) == (4, 4, 0)


async def test_what_is_not_worth_another_attempt_is_raised() -> None:
    """As it is."""
    for error in (LookupError, KeyboardInterrupt):
        feed = Feed(1, error=error)
        with pytest.raises(error):
            await read(again, feed.stream)
        with pytest.raises(error):
            read_blocking(again, Feed(1, error=error).items)
        assert (feed.starts, feed.open_now) == (1, 0)


async def test_the_waits_are_those_of_the_strategy(virtual_clock: VirtualClock) -> None:
    """One after each failure, on every loop."""
    strategy = BackoffStrategy(base_delay=1, jitter=None, retry_started_streams=True)
    assert await read(strategy, Feed(1, 1).stream) == [0, 0, 0, 1, 2]
    assert virtual_clock.elapsed == 3


def test_blocking_waits_are_those_of_the_strategy(virtual_clock: VirtualClock) -> None:
    """The same."""
    strategy = resilio.sync.with_backoff(base_delay=1, jitter=None, retry_started_streams=True)
    assert read_blocking(strategy, Feed(1, 1).items) == [0, 0, 0, 1, 2]
    assert virtual_clock.elapsed == 3


async def test_no_attempt_starts_after_max_duration(virtual_clock: VirtualClock) -> None:
    """Counted from the first one."""
    strategy = BackoffStrategy(base_delay=4, jitter=None, max_duration=10, retry_started_streams=True)
    feed = Feed(1, 1, 1, 1)
    with pytest.raises(RetryExhaustedError):
        await read(strategy, feed.stream)
    assert (feed.starts, virtual_clock.elapsed) == (3, 10)


@every_way
def test_calls_are_retried_as_ever(way: Way, virtual_clock: VirtualClock) -> None:
    """The setting is about streams alone, and a stream of one item is no exception."""
    fn = Flaky(ConnectionError(), "meow")
    strategy = way.names.BackoffStrategy(base_delay=1, jitter=None, retry_started_streams=True)
    assert way.call(strategy, fn) == "meow"
    assert fn.waits == [1]


async def test_a_stream_pays_into_the_budget_once_and_draws_for_each_restart() -> None:
    """As any call."""
    budget = RetryBudget(1, min_per_second=0)
    strategy = BackoffStrategy(base_delay=0, budget=budget, retry_started_streams=True)
    assert await read(strategy, Feed().stream) == [0, 1, 2]
    assert budget.balance == 1
    with pytest.raises(RetryExhaustedError) as caught:
        read_blocking(strategy, Feed(1, 1, 1, 1).items)
    assert (caught.value.context["reason"], budget.balance) == ("budget", 0)


async def test_a_tenacity_predicate_is_asked() -> None:
    """In place of `retry_exceptions`."""
    retry = tenacity.retry_if_exception_type(LookupError)
    strategy = BackoffStrategy(base_delay=0, retry=retry, retry_started_streams=True)
    assert await read(strategy, Feed(1, error=LookupError).stream) == [0, 0, 1, 2]
    assert read_blocking(strategy, Feed(1, error=LookupError).items) == [0, 0, 1, 2]
    with pytest.raises(ConnectionError):
        await read(strategy, Feed(1).stream)


async def test_events_tell_of_restarts_and_of_the_good_end() -> None:
    """Named after the generator function; a stream that never failed tells nothing."""
    told: list[tuple[str, str]] = []

    def listen(event: Any) -> None:
        told.append((type(event).__name__, event.operation.rpartition(".")[2]))

    with subscribe(listen, RetryScheduled, RetrySucceeded):
        await read(again, Feed().stream)
        assert told == []
        await read(again, Feed(1).stream)
        read_blocking(again, Feed(1).items)
    assert told == [
        ("RetryScheduled", "stream"),
        ("RetrySucceeded", "stream"),
        ("RetryScheduled", "items"),
        ("RetrySucceeded", "items"),
    ]


async def test_it_holds_in_a_pipeline() -> None:
    """Outermost and inside."""
    for pipeline in (Pipeline(again, Timeout(60)), Pipeline(Timeout(60), again)):
        assert await read(pipeline, Feed(2, 1).stream) == [0, 1, 0, 0, 1, 2]
    assert read_blocking(Pipeline(again, Pipeline(Timeout(60))), Feed(2).items) == [0, 1, 0, 1, 2]


async def test_it_is_kept_by_a_strategy_like_another() -> None:
    """Whatever its colour."""
    twin = resilio.sync.BackoffStrategy.like(again, retry_exceptions=LookupError)
    assert twin.retry_started_streams is True
    assert read_blocking(twin, Feed(1, error=LookupError).items) == [0, 0, 1, 2]


# -- who reads it ------------------------------------------------------------------------------------------------------


async def test_an_error_of_the_consumer_is_none_of_the_stream() -> None:
    """Thrown in and let pass: the stream is over, and not begun anew."""
    feed = Feed()
    async with aclosing(again(feed.stream)()) as opened:
        await anext(opened)
        with pytest.raises(ConnectionError, match="mine"):
            await opened.athrow(ConnectionError("mine"))
        assert [item async for item in opened] == []


async def test_an_error_in_the_body_of_the_loop_closes_the_stream() -> None:
    """It is not begun anew, though the error would be worth another attempt."""
    feed = Feed()

    async def add_up() -> None:
        async with aclosing(again(feed.stream)()) as opened:
            async for _ in opened:
                raise ConnectionError

    with pytest.raises(ConnectionError):
        await add_up()
    assert (feed.starts, feed.open_now) == (1, 0)


def test_an_error_of_a_generators_consumer_is_none_of_the_generator() -> None:
    """The same without an event loop."""
    feed = Feed()
    opened = again(feed.items)()
    next(opened)
    with pytest.raises(ConnectionError, match="mine"):
        opened.throw(ConnectionError("mine"))
    assert (list(opened), feed.starts, feed.open_now) == ([], 1, 0)


async def test_what_is_sent_and_thrown_in_reaches_the_stream_of_now() -> None:
    """`asend` and `athrow`; a new beginning is sent nothing."""
    heard: list[object] = []

    @again
    async def stream() -> AsyncGenerator[int, str]:
        heard.append("start")
        for item in range(3):
            try:
                said = yield item
            except LookupError as error:
                said = f"caught {error}"
            heard.append(said)
            if said == "fail":
                raise ConnectionError

    async with aclosing(stream()) as opened:
        assert await anext(opened) == 0
        assert await opened.asend("meow") == 1
        assert await opened.asend("fail") == 0
        assert await opened.athrow(LookupError("it")) == 1
        assert await opened.asend("purr") == 2
    assert heard == ["start", "meow", "fail", "start", "caught it", "purr"]


def test_what_is_sent_and_thrown_in_reaches_the_generator_of_now() -> None:
    """`send` and `throw`, and its value at the end."""

    @again
    def items() -> Generator[int, str, str]:
        said = ""
        for item in range(2):
            try:
                said = yield item
            except LookupError as error:
                said = f"caught {error}"
            if said == "fail":
                raise ConnectionError
        return said

    opened = items()
    assert next(opened) == 0
    assert opened.send("fail") == 0
    assert opened.throw(LookupError("it")) == 1
    with pytest.raises(StopIteration) as end:
        opened.send("bye")
    assert end.value.value == "bye"


async def test_closing_closes_the_stream_of_now_at_once() -> None:
    """Nothing is begun anew, in either colour."""
    feed = Feed(1)
    async with aclosing(again(feed.stream)()) as opened:
        assert [await anext(opened), await anext(opened)] == [0, 0]
        assert feed.open_now == 1
    assert (feed.starts, feed.open_now) == (2, 0)
    blocking = again(feed.items)()
    next(blocking)
    blocking.close()
    assert (feed.starts, feed.open_now) == (3, 0)


async def test_a_cancelled_stream_is_closed_and_not_begun_anew() -> None:
    """In the midst of an item, and in the wait between two attempts."""
    feed = Feed()
    with anyio.CancelScope() as scope:
        async with aclosing(again(feed.stream)()) as opened:
            async for _ in opened:
                scope.cancel()
    assert scope.cancelled_caught
    assert (feed.starts, feed.open_now) == (1, 0)
    late = Feed(1)
    slow = BackoffStrategy(base_delay=3600, jitter=None, retry_started_streams=True)
    with anyio.move_on_after(0) as scope:
        await read(slow, late.stream)
    assert scope.cancelled_caught
    assert late.open_now == 0


def test_a_stream_that_is_over_leaves_nothing_to_the_collector() -> None:
    """Neither the errors behind which it began anew nor one that was thrown in."""
    errors: list[weakref.ref[BaseException]] = []

    class OwnError(ConnectionError):
        def __init__(self) -> None:
            errors.append(weakref.ref(self))

    gc.disable()
    try:
        read_blocking(again, Feed(1, 2, error=OwnError).items)
        opened = again(Feed().items)()
        next(opened)
        with suppress(OwnError):
            opened.throw(OwnError())
        del opened
        assert [error() for error in errors] == [None] * 3
    finally:
        gc.enable()
