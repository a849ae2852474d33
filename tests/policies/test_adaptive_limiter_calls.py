"""An adaptive limiter around calls: it learns from those that succeed, and lets ever fewer run that harm each other."""

from __future__ import annotations

import random
import threading
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from crowds import THREADS, in_threads, on_loops
from ways import Flaky, Way, every_call, on

import resilio.sync
from resilio import AdaptiveLimiter, BulkheadFullError, BulkheadRejected, subscribe
from resilio._core import clock
from resilio.policies.gradient import GradientLimit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What every limiter learns while the test runs: the seconds that calls took, to the microsecond."""
    learnt: list[float] = []
    sample = GradientLimit.sample

    def listen(self: GradientLimit, started: float, ended: float, running: int) -> int:
        learnt.append(round(ended - started, 6))
        return sample(self, started, ended, running)

    monkeypatch.setattr(GradientLimit, "sample", listen)
    return learnt


class Slow(Flaky):
    """Goes through its outcomes, each of which takes so many seconds of a blocking wait."""

    def __init__(self, seconds: float, *outcomes: object) -> None:
        super().__init__(*outcomes)
        self._seconds = seconds

    def __call__(self) -> Any:
        clock.sleep_blocking(self._seconds)
        return super().__call__()


class Server:
    """Serves ``capacity`` calls at once in ``seconds`` each; with more than that they slow each other down."""

    def __init__(self, capacity: int, seconds: float) -> None:
        self.capacity = capacity
        self.seconds = seconds
        self.inside = 0

    async def __call__(self) -> None:
        self.inside += 1
        seconds = self.seconds * max(1.0, self.inside / self.capacity)
        try:
            await clock.sleep(seconds)
        finally:
            self.inside -= 1


# -- every form --------------------------------------------------------------------------------------------------------


@every_call
def test_a_call_has_a_place_and_teaches_its_length(way: Way, virtual_clock: VirtualClock, lessons: list[float]) -> None:
    """In every form; afterwards the place is free."""
    limiter = way.names.AdaptiveLimiter()
    assert way.call(limiter, Slow(0.25, "meow")) == "meow"
    assert (limiter.running, lessons) == (0, [0.25])


@every_call
@pytest.mark.parametrize("error", [ConnectionError(), KeyboardInterrupt()], ids=repr)
def test_a_call_that_fails_teaches_nothing(
    way: Way, virtual_clock: VirtualClock, error: BaseException, lessons: list[float]
) -> None:
    """A failure may be quick or slow for reasons of its own; the place is given back."""
    limiter = way.names.AdaptiveLimiter()
    with pytest.raises(type(error)):
        way.call(limiter, Slow(5, error))
    assert (limiter.running, lessons) == (0, [])


@every_call
def test_a_full_limiter_refuses_at_once(way: Way, virtual_clock: VirtualClock) -> None:
    """As a bulkhead does, with its error and its event."""
    limiter, fn = way.names.AdaptiveLimiter(initial=1), Flaky("meow")
    told: list[BulkheadRejected] = []
    assert limiter.try_acquire()
    with subscribe(told.append, BulkheadRejected), pytest.raises(BulkheadFullError) as caught:
        way.call(limiter, fn)
    assert (fn.calls, virtual_clock.elapsed) == (0, 0)
    assert caught.value.context["max_concurrent"] == 1
    assert [(each.running, each.waiting) for each in told] == [(1, 0)]
    limiter.release()
    assert way.call(limiter, fn) == "meow"


async def test_a_cancelled_call_teaches_nothing_and_gives_its_place_back(
    virtual_clock: VirtualClock, lessons: list[float]
) -> None:
    """Whether it runs or waits for a place."""
    limiter = AdaptiveLimiter(initial=1, maximum=1, max_queue=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.execute, clock.sleep, 3600)
        await clock.sleep(1)
        tasks.start_soon(limiter.execute, clock.sleep, 3600)
        await clock.sleep(1)
        assert (limiter.running, limiter.waiting) == (1, 1)
        tasks.cancel_scope.cancel()
    assert (limiter.running, limiter.waiting, lessons) == (0, 0, [])


async def test_the_wait_for_a_place_is_not_the_dependencys_time(
    virtual_clock: VirtualClock, lessons: list[float]
) -> None:
    """What is learnt is how long the call took, not how long it stood in line."""
    limiter = AdaptiveLimiter(initial=1, maximum=1, max_queue=10)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(limiter.execute, clock.sleep, 0.5)
    assert virtual_clock.elapsed == 5
    assert lessons == [0.5] * 10


async def test_patience_in_the_queue_ends_after_max_wait(virtual_clock: VirtualClock) -> None:
    """As in a bulkhead's."""
    limiter = AdaptiveLimiter(initial=1, max_queue=1, max_wait=2.5)
    limiter.try_acquire()
    with pytest.raises(BulkheadFullError, match=r"within 2\.5 s"):
        await limiter.execute(int)
    assert virtual_clock.elapsed == 2.5


# -- finding its size --------------------------------------------------------------------------------------------------


async def settle_on(server: Server, limiter: AdaptiveLimiter, seconds: float, clients: int = 60) -> None:
    """Let more clients than the server can bear call it for so long, one call after the other each."""
    end = clock.monotonic() + seconds

    async def client(number: int) -> None:
        await clock.sleep(number / 1000)
        while clock.monotonic() < end:
            await limiter.execute(server)

    async with anyio.create_task_group() as tasks:
        for number in range(clients):
            tasks.start_soon(client, number)


@pytest.mark.slow("thousands of calls")
async def test_sixty_clients_before_a_server_that_bears_ten(virtual_clock: VirtualClock, lessons: list[float]) -> None:
    """The limit settles at a small queue and stays there, also when all has become slower for good."""
    server, limiter = Server(10, 0.1), AdaptiveLimiter(initial=20, maximum=200, max_queue=100)
    await settle_on(server, limiter, 10)
    for _ in range(3):
        before, began = len(lessons), clock.monotonic()
        await settle_on(server, limiter, 20)
        assert 10 <= limiter._gradient._limit <= 40
        assert len(lessons) - before > 0.95 * (clock.monotonic() - began) * 100
    server.seconds = 0.5
    await settle_on(server, limiter, 60)
    before, began = len(lessons), clock.monotonic()
    await settle_on(server, limiter, 60)
    assert 10 <= limiter._gradient._limit <= 40
    assert len(lessons) - before > 0.95 * (clock.monotonic() - began) * 20


@pytest.mark.slow("thousands of calls")
async def test_it_follows_the_dependencys_day(virtual_clock: VirtualClock) -> None:
    """When the server bears less the limit falls, and when it is well again it rises."""
    server, limiter = Server(40, 0.1), AdaptiveLimiter(initial=20, maximum=60, max_queue=100)
    await settle_on(server, limiter, 10)
    well = limiter.limit
    server.capacity = 4
    await settle_on(server, limiter, 15)
    ill = limiter.limit
    server.capacity = 40
    await settle_on(server, limiter, 15)
    assert ill < well / 2
    assert limiter.limit > 2 * ill


async def test_a_limit_that_grows_calls_in_those_who_wait(virtual_clock: VirtualClock) -> None:
    """The place that a good answer made is taken at once, not when the next call ends."""
    limiter = AdaptiveLimiter(initial=4, smoothing=1, max_queue=10)
    began: list[float] = []

    async def work(seconds: float) -> None:
        began.append(virtual_clock.elapsed)
        await clock.sleep(seconds)

    for _ in range(9):
        await limiter.execute(int)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.execute, work, 10)
        await clock.sleep(1)
        for _ in range(7):
            tasks.start_soon(limiter.execute, work, 100)
        await clock.sleep(50)
        assert limiter.limit == 6  # 4 and its square root
        assert (limiter.running, limiter.waiting) == (6, 1)
    assert began[:7] == [0, 1, 1, 1, 10, 10, 10]


async def test_a_limit_that_shrinks_takes_effect_as_calls_end(virtual_clock: VirtualClock) -> None:
    """Nobody is thrown out."""
    limiter = AdaptiveLimiter(initial=10, smoothing=1, maximum=10, max_queue=20)
    for _ in range(19):  # a round, and all of the next one but its last call
        await limiter.execute(clock.sleep, 0.1)
    async with anyio.create_task_group() as tasks:
        for seconds in (10, *[20] * 9):
            tasks.start_soon(limiter.execute, clock.sleep, seconds)
        await clock.sleep(15)
        assert limiter.limit == 8  # half of 10, and its square root
        assert limiter.running == 9
        with anyio.move_on_after(1) as scope:
            await limiter.execute(int)
        assert scope.cancelled_caught
    assert limiter.running == 0


async def rest(limiter: AdaptiveLimiter) -> None:
    """Let so many calls run that a rest begins."""
    whole = limiter.limit
    async with anyio.create_task_group() as tasks:
        for _ in range(whole):
            tasks.start_soon(limiter.execute, clock.sleep, 0.1)
    while limiter.limit == whole:
        async with anyio.create_task_group() as tasks:
            for _ in range(whole):
                tasks.start_soon(limiter.execute, clock.sleep, 0.1)


async def test_streams_that_stay_open_hold_a_rest_up_for_a_while_only(virtual_clock: VirtualClock) -> None:
    """They keep their places for hours; who finds none after forty latencies gets one of those beyond the rest."""
    limiter = AdaptiveLimiter(initial=12, maximum=12)
    await rest(limiter)
    assert limiter.max_concurrent == limiter.limit == 4
    held = [limiter.try_acquire() for _ in range(5)]
    assert held == [True] * 4 + [False]
    with pytest.raises(BulkheadFullError):
        await limiter.execute(int)
    await clock.sleep(4.1)
    assert await limiter.execute(int) == 0
    assert limiter.max_concurrent == limiter.limit == 12


async def test_the_end_of_a_rest_calls_in_those_who_wait(virtual_clock: VirtualClock) -> None:
    """All of them, by whoever finds it over."""
    limiter, began = AdaptiveLimiter(initial=12, maximum=12, max_queue=10), list[str]()
    await rest(limiter)
    for _ in range(4):
        assert limiter.try_acquire()

    async def work(name: str) -> None:
        began.append(name)
        await clock.sleep(1)

    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(limiter.execute, work, name)
            await clock.sleep(1)
        assert (limiter.waiting, began) == (2, [])
        await clock.sleep(4)
        await limiter.execute(work, "c")
        assert limiter.waiting == 0
    assert sorted(began) == ["a", "b", "c"]


async def test_a_resize_during_a_rest_holds_at_once(virtual_clock: VirtualClock) -> None:
    """Of the limit; a longer queue leaves the rest alone."""
    limiter = AdaptiveLimiter(initial=12, maximum=12)
    await rest(limiter)
    limiter.resize(max_queue=1)
    assert limiter.max_concurrent == limiter.limit == 4
    limiter.resize(10)
    assert limiter.max_concurrent == limiter.limit == 10


def test_a_resize_is_where_it_goes_on_from(virtual_clock: VirtualClock) -> None:
    """Within its bounds; a refused one changes nothing."""
    limiter = resilio.sync.AdaptiveLimiter(initial=20, minimum=5, maximum=50)
    limiter.resize(40, max_queue=3)
    assert (limiter.limit, limiter.max_concurrent) == (40, 40)
    for bad in (4, 51, 0):
        with pytest.raises(ValueError, match="max_concurrent must be a whole number, at least 5 and at most 50"):
            limiter.resize(bad)
    with pytest.raises(TypeError, match="max_queue must be a whole number"):
        limiter.resize(30, "3")  # type: ignore[arg-type]
    assert (limiter.limit, limiter.max_concurrent) == (40, 40)
    limiter.resize(max_queue=0)
    assert limiter.limit == 40


# -- blocks and streams ------------------------------------------------------------------------------------------------


async def test_a_block_has_a_place_and_teaches(virtual_clock: VirtualClock, lessons: list[float]) -> None:
    """`async with limiter:`; one that fails teaches nothing."""
    limiter = AdaptiveLimiter(initial=1)
    async with limiter:
        assert limiter.running == 1
        with pytest.raises(BulkheadFullError):
            await limiter.execute(int)
        await clock.sleep(0.5)
    with pytest.raises(LookupError):
        async with limiter:
            raise LookupError
    assert (limiter.running, lessons) == (0, [0.5])


def test_a_blocking_block_has_a_place_and_teaches(virtual_clock: VirtualClock, lessons: list[float]) -> None:
    """`with limiter:` too."""
    limiter = resilio.sync.AdaptiveLimiter(initial=1)
    with limiter:
        assert limiter.running == 1
        clock.sleep_blocking(0.5)
    with pytest.raises(LookupError), limiter:
        raise LookupError
    assert (limiter.running, lessons) == (0, [0.5])


async def test_a_stream_teaches_by_its_first_item_and_holds_its_place(
    virtual_clock: VirtualClock, lessons: list[float]
) -> None:
    """How long the rest takes is the consumer's doing."""
    limiter = AdaptiveLimiter(initial=1)

    @limiter
    async def stream() -> AsyncGenerator[int]:
        await clock.sleep(0.5)
        yield 1
        await clock.sleep(100)
        yield 2

    async with aclosing(stream()) as items:
        assert await anext(items) == 1
        assert (limiter.running, lessons) == (1, [0.5])
        await clock.sleep(1000)
        assert await anext(items) == 2
    assert (limiter.running, lessons) == (0, [0.5])


def test_a_generator_teaches_by_its_first_item_and_holds_its_place(
    virtual_clock: VirtualClock, lessons: list[float]
) -> None:
    """Without an event loop as well."""
    limiter = resilio.sync.AdaptiveLimiter(initial=1)

    @limiter
    def items() -> Generator[int]:
        clock.sleep_blocking(0.5)
        yield 1
        yield 2

    with closing(items()) as opened:
        assert next(opened) == 1
        clock.sleep_blocking(1000)
        assert limiter.running == 1
    assert (limiter.running, lessons) == (0, [0.5])


async def test_a_stream_that_fails_to_start_teaches_nothing(lessons: list[float]) -> None:
    """And holds no place."""
    limiter = AdaptiveLimiter(initial=1)

    @limiter
    async def stream() -> AsyncGenerator[int]:
        raise ConnectionError
        yield 1

    with pytest.raises(ConnectionError):
        await anext(stream())
    assert (limiter.running, lessons) == (0, [])


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.slow("eight threads take turns very often")
def test_threads_lose_no_place_and_no_lesson(lessons: list[float]) -> None:
    """Eight threads wait in one queue while the limit moves: everybody gets in, nobody beyond the largest limit."""
    limiter, lock, inside, most = (
        resilio.sync.AdaptiveLimiter(initial=2, maximum=5, max_queue=THREADS),
        threading.Lock(),
        0,
        0,
    )

    @limiter
    def work(chance: random.Random) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        for _ in range(chance.randrange(200)):
            pass
        with lock:
            inside -= 1

    def thread(number: int) -> None:
        chance = random.Random(number)
        for _ in range(300):
            work(chance)

    in_threads(thread)
    assert (limiter.running, limiter.waiting, len(lessons)) == (0, 0, THREADS * 300)
    assert most <= 5


@pytest.mark.slow("four event loops")
def test_event_loops_lose_no_place_and_no_lesson(lessons: list[float]) -> None:
    """asyncio, uvloop and trio wait in one queue; each is woken on its own loop."""
    limiter, done = AdaptiveLimiter(initial=2, maximum=6, max_queue=1000), list[int]()

    @limiter
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async def main(_: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(work)

    on_loops(main)
    assert (len(done), limiter.running, limiter.waiting, len(lessons)) == (400, 0, 0, 400)


def test_both_colours_learn_from_the_same_kind_of_calls(virtual_clock: VirtualClock) -> None:
    """The same calls lead to the same limit, on either backend and without one."""

    def blocking() -> int:
        limiter = resilio.sync.AdaptiveLimiter(initial=2)
        for seconds in (0.1, 0.1, 0.2, 0.9, 0.1):
            limiter.execute(clock.sleep_blocking, seconds)
        return limiter.limit

    async def main() -> int:
        limiter = AdaptiveLimiter(initial=2)
        for seconds in (0.1, 0.1, 0.2, 0.9, 0.1):
            await limiter.execute(clock.sleep, seconds)
        return limiter.limit

    assert blocking() == on("asyncio", main) == on("trio", main)
