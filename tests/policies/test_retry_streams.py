"""Generators are retried only until their first item: half an answer cannot be taken back."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import RetryExhaustedError, RetryScheduled, RetrySucceeded, subscribe, with_backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

no_wait = with_backoff(base_delay=0, max_retries=3)


class Starts:
    """How often a generator was started, and how often it was closed."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.count = 0
        self.ended = 0

    def start(self) -> None:
        """Count, and fail as often as told."""
        self.count += 1
        if self.count <= self.failures:
            raise ConnectionError


# -- async -------------------------------------------------------------------------------------------------------------


async def test_a_stream_that_fails_before_its_first_item_is_started_again() -> None:
    """And all of its items come once."""
    starts = Starts(failures=2)

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        for item in range(3):
            await anyio.lowlevel.checkpoint()
            yield item

    assert [item async for item in stream()] == [0, 1, 2]
    assert starts.count == 3


async def test_a_stream_that_fails_after_its_first_item_raises() -> None:
    """The consumer has that item already."""
    starts = Starts()
    seen: list[int] = []

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        yield 1
        raise ConnectionError

    async def read() -> None:
        async for item in stream():
            seen.append(item)  # noqa: PERF401 -- what came before the error counts

    with pytest.raises(ConnectionError):
        await read()
    assert (seen, starts.count) == ([1], 1)


async def test_a_stream_that_never_starts_ends_in_the_strategys_error() -> None:
    """As a call does."""
    starts = Starts(failures=99)

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        yield 1

    with pytest.raises(RetryExhaustedError) as caught:
        await anext(stream())
    assert (caught.value.attempts, starts.count) == (4, 4)
    assert "stream failed after 4 attempts" in str(caught.value)


async def test_an_empty_stream_is_no_failure() -> None:
    """It ended well, without an item."""
    starts = Starts()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        if starts.count > 1:
            yield 1

    assert [item async for item in stream()] == []
    assert starts.count == 1


async def test_nothing_starts_before_the_first_item_is_asked_for() -> None:
    """As with any async generator."""
    starts = Starts()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        yield 1

    opened = stream()
    assert starts.count == 0
    await opened.aclose()
    assert starts.count == 0


async def test_what_is_sent_into_a_stream_reaches_it() -> None:
    """`asend`."""

    @no_wait
    async def echo() -> AsyncGenerator[str, str]:
        said = yield "ready"
        while True:
            said = yield said.upper()

    async with aclosing(echo()) as stream:
        assert await anext(stream) == "ready"
        assert await stream.asend("meow") == "MEOW"
        assert await stream.asend("purr") == "PURR"


async def test_what_is_thrown_into_a_stream_reaches_it() -> None:
    """`athrow`: the stream may handle it and go on."""

    @no_wait
    async def stubborn() -> AsyncGenerator[str]:
        try:
            yield "first"
        except LookupError as error:
            yield f"caught {error}"

    async with aclosing(stubborn()) as stream:
        await anext(stream)
        assert await stream.athrow(LookupError("it")) == "caught it"


async def test_what_a_stream_does_not_handle_comes_back() -> None:
    """As it is."""
    error = LookupError()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        yield 1
        yield 2

    opened = stream()
    await anext(opened)
    with pytest.raises(LookupError) as caught:
        await opened.athrow(error)
    assert caught.value is error
    assert [item async for item in opened] == []


async def test_closing_a_stream_closes_its_source_at_once() -> None:
    """`aclose`: what it holds is given back."""
    starts = Starts()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            await anyio.lowlevel.checkpoint()
            starts.ended += 1

    async with aclosing(stream()) as opened:
        await anext(opened)
    assert starts.ended == 1


async def test_an_error_of_the_consumer_closes_the_source_and_is_not_retried() -> None:
    """A ConnectionError out of the loop's body is none of the stream's."""
    starts = Starts()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        try:
            yield 1
        finally:
            starts.ended += 1

    async def read() -> None:
        async with aclosing(stream()) as opened:
            async for _ in opened:
                raise ConnectionError

    with pytest.raises(ConnectionError):
        await read()
    assert (starts.count, starts.ended) == (1, 1)


async def test_failed_starts_are_closed_before_the_next_one() -> None:
    """What an attempt opened, it gives back before another attempt opens it."""
    open_now, most = 0, 0

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            await anyio.lowlevel.checkpoint()
            if most < 0 or open_now > 0:
                raise ConnectionError
            yield 1
        finally:
            await anyio.lowlevel.checkpoint()
            open_now -= 1

    with pytest.raises(RetryExhaustedError):
        await anext(stream())
    assert (open_now, most) == (0, 1)


async def test_a_cancelled_start_is_not_retried() -> None:
    """On every loop."""
    starts = Starts()

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        yield 1

    with anyio.CancelScope() as scope:
        async for _ in stream():
            pass
    assert scope.cancelled_caught
    assert starts.count == 1


async def test_each_stream_has_attempts_of_its_own() -> None:
    """Two streams of one decorated function, side by side."""
    failures = {"a": 3, "b": 3}

    @no_wait
    async def stream(name: str) -> AsyncGenerator[str]:
        await anyio.lowlevel.checkpoint()
        if failures[name]:
            failures[name] -= 1
            raise ConnectionError
        yield name
        yield name

    got: list[str] = []

    async def read(name: str) -> None:
        async for item in stream(name):
            got.append(item)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(read, "a")
        group.start_soon(read, "b")
    assert sorted(got) == ["a", "a", "b", "b"]


async def test_waits_between_starts_are_those_of_the_strategy(virtual_clock: VirtualClock) -> None:
    """Backoff before the first item, none after it."""
    starts = Starts(failures=2)

    @with_backoff(base_delay=1, jitter=None)
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        yield 1
        yield 2

    assert [item async for item in stream()] == [1, 2]
    assert virtual_clock.elapsed == 3


async def test_events_name_the_generator_function() -> None:
    """Not anything of ours."""
    told: list[str] = []
    starts = Starts(failures=1)

    @no_wait
    async def stream() -> AsyncGenerator[int]:
        starts.start()
        yield 1

    def listen(event: Any) -> None:
        told.append(event.operation.rpartition(".")[2])

    with subscribe(listen, RetryScheduled, RetrySucceeded):
        assert [item async for item in stream()] == [1]
    assert told == ["stream", "stream"]


async def test_a_method_that_streams_is_guarded() -> None:
    """`self` arrives."""

    class Cat:
        name = "Tristan"
        starts = Starts(failures=1)

        @no_wait
        async def says(self, *words: str) -> AsyncGenerator[str]:
            self.starts.start()
            for word in words:
                yield f"{self.name}: {word}"

    assert [line async for line in Cat().says("meow")] == ["Tristan: meow"]


# -- plain -------------------------------------------------------------------------------------------------------------


def test_a_generator_that_fails_before_its_first_item_is_started_again() -> None:
    """And all of its items come once."""
    starts = Starts(failures=2)

    @no_wait
    def items() -> Generator[int]:
        starts.start()
        yield from range(3)

    assert list(items()) == [0, 1, 2]
    assert starts.count == 3


def test_a_generator_that_fails_after_its_first_item_raises() -> None:
    """The consumer has that item already."""
    starts = Starts()

    @no_wait
    def items() -> Generator[int]:
        starts.start()
        yield 1
        raise ConnectionError

    opened = items()
    assert next(opened) == 1
    with pytest.raises(ConnectionError):
        next(opened)
    assert starts.count == 1


def test_a_generator_keeps_its_value() -> None:
    """What it returns is what `yield from` gives; with items and without."""

    @no_wait
    def items(count: int) -> Generator[int, None, str]:
        yield from range(count)
        return "done"

    def outer(count: int) -> Generator[int, None, str]:
        return (yield from items(count))

    def value(generator: Generator[Any, None, str]) -> str:
        while True:
            try:
                next(generator)
            except StopIteration as end:
                return str(end.value)

    assert value(outer(2)) == "done"
    assert value(outer(0)) == "done"


def test_what_is_sent_and_thrown_into_a_generator_reaches_it() -> None:
    """`send` and `throw`."""

    @no_wait
    def echo() -> Generator[str, str]:
        said = yield "ready"
        while True:
            try:
                said = yield said.upper()
            except LookupError as error:
                said = f"caught {error}"

    opened = echo()
    assert next(opened) == "ready"
    assert opened.send("meow") == "MEOW"
    assert opened.throw(LookupError("it")) == "CAUGHT IT"
    opened.close()


def test_closing_a_generator_closes_its_source() -> None:
    """`close`."""
    starts = Starts()

    @no_wait
    def items() -> Generator[int]:
        try:
            yield 1
        finally:
            starts.ended += 1

    opened = items()
    next(opened)
    opened.close()
    assert starts.ended == 1


def test_a_generator_waits_as_the_strategy_says(virtual_clock: VirtualClock) -> None:
    """Blocking, before the first item."""
    starts = Starts(failures=2)

    @resilio.sync.with_backoff(base_delay=1, jitter=None)
    def items() -> Generator[int]:
        starts.start()
        yield 1

    assert list(items()) == [1]
    assert virtual_clock.elapsed == 3
