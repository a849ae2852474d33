"""Those who wait for a token: one line, one who watches the clock, and no token lost when somebody goes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from crowds import THREADS, VIRTUAL_LOOPS, in_threads, on_loops

import resilio.sync
from resilio import RateLimiter, RateLimitExceededError
from resilio._core import clock
from resilio._core.waiter import AsyncWaiter
from resilio.policies.token_bucket import TokenBucket

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Line:
    """Tasks in the line of a limiter.

    Attributes:
        passed: The number of each that passed, with the seconds from the start.
    """

    def __init__(self, limiter: RateLimiter, tasks: anyio.abc.TaskGroup) -> None:
        self.limiter = limiter
        self.passed: list[tuple[int, float]] = []
        self._began = clock.monotonic()
        self._tasks = tasks
        self._scopes: dict[int, anyio.CancelScope] = {}

    async def join(self, *numbers: int) -> None:
        """Stand in line, in this order."""
        for number in numbers:
            self._tasks.start_soon(self._wait, number)
            await settled()

    def cancel(self, number: int) -> None:
        """Cancel the one with this number."""
        self._scopes[number].cancel()

    async def _wait(self, number: int) -> None:
        with anyio.CancelScope() as self._scopes[number]:
            async with self.limiter:
                self.passed.append((number, round(clock.monotonic() - self._began, 6)))


async def settled() -> None:
    """Let everybody do what they can."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# -- the line ----------------------------------------------------------------------------------------------------------


async def test_first_come_first_served(virtual_clock: VirtualClock) -> None:
    """Each passes at its turn, to the moment."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(10, burst=1), tasks)
        await line.join(0, 1, 2, 3, 4)
        assert line.limiter.waiting == 4
    assert line.passed == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert line.limiter.waiting == 0


async def test_nobody_overtakes_the_line(virtual_clock: VirtualClock) -> None:
    """Not even where a token is there already and the first in line has yet to wake up."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(10, burst=1), tasks)
        await line.join(0, 1)
        virtual_clock.advance(0.15)
        assert not line.limiter.try_acquire()
        await line.join(2)
    assert [number for number, _ in line.passed] == [0, 1, 2]


async def test_the_tokens_of_those_who_go_are_for_those_who_stay(virtual_clock: VirtualClock) -> None:
    """Without delay: whoever is behind them moves up, and the first who stays takes the very next token."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(1), tasks)
        await line.join(0, 1, 2, 3, 4)
        await clock.sleep(0.5)
        line.cancel(3)
        line.cancel(1)
        line.cancel(2)
    assert line.passed == [(0, 0.0), (4, 1.0)]


async def test_the_first_in_line_may_go_as_it_is_called(virtual_clock: VirtualClock) -> None:
    """It has been woken, and is cancelled before it could look at the clock."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(1), tasks)
        await line.join(0, 1, 2, 3)
        line.cancel(1)
        await anyio.lowlevel.checkpoint()
        line.cancel(2)
    assert line.passed == [(0, 0.0), (3, 1.0)]


async def test_the_last_one_to_go_leaves_the_token(virtual_clock: VirtualClock) -> None:
    """Whoever comes next finds it."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(1), tasks)
        await line.join(0, 1)
        line.cancel(1)
        await settled()
        assert line.limiter.waiting == 0
        await clock.sleep(1)
        assert line.limiter.try_acquire()


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_the_wait_is_foretold_with_all_those_ahead(virtual_clock: VirtualClock) -> None:
    """The fourth behind three waits four intervals: too long; when one of them goes, it is not."""
    async with anyio.create_task_group() as tasks:
        line = Line(RateLimiter(10, burst=1, max_wait=0.3), tasks)
        await line.join(0, 1, 2, 3)
        with pytest.raises(RateLimitExceededError) as caught:
            await line.limiter.execute(int)
        assert caught.value.retry_after == pytest.approx(0.4)
        line.cancel(2)
        await settled()
        await line.join(4)
    assert line.passed == [(0, 0.0), (1, 0.1), (3, 0.2), (4, 0.3)]


async def test_retry_after_is_kept(virtual_clock: VirtualClock) -> None:
    """Whoever comes back after that long passes at once."""
    limiter = RateLimiter(3, per=7, burst=1, max_wait=0)
    await limiter.execute(int)
    with pytest.raises(RateLimitExceededError) as caught:
        await limiter.execute(int)
    assert caught.value.retry_after == pytest.approx(7 / 3)
    await clock.sleep(caught.value.retry_after or 0.0)
    assert limiter.try_acquire()


# -- cost --------------------------------------------------------------------------------------------------------------


class CountingBucket(TokenBucket):
    """As full as another one, and counts how often it is asked."""

    __slots__ = ("asked",)

    def __init__(self, other: TokenBucket) -> None:
        self.interval, self._allowance, self._full_at = other.interval, other._allowance, other._full_at
        self.asked = 0

    def take(self, now: float) -> bool:
        self.asked += 1
        return super().take(now)


@pytest.mark.slow("ten thousand tasks")
async def test_ten_thousand_waiters_cost_ten_thousand_times_one(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first in line looks at the clock, and each is woken once: nothing grows with the length of the line."""
    limiter = RateLimiter(10_000)
    while limiter.try_acquire():
        pass
    bucket = limiter._bucket = CountingBucket(limiter._bucket)
    woken = Counter[AsyncWaiter]()
    wake = AsyncWaiter.wake

    def count(waiter: AsyncWaiter) -> bool:
        woken[waiter] += 1
        return wake(waiter)

    monkeypatch.setattr(AsyncWaiter, "wake", count)
    async with anyio.create_task_group() as tasks:
        for _ in range(10_000):
            tasks.start_soon(limiter.__aenter__)
        await settled()
        assert limiter.waiting == 10_000
        virtual_clock.advance(1)
    assert bucket.asked < 3 * 10_000
    assert set(woken.values()) == {1}


# -- threads and event loops -------------------------------------------------------------------------------------------


def assert_evenly(passed: list[float], rate: float, burst: int) -> None:
    """In any stretch at most the burst and what came in meanwhile."""
    times = sorted(passed)
    for first, began in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + (times[last] - began) * rate + 1e-6


def test_threads_stand_in_one_line(virtual_clock: VirtualClock) -> None:
    """Eight threads and one rate: together they pass evenly."""
    limiter, passed = resilio.sync.RateLimiter(10, burst=4), list[float]()

    def work(number: int) -> None:
        for _ in range(10):
            with limiter:
                passed.append(clock.monotonic())

    in_threads(work, patience=None)
    assert len(passed) == THREADS * 10
    assert_evenly(passed, 10, 4)
    assert virtual_clock.elapsed == pytest.approx((THREADS * 10 - 4) / 10)


@pytest.mark.slow("four event loops on one virtual clock")
def test_event_loops_stand_in_one_line(virtual_clock: VirtualClock) -> None:
    """Those of asyncio and of trio take turns; no wake-up is lost between them."""
    limiter, passed = RateLimiter(100, burst=5), list[float]()

    @limiter
    async def work() -> None:
        passed.append(clock.monotonic())

    async def main(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(work)

    on_loops(main, patience=None, loops=VIRTUAL_LOOPS)
    assert len(passed) == 80
    assert_evenly(passed, 100, 5)


# -- event loops that end ----------------------------------------------------------------------------------------------


def stranded(limiter: RateLimiter) -> asyncio.Task[Any]:
    """A task in line whose event loop has been closed under it."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(limiter.execute(int))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    return task


def let_go(task: asyncio.Task[Any]) -> None:
    """Clear a stranded task away as the garbage collector would."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    coroutine = task.get_coro()
    assert coroutine is not None
    coroutine.close()


def test_who_cannot_be_woken_is_passed_over(virtual_clock: VirtualClock) -> None:
    """Its event loop is gone: the one behind it is next."""
    limiter = RateLimiter(1)
    limiter.try_acquire()

    async def main() -> asyncio.Task[Any]:
        with virtual_clock.loop():
            async with anyio.create_task_group() as tasks:
                line = Line(limiter, tasks)
                await line.join(1)
                lost = await anyio.to_thread.run_sync(stranded, limiter)
                await line.join(2)
                assert limiter.waiting == 3
        assert line.passed == [(1, 1.0), (2, 2.0)]
        return lost

    let_go(asyncio.run(main()))
    assert limiter.waiting == 0


def test_the_line_moves_on_when_its_first_is_cleared_away(virtual_clock: VirtualClock) -> None:
    """The first in line watched the clock for all; the next one takes over."""
    limiter = RateLimiter(1)
    limiter.try_acquire()
    lost = stranded(limiter)

    async def main() -> None:
        with virtual_clock.loop():
            async with anyio.create_task_group() as tasks:
                line = Line(limiter, tasks)
                await line.join(2)
                await clock.sleep(5)
                assert line.passed == []
                let_go(lost)
        assert line.passed == [(2, 5.0)]

    asyncio.run(main())


class CollectingBucket(TokenBucket):
    """A bucket in which the garbage collector runs: that is under the limiter's lock."""

    __slots__ = ()

    def wait(self, now: float, ahead: int) -> float:
        gc.collect()
        return super().wait(now, ahead)


def test_a_call_collected_under_the_lock_leaves_the_line() -> None:
    """An abandoned call that the collector finds while the limiter is locked does not lock it up."""
    limiter = RateLimiter(0.001)
    limiter.try_acquire()
    abandoned: list[Any] = [stranded(limiter)]
    abandoned[0]._log_destroy_pending = False
    abandoned.append(abandoned)  # only the collector can free it
    del abandoned
    assert limiter.waiting == 1
    limiter._bucket = CollectingBucket(1, 1)
    in_threads(lambda _: anyio.run(limiter.execute, int), threads=1, patience=10)
    assert limiter.waiting == 0
