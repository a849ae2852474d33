"""Whose cancellation is it? A timeout answers for its own, and lets every other one pass."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from timeout_forms import block, call, cancelling, forever, forms
from ways import on

from resilio import BackoffStrategy, OperationTimeoutError, TimedOut, Timeout, subscribe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@forms
async def test_a_cancelled_scope_around_it_wins(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """The scope catches it; no error of ours, and no event."""
    told: list[object] = []
    with subscribe(told.append, TimedOut), anyio.move_on_after(3) as scope:
        await form(5)
    assert scope.cancelled_caught
    assert virtual_clock.elapsed == 3
    assert told == []


@forms
async def test_a_scope_with_more_time_leaves_it_alone(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Ours fires, and the scope lives on."""
    with anyio.move_on_after(9) as scope:
        with pytest.raises(OperationTimeoutError):
            await form(5)
        await anyio.sleep(1)
    assert not scope.cancelled_caught
    assert virtual_clock.elapsed == 6


@forms
async def test_a_scope_that_is_over_in_the_same_moment_wins(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Or ours does, but exactly one of them: nothing is swallowed and nothing is left."""
    outcome = "returned"
    with anyio.move_on_after(5) as scope:
        try:
            await form(5)
        except OperationTimeoutError:
            outcome = "timeout"
    if scope.cancelled_caught:
        outcome = "scope"
    assert outcome in ("timeout", "scope")
    await anyio.sleep(60)


@forms
async def test_a_scope_inside_of_it_keeps_to_itself(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Its end is no timeout of ours."""

    async def work() -> str:
        with anyio.move_on_after(1):
            await forever()
        return "went on"

    assert await form(5, work) == "went on"
    assert virtual_clock.elapsed == 1


@forms
async def test_the_deadline_of_a_scope_inside_of_it_is_its_own_error(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """A builtin TimeoutError, not ours."""

    async def work() -> None:
        with anyio.fail_after(1):
            await forever()

    with pytest.raises(TimeoutError) as caught:
        await form(5, work)
    assert not isinstance(caught.value, OperationTimeoutError)


@pytest.mark.parametrize(("outer", "inner"), [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("outer_form", [call, block], ids=["call", "block"])
@pytest.mark.parametrize("inner_form", [call, block], ids=["call", "block"])
async def test_of_two_timeouts_the_shorter_one_fires(
    outer_form: Callable[..., Awaitable[Any]],
    inner_form: Callable[..., Awaitable[Any]],
    outer: float,
    inner: float,
    virtual_clock: VirtualClock,
) -> None:
    """Whichever is around the other; with equal ones, one of them, and once."""
    told: list[float] = []
    by_inner: list[float] = []

    async def work() -> None:
        try:
            await inner_form(inner)
        except OperationTimeoutError as error:
            by_inner.append(error.seconds)
            raise

    with subscribe(lambda event: told.append(event.seconds), TimedOut), pytest.raises(OperationTimeoutError) as caught:
        await outer_form(outer, work)
    assert virtual_clock.elapsed == min(outer, inner)
    assert caught.value.seconds == min(outer, inner)
    assert told == [min(outer, inner)]
    if outer != inner:
        assert bool(by_inner) is (inner < outer)


@forms
async def test_an_inner_timeout_that_was_handled_leaves_the_outer_one_running(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """The time goes on."""

    async def work() -> None:
        with suppress(OperationTimeoutError):
            await form(2)
        await forever()

    with pytest.raises(OperationTimeoutError) as caught:
        await form(5, work)
    assert caught.value.seconds == 5
    assert virtual_clock.elapsed == 5


@forms
async def test_a_late_success_wins(form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock) -> None:
    """Work that lets nobody interrupt it is not thrown away: its result is in, though the time is over."""

    async def work() -> str:
        await anyio.sleep(4)
        virtual_clock.advance(4)
        return "late"

    assert await form(5, work) == "late"
    assert virtual_clock.elapsed == 8
    await anyio.sleep(60)


@forms
def test_a_late_success_in_spite_of_cancellation_wins_on_asyncio(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """The work was told, finished all the same, and is taken at its word."""

    async def work() -> str:
        with suppress(asyncio.CancelledError):
            await forever()
        return "late"

    assert on("asyncio", form, 5, work) == "late"


@forms
def test_a_late_success_behind_a_shield_wins_on_trio(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """The cancellation never arrived."""

    async def work() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(8)
        return "late"

    assert on("trio", form, 5, work) == "late"
    assert virtual_clock.elapsed == 8


@forms
async def test_a_result_that_is_in_just_before_the_time_ends_wins(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """By however little."""
    event = anyio.Event()

    async def work() -> str:
        await event.wait()
        return "just in time"

    async def setter() -> None:
        await anyio.sleep(5)
        event.set()

    async with anyio.create_task_group() as group:
        group.start_soon(setter)
        await anyio.lowlevel.checkpoint()
        assert await form(5.0000001, work) == "just in time"


@forms
def test_a_result_that_comes_in_with_the_timer_wins_on_asyncio(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Both are due in the same turn of the loop, the result first: the task is woken, and the timer lets it go."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(5, future.set_result, "just in time")

        async def work() -> str:
            result: str = await future
            return result

        result: str = await form(5, work)
        await anyio.sleep(60)
        return f"{result}, {cancelling()} cancellations left"

    assert on("asyncio", main) == "just in time, 0 cancellations left"


@forms
async def test_an_error_in_answer_to_the_timeout_is_raised(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Whoever turns its cancellation into an error of its own has said what happened."""

    async def work() -> None:
        try:
            await forever()
        finally:
            raise LookupError

    with pytest.raises(LookupError):
        await form(5, work)
    await anyio.sleep(60)


async def test_a_timed_out_call_is_retried_and_its_timeouts_add_up(virtual_clock: VirtualClock) -> None:
    """Per attempt, inside of the retry."""
    calls: list[float] = []

    @BackoffStrategy(max_retries=2, base_delay=1, jitter=None)
    @Timeout(5)
    async def slow() -> str:
        calls.append(virtual_clock.elapsed)
        if len(calls) < 3:
            await forever()
        return "meow"

    assert await slow() == "meow"
    assert calls == [0, 6, 13]


async def test_a_timeout_around_a_retry_is_for_all_attempts(virtual_clock: VirtualClock) -> None:
    """In total, outside of the retry: it ends the waiting, too, and is not retried."""
    calls: list[float] = []

    @Timeout(5)
    @BackoffStrategy(max_retries=9, base_delay=3, jitter=None)
    async def fails() -> None:
        calls.append(virtual_clock.elapsed)
        raise ConnectionError

    with pytest.raises(OperationTimeoutError):
        await fails()
    assert calls == [0, 3]
    assert virtual_clock.elapsed == 5


async def test_a_group_inside_of_it_is_cancelled_as_a_whole(virtual_clock: VirtualClock) -> None:
    """All of its tasks, and the timeout is one error, not a group."""
    ended: list[int] = []

    async def child(number: int) -> None:
        try:
            await forever()
        finally:
            ended.append(number)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(child, number)

    with pytest.raises(OperationTimeoutError):
        await call(5, work)
    assert sorted(ended) == [0, 1, 2]


def _typed(manager: AbstractAsyncContextManager[Timeout]) -> AbstractAsyncContextManager[Timeout]:
    """A timeout is an async context manager for type checkers too."""
    return manager


async def test_a_block_gives_the_policy(virtual_clock: VirtualClock) -> None:
    """`async with Timeout(5) as policy`."""
    async with _typed(Timeout(5)) as policy:
        assert policy.seconds == 5
