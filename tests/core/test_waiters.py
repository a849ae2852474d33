"""Waiting for another call to wake one, across event loops and threads."""

from __future__ import annotations

import asyncio
import threading

import anyio
import anyio.to_thread
import pytest
import trio

from resilio._core.drive import drive
from resilio._core.pauses import AsyncPause, BlockingPause
from resilio._core.waiter import AsyncWaiter, BlockingWaiter


@pytest.mark.anyio
async def test_a_task_is_woken_from_its_own_loop() -> None:
    """Another task wakes it; it knows that it was woken."""
    waiter = AsyncWaiter()
    answers: list[bool] = []

    async def wait() -> None:
        answers.append(await waiter.wait(None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        assert waiter.wake()
    assert answers == [True]


@pytest.mark.anyio
async def test_a_task_is_woken_from_a_thread() -> None:
    """A plain thread wakes a task of a loop that it knows nothing of."""
    waiter = AsyncWaiter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, waiter.wake)
        assert await waiter.wait(None)


@pytest.mark.anyio
async def test_a_task_that_nobody_wakes_gives_up_in_time() -> None:
    """A timeout of nothing is over at once, and says that nobody came."""
    assert await AsyncWaiter().wait(0.0) is False


@pytest.mark.anyio
async def test_waking_before_the_wait_counts() -> None:
    """Whoever is woken before it waits does not wait."""
    waiter = AsyncWaiter()
    waiter.wake()
    assert await waiter.wait(None)


@pytest.mark.anyio
async def test_cancellation_arrives_in_the_wait() -> None:
    """A cancelled task stops waiting, without an answer."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await AsyncWaiter().wait(None)
        pytest.fail("waited through a cancellation")
    assert scope.cancelled_caught


def test_whoever_wakes_a_loop_that_is_gone_learns_of_it() -> None:
    """On asyncio and trio alike: False, so that the next in the queue can be woken instead."""

    async def make() -> AsyncWaiter:
        return AsyncWaiter()

    assert asyncio.run(make()).wake() is False
    assert trio.run(make).wake() is False


def test_a_thread_is_woken_by_another() -> None:
    """A blocking waiter is driven without an event loop, and woken from a second thread."""
    waiter = BlockingWaiter()
    thread = threading.Thread(target=waiter.wake)
    thread.start()
    assert drive(waiter.wait(10.0)) is True
    thread.join()


def test_a_thread_that_nobody_wakes_gives_up_in_time() -> None:
    """A timeout of nothing is over at once."""
    assert drive(BlockingWaiter().wait(0.0)) is False


@pytest.mark.anyio
async def test_a_pause_makes_the_waiter_of_its_world() -> None:
    """A policy written once asks its pause for a waiter."""
    assert isinstance(AsyncPause().waiter(), AsyncWaiter)
    assert isinstance(BlockingPause().waiter(), BlockingWaiter)
