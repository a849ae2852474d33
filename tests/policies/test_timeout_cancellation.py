"""Whose cancellation is it? A timeout answers for its own, and lets every other one pass."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from ways import on

from resilio import BackoffStrategy, OperationTimeoutError, TimedOut, Timeout, subscribe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def forever() -> None:
    """Take an hour."""
    await anyio.sleep(3600)


async def call(seconds: float, work: Callable[[], Awaitable[Any]] = forever) -> Any:
    """A guarded call."""
    return await Timeout(seconds).execute(work)


async def block(seconds: float, work: Callable[[], Awaitable[Any]] = forever) -> Any:
    """A guarded block."""
    async with Timeout(seconds):
        return await work()


forms = pytest.mark.parametrize("form", [call, block], ids=lambda form: form.__name__)


def cancelling() -> int:
    """How many cancellations are still asked of the running asyncio task."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


# -- on both libraries -------------------------------------------------------------------------------------------------


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


# -- asyncio -----------------------------------------------------------------------------------------------------------


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


# -- trio --------------------------------------------------------------------------------------------------------------


def test_a_trio_scope_around_it_wins(virtual_clock: VirtualClock) -> None:
    """`trio.move_on_after` with less time."""

    async def main() -> bool:
        with trio.move_on_after(3) as scope:
            await call(5)
        return scope.cancelled_caught

    assert on("trio", main)
    assert virtual_clock.elapsed == 3


def test_a_trio_scope_with_more_time_leaves_it_alone(virtual_clock: VirtualClock) -> None:
    """`trio.fail_after`."""

    async def main() -> None:
        with trio.fail_after(9):
            await call(5)

    with pytest.raises(OperationTimeoutError):
        on("trio", main)
    assert virtual_clock.elapsed == 5


def test_a_nursery_inside_of_it_raises_what_remains(virtual_clock: VirtualClock) -> None:
    """A child that answers its cancellation by an error: the error is raised, in its group."""

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    async def main() -> None:
        await call(5, work)

    with pytest.raises(ExceptionGroup) as caught:
        on("trio", main)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


def test_blocks_and_trio_scopes_nest_in_any_order(virtual_clock: VirtualClock) -> None:
    """Ours are trio's own scopes: its stack of scopes stays in order."""

    async def main() -> None:
        async with Timeout(20):
            with trio.move_on_after(10):
                async with Timeout(5):
                    await trio.sleep(1)
                    raise LookupError

    with pytest.raises(LookupError):
        on("trio", main)


def _typed(manager: AbstractAsyncContextManager[Timeout]) -> AbstractAsyncContextManager[Timeout]:
    """A timeout is an async context manager for type checkers too."""
    return manager


async def test_a_block_gives_the_policy(virtual_clock: VirtualClock) -> None:
    """`async with Timeout(5) as policy`."""
    async with _typed(Timeout(5)) as policy:
        assert policy.seconds == 5
