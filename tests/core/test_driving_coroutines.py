"""Running a coroutine without an event loop, and refusing to block where there is one."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

from resilio._core.drive import drive, in_event_loop, refuse_in_event_loop


def test_a_coroutine_that_never_suspends_is_run_to_its_end() -> None:
    """Its result comes back, through as many layers as it has."""

    async def inner() -> int:
        return 41

    async def outer() -> int:
        return await inner() + 1

    assert drive(outer()) == 42


def test_its_error_comes_out_as_it_is() -> None:
    """The very exception object is raised."""
    error = LookupError("no such cat")

    async def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        drive(fail())
    assert caught.value is error


def test_a_coroutine_that_suspends_is_refused_and_closed() -> None:
    """What wants an event loop is told so, and its cleanup runs."""
    cleaned = []

    class Suspends:
        def __await__(self):  # type: ignore[no-untyped-def]  # noqa: ANN204 -- a bare awaitable
            yield

    async def waits() -> None:
        try:
            await Suspends()
        finally:
            cleaned.append(True)

    with pytest.raises(RuntimeError, match="waits for an event loop, and there is none here"):
        drive(waits())
    assert cleaned == [True]


def test_a_plain_thread_runs_no_event_loop() -> None:
    """Outside of a loop nothing is refused."""
    assert not in_event_loop()
    refuse_in_event_loop("send_to_dlq()")


@pytest.mark.anyio
async def test_a_loops_own_thread_is_recognised() -> None:
    """On asyncio and trio alike, the refusal names what would block and what to do."""
    assert in_event_loop()
    with pytest.raises(
        RuntimeError, match=r"^send_to_dlq\(\) would block the event loop .*await the name from `resilio`"
    ):
        refuse_in_event_loop("send_to_dlq()")


@pytest.mark.anyio
async def test_a_worker_thread_of_a_loop_may_block() -> None:
    """A thread that the loop handed work to runs no loop itself."""
    assert not await anyio.to_thread.run_sync(in_event_loop)


@pytest.mark.anyio
async def test_other_threads_are_not_confused_with_the_loops() -> None:
    """A plain thread beside a running loop sees none."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(in_event_loop()))
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert answers == [False]
