"""``async with breaker:`` and ``with breaker:``, one object for any number of blocks at once."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, ExitStack, aclosing
from contextvars import Context
from typing import TYPE_CHECKING

import anyio
import pytest
from breaker_forms import DownError, state_of, throw, tripped

import resilio.sync
from resilio import CallSucceeded, CircuitBreaker, CircuitBreakerOpenError, CircuitState, TripRule, subscribe
from resilio.policies import blocks
from resilio.policies.trip import ConsecutiveMeter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Timed(TripRule):
    """A rule that never trips and wants to know how long calls took."""

    needs_duration = True

    def meter(self) -> ConsecutiveMeter:
        return ConsecutiveMeter(1000)


async def test_blocks_of_many_tasks_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """Fifty overlapping blocks of one breaker end in any order, and each books its own time."""
    breaker = CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []

    async def block(begin: float, length: float) -> None:
        await anyio.sleep(begin)
        async with breaker:
            await anyio.sleep(length)

    with subscribe(told.append, CallSucceeded):
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(block, number % 7, (number * 13) % 29 + 1)
    expected = sorted((number * 13) % 29 + 1 for number in range(50))
    assert sorted(each.duration for each in told) == pytest.approx(expected)


async def test_nested_blocks_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """A block within a block of the same breaker: the inner one is shorter."""
    breaker = CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []
    with subscribe(told.append, CallSucceeded):
        async with breaker:
            await anyio.sleep(1)
            async with breaker:
                await anyio.sleep(10)
            await anyio.sleep(100)
    assert [each.duration for each in told] == pytest.approx([10, 111])


async def test_nested_calls_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """The same for decorated functions and `execute`."""
    breaker = CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []

    @breaker
    async def outer() -> None:
        await anyio.sleep(1)
        await breaker.execute(anyio.sleep, 10)

    with subscribe(told.append, CallSucceeded):
        await outer()
    assert [each.duration for each in told] == pytest.approx([10, 11])


def test_nested_blocking_blocks_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """The same without an event loop."""
    breaker = resilio.sync.CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []
    with subscribe(told.append, CallSucceeded), breaker:
        virtual_clock.advance(1)
        with breaker:
            virtual_clock.advance(10)
    assert [each.duration for each in told] == pytest.approx([10, 11])


async def test_a_block_that_fails_counts() -> None:
    """The error passes through the block and is recorded."""
    breaker, error = CircuitBreaker(failure_threshold=1), DownError()
    with pytest.raises(DownError) as caught:
        async with breaker:
            raise error
    assert caught.value is error
    assert state_of(breaker) is CircuitState.OPEN


async def test_a_rejected_block_does_not_run() -> None:
    """The rejection comes from entering, and leaves nothing to be left."""
    breaker = CircuitBreaker()
    breaker.force_open()
    before = blocks._open.get()  # a thread's context may remember what an earlier test abandoned
    with pytest.raises(CircuitBreakerOpenError):
        async with breaker:
            pytest.fail("the block ran")
    assert blocks._open.get() == before


async def test_a_block_hands_over_its_breaker() -> None:
    """`async with breaker as it` is the breaker itself."""
    breaker = CircuitBreaker()
    async with breaker as it:
        assert it is breaker
    with resilio.sync.CircuitBreaker(name="handed over") as blocking:
        assert blocking.name == "handed over"


async def test_blocks_of_several_breakers_nest_in_any_order() -> None:
    """Blocks of different breakers may even overlap: each finds its own."""
    one, other = CircuitBreaker(failure_threshold=1), CircuitBreaker(failure_threshold=1)
    await one.__aenter__()
    await other.__aenter__()
    await one.__aexit__(DownError, DownError(), None)
    await other.__aexit__(None, None, None)
    assert (state_of(one), state_of(other)) == (CircuitState.OPEN, CircuitState.CLOSED)


async def test_blocks_work_in_exit_stacks() -> None:
    """Entered through a stack, they end with it."""
    breaker = CircuitBreaker(failure_threshold=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(breaker)
        await stack.enter_async_context(breaker)
    twin = resilio.sync.CircuitBreaker(failure_threshold=1)
    with ExitStack() as blocking:
        blocking.enter_context(pytest.raises(DownError))
        blocking.enter_context(twin)
        throw(DownError())
    assert state_of(breaker) is CircuitState.CLOSED
    assert state_of(twin) is CircuitState.OPEN


def test_blocks_of_many_threads_do_not_meet() -> None:
    """Each thread leaves the block that it entered."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1000)
    together = threading.Barrier(16)

    def work(number: int) -> None:
        together.wait(10)
        for _ in range(50):
            try:
                with breaker:
                    if number % 2:
                        raise DownError
            except DownError:
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert breaker.snapshot().failed == 8 * 50


# -- in generators -----------------------------------------------------------------------------------------------------


async def test_a_block_in_an_async_generator_lasts_until_the_generator_ends() -> None:
    """A probe that is a stream holds its permit while the consumer reads, and closes the circuit at the end."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    async with aclosing(stream()) as items:
        assert await anext(items) == 1
        assert state_of(breaker) is CircuitState.HALF_OPEN
        with pytest.raises(CircuitBreakerOpenError):
            Context().run(breaker.acquire)  # somebody else, who is not inside the stream's block
        assert [item async for item in items] == [2]
    assert state_of(breaker) is CircuitState.CLOSED


async def test_a_stream_that_is_left_early_gives_its_permit_back() -> None:
    """Closing the generator says nothing about the dependency."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1
            yield 2

    async with aclosing(stream()) as items:
        await anext(items)
    assert state_of(breaker) is CircuitState.HALF_OPEN
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


async def test_streams_of_many_tasks_do_not_meet() -> None:
    """Twenty streams at once, half of which fail: exactly those count."""
    breaker = CircuitBreaker(failure_threshold=1000)

    async def stream(number: int) -> AsyncGenerator[int, None]:
        async with breaker:
            for item in range(number):
                yield item
                await anyio.lowlevel.checkpoint()
            if number % 2:
                raise DownError

    async def read(number: int) -> None:
        try:
            async for _ in stream(number):
                await anyio.lowlevel.checkpoint()
        except DownError:
            pass

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(read, number)
    assert breaker.snapshot().failed == 10


async def test_interleaved_streams_of_one_task_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """Blocks that overlap in one task, left in the order in which they began, keep their own durations."""
    breaker = CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []

    async def stream() -> AsyncGenerator[int, None]:
        async with breaker:
            yield 1

    with subscribe(told.append, CallSucceeded):
        async with aclosing(stream()) as first, aclosing(stream()) as second:
            await anext(first)
            await anyio.sleep(1)
            await anext(second)
            await anyio.sleep(10)
            assert [item async for item in first] == []
            await anyio.sleep(100)
            assert [item async for item in second] == []
    assert [each.duration for each in told] == pytest.approx([11, 110])


def test_interleaved_blocking_generators_keep_their_own_durations(virtual_clock: VirtualClock) -> None:
    """The same without an event loop, where all generators of a thread share one context."""
    breaker = resilio.sync.CircuitBreaker(trip=Timed())
    told: list[CallSucceeded] = []

    def stream() -> Iterator[int]:
        with breaker:
            yield 1

    with subscribe(told.append, CallSucceeded):
        first, second = stream(), stream()
        next(first)
        virtual_clock.advance(1)
        next(second)
        virtual_clock.advance(10)
        assert list(first) == []
        virtual_clock.advance(100)
        assert list(second) == []
    assert [each.duration for each in told] == pytest.approx([11, 110])
    assert blocks._open.get() == ()
