"""Streams that nobody reads to their end, and that the interpreter or the event loop closes."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from breaker_forms import state_of, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitState
from resilio.policies import blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

on_asyncio = pytest.mark.asyncio  # trio closes abandoned generators in ways of its own


def half_open() -> CircuitBreaker:
    """A breaker that lets one probe through now."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    return breaker


async def settle() -> None:
    """Let the event loop close the generators that were dropped."""
    for _ in range(3):
        await asyncio.sleep(0)


@on_asyncio
async def test_abandoned_blocks_leave_nothing_behind() -> None:
    """Neither in the context of the task that forgot them, nor anywhere else."""
    breaker = CircuitBreaker()

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    gc.collect()  # of what other tests have left
    before = len(blocks._everywhere)
    for _ in range(50):
        async for _item in stream():
            break
        await settle()
    assert len(blocks._open.get()) <= 1
    assert len(blocks._everywhere) <= before


@on_asyncio
async def test_an_abandoned_block_gives_its_permit_back() -> None:
    """The event loop closes the stream from a task of its own, and the next caller probes."""
    breaker = half_open()

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    async for _item in stream():
        break
    await settle()
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


@on_asyncio
async def test_an_abandoned_stream_gives_its_permit_back() -> None:
    """The same for a decorated generator."""
    breaker = half_open()

    @breaker
    async def stream() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async for _item in stream():
        break
    await settle()
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


@on_asyncio
async def test_an_abandoned_block_does_not_end_another_tasks() -> None:
    """A task inside a block of the same breaker keeps its own when a stream of somebody else's is dropped there."""
    breaker = CircuitBreaker(failure_threshold=1000)
    begun: list[AsyncGenerator[int, None]] = []

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    async def begin() -> None:
        begun.append(stream())
        await anext(begun[0])

    async def keep() -> None:
        async with breaker:
            begun.clear()
            await settle()
            raise LookupError

    await asyncio.create_task(begin())
    with pytest.raises(LookupError):
        await asyncio.create_task(keep())
    assert breaker.snapshot().failed == 1


def test_an_abandoned_generator_gives_its_permit_back() -> None:
    """Without an event loop, dropping the generator closes it."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)

    @breaker
    def stream() -> Iterator[int]:
        yield 1
        yield 2

    def block() -> Iterator[int]:
        with breaker:
            yield 1
            yield 2

    for generator in (stream, block):
        for _item in generator():
            break
        assert state_of(breaker) is CircuitState.HALF_OPEN
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


def test_a_generator_may_end_in_another_thread() -> None:
    """A block is found by the generator that holds it, wherever that is read to its end."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)

    def stream() -> Iterator[int]:
        with breaker:
            yield 1

    items = stream()
    next(items)
    thread = threading.Thread(target=list, args=(items,))
    thread.start()
    thread.join(10)
    assert state_of(breaker) is CircuitState.CLOSED


def test_a_forgotten_generator_is_freed() -> None:
    """That a block can be found again does not keep the generator that holds it alive."""
    breaker = resilio.sync.CircuitBreaker()

    class Held:
        pass

    def stream(held: Held) -> Iterator[Held]:
        with breaker:
            yield held
            yield held

    held = Held()
    is_alive = weakref.ref(held)
    items = stream(held)
    next(items)
    del held, items
    assert is_alive() is None


def test_streams_of_closed_event_loops_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is closed too early never closes its streams; what they held is freed all the same in the end."""
    monkeypatch.setattr(blocks, "_everywhere", blocks._Entries())  # without what other tests have left open
    breaker = CircuitBreaker()
    held: list[weakref.ref[object]] = []

    class Held:
        pass

    async def stream() -> AsyncGenerator[int, None]:
        mine = Held()
        held.append(weakref.ref(mine))
        async with breaker:
            yield 1
            yield 2

    async def begin(items: AsyncGenerator[int, None]) -> None:
        await anext(items)

    for _ in range(500):
        loop = asyncio.new_event_loop()
        items = stream()
        loop.run_until_complete(begin(items))
        loop.close()  # without `shutdown_asyncgens`
        del items
    assert len(blocks._everywhere) < 150
    assert sum(each() is not None for each in held) < 150


async def _stacked(breaker: CircuitBreaker, opened: AsyncExitStack) -> None:
    await opened.enter_async_context(breaker)


@on_asyncio
async def test_many_open_blocks_are_no_lost_ones() -> None:
    """Whether a task, a stream or an exit stack holds them: all of them end as they should."""
    breaker = CircuitBreaker()
    breaker.metrics_only()

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            raise LookupError

    streams = [stream() for _ in range(200)]
    for each in streams:
        await anext(each)
    async with AsyncExitStack() as opened:
        for _ in range(200):
            await _stacked(breaker, opened)
        for each in streams:
            with pytest.raises(LookupError):
                await anext(each)
    assert breaker.snapshot().failed == 200
    assert not [each for each in blocks._open.get() if not each.is_over]
