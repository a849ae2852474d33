"""A stream that fails before its first item is replaced; one that fails later has given half an answer."""

from __future__ import annotations

import gc
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import Fallback, FellBack, Pipeline, Timeout, subscribe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def broken() -> AsyncGenerator[str]:
    """Fail before the first item."""
    await anyio.lowlevel.checkpoint()
    if True:
        raise ConnectionError("no")
    yield "never"


async def test_a_value_becomes_a_stream_of_one_item() -> None:
    """In place of the items that never came."""
    assert [item async for item in Fallback("Meow?")(broken)()] == ["Meow?"]


async def test_a_list_is_one_item() -> None:
    """A value is never taken apart."""
    guarded: Any = Fallback(["a", "b"])(broken)
    assert [item async for item in guarded()] == [["a", "b"]]


async def test_a_stream_without_failure_passes() -> None:
    """All of its items, and nothing else."""

    @Fallback("Meow?")
    async def stream() -> AsyncGenerator[int]:
        for item in range(3):
            await anyio.lowlevel.checkpoint()
            yield item

    assert [item async for item in stream()] == [0, 1, 2]


async def test_an_empty_stream_is_no_failure() -> None:
    """It stays empty."""

    @Fallback("Meow?")
    async def stream() -> AsyncGenerator[int]:
        if gc is None:
            yield 1

    assert [item async for item in stream()] == []


async def test_a_failure_after_the_first_item_is_raised() -> None:
    """Half an answer has been given."""
    seen: list[int] = []

    @Fallback("Meow?")
    async def stream() -> AsyncGenerator[int]:
        yield 1
        raise ConnectionError

    async def read() -> None:
        async for item in stream():
            seen.append(item)  # noqa: PERF401 -- what came before the error counts

    with pytest.raises(ConnectionError):
        await read()
    assert seen == [1]


async def test_a_function_makes_the_item_from_the_error() -> None:
    """Async or plain."""

    async def later(error: Exception) -> str:
        await anyio.lowlevel.checkpoint()
        return f"later: {error}"

    assert [item async for item in Fallback(lambda error: f"now: {error}")(broken)()] == ["now: no"]
    assert [item async for item in Fallback(later)(broken)()] == ["later: no"]


async def test_an_async_generator_takes_the_streams_place() -> None:
    """All of its items."""

    async def other(error: Exception) -> AsyncGenerator[str]:
        yield f"after {error}"
        yield "and on"

    assert [item async for item in Fallback(other)(broken)()] == ["after no", "and on"]


async def test_any_async_iterator_takes_the_streams_place() -> None:
    """It need not be a generator."""

    class Countdown:
        left = 3

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

    guarded: Any = Fallback(Countdown)(broken)
    assert [item async for item in guarded()] == [2, 1, 0]


async def test_what_is_sent_and_thrown_in_reaches_the_replacement() -> None:
    """It is the stream now."""

    async def echo() -> AsyncGenerator[str, str]:
        said = yield "ready"
        while True:
            try:
                said = yield said.upper()
            except LookupError as error:
                said = f"caught {error}"

    guarded: Any = Fallback(echo)(broken)
    async with aclosing(guarded()) as stream:
        assert await anext(stream) == "ready"
        assert await stream.asend("meow") == "MEOW"
        assert await stream.athrow(LookupError("it")) == "CAUGHT IT"


async def test_closing_the_stream_closes_the_replacement_at_once() -> None:
    """What it holds is given back, and nothing is left to the garbage collector."""
    closed: list[str] = []

    async def other() -> AsyncGenerator[str]:
        try:
            yield "first"
            yield "second"
        finally:
            await anyio.lowlevel.checkpoint()
            closed.append("closed")

    async with aclosing(Fallback(other)(broken)()) as stream:
        assert await anext(stream) == "first"
    assert closed == ["closed"]


async def test_a_replacement_that_fails_raises_its_own_error() -> None:
    """Before its first item, with the stream's error as context; an outer fallback can answer for it."""

    async def worse() -> AsyncGenerator[str]:
        if True:
            raise LookupError
        yield "never"

    with pytest.raises(LookupError) as caught:
        await anext(Fallback(worse)(broken)())
    assert isinstance(caught.value.__context__, ConnectionError)
    chain = Pipeline(Fallback("last resort"), Fallback(worse))
    assert [item async for item in chain(broken)()] == ["last resort"]


async def test_a_stream_whose_start_takes_too_long_is_replaced(virtual_clock: VirtualClock) -> None:
    """With a timeout inside."""

    @Pipeline(Fallback("Meow?"), Timeout(5))
    async def stream() -> AsyncGenerator[str]:
        await anyio.sleep(60)
        yield "late"

    assert [item async for item in stream()] == ["Meow?"]
    assert virtual_clock.elapsed == 5


async def test_an_error_of_the_consumer_is_not_answered_for() -> None:
    """It is none of the stream's."""

    @Fallback("Meow?")
    async def stream() -> AsyncGenerator[int]:
        yield 1

    async def read() -> None:
        async with aclosing(stream()) as opened:
            async for _ in opened:
                raise ConnectionError

    with pytest.raises(ConnectionError):
        await read()


async def test_a_cancelled_start_is_not_answered_for() -> None:
    """On every event loop."""
    items: list[object] = []

    @Fallback("Meow?")
    async def stream() -> AsyncGenerator[str]:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        yield "late"

    with anyio.CancelScope() as scope:
        async for item in stream():
            items.append(item)  # noqa: PERF401 -- there is none
    assert scope.cancelled_caught
    assert items == []


async def test_it_tells_of_streams_as_well() -> None:
    """By the generator function's name."""
    told: list[tuple[str, str]] = []
    with subscribe(lambda event: told.append((event.operation, event.error)), FellBack):
        assert [item async for item in Fallback("Meow?")(broken)()] == ["Meow?"]
    assert told == [(f"{__name__}.broken", "ConnectionError: no")]


# -- plain -------------------------------------------------------------------------------------------------------------


def broken_items() -> Generator[str]:
    """Fail before the first item."""
    if True:
        raise ConnectionError("no")
    yield "never"


def test_a_value_becomes_a_generator_of_one_item() -> None:
    """In plain code."""
    assert list(resilio.sync.Fallback("Meow?")(broken_items)()) == ["Meow?"]


def test_a_generator_takes_the_generators_place() -> None:
    """With its items and its value."""

    def other(error: Exception) -> Generator[str, None, int]:
        yield f"after {error}"
        return 7

    def outer() -> Iterator[Any]:
        guarded: Any = resilio.sync.Fallback(other)(broken_items)
        yield (yield from guarded())

    assert list(outer()) == ["after no", 7]


def test_a_failure_after_the_first_item_of_a_generator_is_raised() -> None:
    """Half an answer has been given."""

    @resilio.sync.Fallback("Meow?")
    def items() -> Generator[int]:
        yield 1
        raise ConnectionError

    opened = items()
    assert next(opened) == 1
    with pytest.raises(ConnectionError):
        next(opened)


def test_closing_a_generator_closes_the_replacement() -> None:
    """At once."""
    closed: list[str] = []

    def other() -> Generator[str]:
        try:
            yield "first"
        finally:
            closed.append("closed")

    opened = resilio.sync.Fallback(other)(broken_items)()
    assert next(opened) == "first"
    opened.close()
    assert closed == ["closed"]
