"""Waiting switched off, as tests of applications want it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import BackoffStrategy, RetryExhaustedError, RetryScheduled, subscribe
from resilio._core.pauses import Haste, haste

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@contextmanager
def in_haste(max_attempts: int | None = None) -> Iterator[None]:
    """Switch waiting off in this context while the block runs."""
    token = haste.set(Haste(max_attempts=max_attempts))
    try:
        yield
    finally:
        haste.reset(token)


@every_way
def test_in_haste_nothing_waits(way: Way, virtual_clock: VirtualClock) -> None:
    """All attempts are made, in no time."""
    fn = Flaky(ConnectionError)
    with in_haste(), pytest.raises(RetryExhaustedError):
        way.call(way.names.BackoffStrategy(max_retries=5, jitter=None), fn)
    assert fn.calls == 6
    assert virtual_clock.elapsed == 0


@every_way
@pytest.mark.parametrize(("most", "made"), [(1, 1), (2, 2), (3, 3), (50, 6)])
def test_haste_can_cap_the_attempts(way: Way, virtual_clock: VirtualClock, most: int, made: int) -> None:
    """The strategy's own limit stays where it is lower."""
    fn = Flaky(ConnectionError)
    with in_haste(most), pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=5), fn)
    assert fn.calls == made
    assert caught.value.attempts == made


@every_way
def test_haste_ignores_what_the_server_asked(way: Way, virtual_clock: VirtualClock) -> None:
    """A test does not wait for a header either."""
    error = ConnectionError()
    error.retry_after = 100  # type: ignore[attr-defined]
    with in_haste():
        assert way.call(way.names.BackoffStrategy(), Flaky(error, "meow")) == "meow"
    assert virtual_clock.elapsed == 0


@every_way
def test_after_haste_it_waits_again(way: Way, virtual_clock: VirtualClock) -> None:
    """It holds for a context, not for a strategy."""
    strategy = way.names.BackoffStrategy(jitter=None)
    with in_haste():
        way.call(strategy, Flaky(ConnectionError(), "meow"))
    way.call(strategy, Flaky(ConnectionError(), "meow"))
    assert virtual_clock.elapsed == 1


async def test_haste_in_one_task_leaves_the_others_alone(virtual_clock: VirtualClock) -> None:
    """Two tasks, one strategy."""
    strategy = BackoffStrategy(jitter=None, base_delay=10)
    done: list[tuple[str, float]] = []

    async def hasty() -> None:
        with in_haste():
            await strategy.execute(Flaky(ConnectionError(), "meow"))
        done.append(("hasty", virtual_clock.elapsed))

    async def patient() -> None:
        await strategy.execute(Flaky(ConnectionError(), "meow"))
        done.append(("patient", virtual_clock.elapsed))

    async with anyio.create_task_group() as group:
        group.start_soon(patient)
        group.start_soon(hasty)
    assert done == [("hasty", 0), ("patient", 10)]


async def test_in_haste_other_tasks_still_have_their_turn() -> None:
    """A retry that does not wait is no busy loop."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.lowlevel.checkpoint()
        before = turns
        with in_haste(), pytest.raises(RetryExhaustedError):
            await BackoffStrategy(max_retries=20).execute(Flaky(ConnectionError))
        assert turns - before >= 10
        group.cancel_scope.cancel()


async def test_cancellation_arrives_in_haste() -> None:
    """Each wait is still a place where it may."""
    fn = Flaky(ConnectionError)

    def fails() -> None:
        if fn.calls == 3:
            scope.cancel()
        fn()

    with in_haste(), anyio.CancelScope() as scope:
        await BackoffStrategy(max_retries=10**6).execute(fails)
    assert scope.cancelled_caught
    assert fn.calls == 4


def test_events_tell_the_wait_that_haste_left_out(virtual_clock: VirtualClock) -> None:
    """A test can look at the delays without waiting for them."""
    delays: list[float] = []
    with in_haste(), subscribe(lambda event: delays.append(event.delay), RetryScheduled):
        resilio.sync.BackoffStrategy(jitter=None).execute(Flaky(ConnectionError(), ConnectionError(), "meow"))
    assert delays == [1, 2]
