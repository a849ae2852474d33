"""Those who wait for a place: first come first served, and nothing is lost when one of them goes."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import Bulkhead, BulkheadFullError
from resilio._core import clock
from resilio._core.pauses import Haste, haste

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from resilio.policies.bulkhead import BulkheadBase
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Queue:
    """Tasks that wait for a place of a full bulkhead, each by its number.

    Attributes:
        served: The numbers of those that got a place, in that order.
        refused: The numbers of those that were refused, with the time.
    """

    def __init__(self, bulkhead: Bulkhead, tasks: anyio.abc.TaskGroup) -> None:
        self.bulkhead = bulkhead
        self.served: list[int] = []
        self.refused: list[tuple[int, float]] = []
        self._tasks = tasks
        self._scopes: dict[int, anyio.CancelScope] = {}

    async def join(self, *numbers: int) -> None:
        """Queue up, in this order."""
        for number in numbers:
            before = self.bulkhead.waiting
            self._tasks.start_soon(self._wait, number)
            await settled()
            assert self.bulkhead.waiting == before + 1

    def cancel(self, number: int) -> None:
        """Cancel the one with this number."""
        self._scopes[number].cancel()

    async def _wait(self, number: int) -> None:
        began = clock.monotonic()
        with anyio.CancelScope() as self._scopes[number]:
            try:
                async with self.bulkhead:
                    self.served.append(number)
                    await anyio.sleep_forever()
            except BulkheadFullError:
                self.refused.append((number, round(clock.monotonic() - began, 6)))


@asynccontextmanager
async def queue_for(bulkhead: Bulkhead) -> AsyncIterator[Queue]:
    """A queue before ``bulkhead``, whose places are all taken by hand; all are free in the end."""
    while bulkhead.try_acquire():
        pass
    by_hand = bulkhead.running
    async with anyio.create_task_group() as tasks:
        yield Queue(bulkhead, tasks)
        tasks.cancel_scope.cancel()
    assert bulkhead.waiting == 0
    assert 0 <= bulkhead.running <= by_hand


async def settled() -> None:
    """Let everybody do what they can."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# -- order -------------------------------------------------------------------------------------------------------------


async def test_first_come_first_served() -> None:
    """Places go to those who wait longest."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1, 2, 3)
        queue.bulkhead.release()
        await settled()
        assert queue.served == [1]
        queue.cancel(1)
        await settled()
        queue.cancel(2)
        await settled()
        assert queue.served == [1, 2, 3]


async def test_nobody_overtakes() -> None:
    """A place that was freed belongs to the first in line before that one has even woken up."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1)
        queue.bulkhead.release()
        assert not queue.bulkhead.try_acquire()
        assert (queue.bulkhead.running, queue.bulkhead.waiting) == (1, 0)
        await settled()
        assert queue.served == [1]


class Ajar:
    """A lock at which somebody stands who slips in each time it opens."""

    def __init__(self, bulkhead: Bulkhead) -> None:
        self._lock = threading.RLock()
        self._bulkhead = bulkhead
        self.slipped_in = 0
        self._is_trying = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self._is_trying:
            self._is_trying = True
            self.slipped_in += self._bulkhead.try_acquire()
            self._is_trying = False


@pytest.mark.parametrize("free", [Bulkhead.release, lambda bulkhead: bulkhead.resize(2)], ids=["release", "resize"])
async def test_nobody_slips_in_while_a_place_is_handed_on(free: Callable[[Bulkhead], None]) -> None:
    """Freeing a place and giving it to the first in line are one step."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1)
        door = Ajar(queue.bulkhead)
        queue.bulkhead._lock = door  # type: ignore[assignment]
        free(queue.bulkhead)
        await settled()
        assert (queue.served, door.slipped_in) == ([1], 0)
        queue.bulkhead._lock = threading.RLock()


async def test_the_queue_has_an_end() -> None:
    """`max_queue` wait, the next one is refused at once, and in its message."""
    async with queue_for(Bulkhead(1, max_queue=2)) as queue:
        await queue.join(1, 2)
        with pytest.raises(BulkheadFullError, match="all 1 places are taken, and its queue is full"):
            await queue.bulkhead.execute(int)
        queue.cancel(2)
        await settled()
        await queue.join(3)


# -- patience ----------------------------------------------------------------------------------------------------------


async def test_patience_ends_after_max_wait(virtual_clock: VirtualClock) -> None:
    """To the second, and the one behind moves up."""
    async with queue_for(Bulkhead(1, max_queue=10, max_wait=5)) as queue:
        await queue.join(1)
        await clock.sleep(3)
        await queue.join(2)
        await clock.sleep(3)
        assert queue.refused == [(1, 5.0)]
        queue.bulkhead.release()
        await settled()
        assert (queue.served, queue.bulkhead.waiting) == ([2], 0)


async def test_the_refusal_says_how_long_one_waited(virtual_clock: VirtualClock) -> None:
    """In its message."""
    bulkhead = Bulkhead(1, max_queue=1, max_wait=0.5)
    bulkhead.try_acquire()
    with pytest.raises(BulkheadFullError, match=r"all 1 places are taken, and none became free within 0\.5 s"):
        await bulkhead.execute(int)
    assert virtual_clock.elapsed == 0.5


async def test_no_patience_at_all(virtual_clock: VirtualClock) -> None:
    """`max_wait=0` waits for nothing."""
    bulkhead = Bulkhead(1, max_queue=1, max_wait=0)
    bulkhead.try_acquire()
    with pytest.raises(BulkheadFullError):
        await bulkhead.execute(int)
    assert (virtual_clock.elapsed, bulkhead.waiting) == (0.0, 0)


async def test_a_place_in_the_last_moment_counts_once(virtual_clock: VirtualClock) -> None:
    """Freed in the very moment in which patience ends: served or refused, and no place is lost or doubled."""
    bulkhead = Bulkhead(1, max_queue=1, max_wait=5)
    async with queue_for(bulkhead) as queue:
        await queue.join(1)
        await clock.sleep(5)
        bulkhead.release()
        await settled()
        assert len(queue.served) + len(queue.refused) == 1
        assert bulkhead.running == len(queue.served)


# -- going -------------------------------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """The one behind it is next."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1, 2, 3)
        queue.cancel(1)
        queue.cancel(2)
        await settled()
        assert queue.bulkhead.waiting == 1
        queue.bulkhead.release()
        await settled()
        assert queue.served == [3]


async def test_a_waiter_cancelled_as_it_gets_its_place_passes_it_on() -> None:
    """It has been called, and is cancelled before it could come: the next one comes."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1, 2)
        queue.bulkhead.release()
        queue.cancel(1)
        await settled()
        assert queue.served[-1:] == [2]  # whether 1 gets in for a moment is the event loop's business
        assert (queue.bulkhead.running, queue.bulkhead.waiting) == (1, 0)


async def test_the_last_waiter_cancelled_as_it_gets_its_place_frees_it() -> None:
    """Nobody is behind it."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1)
        queue.bulkhead.release()
        queue.cancel(1)
        await settled()
        assert queue.bulkhead.running == 0


# -- another size ------------------------------------------------------------------------------------------------------


async def test_more_places_wake_those_who_wait() -> None:
    """Those who came first, as many as there are places."""
    async with queue_for(Bulkhead(1, max_queue=10)) as queue:
        await queue.join(1, 2, 3)
        queue.bulkhead.resize(3)
        assert not queue.bulkhead.try_acquire()
        await settled()
        assert set(queue.served) == {1, 2}  # both have been called, which of them runs first is the loop's business
        assert (queue.bulkhead.max_concurrent, queue.bulkhead.running, queue.bulkhead.waiting) == (3, 3, 1)


async def test_fewer_places_take_effect_as_calls_end() -> None:
    """Calls under way go on; the queue moves on when there are few enough."""
    async with queue_for(Bulkhead(3, max_queue=10)) as queue:
        await queue.join(1)
        queue.bulkhead.resize(1)
        queue.bulkhead.release()
        queue.bulkhead.release()
        await settled()
        assert (queue.served, queue.bulkhead.running) == ([], 1)
        queue.bulkhead.release()
        await settled()
        assert (queue.served, queue.bulkhead.running) == ([1], 1)


async def test_the_queue_can_be_made_longer_and_shorter() -> None:
    """Who waits already goes on waiting."""
    async with queue_for(Bulkhead(1, max_queue=1)) as queue:
        await queue.join(1)
        queue.bulkhead.resize(max_queue=2)
        await queue.join(2)
        queue.bulkhead.resize(max_queue=0)
        assert queue.bulkhead.waiting == 2
        with pytest.raises(BulkheadFullError):
            await queue.bulkhead.execute(int)


def test_a_size_that_is_refused_changes_nothing() -> None:
    """Neither of the two."""
    bulkhead = Bulkhead(3, max_queue=4)
    for sizes in ({"max_concurrent": 5, "max_queue": -1}, {"max_concurrent": 0, "max_queue": 7}):
        with pytest.raises(ValueError, match="must be a whole number"):
            bulkhead.resize(**sizes)
    with pytest.raises(TypeError, match="max_concurrent must be a whole number"):
        bulkhead.resize(2.0)  # type: ignore[arg-type]
    assert bulkhead.describe() == Bulkhead(3, max_queue=4).describe()


# -- where nobody may wait ---------------------------------------------------------------------------------------------


async def test_in_haste_nobody_waits() -> None:
    """A test that switches waiting off is refused at once."""
    bulkhead = Bulkhead(1, max_queue=1)
    bulkhead.try_acquire()
    token = haste.set(Haste())
    with pytest.raises(BulkheadFullError):
        await bulkhead.execute(int)
    haste.reset(token)


def execute(bulkhead: resilio.sync.Bulkhead) -> object:
    """A single call."""
    return bulkhead.execute(int)


def decorated(bulkhead: BulkheadBase) -> object:
    """A call of a decorated function."""
    return bulkhead(int.bit_length)(7)


@pytest.mark.parametrize("call", [execute, decorated])
async def test_blocking_code_does_not_wait_on_an_event_loop(call: Callable[[resilio.sync.Bulkhead], object]) -> None:
    """Whoever has the place may need this very loop to give it back: an error instead of a standstill."""
    bulkhead = resilio.sync.Bulkhead(1, max_queue=1)
    bulkhead.try_acquire()
    with pytest.raises(RuntimeError, match="would block the event loop"):
        call(bulkhead)
    assert (bulkhead.running, bulkhead.waiting) == (1, 0)
    bulkhead.release()
    call(bulkhead)


# -- event loops that end ----------------------------------------------------------------------------------------------


def test_a_place_is_not_given_to_a_loop_that_is_gone() -> None:
    """Its waiter cannot be woken, so the next one gets it; clearing the dead one away gives nothing back twice."""
    bulkhead = Bulkhead(1, max_queue=10)
    bulkhead.try_acquire()
    gone = asyncio.new_event_loop()
    lost = gone.create_task(bulkhead.__aenter__())
    gone.call_soon(gone.stop)
    gone.run_forever()
    assert bulkhead.waiting == 1
    gone.close()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            queue = Queue(bulkhead, tasks)
            await queue.join(1)
            bulkhead.release()
            await settled()
            assert queue.served == [1]
            lost.get_coro().close()  # as the garbage collector does
            assert bulkhead.running == 1
            tasks.cancel_scope.cancel()

    asyncio.run(main())
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
