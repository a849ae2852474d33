from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

HOUR = 3600.0


def native_sleep() -> Callable[[float], Awaitable[object]]:
    """The running library's own sleep."""
    return asyncio.sleep if asyncio._get_running_loop() is not None else trio.sleep


async def test_an_hour_of_sleep_is_one_jump(virtual_clock: VirtualClock) -> None:
    """Whoever sleeps an hour, through whichever door, wakes after one jump of an hour."""
    for sleep in (native_sleep(), anyio.sleep, clock.sleep):
        await sleep(HOUR)
    assert virtual_clock.elapsed == 3 * HOUR
    assert virtual_clock.jumps == (HOUR, HOUR, HOUR)


async def test_a_month_of_sleep_is_one_jump(virtual_clock: VirtualClock) -> None:
    """The longest wait that asyncio asks of its selector, a day, is no limit."""
    await anyio.sleep(30 * 24 * HOUR)
    assert virtual_clock.jumps == (30 * 24 * HOUR,)


async def test_all_clocks_move_together(virtual_clock: VirtualClock) -> None:
    """The loop's time, the project's monotonic time and its time of day advance by the same amount."""

    def readings() -> tuple[float, float, float]:
        return anyio.current_time(), clock.monotonic(), clock.utcnow().timestamp()

    before = readings()
    await anyio.sleep(90.5)
    virtual_clock.advance(9.5)
    assert [now - then for now, then in zip(readings(), before, strict=True)] == pytest.approx([100, 100, 100])


async def test_tasks_wake_in_the_order_of_their_instants(virtual_clock: VirtualClock) -> None:
    """Each of many tasks wakes at its own instant, and time stops at each of them."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float, times: int) -> None:
        for _ in range(times):
            await anyio.sleep(seconds)
            woken.append((virtual_clock.elapsed, seconds))

    async with anyio.create_task_group() as tasks:
        for seconds, times in ((7.0, 2), (3.0, 4), (5.0, 3)):
            tasks.start_soon(sleeper, seconds, times)

    expected = [(seconds * n, seconds) for seconds, times in ((3, 4), (5, 3), (7, 2)) for n in range(1, times + 1)]
    assert sorted(woken) == sorted(expected)
    assert [instant for instant, _ in woken] == sorted(instant for instant, _ in expected)


async def test_a_deadline_fires_at_its_instant(virtual_clock: VirtualClock) -> None:
    """A cancel scope ends what takes longer, exactly when its time is over."""
    with pytest.raises(TimeoutError), anyio.fail_after(10):
        await anyio.sleep(11)
    assert virtual_clock.elapsed == 10
    with anyio.move_on_after(5) as scope:
        await anyio.sleep(4)
    assert not scope.cancelled_caught
    assert virtual_clock.elapsed == 14


async def test_a_native_timeout_fires_at_its_instant(virtual_clock: VirtualClock) -> None:
    """So do the timeouts of asyncio and trio themselves."""
    if asyncio._get_running_loop() is not None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(11)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 10)
    else:
        for _ in range(2):
            with pytest.raises(trio.TooSlowError), trio.fail_after(10):
                await trio.sleep_forever()
    assert virtual_clock.elapsed == 20


async def test_nothing_jumps_while_a_task_can_run(virtual_clock: VirtualClock) -> None:
    """A task that is busy with checkpoints holds time back, however many they are."""
    with anyio.move_on_after(1) as scope:
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
    assert not scope.cancelled_caught
    assert virtual_clock.elapsed == 0


async def test_a_sleep_of_nothing_takes_nothing(virtual_clock: VirtualClock) -> None:
    """Sleeps of zero, and of less than a float can tell apart, end without moving time."""
    for seconds in (0, 1e-15):
        await anyio.sleep(seconds)
        await clock.sleep(seconds)
    assert virtual_clock.elapsed == 0
    assert virtual_clock.jumps == ()


async def test_waiting_in_a_loop_for_an_instant_ends(virtual_clock: VirtualClock) -> None:
    """Code that sleeps until the clock reads a certain time gets there, whatever the sums of floats make of it."""
    for n in range(1, 200):
        deadline = anyio.current_time() + n / 7
        while anyio.current_time() < deadline:  # noqa: ASYNC110 -- this very pattern
            await anyio.sleep(deadline - anyio.current_time())
    assert virtual_clock.elapsed == pytest.approx(sum(range(1, 200)) / 7)


async def test_many_small_sleeps_add_up(virtual_clock: VirtualClock) -> None:
    """A second is ten sleeps of a tenth, to the microsecond, and seconds stay whole."""
    for _ in range(100):
        await anyio.sleep(0.1)
    assert virtual_clock.elapsed == 10
    for _ in range(200):
        await anyio.sleep(1)
    assert virtual_clock.elapsed == 210


async def test_waiting_for_idle_tasks_comes_before_any_deadline(virtual_clock: VirtualClock) -> None:
    """Time does not jump to somebody's deadline while a task waits for all others to settle."""
    order: list[str] = []

    async def sleeper() -> None:
        await anyio.sleep(60)
        order.append("slept")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        await anyio.wait_all_tasks_blocked()
        order.append("settled")
    assert order == ["settled", "slept"]


# -- by hand -----------------------------------------------------------------------------------------------------------


async def test_advance_moves_time_at_once(virtual_clock: VirtualClock) -> None:
    """Moving time by hand makes what fell due run next, in the order of its deadlines, at the new time."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, virtual_clock.elapsed))

    async with anyio.create_task_group() as tasks:
        with virtual_clock.hold():
            for seconds in (30.0, 10.0, 20.0):
                tasks.start_soon(sleeper, seconds)
            await anyio.wait_all_tasks_blocked()
            virtual_clock.advance(timedelta(seconds=15))
            assert virtual_clock.elapsed == 15
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert woken == [(10, 15)]
    assert woken == [(10, 15), (20, 20), (30, 30)]


async def test_a_held_clock_does_not_jump(virtual_clock: VirtualClock) -> None:
    """Inside `hold` no deadline comes up, though nobody can run; afterwards it does. Holds overlap."""
    released = anyio.Event()

    async def release_from_a_thread() -> None:
        with virtual_clock.hold():
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(lambda: None)
        released.set()

    async with anyio.create_task_group() as tasks:
        with virtual_clock.hold(), anyio.move_on_after(10) as scope:
            tasks.start_soon(release_from_a_thread)
            await released.wait()
        assert not scope.cancelled_caught
        assert virtual_clock.elapsed == 0
    await anyio.sleep(1)
    assert virtual_clock.elapsed == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_held_clock_moves_only_by_hand(backend: str) -> None:
    """While the clock is held, a sleeping task wakes when `advance` gets there, and not by itself."""
    begin = threading.Event()

    def advance() -> None:
        begin.wait()
        time.sleep(0.03)
        virtual.advance(12)

    async def main() -> float:
        async with virtual:
            with virtual.hold():
                begin.set()
                await anyio.sleep(10)
                return virtual.elapsed

    thread = threading.Thread(target=advance)
    thread.start()  # before the clock, which therefore does not wait for it
    virtual = VirtualClock()
    assert anyio.run(main, backend=backend) == 12
    thread.join()


async def test_counting_restarts(virtual_clock: VirtualClock) -> None:
    """`restart` counts from here, while time itself goes on."""
    await anyio.sleep(5)
    before = clock.monotonic()
    virtual_clock.restart()
    assert (virtual_clock.elapsed, virtual_clock.jumps) == (0, ())
    await anyio.sleep(2)
    assert (virtual_clock.elapsed, virtual_clock.jumps) == (2, (2,))
    assert clock.monotonic() == pytest.approx(before + 2)


@pytest.mark.parametrize(
    ("wrong", "error"), [(-1, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)]
)
async def test_a_wrong_advance_is_refused(virtual_clock: VirtualClock, wrong: Any, error: type[Exception]) -> None:
    """Time moves forward by a finite number of seconds, or not at all."""
    with pytest.raises(error, match="seconds must be"):
        virtual_clock.advance(wrong)
    assert virtual_clock.elapsed == 0


def test_a_wrong_grace_is_refused() -> None:
    """The grace for input and output is a duration, and the error names it."""
    with pytest.raises(ValueError, match="io_grace must be"):
        VirtualClock(io_grace=-1)


async def test_it_tells_what_it_did(virtual_clock: VirtualClock) -> None:
    """Its text says whether it is in force, how far time went, and in how many jumps."""
    await anyio.sleep(2.5)
    assert repr(virtual_clock) == "<VirtualClock in force, 2.5 s elapsed in 1 jump>"


# -- asyncio's own ways to wait ----------------------------------------------------------------------------------------


def test_timers_of_the_loop_fire_at_their_instants() -> None:
    """`call_later` and `call_at` go by virtual time, and cancelled ones do not stop it."""
    fired: list[tuple[str, float]] = []

    async def main() -> None:
        async with VirtualClock() as virtual:
            loop = asyncio.get_running_loop()
            loop.call_later(5, lambda: fired.append(("later", virtual.elapsed)))
            loop.call_at(loop.time() + 3, lambda: fired.append(("at", virtual.elapsed)))
            loop.call_later(1, lambda: fired.append(("cancelled", virtual.elapsed))).cancel()
            await asyncio.sleep(10)
            assert virtual.jumps == (3, 2, 5)

    asyncio.run(main())
    assert fired == [("at", 3), ("later", 5)]
