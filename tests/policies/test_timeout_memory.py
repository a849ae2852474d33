"""What a timeout leaves behind: nothing."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import on

from resilio import OperationTimeoutError, Timeout
from resilio.policies import blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Canary:
    """Something to see whether it is still alive."""


@contextmanager
def no_collector() -> Iterator[None]:
    """What is still alive afterwards is held by somebody, or hangs in a cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def call(seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
    """A guarded call."""
    return await Timeout(seconds).execute(work)


async def block(seconds: float, work: Callable[[], Awaitable[Any]]) -> Any:
    """A guarded block."""
    async with Timeout(seconds):
        return await work()


forms = pytest.mark.parametrize("form", [call, block], ids=lambda form: form.__name__)


@forms
def test_calls_in_time_leave_no_timers_on_the_loop(form: Callable[..., Awaitable[Any]]) -> None:
    """Two thousand of them: cancelled timers are swept by asyncio itself, at the latest when they are the majority."""

    async def main() -> tuple[int, int]:
        loop: Any = asyncio.get_running_loop()
        most = 0
        for _ in range(2_000):
            await form(3600, anyio.lowlevel.checkpoint)
            most = max(most, len(loop._scheduled))
        live = [handle for handle in loop._scheduled if not handle.cancelled()]
        return most, len(live)

    most, live = on("asyncio", main)
    assert live == 0
    assert most <= 210


@forms
@pytest.mark.parametrize("ending", ["return", "raise", "timeout", "late"])
def test_no_timer_is_alive_however_a_call_ends(
    form: Callable[..., Awaitable[Any]], ending: str, virtual_clock: VirtualClock
) -> None:
    """Nothing fires later into a task that has moved on."""

    async def work() -> None:
        if ending == "raise":
            raise LookupError
        if ending == "timeout":
            await anyio.sleep(60)
        if ending == "late":
            with suppress(asyncio.CancelledError):
                await anyio.sleep(60)

    async def main() -> int:
        loop: Any = asyncio.get_running_loop()
        with suppress(LookupError, OperationTimeoutError):
            await form(5, work)
        return len([handle for handle in loop._scheduled if not handle.cancelled()])

    assert on("asyncio", main) == 0


@forms
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("late", [False, True], ids=["in time", "timed out"])
def test_nothing_is_held_after_a_call(
    form: Callable[..., Awaitable[Any]], backend: str, *, late: bool, virtual_clock: VirtualClock
) -> None:
    """No frame and no argument: neither by the loop, nor by a cycle that waits for the collector."""

    async def main() -> bool:
        canary = Canary()
        ref = weakref.ref(canary)

        async def work(held: object = canary) -> None:
            await anyio.sleep(60 if late else 0)

        del canary
        with suppress(OperationTimeoutError):
            await form(5, work)
        del work
        await anyio.lowlevel.checkpoint()
        return ref() is None

    with no_collector():
        assert on(backend, main)


@forms
@pytest.mark.slow("collects garbage again and again")
def test_a_timeout_makes_no_cycle_on_asyncio(form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock) -> None:
    """The timer knows the deadline, and the deadline the timer: they part when it is over."""

    async def forever() -> None:
        await anyio.sleep(60)

    async def main() -> int:
        async def once() -> None:
            with suppress(OperationTimeoutError):
                await form(5, forever)

        await once()
        gc.collect()
        gc.disable()
        try:
            before = len([each for each in gc.get_objects() if type(each).__name__ == "AsyncioDeadline"])
            for _ in range(10):
                await once()
            return len([each for each in gc.get_objects() if type(each).__name__ == "AsyncioDeadline"]) - before
        finally:
            gc.enable()

    assert on("asyncio", main) == 0


async def test_an_abandoned_generator_does_not_end_its_consumer_later(virtual_clock: VirtualClock) -> None:
    """A block inside of a generator that nobody reads any more: its timer must not fire into the task."""

    async def stream() -> AsyncGenerator[int]:
        async with Timeout(5):
            yield 1
            yield 2

    opened = stream()
    async for _ in opened:
        break
    await opened.aclose()
    await anyio.sleep(60)
    assert virtual_clock.elapsed == 60


def test_a_generator_that_asyncio_finalises_does_not_end_its_consumer_later(virtual_clock: VirtualClock) -> None:
    """Closed from a task that the event loop makes for it."""

    async def stream() -> AsyncGenerator[int]:
        async with Timeout(5):
            yield 1
            yield 2

    async def main() -> None:
        async for _ in stream():
            break
        await anyio.sleep(60)

    on("asyncio", main)
    assert virtual_clock.elapsed == 60


def test_a_generator_that_another_task_closes_does_not_end_its_consumer_later(virtual_clock: VirtualClock) -> None:
    """That task has a context of its own."""

    async def stream() -> AsyncGenerator[int]:
        async with Timeout(5):
            yield 1
            yield 2

    async def main() -> None:
        opened = stream()
        task = None

        async def close() -> None:
            await started.wait()
            await opened.aclose()

        started = asyncio.Event()
        task = asyncio.get_running_loop().create_task(close())
        await anyio.lowlevel.checkpoint()
        await anext(opened)
        started.set()
        await task
        await anyio.sleep(60)

    on("asyncio", main)
    assert virtual_clock.elapsed == 60


def test_a_block_of_the_closing_task_stays_its_own(virtual_clock: VirtualClock) -> None:
    """A generator opened elsewhere is closed within a block of the same policy: each deadline ends with its own."""
    policy = Timeout(5)
    ended: list[float] = []

    async def stream() -> AsyncGenerator[int]:
        async with policy:
            yield 1

    async def main() -> None:
        opened = stream()
        started = asyncio.Event()

        async def close() -> None:
            await started.wait()
            await anyio.sleep(3)
            try:
                async with policy:
                    await opened.aclose()
                    await anyio.sleep(60)
            except OperationTimeoutError:
                ended.append(virtual_clock.elapsed)

        task = asyncio.get_running_loop().create_task(close())
        await anyio.lowlevel.checkpoint()
        await anext(opened)
        started.set()
        await anyio.sleep(60)
        await task

    on("asyncio", main)
    assert ended == [8]


async def test_blocks_in_exit_stacks_keep_their_own_time(virtual_clock: VirtualClock) -> None:
    """Entered and left from frames that are not the block's."""
    policy = Timeout(5)
    ended: list[tuple[float, float]] = []

    async def work(start: float) -> None:
        await anyio.sleep(start)
        with suppress(OperationTimeoutError):
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(policy)
                await anyio.sleep(60)
        ended.append((start, virtual_clock.elapsed))
        await anyio.sleep(60)

    async with anyio.create_task_group() as group:
        for start in (0, 2, 4):
            group.start_soon(work, start)
    assert ended == [(0, 5), (2, 7), (4, 9)]


def test_blocks_in_interleaved_generators_keep_their_own_time(virtual_clock: VirtualClock) -> None:
    """One policy, two generators read by turns in one task; trio forbids that to everybody."""
    policy = Timeout(5)

    async def stream(wait: float) -> AsyncGenerator[float]:
        async with policy:
            yield 0
            await anyio.sleep(wait)
            yield virtual_clock.elapsed

    async def main() -> float:
        first, second = stream(1), stream(4.5)
        await anext(first)
        await anyio.sleep(3)
        await anext(second)
        await first.aclose()
        reached = await anext(second)
        await second.aclose()
        return reached

    assert on("asyncio", main) == 7.5


def test_nothing_is_kept_of_blocks_that_ended(virtual_clock: VirtualClock) -> None:
    """However they ended, and by whom they were closed."""

    async def stream() -> AsyncGenerator[int]:
        async with Timeout(5):
            yield 1

    async def main() -> None:
        async with Timeout(5):
            pass
        with suppress(OperationTimeoutError):
            async with Timeout(5):
                await anyio.sleep(60)
        opened = stream()
        await anext(opened)
        await asyncio.get_running_loop().create_task(opened.aclose())
        async for _ in stream():
            break
        await anyio.sleep(1)

    before = len(blocks._everywhere)
    on("asyncio", main)
    assert len(blocks._everywhere) == before


def test_blocks_entered_from_one_frame_go_by_the_context() -> None:
    """Compiled code has no frames of its own: all of its tasks seem to enter from the one below them."""
    policy, frame = Timeout(5), sys._getframe()
    contexts = [contextvars.copy_context() for _ in range(10)]
    opened = [nullcontext(number) for number in range(10)]
    for context, block in zip(contexts, opened, strict=True):
        context.run(blocks.push, policy, block, frame)
    assert [context.run(blocks.pop, policy, frame) for context in contexts] == opened
    assert blocks.pop(policy, frame) is None
