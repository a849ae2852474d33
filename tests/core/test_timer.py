"""Calling something later on the running event loop, and posting to the background loop."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from resilio._core import clock, portal, timer

if TYPE_CHECKING:
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_it_is_called_after_that_time_and_not_before(virtual_clock: VirtualClock) -> None:
    """On the same loop, in virtual time."""
    called: list[float] = []
    began = clock.monotonic()
    assert timer.call_later(5, lambda: called.append(clock.monotonic() - began))
    await clock.sleep(4.9)
    assert called == []
    await clock.sleep(0.2)
    assert called == [pytest.approx(5, abs=0.01)]


async def test_what_it_raises_is_logged_and_harms_nobody(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop and its other tasks go on."""

    def fail() -> None:
        msg = "a watcher failed"
        raise RuntimeError(msg)

    with caplog.at_level(logging.ERROR, logger="resilio"):
        timer.call_later(1, fail)
        await clock.sleep(2)
    assert "what was to be done later failed" in caplog.text


def test_a_loop_that_ends_first_is_not_kept_waiting(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """The timer of an hour goes with the loop."""

    async def main() -> bool:
        return timer.call_later(3600, lambda: None)

    name, options = anyio_backend
    assert anyio.run(main, backend=name, backend_options=options)


def test_without_a_loop_nothing_will_be_called() -> None:
    """And it says so."""
    assert timer.call_later(0, lambda: None) is False


async def test_a_posted_call_runs_on_another_thread_without_being_waited_for() -> None:
    """The loop that runs here goes on meanwhile."""
    began, finish, done = threading.Event(), threading.Event(), threading.Event()

    async def work(event: threading.Event) -> None:
        began.set()
        await anyio.to_thread.run_sync(event.wait, 30)
        done.set()

    portal.post(work, finish)
    assert await anyio.to_thread.run_sync(began.wait, 30)
    assert not done.is_set()
    finish.set()
    assert await anyio.to_thread.run_sync(done.wait, 30)


async def test_a_posted_call_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it, so nobody else would hear of it; the background loop goes on."""
    done = threading.Event()

    async def fail() -> None:
        done.set()
        msg = "nobody is there"
        raise ConnectionError(msg)

    async def end() -> None:
        done.set()

    with caplog.at_level(logging.ERROR, logger="resilio"):
        portal.post(fail)
        assert await anyio.to_thread.run_sync(done.wait, 30)
        done.clear()
        portal.post(end)
        assert await anyio.to_thread.run_sync(done.wait, 30)
    assert "a call that nobody waits for failed" in caplog.text
