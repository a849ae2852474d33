"""One breaker in many threads and many event loops at once, with exact counts."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from breaker_forms import DownError, state_of, throw, tripped

import resilio.sync
from resilio import (
    CallFailed,
    CallSucceeded,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    CircuitStateChanged,
    TripRule,
    subscribe,
)
from resilio.policies.trip import ConsecutiveMeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.policies.events import CircuitEvent

THREADS = 8


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], object], threads: int = THREADS) -> None:
    """Run ``work(number)`` in so many threads at once; what one raises is raised here."""
    together = threading.Barrier(threads)
    raised: list[BaseException] = []

    def run(number: int) -> None:
        try:
            together.wait(20)
            work(number)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join(20)
    assert not any(each.is_alive() for each in running), "a thread hangs"
    if raised:
        raise raised[0]


@pytest.mark.slow("8 threads make 10 000 calls each")
def test_eight_threads_times_ten_thousand_calls_count_exactly() -> None:
    """No failure is lost and none is counted twice."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=10**9)
    guarded = breaker(lambda fails: throw(DownError()) if fails else None)

    def work(number: int) -> None:
        for call in range(10_000):
            try:
                guarded(call % 2)
            except DownError:
                continue

    in_threads(work)
    assert breaker.snapshot().failed == THREADS * 5_000


@pytest.mark.slow("8 threads make 10 000 calls each")
def test_eight_threads_times_ten_thousand_rejections_count_exactly() -> None:
    """Rejections are counted under the lock as well."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1)
    tripped(breaker)
    rejected: Counter[int] = Counter()

    def work(number: int) -> None:
        for _ in range(10_000):
            try:
                breaker.acquire()
            except CircuitBreakerOpenError:
                rejected[number] += 1

    in_threads(work)
    assert rejected == dict.fromkeys(range(THREADS), 10000)
    assert breaker.snapshot().rejected == THREADS * 10_000


def test_failures_from_many_threads_trip_once() -> None:
    """However many threads fail at once, the circuit opens once, after the threshold."""
    for _ in range(20):
        breaker = resilio.sync.CircuitBreaker(failure_threshold=50)
        opened: list[CircuitStateChanged] = []
        reached: Counter[int] = Counter()

        def work(number: int) -> None:
            for _ in range(20):
                try:
                    with breaker:  # noqa: B023 -- the threads end before the loop goes on
                        reached[number] += 1  # noqa: B023
                        raise DownError
                except (DownError, CircuitBreakerOpenError):
                    continue

        with subscribe(opened.append, CircuitStateChanged):
            in_threads(work)
        assert [(each.number, each.after) for each in opened] == [(1, CircuitState.OPEN)]
        assert breaker.snapshot().failed == 50
        assert 50 <= reached.total() < 50 + THREADS


def test_threads_at_half_open_never_exceed_the_permits() -> None:
    """At no moment are more probes under way than allowed, though permits come and go all the time."""
    breaker = resilio.sync.CircuitBreaker(
        failure_threshold=1, recovery_timeout=0, half_open_max_calls=3, success_threshold=10**6
    )
    tripped(breaker)
    lock, under_way, most = threading.Lock(), [0], [0]

    def work(number: int) -> None:
        for _ in range(300):
            try:
                permit = breaker.acquire()
            except CircuitBreakerOpenError:
                continue
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            with lock:
                under_way[0] -= 1
            permit.release() if number % 2 else permit.success()

    in_threads(work)
    assert 1 <= most[0] <= 3
    assert state_of(breaker) is CircuitState.HALF_OPEN


def test_transitions_of_many_threads_make_one_history() -> None:
    """Numbers are given out once, and each transition begins where the one before it ended."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    told: list[CircuitStateChanged] = []

    def work(number: int) -> None:
        for step in range(100):
            match (number + step) % 4:
                case 0:
                    breaker.reset()
                case 1:
                    with breaker.isolate():
                        pass
                case _:
                    try:
                        breaker.acquire().failure(DownError())
                    except CircuitBreakerOpenError:
                        continue

    with subscribe(told.append, CircuitStateChanged):
        in_threads(work)
    history = sorted(told, key=lambda each: each.number)
    assert [each.number for each in history] == list(range(1, len(history) + 1))
    assert all(one.after is next_.before for one, next_ in pairwise(history))
    assert breaker.snapshot().transitions == len(history)


# -- several event loops -----------------------------------------------------------------------------------------------

BACKENDS: list[tuple[str, dict[str, Any]]] = [
    ("asyncio", {}),
    ("trio", {}),
    ("asyncio", {"use_uvloop": True}),
    ("trio", {}),
]


def test_four_event_loops_share_one_breaker() -> None:
    """asyncio, uvloop and trio in four threads: every outcome is counted, and nothing is bound to a loop."""
    breaker = CircuitBreaker(failure_threshold=10**9)
    told: Counter[type] = Counter()
    lock = threading.Lock()

    def count(event: CircuitEvent) -> None:
        with lock:
            told[type(event)] += 1

    @breaker
    async def work(call: int) -> None:
        await anyio.lowlevel.checkpoint()
        if call % 4 == 0:
            raise DownError

    async def caller(call: int) -> None:
        try:
            await work(call)
        except DownError:
            await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for call in range(200):
                tasks.start_soon(caller, call)

    def run(number: int) -> None:
        backend, options = BACKENDS[number]
        anyio.run(main, backend=backend, backend_options=options)

    with subscribe(count, CallSucceeded, CallFailed):
        in_threads(run, threads=len(BACKENDS))
    assert told == {CallFailed: 200, CallSucceeded: 600}
    assert breaker.snapshot().failed == 200


def test_one_probe_for_all_event_loops() -> None:
    """Four loops that meet a half-open circuit at once send one probe between them."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    reached: list[str] = []
    rejected: list[str] = []
    release = threading.Event()

    async def main() -> None:
        async def work() -> None:
            reached.append("here")
            await anyio.to_thread.run_sync(release.wait, 20)

        try:
            await breaker.execute(work)
        except CircuitBreakerOpenError:
            rejected.append("there")
            if len(rejected) == len(BACKENDS) - 1:
                release.set()

    def run(number: int) -> None:
        backend, options = BACKENDS[number]
        anyio.run(main, backend=backend, backend_options=options)

    in_threads(run, threads=len(BACKENDS))
    assert (len(reached), len(rejected)) == (1, 3)
    assert state_of(breaker) is CircuitState.CLOSED


# -- the garbage collector under the lock ------------------------------------------------------------------------------


class Collecting(TripRule):
    """A rule in whose count the garbage collector runs: that is under the circuit's lock."""

    def meter(self) -> ConsecutiveMeter:
        return CollectingMeter(1000)


class CollectingMeter(ConsecutiveMeter):
    """See `Collecting`."""

    def book(self, *, failed: bool, now: float, duration: float) -> bool:
        gc.collect()
        return super().book(failed=failed, now=now, duration=duration)


def test_a_stream_collected_under_the_lock_gives_its_permit_back() -> None:
    """An abandoned guarded generator that the collector finds while the circuit is locked does not lock it up."""
    breaker = resilio.sync.CircuitBreaker(trip=Collecting())

    @breaker
    def stream() -> Iterator[int]:
        yield 1
        yield 2

    def work(number: int) -> None:
        breaker.metrics_only()  # here a release takes the lock
        abandoned: list[Any] = [stream()]
        next(abandoned[0])
        abandoned.append(abandoned)  # only the collector can free it
        del abandoned
        breaker.acquire().success()

    in_threads(work, threads=1)
    assert state_of(breaker) is CircuitState.METRICS_ONLY
