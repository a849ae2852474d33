"""The background loop that code without an event loop borrows."""

from __future__ import annotations

import contextvars
import functools
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from concurrent.futures import CancelledError

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from resilio._core import portal

whose = contextvars.ContextVar("whose", default="nobody's")


async def loop_thread() -> int:
    """The thread that runs the background loop."""
    await anyio.lowlevel.checkpoint()
    return threading.get_ident()


def test_a_call_runs_on_another_thread_and_returns_its_result() -> None:
    """Arguments go in, the result comes out; keyword arguments go in a partial."""

    async def add(left: int, right: int = 0) -> tuple[int, int]:
        return left + right, await loop_thread()

    assert portal.call(add, 1, 2) == (3, portal.call(loop_thread))
    assert portal.call(functools.partial(add, right=5), 1)[0] == 6
    assert portal.call(loop_thread) != threading.get_ident()


def test_an_error_comes_back_with_the_frames_it_was_raised_in() -> None:
    """The very exception object is raised, and its traceback shows where in the async code."""
    error = LookupError("no such cat")

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(LookupError) as caught:
        portal.call(look)
    assert caught.value is error
    assert "look" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseExceptionGroup("", [SystemExit(1)])])
def test_what_would_stop_a_loop_comes_back_and_the_loop_lives_on(error: BaseException) -> None:
    """An exit raised by the call ends the caller, not the loop that others use."""
    before = portal.call(loop_thread)

    async def leave() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        portal.call(leave)
    assert caught.value is error
    assert portal.call(loop_thread) == before


def test_context_variables_go_along_and_stay_apart() -> None:
    """The call sees the caller's context; what it sets stays with it."""

    async def rename() -> str:
        seen = whose.get()
        whose.set("the call's")
        return seen

    token = whose.set("the caller's")
    try:
        assert portal.call(rename) == "the caller's"
        assert whose.get() == "the caller's"
    finally:
        whose.reset(token)


def test_many_threads_share_one_loop() -> None:
    """Twenty threads that call at once, from a standstill, start one loop."""
    portal.stop()
    found: list[int] = []
    barrier = threading.Barrier(20)

    def work() -> None:
        barrier.wait()
        found.append(portal.call(loop_thread))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert len(set(found)) == 1


def test_calls_run_side_by_side() -> None:
    """A call that waits for another one gets its turn with it."""
    meeting: dict[str, anyio.Event] = {}

    async def wait() -> str:
        meeting["point"] = anyio.Event()
        started.set()
        await meeting["point"].wait()
        return "met"

    async def come() -> None:
        meeting["point"].set()

    started = threading.Event()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(portal.call(wait)))
    thread.start()
    assert started.wait(10)
    portal.call(come)
    thread.join(10)
    assert answers == ["met"]


def test_a_call_from_a_worker_thread_of_the_loop_itself_works() -> None:
    """Blocking code that the loop handed to a worker thread may call again."""

    def blocking() -> int:
        return portal.call(loop_thread)

    async def outer() -> int:
        return await anyio.to_thread.run_sync(blocking)

    assert portal.call(outer) == portal.call(loop_thread)


@pytest.mark.anyio
async def test_a_thread_with_an_event_loop_is_refused() -> None:
    """On asyncio and trio the call is refused, by name, before anything runs."""
    ran = []

    async def send() -> None:
        ran.append(True)

    with pytest.raises(RuntimeError, match=r"send\(\) would block the event loop"):
        portal.call(send)
    assert ran == []


def test_the_background_loop_itself_is_refused() -> None:
    """A call from inside a call would wait for itself."""

    async def inside() -> int:
        return portal.call(loop_thread)

    with pytest.raises(RuntimeError, match=r"loop_thread\(\) would block the event loop"):
        portal.call(inside)


def test_ctrl_c_cancels_the_call_and_waits_for_its_cleanup() -> None:
    """The interrupted thread goes on only after the call has tidied up."""
    told: list[str] = []

    async def wait() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                told.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        portal.call(wait)
    assert told == ["cleaned up"]


def test_after_a_stop_the_next_call_starts_another_loop() -> None:
    """Stopping twice does no harm, and nothing is lost by it."""
    portal.call(loop_thread)
    portal.stop()
    portal.stop()
    assert not any(thread.name == "resilio-portal" for thread in threading.enumerate())
    assert portal.call(loop_thread)


def test_a_call_that_still_runs_at_a_stop_is_cancelled() -> None:
    """Its thread does not wait for ever."""
    running = threading.Event()
    ends: list[BaseException] = []

    async def never_ends() -> None:
        running.set()
        await anyio.sleep_forever()

    def wait() -> None:
        try:
            portal.call(never_ends)
        except CancelledError as error:
            ends.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert running.wait(10)
    portal.stop()
    thread.join(10)
    assert len(ends) == 1


def test_a_loop_that_cannot_start_says_so_and_may_start_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first caller gets the error, the next one another try."""
    portal.stop()

    def refuse(*_: object, **__: object) -> None:
        msg = "too many open files"
        raise OSError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(anyio, "run", refuse)
        with pytest.raises(OSError, match="too many open files"):
            portal.call(loop_thread)
    assert portal.call(loop_thread)


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, with every warning an error."""
    # Python 3.12 and later warn of any fork beside threads, which is what is tested here.
    warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    return subprocess.run(  # noqa: S603 -- our own interpreter and script
        [sys.executable, *warnings, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.slow("starts an interpreter")
def test_a_forked_child_starts_its_own_loop() -> None:
    """Parent and child both go on working, and the child ends without a hang or a warning."""
    finished = run(
        """
        import os, sys, threading
        from resilio._core import portal

        async def where():
            return os.getpid(), threading.current_thread().name

        assert portal.call(where) == (os.getpid(), "resilio-portal")
        lock = portal._background._lock
        lock.acquire()  # as another thread may have at that moment
        child = os.fork()
        if child == 0:
            assert portal.call(where) == (os.getpid(), "resilio-portal")
            sys.exit(7)
        lock.release()
        _, status = os.waitpid(child, 0)
        assert portal.call(where)[0] == os.getpid()
        print(os.waitstatus_to_exitcode(status))
        """
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("7\n", "", 0)


@pytest.mark.slow("starts an interpreter")
def test_the_process_ends_although_something_still_runs_on_the_loop() -> None:
    """At exit what is left is cancelled, with its cleanup; non-daemon threads are served to their last line."""
    finished = run(
        """
        import concurrent.futures, contextlib, threading, time
        import anyio
        from resilio._core import portal

        async def late():
            return "served"

        def worker():
            time.sleep(0.1)
            print(portal.call(late))

        async def never_ends():
            running.set()
            try:
                await anyio.sleep_forever()
            finally:
                print("cleaned up")

        def forgotten():
            with contextlib.suppress(concurrent.futures.CancelledError):
                portal.call(never_ends)

        running = threading.Event()
        threading.Thread(target=forgotten, daemon=True).start()
        running.wait()
        threading.Thread(target=worker).start()
        """
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("served\ncleaned up\n", "", 0)
