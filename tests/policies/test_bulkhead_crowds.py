"""A bulkhead before many threads and event loops at once: exact limits, one queue, no lost wake-up."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from crowds import THREADS, in_threads, on_loops

import resilio.sync
from resilio import Bulkhead, BulkheadFullError
from resilio._core import clock
from resilio.policies.places import Places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.testing.virtual_clock import VirtualClock

SEEDS = range(5)


class Room:
    """Counts who is inside.

    Attributes:
        most: The most that were inside at once.
        total: How many have been inside.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self.total = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.total += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


# -- threads -----------------------------------------------------------------------------------------------------------


def test_threads_wait_in_one_queue() -> None:
    """Eight threads, three places: never more than three inside, and everybody gets in."""
    bulkhead, room = resilio.sync.Bulkhead(3, max_queue=THREADS), Room()

    @bulkhead
    def work() -> None:
        with room:
            pass

    in_threads(lambda number: [work() for _ in range(300)])
    assert room.total == THREADS * 300
    assert room.most <= 3
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


def test_threads_are_served_in_their_order(virtual_clock: VirtualClock) -> None:
    """The one that came first goes first."""
    bulkhead, served = resilio.sync.Bulkhead(1, max_queue=THREADS), list[int]()
    bulkhead.try_acquire()

    def work(number: int) -> None:
        clock.sleep_blocking(number + 1)
        with bulkhead:
            served.append(number)

    def let_go() -> None:
        clock.sleep_blocking(100)
        bulkhead.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    threads.append(threading.Thread(target=let_go))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert served == list(range(THREADS))


def test_a_threads_patience_ends_after_max_wait(virtual_clock: VirtualClock) -> None:
    """As a task's does."""
    bulkhead = resilio.sync.Bulkhead(1, max_queue=1, max_wait=2.5)
    bulkhead.try_acquire()
    with pytest.raises(BulkheadFullError, match=r"within 2\.5 s"):
        bulkhead.execute(int)
    assert (virtual_clock.elapsed, bulkhead.waiting, bulkhead.running) == (2.5, 0, 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.slow("thousands of calls in threads")
def test_impatient_threads_lose_no_place(seed: int) -> None:
    """Some give up in the moment in which they are called: whatever happens, no place is lost or doubled."""
    bulkhead, room = resilio.sync.Bulkhead(2, max_queue=THREADS, max_wait=0.0001), Room()
    refused = Counter[int]()

    def work(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        for _ in range(300):
            try:
                with bulkhead, room:
                    for _ in range(dice.randrange(300)):
                        pass
            except BulkheadFullError:
                refused[number] += 1

    in_threads(work)
    assert room.total + refused.total() == THREADS * 300
    assert room.most <= 2
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


# -- event loops -------------------------------------------------------------------------------------------------------


def test_four_event_loops_wait_in_one_queue() -> None:
    """asyncio, uvloop and trio share three places: never more than three inside, and every task gets in."""
    bulkhead, room = Bulkhead(3, max_queue=1000), Room()

    @bulkhead
    async def work() -> None:
        with room:
            await anyio.lowlevel.checkpoint()

    async def main(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(work)

    on_loops(main)
    assert room.total == 400
    assert room.most <= 3
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


def test_loops_and_threads_share_one_bulkhead() -> None:
    """The async one and the blocking one of the same places: a loop wakes a thread and the other way round."""
    bulkhead, room = Bulkhead(2, max_queue=1000), Room()
    blocking = resilio.sync.Bulkhead(1)
    blocking._places, blocking._lock = bulkhead._places, bulkhead._lock

    async def task() -> None:
        async with bulkhead:
            with room:
                await anyio.lowlevel.checkpoint()

    async def loop() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(task)

    def work(number: int) -> None:
        if number < 4:
            anyio.run(loop, backend=("asyncio", "trio")[number % 2])
        else:
            for _ in range(50):
                with blocking, room:
                    pass

    in_threads(work)
    assert room.total == 400
    assert room.most <= 2
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


# -- cancellation ------------------------------------------------------------------------------------------------------


async def storm(bulkhead: Bulkhead, room: Room, dice: random.Random, tasks: int) -> None:
    """So many tasks come, stay a while, and are cancelled at any moment."""

    async def one(steps_before_cancel: int, steps_inside: int) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as both:
                both.start_soon(cancel_after, scope, steps_before_cancel)
                async with bulkhead:
                    with room:
                        for _ in range(steps_inside):
                            await anyio.lowlevel.checkpoint()
                scope.cancel()

    async def cancel_after(scope: anyio.CancelScope, steps: int) -> None:
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(tasks):
            group.start_soon(one, dice.randrange(20), dice.randrange(4))


@pytest.mark.anyio
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_cancellations_lose_no_place(seed: int) -> None:
    """Waiting, just called, inside, about to go: whenever it comes, every place is free in the end."""
    bulkhead, room = Bulkhead(2, max_queue=1000), Room()
    with anyio.fail_after(20):
        await storm(bulkhead, room, random.Random(seed), 200)
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    assert 0 < room.most <= 2


@pytest.mark.slow("four event loops, 150 cancelled tasks each")
@pytest.mark.parametrize("seed", SEEDS)
def test_random_cancellations_on_four_loops_lose_no_place(seed: int) -> None:
    """A place that one loop passes on is taken up by another."""
    bulkhead, room = Bulkhead(2, max_queue=1000), Room()

    async def main(number: int) -> None:
        await storm(bulkhead, room, random.Random(f"{seed} {number}"), 150)

    on_loops(main)
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    assert 0 < room.most <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_resizing_all_the_time_loses_no_place(seed: int) -> None:
    """Places come and go while threads wait for them; nobody is forgotten."""
    bulkhead, room = resilio.sync.Bulkhead(1, max_queue=THREADS), Room()

    def work(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        for _ in range(200):
            if number == 0:
                bulkhead.resize(dice.randint(1, 4))
            else:
                with bulkhead, room:
                    pass

    in_threads(work)
    assert room.total == (THREADS - 1) * 200
    assert room.most <= 4
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


# -- the garbage collector under the lock ------------------------------------------------------------------------------


class CollectingPlaces(Places):
    """Places in whose count the garbage collector runs: that is under the bulkhead's lock."""

    __slots__ = ()

    def take(self) -> bool:
        gc.collect()
        return super().take()


def test_a_stream_collected_under_the_lock_gives_its_place_back() -> None:
    """An abandoned guarded generator that the collector finds while the bulkhead is locked does not lock it up."""
    bulkhead = resilio.sync.Bulkhead(2)
    bulkhead._places = CollectingPlaces(2, 0)

    @bulkhead
    def stream() -> Iterator[int]:
        yield 1
        yield 2

    def work(number: int) -> None:
        abandoned: list[Any] = [stream()]
        next(abandoned[0])
        abandoned.append(abandoned)  # only the collector can free it
        del abandoned
        assert bulkhead.running == 1
        assert bulkhead.try_acquire()

    in_threads(work, threads=1, patience=10)
    assert bulkhead.running == 1
