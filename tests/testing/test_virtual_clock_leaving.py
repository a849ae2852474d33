from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from datetime import UTC, datetime

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio
import trio.testing

from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

BOTH = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@BOTH
def test_no_queued_timer_sees_time_run_back(backend: str) -> None:
    """After the clock, the loop's time goes on from where virtual time was: a timer waits for no more than its rest."""

    async def timer(fired: anyio.Event) -> None:
        await anyio.sleep(3600.02)
        fired.set()

    async def main() -> None:
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):  # the second clock finds a loop that is ahead already
                fired = anyio.Event()
                async with VirtualClock() as virtual:
                    tasks.start_soon(timer, fired)
                    await anyio.sleep(3600)
                    assert virtual.elapsed == 3600
                    inside = anyio.current_time()
                assert anyio.current_time() >= inside
                assert not fired.is_set()
                await fired.wait()
        assert anyio.current_time() - start == pytest.approx(7200, abs=60)

    anyio.run(main, backend=backend)


@BOTH
def test_a_clock_that_never_jumped_leaves_no_trace(backend: str) -> None:
    """A loop on which no time was skipped reads real time again."""

    async def main() -> None:
        before = anyio.current_time()
        async with VirtualClock():
            await anyio.lowlevel.checkpoint()
        assert 0 <= anyio.current_time() - before < 60

    anyio.run(main, backend=backend)


def test_the_project_reads_the_machines_clocks_again() -> None:
    """Outside of the clock, the project's time is real."""
    with VirtualClock():
        clock.sleep_blocking(3600)
        assert clock.monotonic() - time.monotonic() > 3000
    assert clock.monotonic is time.monotonic
    assert abs((clock.utcnow() - datetime.now(UTC)).total_seconds()) < 60


def test_asyncio_is_left_as_it_was() -> None:
    """What was replaced on the loop, its selector and anyio's backend is theirs again, also after an error."""
    from anyio._backends._asyncio import AsyncIOBackend  # noqa: PLC0415

    send = AsyncIOBackend.__dict__["run_sync_in_worker_thread"]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        select = loop._selector.select  # type: ignore[attr-defined]
        with contextlib.suppress(ZeroDivisionError):
            async with VirtualClock():
                assert loop._selector.select != select  # type: ignore[attr-defined]
                assert AsyncIOBackend.__dict__["run_sync_in_worker_thread"] is not send
                raise ZeroDivisionError
        assert loop._selector.select == select  # type: ignore[attr-defined]
        assert "run_in_executor" not in vars(loop)

    asyncio.run(main())
    assert AsyncIOBackend.__dict__["run_sync_in_worker_thread"] is send


def test_trio_is_left_as_it_was() -> None:
    """A clock that trio was given, even one that jumps by itself, is in force again afterwards."""
    mock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        async with VirtualClock() as virtual:
            await trio.sleep(60)
            assert virtual.elapsed == 60
        before = trio.current_time()
        await trio.sleep(30)
        assert trio.current_time() - before == 30

    trio.run(main, clock=mock)
    assert mock.current_time() == 90


def test_the_same_clock_may_come_into_force_again() -> None:
    """Each time it starts anew."""
    virtual = VirtualClock()
    for _ in range(2):
        with virtual:
            clock.sleep_blocking(5)
            assert virtual.elapsed == 5
    assert virtual.elapsed == 5


# -- loops in other threads --------------------------------------------------------------------------------------------


def test_a_loop_elsewhere_goes_on_when_the_clock_leaves() -> None:
    """A portal's loop that came to live on the clock lives on without it, and its queued timer waits for its rest."""
    with anyio.from_thread.start_blocking_portal() as portal:
        with VirtualClock() as virtual:
            portal.call(clock.sleep, 1)
            with virtual.hold():
                sleeping = portal.start_task_soon(clock.sleep, 3600.02)
                portal.call(anyio.lowlevel.checkpoint)
                virtual.advance(3600)
        sleeping.result()
        portal.call(anyio.sleep, 0.01)


def test_a_trio_loop_elsewhere_goes_on_when_the_clock_leaves() -> None:
    """So does a loop of trio."""
    ready, proceed = threading.Event(), threading.Event()
    ends: list[float] = []

    async def main() -> None:
        await clock.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 3600.02)
            await trio.testing.wait_all_tasks_blocked()
            ready.set()
            await trio.to_thread.run_sync(proceed.wait)
        ends.append(trio.current_time())

    with VirtualClock() as virtual, virtual.hold():
        virtual.advance(1)
        thread = threading.Thread(target=trio.run, args=(main,))
        thread.start()
        while not virtual._loops:
            time.sleep(0.001)
        virtual.advance(1)
        ready.wait()
        virtual.advance(3600)
    proceed.set()
    thread.join()
    assert len(ends) == 1


def test_loops_that_have_ended_do_not_matter() -> None:
    """Code that starts one event loop after the other under the clock jumps in each, and in between."""
    with VirtualClock() as virtual:
        for _ in range(3):
            asyncio.run(clock.sleep(10))
            trio.run(clock.sleep, 10)
            clock.sleep_blocking(10)
        assert virtual.elapsed == 90


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_uvloop_is_refused() -> None:
    """A loop whose time is out of reach is refused with a message that says what to do."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        virtual = VirtualClock()
        with pytest.raises(RuntimeError, match=r"selector loop, or trio; this loop is a uvloop\.Loop"):
            await virtual.__aenter__()
        assert clock.monotonic is time.monotonic
        assert "not in force" in repr(virtual)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@BOTH
def test_two_clocks_on_one_loop_are_refused(backend: str) -> None:
    """A loop lives on one clock at a time."""

    async def main() -> None:
        async with VirtualClock() as first:
            with pytest.raises(RuntimeError, match="lives on another virtual clock already"):
                await VirtualClock().__aenter__()
            with pytest.raises(RuntimeError, match="in force already"):
                first.__enter__()
            await anyio.sleep(1)
            assert first.elapsed == 1

    anyio.run(main, backend=backend)


def test_a_loop_is_asked_for_where_there_is_one() -> None:
    """`clock.loop()` outside of an event loop says so."""
    with VirtualClock() as virtual:
        block = virtual.loop()
        with pytest.raises(RuntimeError, match="no event loop runs on this thread"):
            block.__enter__()


def test_a_clock_that_is_not_in_force_takes_no_loop() -> None:
    """A loop can come to live only on a clock that is in force."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="not in force"):
            await VirtualClock().sleep(1)

    asyncio.run(main())


# -- far from zero -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uptime", [2.0**20, 2.0**26, 2.0**40])
def test_timers_fire_after_months_of_uptime(uptime: float) -> None:
    """Where floats are too coarse for asyncio's own tolerance, timers still fire."""

    class OldLoop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() + uptime + 1 / 3

    async def main() -> None:
        async with VirtualClock() as virtual:
            for _ in range(50):
                await asyncio.sleep(0.1)
            assert virtual.elapsed == pytest.approx(5, abs=200 * math.ulp(uptime))

    with asyncio.Runner(loop_factory=OldLoop) as runner:
        runner.run(main())


def offset_clock(uptime: float) -> trio.abc.Clock:
    """A clock of trio that reads ``uptime``."""
    mock = trio.testing.MockClock()
    mock.jump(uptime)
    return mock


@pytest.mark.parametrize("uptime", [1 / 3, 2.0**26 + 1 / 3, 2.0**40])
@pytest.mark.parametrize("step", [0.1, 86_400.1])
def test_deadlines_expire_far_from_zero(uptime: float, step: float) -> None:
    """On trio as well, whether the loop's time or the virtual time is far from zero."""

    async def main() -> None:
        async with VirtualClock() as virtual:
            for _ in range(50):
                await trio.sleep(step)
            assert virtual.elapsed == pytest.approx(50 * step, rel=1e-6, abs=200 * math.ulp(uptime))

    trio.run(main, clock=offset_clock(uptime))
