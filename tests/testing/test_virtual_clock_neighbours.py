"""The virtual clock beside the tools for what it does not do: faking HTTP answers, and setting the time of day."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
import respx
import time_machine

from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.anyio
async def test_answers_faked_by_respx_come_between_virtual_waits(virtual_clock: VirtualClock) -> None:
    """A client that waits between its requests meets respx's answers in virtual time."""
    with respx.mock:
        route = respx.get("https://api.example/").mock(side_effect=[httpx.Response(503), httpx.Response(200)])
        async with httpx.AsyncClient() as client:
            assert (await client.get("https://api.example/")).status_code == httpx.codes.SERVICE_UNAVAILABLE
            await anyio.sleep(30)
            assert (await client.get("https://api.example/")).status_code == httpx.codes.OK
    assert route.call_count == 2
    assert virtual_clock.elapsed == 30


@pytest.mark.anyio
@pytest.mark.parametrize("tick", [True, False], ids=["ticking", "frozen"])
async def test_the_time_of_day_may_be_set_by_time_machine(virtual_clock: VirtualClock, *, tick: bool) -> None:
    """Loops jump, and wait for worker threads, although time-machine has set or frozen what `time` reads."""
    with time_machine.travel(NEW_YEAR, tick=tick):
        await anyio.sleep(3600)
        with anyio.fail_after(10):
            await anyio.to_thread.run_sync(threading.Event().wait, 0.02)
        assert datetime.now(UTC).year == NEW_YEAR.year
    assert virtual_clock.elapsed == 3600


def test_threads_jump_in_frozen_time(virtual_clock: VirtualClock) -> None:
    """So do threads."""
    with time_machine.travel(NEW_YEAR, tick=False):
        threads = [threading.Thread(target=clock.sleep_blocking, args=(seconds,)) for seconds in (3, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert virtual_clock.elapsed == 5
