from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio

from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from anyio.abc import SocketStream

pytestmark = pytest.mark.anyio

JOB = 0.1  # seconds of real work


# -- work in threads ---------------------------------------------------------------------------------------------------


async def through_anyio() -> None:
    """The way most code takes."""
    await anyio.to_thread.run_sync(time.sleep, JOB)


async def through_anyio_with_a_limiter_of_its_own() -> None:
    """A way that the default limiter does not see."""
    await anyio.to_thread.run_sync(time.sleep, JOB, limiter=anyio.CapacityLimiter(1))


async def through_the_loop_itself() -> None:
    """The way that asyncio and trio themselves offer."""
    if asyncio._get_running_loop() is not None:
        await asyncio.to_thread(time.sleep, JOB)
    else:
        await trio.to_thread.run_sync(time.sleep, JOB, limiter=trio.CapacityLimiter(1))


@pytest.mark.parametrize(
    "work",
    [through_anyio, through_anyio_with_a_limiter_of_its_own, through_the_loop_itself],
    ids=lambda fn: fn.__name__,
)
async def test_a_deadline_does_not_fire_while_a_thread_works(
    virtual_clock: VirtualClock, work: Callable[[], Awaitable[None]]
) -> None:
    """Ten virtual seconds are enough for a job of a tenth of a second, whichever way the loop sends it to a thread."""
    with anyio.fail_after(10):
        await work()
    assert virtual_clock.elapsed == 0


def test_a_deadline_does_not_fire_while_an_executor_works() -> None:
    """Nor does it for an executor of the user's own, of threads or of processes."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with VirtualClock() as virtual, ThreadPoolExecutor(1) as threads:
            async with asyncio.timeout(10):
                await loop.run_in_executor(threads, time.sleep, JOB)
                await loop.getaddrinfo("localhost", 80)
            return virtual.elapsed

    assert asyncio.run(main()) == 0


@pytest.mark.slow("starts a process")
def test_a_deadline_does_not_fire_while_a_process_works() -> None:
    """Nor for an executor of processes, to which only what can be pickled may be sent."""

    async def main() -> float:
        import multiprocessing  # noqa: PLC0415

        with VirtualClock() as virtual, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
            async with asyncio.timeout(10):
                await asyncio.get_running_loop().run_in_executor(processes, time.sleep, JOB)
            return virtual.elapsed

    assert asyncio.run(main()) == 0


async def test_a_failing_job_is_over(virtual_clock: VirtualClock) -> None:
    """A job that raises holds time back no longer."""
    with pytest.raises(ZeroDivisionError):
        await anyio.to_thread.run_sync(lambda: 1 / 0)
    await anyio.sleep(1)
    assert virtual_clock.elapsed == 1


def test_a_job_that_cannot_start_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had, time passes afterwards as before."""

    async def on_asyncio() -> None:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        async with VirtualClock() as virtual:
            with pytest.raises(RuntimeError, match="shutdown"):
                await asyncio.get_running_loop().run_in_executor(pool, int)
            assert not virtual._threads._jobs

    async def on_trio() -> None:
        async with VirtualClock() as virtual:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await trio.to_thread.run_sync(int)
            assert not virtual._threads._jobs

    def refuse(*_: object) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    asyncio.run(on_asyncio())
    monkeypatch.setattr("trio._threads.start_thread_soon", refuse)
    trio.run(on_trio)


async def test_an_abandoned_job_holds_nobody_up(virtual_clock: VirtualClock) -> None:
    """Once nobody waits for a job, time passes although its thread goes on."""
    go_on, begun, ended = threading.Event(), anyio.Event(), []

    def job() -> None:
        anyio.from_thread.run_sync(begun.set)
        go_on.wait(1)
        ended.append(virtual_clock.elapsed)

    async def wait_for_it() -> None:
        await anyio.to_thread.run_sync(job, abandon_on_cancel=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_it)
        await begun.wait()
        tasks.cancel_scope.cancel()
    await anyio.sleep(1)
    assert virtual_clock.elapsed == 1
    assert ended == []
    go_on.set()


async def test_a_thread_of_the_loop_may_sleep_on_the_clock(virtual_clock: VirtualClock) -> None:
    """Blocking sleeps in worker threads, and the loop's own timers, wake in one common order."""
    order: list[tuple[str, float]] = []

    def blocking(seconds: float) -> None:
        for _ in range(3):
            clock.sleep_blocking(seconds)
            order.append(("thread", virtual_clock.elapsed))

    async def asynchronous(seconds: float) -> None:
        for _ in range(3):
            await clock.sleep(seconds)
            order.append(("loop", virtual_clock.elapsed))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, blocking, 2.0)
        tasks.start_soon(asynchronous, 3.0)
        tasks.start_soon(anyio.to_thread.run_sync, blocking, 5.0)
    instants = [instant for _, instant in order]
    assert instants == sorted(instants)
    assert sorted(order) == sorted(
        [("thread", 2 * n) for n in (1, 2, 3)]
        + [("loop", 3 * n) for n in (1, 2, 3)]
        + [("thread", 5 * n) for n in (1, 2, 3)]
    )


async def test_jobs_that_queue_for_a_thread_hold_nobody_up(virtual_clock: VirtualClock) -> None:
    """With one thread for three jobs that sleep on the clock, each takes its turn."""
    limiter = anyio.CapacityLimiter(1)

    async def job() -> None:
        await anyio.to_thread.run_sync(clock.sleep_blocking, 3, limiter=limiter)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(job)
    assert virtual_clock.elapsed == 9


async def test_a_job_may_wait_for_the_loop(virtual_clock: VirtualClock) -> None:
    """A worker thread that has the loop sleep for it does not hold up the loop."""

    def job() -> None:
        anyio.from_thread.run(anyio.sleep, 60)

    await anyio.to_thread.run_sync(job)
    assert virtual_clock.elapsed == 60


@pytest.mark.slow("the clock waits a quarter of a second of real time before it takes a queued job to be stuck")
def test_jobs_that_queue_in_an_executor_hold_nobody_up() -> None:
    """An executor's queue is not visible; what stays in it does not hold time back for ever."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with VirtualClock() as virtual, ThreadPoolExecutor(1) as threads:
            await asyncio.gather(*(loop.run_in_executor(threads, clock.sleep_blocking, 3) for _ in range(2)))
            return virtual.elapsed

    assert asyncio.run(main()) == 6


# -- loops in other threads --------------------------------------------------------------------------------------------


def test_a_loop_in_another_thread_comes_to_live_on_the_clock(virtual_clock: VirtualClock) -> None:
    """Where a portal's loop waits by the project's clock, it jumps together with the blocking code around it."""
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(clock.sleep, 50)
        assert virtual_clock.elapsed == 50
        portal.call(anyio.sleep, 50)  # the loop lives on the clock by now
        assert virtual_clock.elapsed == 100
        sleeping = [portal.start_task_soon(clock.sleep, seconds) for seconds in (1, 5, 9)]
        clock.sleep_blocking(6)
        assert virtual_clock.elapsed == 106
        for each in sleeping:
            each.result()
    assert virtual_clock.elapsed == 109


async def test_two_loops_share_the_time(virtual_clock: VirtualClock) -> None:
    """A loop of asyncio and one of trio, in two threads, meet each other's instants in order."""
    order: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        with virtual_clock.loop():
            for _ in range(3):
                await anyio.sleep(seconds)
                order.append((name, virtual_clock.elapsed))

    other = "trio" if asyncio._get_running_loop() is not None else "asyncio"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, lambda: anyio.run(sleeper, "other", 2, backend=other))
        tasks.start_soon(sleeper, "this", 3)
    instants = [instant for _, instant in order]
    assert instants == sorted(instants)
    assert sorted(order) == [("other", 2), ("other", 4), ("other", 6), ("this", 3), ("this", 6), ("this", 9)]


# -- bytes on their way ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[SocketStream]:
    """A connection to a server on the same loop."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 -- nothing of Django's
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            yield client
        tasks.cancel_scope.cancel()


async def echo(stream: SocketStream) -> None:
    """Answer with what was asked."""
    async with stream:
        async for data in stream:
            await stream.send(data)


async def test_no_deadline_fires_during_round_trips(virtual_clock: VirtualClock) -> None:
    """Ten virtual seconds are enough for two hundred round trips over the loopback."""
    async with served(echo) as client:
        with anyio.fail_after(10):
            for n in range(200):
                message = bytes([n]) * 1000
                await client.send(message)
                answer = b""
                while len(answer) < len(message):
                    answer += await client.receive()
                assert answer == message
        assert virtual_clock.elapsed == 0


async def test_a_slow_server_in_virtual_time_is_waited_for(virtual_clock: VirtualClock) -> None:
    """A server on the loop that sleeps before it answers makes its client wait in virtual time."""

    async def slow(stream: SocketStream) -> None:
        async with stream:
            async for data in stream:
                await anyio.sleep(7)
                await stream.send(data)

    async with served(slow) as client:
        for _ in range(20):
            await client.send(b"ping")
            assert await client.receive() == b"ping"
        assert virtual_clock.elapsed == 140


async def test_a_silent_server_is_given_up_on(virtual_clock: VirtualClock) -> None:
    """A deadline comes up where the answer never comes."""

    async def silent(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with served(silent) as client:
        await client.send(b"ping")
        with pytest.raises(TimeoutError), anyio.fail_after(30):
            await client.receive()
        assert virtual_clock.elapsed == 30


SERVER = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while data := connection.recv(100):
    time.sleep(float(data))
    connection.sendall(b"done")
"""


@contextmanager
def other_process() -> Iterator[tuple[str, int]]:
    """A server in another process: what it is sent says how many seconds it takes to answer."""
    command = [sys.executable, "-S", "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 -- the lines above
        assert server.stdout is not None
        yield "127.0.0.1", int(server.stdout.readline())
        server.kill()


@pytest.mark.slow("starts a process and waits for its answers")
async def test_a_server_in_another_process_is_waited_for(virtual_clock: VirtualClock) -> None:
    """Ten virtual seconds are enough for a server elsewhere that takes a twentieth of a second to answer."""
    with other_process() as address:
        async with await anyio.connect_tcp(*address) as client:
            for _ in range(5):
                with anyio.fail_after(10):
                    await client.send(b"0.05")
                    assert await client.receive() == b"done"
            assert virtual_clock.elapsed == 0


@pytest.mark.slow("starts a process")
@pytest.mark.parametrize("anyio_backend_only", ["asyncio", "trio"])
def test_a_server_elsewhere_that_is_silent_is_given_up_on(anyio_backend_only: str) -> None:
    """After the grace for input and output, time moves on without the answer from elsewhere."""

    async def main(address: tuple[str, int]) -> None:
        async with VirtualClock(io_grace=0.02) as virtual, await anyio.connect_tcp(*address) as client:
            with anyio.fail_after(10):
                await client.send(b"0")
                assert await client.receive() == b"done"
            await client.send(b"600")
            with pytest.raises(TimeoutError), anyio.fail_after(10):
                await client.receive()
            assert virtual.elapsed == 10

    with other_process() as address:
        anyio.run(main, address, backend=anyio_backend_only)


async def test_a_thread_that_serves_is_waited_for(virtual_clock: VirtualClock) -> None:
    """A server in a thread of the test, taking real time to answer, is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(100):
                    time.sleep(0.02)
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listener.getsockname()
        async with await anyio.connect_tcp(host, port) as client:
            with anyio.fail_after(10):
                for _ in range(5):
                    await client.send(b"ping")
                    assert await client.receive() == b"ping"
        assert virtual_clock.elapsed == 0
        thread.join()
