"""One strategy, shared by everybody: each call has attempts of its own."""

from __future__ import annotations

import asyncio
import copy
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import BackoffStrategy, Pipeline, RetryExhaustedError, Timeout, subscribe, with_backoff
from resilio.policies.events import RetryScheduled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

TASKS = 100
shared = BackoffStrategy(max_retries=2, base_delay=0.01, retry_exceptions=ConnectionError)
made: dict[int, int] = {}


async def fail(task: int) -> None:
    """Count an attempt of ``task`` and fail, so that tasks take turns."""
    made[task] = made.get(task, 0) + 1
    await anyio.lowlevel.checkpoint()
    raise ConnectionError(task)


@shared
async def decorated(task: int) -> None:
    """A decorated function."""
    await fail(task)


async def executed(task: int) -> None:
    """A single call."""
    await shared.execute(fail, task)


async def executed_with_errors(task: int) -> None:
    """A single call that brings errors of its own."""
    await shared.execute(fail, task, retry_exceptions=[ConnectionError])


@shared
async def stream(task: int) -> AsyncIterator[None]:
    """A decorated async generator."""
    await fail(task)
    yield


async def streamed(task: int) -> None:
    """Read it."""
    async for _ in stream(task):
        pass


async def looped(task: int) -> None:
    """A loop of attempts."""
    async for attempt in shared:
        with attempt:
            await fail(task)


class Service:
    """One with a decorated method."""

    @shared
    async def method(self, task: int) -> None:
        """The method."""
        await fail(task)


async def called(task: int) -> None:
    """Call it."""
    await Service().method(task)


piped = Pipeline(shared, Timeout(10))(fail)

FORMS: list[Callable[[int], Awaitable[None]]] = [
    decorated,
    executed,
    executed_with_errors,
    streamed,
    looped,
    called,
    piped,
]


@pytest.mark.parametrize(
    "form", FORMS, ids=["function", "execute", "execute with errors", "stream", "for", "method", "pipeline"]
)
async def test_a_hundred_tasks_have_three_attempts_each(
    form: Callable[[int], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """Three and three, not two and two."""
    made.clear()
    ends: list[int] = []

    async def run(task: int) -> None:
        with pytest.raises(RetryExhaustedError) as caught:
            await form(task)
        assert caught.value.last_exception is not None
        assert caught.value.last_exception.args == (task,)
        ends.append(caught.value.attempts)

    async with anyio.create_task_group() as group:
        for task in range(TASKS):
            group.start_soon(run, task)
    assert ends == [3] * TASKS
    assert made == dict.fromkeys(range(TASKS), 3)


async def test_attempts_stay_apart_on_every_event_loop() -> None:
    """On asyncio, eager tasks, uvloop and trio, without any wait."""
    made.clear()
    strategy = BackoffStrategy(max_retries=2, base_delay=0)

    async def run(task: int) -> None:
        with pytest.raises(RetryExhaustedError):
            await strategy.execute(fail, task)

    async with anyio.create_task_group() as group:
        for task in range(TASKS):
            group.start_soon(run, task)
    assert made == dict.fromkeys(range(TASKS), 3)


def test_threads_have_attempts_of_their_own() -> None:
    """Eight of them over one strategy, in every blocking form."""
    strategy = resilio.sync.BackoffStrategy(max_retries=2, base_delay=0)
    counts: dict[tuple[int, str], int] = {}

    def fail_in(thread: int, form: str) -> None:
        counts[thread, form] = counts.get((thread, form), 0) + 1
        raise ConnectionError

    guarded = strategy(fail_in)

    def loop(thread: int) -> None:
        for attempt in strategy:
            with attempt:
                fail_in(thread, "for")

    def work(thread: int) -> None:
        for _ in range(20):
            with pytest.raises(RetryExhaustedError):
                guarded(thread, "function")
            with pytest.raises(RetryExhaustedError):
                strategy.execute(fail_in, thread, "execute")
            with pytest.raises(RetryExhaustedError):
                loop(thread)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counts == dict.fromkeys(((t, form) for t in range(8) for form in ("function", "execute", "for")), 60)


def test_several_event_loops_share_a_strategy() -> None:
    """Made at import time, used from loops that come and go, on asyncio and trio."""
    strategy = BackoffStrategy(max_retries=2, base_delay=0)
    counts: list[int] = []

    async def main() -> None:
        calls = 0

        async def fails() -> None:
            nonlocal calls
            calls += 1
            await anyio.lowlevel.checkpoint()
            raise ConnectionError

        with pytest.raises(RetryExhaustedError):
            await strategy.execute(fails)
        counts.append(calls)

    for _ in range(3):
        for backend in ("asyncio", "trio"):
            anyio.run(main, backend=backend)
    threads = [
        threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": backend})
        for backend in ("asyncio", "trio") * 2
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counts == [3] * 10


def test_a_decorated_function_serves_several_decorations() -> None:
    """A strategy decorates any number of functions."""

    def outcome(fn: Callable[[], Any]) -> Any:
        try:
            return fn()
        except RetryExhaustedError as error:
            return error.attempts

    strategy = resilio.sync.BackoffStrategy(max_retries=1, base_delay=0)

    @strategy
    def good() -> str:
        return "meow"

    @strategy
    def bad() -> str:
        raise ConnectionError

    assert [outcome(each) for each in (good, bad, good, bad)] == ["meow", 2, "meow", 2]


async def test_one_call_per_attempt_never_overlaps(virtual_clock: VirtualClock) -> None:
    """An attempt begins when the one before it is over."""
    running = 0

    @with_backoff(base_delay=1, max_retries=3)
    async def slow() -> None:
        nonlocal running
        running += 1
        assert running == 1
        try:
            await anyio.sleep(5)
        finally:
            running -= 1
        raise ConnectionError

    with pytest.raises(RetryExhaustedError):
        await slow()


async def test_decorrelated_waits_of_two_calls_do_not_mix(virtual_clock: VirtualClock) -> None:
    """Each grows from its own last wait."""
    strategy = BackoffStrategy(max_retries=30, base_delay=1, max_delay=1e9, jitter="decorrelated")
    delays: list[float] = []

    def listen(event: Any) -> None:
        delays.append(event.delay)

    with subscribe(listen, RetryScheduled):
        for _ in range(5):
            delays.clear()
            with pytest.raises(RetryExhaustedError):
                await strategy.execute(fail, 1)
            assert delays[0] <= 3


def test_a_strategy_can_be_looped_in_two_threads_of_asyncio_at_once() -> None:
    """Nothing in it belongs to an event loop."""
    barrier = threading.Barrier(2)
    done: list[int] = []

    async def main() -> None:
        barrier.wait(5)
        async for attempt in shared:
            with attempt:
                if attempt.number < 3:
                    raise ConnectionError
        done.append(attempt.number)

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert done == [3, 3]


def test_a_shared_strategy_is_not_changed_by_calls() -> None:
    """What it says of itself stays."""
    before = copy.copy(shared.describe())
    with pytest.raises(RetryExhaustedError):
        anyio.run(executed, 1)
    assert shared.describe() == before
