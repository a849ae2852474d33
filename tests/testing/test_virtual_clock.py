from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


def test_blocking(virtual_clock: VirtualClock) -> None:
    """A blocking hour takes no time."""
    began = time.monotonic()
    clock.sleep_blocking(3600)
    assert virtual_clock.elapsed == 3600
    assert time.monotonic() - began < 1


@pytest.mark.anyio
async def test_async(virtual_clock: VirtualClock) -> None:
    """An hour takes no time."""
    began = time.monotonic()
    start = anyio.current_time()
    await anyio.sleep(3600)
    await clock.sleep(1)
    assert virtual_clock.elapsed == 3601
    assert anyio.current_time() - start == pytest.approx(3601)
    assert time.monotonic() - began < 1


@pytest.mark.anyio
async def test_job(virtual_clock: VirtualClock) -> None:
    """A job in a thread is not jumped over."""
    with anyio.fail_after(10):
        await anyio.to_thread.run_sync(time.sleep, 0.1)
    assert virtual_clock.elapsed == 0


def test_threads(virtual_clock: VirtualClock) -> None:
    """Threads."""
    out: list[tuple[float, int]] = []

    def work(period: int, times: int) -> None:
        for _ in range(times):
            clock.sleep_blocking(period)
            out.append((virtual_clock.elapsed, period))

    threads = [threading.Thread(target=work, args=each) for each in ((3, 4), (5, 3), (7, 2))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(out) == sorted(
        [(3 * i, 3) for i in range(1, 5)] + [(5 * i, 5) for i in range(1, 4)] + [(7 * i, 7) for i in range(1, 3)]
    )
