"""Whose cancellation is it, on asyncio, where a task is cancelled and not a scope?"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from timeout_forms import call, cancelling, forever, forms
from ways import on

from resilio import OperationTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@forms
@pytest.mark.parametrize("at", [3, 5, 7])
def test_a_cancelled_asyncio_task_is_cancelled(
    form: Callable[..., Awaitable[Any]], at: float, virtual_clock: VirtualClock
) -> None:
    """Before, in the moment of, and while cleaning up after the timeout."""

    async def work() -> None:
        try:
            await forever()
        finally:
            with suppress(asyncio.CancelledError):
                await anyio.sleep(4)
            await anyio.sleep(4)

    async def run() -> None:
        await form(5, work)

    async def main() -> str:
        loop = asyncio.get_running_loop()
        task = loop.create_task(run())
        loop.call_later(at, task.cancel)
        await asyncio.wait([task])
        return "cancelled" if task.cancelled() else type(task.exception()).__name__

    assert on("asyncio", main) == "cancelled"


@forms
def test_no_cancellation_is_left_on_the_task(form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock) -> None:
    """`task.cancelling()` is back to 0 after a timeout, a late success, an error, and a nesting of them."""

    async def late() -> None:
        with suppress(asyncio.CancelledError):
            await forever()

    async def wrong() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise LookupError from None

    async def nested() -> None:
        await form(5)

    async def main() -> list[int]:
        counts = []
        for work in (forever, late, wrong, nested):
            with suppress(OperationTimeoutError, LookupError):
                await form(5, work)
            counts.append(cancelling())
        return counts

    assert on("asyncio", main) == [0, 0, 0, 0]


@forms
def test_a_task_whose_cancellation_was_suppressed_before_has_timeouts_all_the_same(
    form: Callable[..., Awaitable[Any]], virtual_clock: VirtualClock
) -> None:
    """Somebody swallowed a `cancel()` without `uncancel()`: that count is not ours."""

    async def main() -> tuple[str, int]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        try:
            await form(5)
        except OperationTimeoutError:
            return "timeout", cancelling()
        return "nothing", cancelling()

    assert on("asyncio", main) == ("timeout", 1)


@forms
@pytest.mark.parametrize(("theirs", "ours"), [(3, 5), (5, 3)])
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_asyncio_timeout_and_ours_know_their_own(
    form: Callable[..., Awaitable[Any]], theirs: float, ours: float, place: str, virtual_clock: VirtualClock
) -> None:
    """Whichever is around the other, the shorter one raises its own error."""

    async def inside() -> None:
        async with asyncio.timeout(theirs):
            await forever()

    async def main() -> tuple[bool, int]:
        try:
            if place == "inside":
                await form(ours, inside)
            else:
                async with asyncio.timeout(theirs):
                    await form(ours)
        except TimeoutError as error:
            return isinstance(error, OperationTimeoutError), cancelling()
        return False, -1

    assert on("asyncio", main) == (ours < theirs, 0)
    assert virtual_clock.elapsed == min(theirs, ours)


def test_wait_for_around_it_wins(virtual_clock: VirtualClock) -> None:
    """`asyncio.wait_for` with less time."""

    async def main() -> bool:
        try:
            await asyncio.wait_for(call(5), 3)
        except TimeoutError as error:
            return isinstance(error, OperationTimeoutError)
        return True

    assert on("asyncio", main) is False
    assert virtual_clock.elapsed == 3


def test_a_task_group_that_fails_around_it_wins(virtual_clock: VirtualClock) -> None:
    """A sibling's error cancels the guarded call: that is no timeout."""
    seen: list[type[BaseException]] = []

    async def guarded() -> None:
        try:
            await call(5)
        except BaseException as error:
            seen.append(type(error))
            raise

    async def fails() -> None:
        await anyio.sleep(3)
        raise LookupError

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(guarded())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        on("asyncio", main)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert seen == [asyncio.CancelledError]


def test_an_awaited_task_that_is_cancelled_by_others_is_no_timeout(virtual_clock: VirtualClock) -> None:
    """CancelledError that comes out of the work itself, with no timer fired, passes."""

    async def main() -> str:
        inner = asyncio.get_running_loop().create_task(forever())
        asyncio.get_running_loop().call_later(1, inner.cancel)

        async def work() -> None:
            await inner

        try:
            await call(5, work)
        except asyncio.CancelledError:
            return "cancelled"
        return "?"

    assert on("asyncio", main) == "cancelled"


def test_a_shielded_task_goes_on_after_the_timeout(virtual_clock: VirtualClock) -> None:
    """`asyncio.shield` works as ever."""
    done: list[float] = []

    async def long() -> None:
        await anyio.sleep(8)
        done.append(virtual_clock.elapsed)

    async def main() -> None:
        task = asyncio.get_running_loop().create_task(long())

        async def work() -> None:
            await asyncio.shield(task)

        with pytest.raises(OperationTimeoutError):
            await call(5, work)
        await task

    on("asyncio", main)
    assert done == [8]


def test_outside_of_a_task_there_is_nothing_to_cancel() -> None:
    """An error that says so, not a timeout that never fires."""

    async def main() -> BaseException | None:
        coroutine = call(5)
        caught: list[BaseException] = []

        def step() -> None:
            try:
                coroutine.send(None)
            except BaseException as error:
                caught.append(error)

        loop = asyncio.get_running_loop()
        loop.call_soon(step)
        await asyncio.sleep(0.001)
        return caught[0]

    error = on("asyncio", main)
    assert isinstance(error, RuntimeError)
    assert "task" in str(error)
