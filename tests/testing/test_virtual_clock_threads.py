from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def run_in_threads(functions: Iterable[Callable[[], object]]) -> None:
    """Run each function in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=fn) for fn in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_single_thread_jumps(virtual_clock: VirtualClock) -> None:
    """One thread alone sleeps an hour in one jump."""
    clock.sleep_blocking(3600)
    clock.sleep_blocking(0)
    assert virtual_clock.jumps == (3600,)


def test_threads_asleep_at_once_wake_in_exact_order(virtual_clock: VirtualClock) -> None:
    """Time stops at each instant that any of several threads waits for, and moves on when all sleep again."""
    for _ in range(20):
        virtual_clock.restart()
        woken: list[tuple[float, int]] = []

        def work(period: int, times: int, woken: list[tuple[float, int]] = woken) -> None:
            for _ in range(times):
                clock.sleep_blocking(period)
                woken.append((virtual_clock.elapsed, period))

        run_in_threads([lambda: work(7, 2), lambda: work(3, 4), lambda: work(5, 3)])

        expected = [(float(p * n), p) for p, times in ((3, 4), (5, 3), (7, 2)) for n in range(1, times + 1)]
        assert sorted(woken) == sorted(expected)
        assert [instant for instant, _ in woken] == sorted(instant for instant, _ in expected)


def test_a_pool_of_sleepers_takes_as_long_as_the_longest(virtual_clock: VirtualClock) -> None:
    """Threads of a pool sleep side by side, and the thread that waits for their results does not hold them up."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(clock.sleep_blocking, range(1, 9)))
    assert virtual_clock.elapsed == 8


def test_a_queue_of_work_is_worked_off(virtual_clock: VirtualClock) -> None:
    """Threads that wait at a queue hold nobody up, and are not jumped over when they get work."""
    orders: queue.Queue[float | None] = queue.Queue()
    done: queue.Queue[float] = queue.Queue()

    def worker() -> None:
        while (order := orders.get()) is not None:
            clock.sleep_blocking(order)
            done.put(virtual_clock.elapsed)

    workers = [threading.Thread(target=worker) for _ in range(2)]
    for each in workers:
        each.start()
    for order in (5, 3, 4):
        orders.put(order)
    finished = [done.get() for _ in range(3)]
    for _ in workers:
        orders.put(None)
    for each in workers:
        each.join()
    assert finished == [3, 5, 7]


def test_a_lock_held_in_sleep_is_waited_for(virtual_clock: VirtualClock) -> None:
    """A thread that waits for a lock does not stop the one that holds it from sleeping."""
    lock = threading.Lock()

    def work() -> None:
        with lock:
            clock.sleep_blocking(5)

    run_in_threads([work] * 5)
    assert virtual_clock.elapsed == 25


def test_real_work_holds_time_back(virtual_clock: VirtualClock) -> None:
    """While a thread works, or sleeps for real, the others' time does not pass."""
    order: list[tuple[str, float]] = []

    def late() -> None:
        clock.sleep_blocking(10)
        order.append(("late", virtual_clock.elapsed))

    def early() -> None:
        clock.sleep_blocking(1)
        time.sleep(0.05)
        clock.sleep_blocking(1)
        sum(range(1_000_000))
        clock.sleep_blocking(1)
        order.append(("early", virtual_clock.elapsed))

    run_in_threads([late, early])
    assert order == [("early", 3), ("late", 10)]


# -- waiting for an event ----------------------------------------------------------------------------------------------


def test_waiting_for_an_event_ends_when_it_is_set(virtual_clock: VirtualClock) -> None:
    """A wait with a limit ends at the instant at which another thread sets the event."""
    event = threading.Event()

    def setter() -> None:
        clock.sleep_blocking(5)
        event.set()
        clock.sleep_blocking(1)

    thread = threading.Thread(target=setter)
    thread.start()
    assert clock.wait_blocking(event, 10) is True
    assert virtual_clock.elapsed == 5
    thread.join()


def test_waiting_for_an_event_ends_with_its_limit(virtual_clock: VirtualClock) -> None:
    """A wait for what never happens ends when its time is over."""
    assert clock.wait_blocking(threading.Event(), 10) is False
    assert virtual_clock.elapsed == 10


def test_waiting_without_a_limit_holds_nobody_up(virtual_clock: VirtualClock) -> None:
    """A thread that waits for an event for ever lets time pass, and wakes when the event is set."""
    event = threading.Event()

    def setter() -> None:
        clock.sleep_blocking(60)
        event.set()

    thread = threading.Thread(target=setter)
    thread.start()
    assert clock.wait_blocking(event) is True
    assert virtual_clock.elapsed == 60
    thread.join()


def test_an_event_set_already_is_not_waited_for(virtual_clock: VirtualClock) -> None:
    """No time passes when what is waited for has happened."""
    event = threading.Event()
    event.set()
    assert clock.wait_blocking(event, 10) is True
    assert virtual_clock.elapsed == 0


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_a_held_clock_lets_threads_sleep_on(virtual_clock: VirtualClock) -> None:
    """Threads wake neither before `advance` reaches their instant, nor while the clock is held."""
    woken: queue.Queue[float] = queue.Queue()

    def sleeper() -> None:
        clock.sleep_blocking(10)
        woken.put(virtual_clock.elapsed)

    with virtual_clock.hold():
        thread = threading.Thread(target=sleeper)
        thread.start()
        while not virtual_clock._timeline._asleep:
            time.sleep(0.001)
        virtual_clock.advance(9)
        with pytest.raises(queue.Empty):
            woken.get(timeout=0.02)
        virtual_clock.advance(9)
        assert woken.get() == 18
    thread.join()


def test_a_held_clock_moves_only_by_hand() -> None:
    """While the clock is held, a sleeping thread wakes when `advance` gets there, and not by itself."""
    begin, woken = threading.Event(), []

    def advance() -> None:
        begin.wait()
        time.sleep(0.03)
        virtual.advance(12)

    thread = threading.Thread(target=advance)
    thread.start()  # before the clock, which therefore does not wait for it
    with VirtualClock() as virtual, virtual.hold():
        begin.set()
        clock.sleep_blocking(10)
        woken.append(virtual.elapsed)
        thread.join()
    assert woken == [12]


def test_a_thread_from_before_takes_part_when_it_says_so() -> None:
    """A thread that ran before the clock came into force holds time back inside `clock.thread()`."""
    begin, begun, proceed, seen = threading.Event(), threading.Event(), threading.Event(), queue.SimpleQueue[float]()

    def work() -> None:
        begin.wait()
        with virtual.thread():
            begun.set()
            while not proceed.is_set():
                time.sleep(0.001)
            seen.put(virtual.elapsed)

    thread = threading.Thread(target=work)
    thread.start()
    virtual = VirtualClock()
    with virtual:
        begin.set()
        begun.wait()
        sleeper = threading.Thread(target=lambda: clock.sleep_blocking(10))
        sleeper.start()
        while not virtual._timeline._asleep:
            time.sleep(0.001)
        time.sleep(0.02)
        proceed.set()
        assert seen.get() == 0
        sleeper.join()
        assert virtual.elapsed == 10
    thread.join()


def test_a_thread_still_asleep_at_the_end_sleeps_the_rest_for_real() -> None:
    """When the clock leaves, nobody's sleep is cut short, and nobody sleeps longer than was left."""
    woken: dict[str, float] = {}

    def sleep() -> None:
        clock.sleep_blocking(3600.02)
        woken["sleep"] = time.monotonic()

    def wait() -> None:
        clock.wait_blocking(threading.Event(), 3600.02)
        woken["wait"] = time.monotonic()

    with VirtualClock() as virtual, virtual.hold():
        threads = [threading.Thread(target=sleep), threading.Thread(target=wait)]
        for thread in threads:
            thread.start()
        while len(virtual._timeline._asleep) < 2:
            time.sleep(0.001)
        virtual.advance(3600)
        left = time.monotonic()
    for thread in threads:
        thread.join()
    assert sorted(woken) == ["sleep", "wait"]
    assert min(woken.values()) >= left + 0.02


def test_an_interrupted_sleep_leaves_no_trace(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a sleeping thread takes it off the clock, and the next sleep works."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with virtual_clock.hold(), monkeypatch.context() as patch:
        patch.setattr("resilio.testing._thread_time._Sleeper.doze", interrupt)
        with pytest.raises(KeyboardInterrupt):
            clock.sleep_blocking(5)
    clock.sleep_blocking(1)
    assert virtual_clock.elapsed == 1


@pytest.mark.slow("the clock waits a quarter of a second of real time before it takes the server to be idle")
def test_a_server_of_the_test_does_not_hold_time_back_for_ever(virtual_clock: VirtualClock) -> None:
    """A thread that the test started and that waits for a client, without end, is at rest after a while."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                listener.accept()[0].close()

        thread = threading.Thread(target=serve)
        thread.start()
        clock.sleep_blocking(3600)
        socket.create_connection(listener.getsockname()).close()
        clock.sleep_blocking(3600)
        socket.create_connection(listener.getsockname()).close()
        thread.join()
    assert virtual_clock.elapsed == 7200
