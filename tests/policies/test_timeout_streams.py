"""A stream has until its first item; its body may take as long as its consumer does."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
import trio
from ways import on

import resilio.sync
from resilio import BackoffStrategy, OperationTimeoutError, TimedOut, Timeout, subscribe
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_a_stream_that_starts_in_time_may_go_on_for_ever(virtual_clock: VirtualClock) -> None:
    """The producer's time after the first item, and the consumer's, do not count."""

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        await anyio.sleep(4)
        yield 1
        await anyio.sleep(60)
        yield 2

    seen: list[tuple[int, float]] = []
    async for item in stream():
        seen.append((item, virtual_clock.elapsed))
        await anyio.sleep(100)
    assert seen == [(1, 4), (2, 164)]


async def test_a_stream_that_starts_too_late_is_ended(virtual_clock: VirtualClock) -> None:
    """It is cleaned up, and the error names it."""
    ended: list[float] = []

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        try:
            await anyio.sleep(60)
            yield 1
        finally:
            ended.append(virtual_clock.elapsed)

    with pytest.raises(OperationTimeoutError, match=r"stream took longer than 5 s"):
        await anext(stream())
    assert ended == [5]


async def test_the_time_of_a_stream_starts_with_the_first_request(virtual_clock: VirtualClock) -> None:
    """Not with the making of the generator."""

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        await anyio.sleep(4)
        yield 1

    opened = stream()
    await anyio.sleep(60)
    assert [item async for item in opened] == [1]


async def test_a_stream_without_items_is_in_time(virtual_clock: VirtualClock) -> None:
    """It ended."""

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        await anyio.sleep(4)
        if virtual_clock.elapsed > 4:
            yield 1

    assert [item async for item in stream()] == []


async def test_a_stream_is_left_open_after_its_scope_on_every_event_loop() -> None:
    """No scope is held across a `yield`: streams may interleave, and be closed in any order."""

    @Timeout(60)
    async def stream(name: str) -> AsyncGenerator[str]:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            yield f"{name}{number}"

    first, second = stream("a"), stream("b")
    got = [await anext(first), await anext(second), await anext(first), await anext(second)]
    await first.aclose()
    got.append(await anext(second))
    await second.aclose()
    assert got == ["a0", "b0", "a1", "b1", "b2"]


def test_a_trio_stream_holds_no_scope_across_its_items(virtual_clock: VirtualClock) -> None:
    """A consumer's own scope around some of the items works."""

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        yield 1
        await trio.sleep(3)
        yield 2

    async def main() -> list[object]:
        got: list[object] = []
        async with aclosing(stream()) as opened:
            with trio.move_on_after(1):
                got.append(await anext(opened))
                got.append(await anext(opened))
            got.append("moved on")
        return got

    assert on("trio", main) == [1, "moved on"]


async def test_a_stream_that_starts_late_is_tried_again(virtual_clock: VirtualClock) -> None:
    """Inside of a retry."""
    starts: list[float] = []

    @BackoffStrategy(base_delay=1, jitter=None)
    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        starts.append(virtual_clock.elapsed)
        await anyio.sleep(60 if len(starts) == 1 else 0)
        yield 1
        await anyio.sleep(60)
        yield 2

    assert [item async for item in stream()] == [1, 2]
    assert starts == [0, 6]


async def test_an_outer_cancellation_of_a_stream_wins(virtual_clock: VirtualClock) -> None:
    """It is no timeout."""
    told: list[object] = []

    @Timeout(5)
    async def stream() -> AsyncGenerator[int]:
        await anyio.sleep(60)
        yield 1

    with subscribe(told.append, TimedOut), anyio.move_on_after(3) as scope:
        await anext(stream())
    assert scope.cancelled_caught
    assert told == []


def test_a_generator_that_starts_in_time_may_go_on_for_ever(virtual_clock: VirtualClock) -> None:
    """In blocking code as well; only the first item comes out of a thread."""

    @resilio.sync.Timeout(5)
    def items() -> Generator[int]:
        clock.sleep_blocking(4)
        yield 1
        clock.sleep_blocking(60)
        yield 2

    assert list(items()) == [1, 2]
    assert virtual_clock.elapsed == 64


def test_a_generator_that_starts_too_late_is_given_up(virtual_clock: VirtualClock) -> None:
    """Its thread is left behind."""

    @resilio.sync.Timeout(5)
    def items() -> Generator[int]:
        clock.sleep_blocking(6)
        yield 1

    with pytest.raises(OperationTimeoutError, match=r"items took longer than 5 s"):
        next(items())
    assert virtual_clock.elapsed == 5
    clock.sleep_blocking(60)  # until the thread that was left behind has ended
