"""The same outage with a real HTTP client, a real server, and a proxy between them that goes down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from examples.testing.shop import Shop
from examples.testing.small_server import small_server
from resilio import CircuitStateChanged
from resilio.testing import Latency, match

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.testing.shop import Order
    from resilio.testing import ChaosProxy, DeadLetters, EventRecorder, Notifications, VirtualClock

pytestmark = pytest.mark.anyio


async def test_an_outage_of_thirty_seconds_costs_no_order(
    virtual_clock: VirtualClock,
    chaos_proxy: Callable[[tuple[str, int]], ChaosProxy],
    resilio_events: EventRecorder,
    dead_letters: DeadLetters,
    notifications: Notifications,
) -> None:
    """Connections are cut, then refused, and taken again; every order arrives in the end."""
    reserved: list[int] = []
    kept: list[int] = []

    async with (
        small_server(lambda body: reserved.append(json.loads(body)["number"])) as address,
        chaos_proxy(address) as proxy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}") as client,
    ):

        async def reserve(order: Order) -> None:
            (await client.post("/reserve", json=order)).raise_for_status()

        async def outage() -> None:
            await anyio.sleep(10)
            await proxy.down()
            await anyio.sleep(30)
            await proxy.up()

        shop = Shop(reserve)
        async with anyio.create_task_group() as group:
            group.start_soon(outage)
            for number in range(60):
                if not await shop.take({"number": number}):
                    kept.append(number)
                await anyio.sleep(1)

        resilio_events.where(circuit="warehouse").assert_sequence(
            match(CircuitStateChanged, after="open"),
            ...,
            match(CircuitStateChanged, after="half_open"),
            match(CircuitStateChanged, after="closed"),
        )
        assert [message["number"] for message in dead_letters.messages] == kept
        assert 28 <= len(kept) <= 36
        notifications.assert_told("warehouse is unhealthy", times=1)
        notifications.assert_told("warehouse is healthy again", times=1)

        await shop.catch_up()
        dead_letters.assert_empty()
        assert set(reserved) == set(range(60))


async def test_a_slow_network_is_an_outage_too(
    virtual_clock: VirtualClock, chaos_proxy: Callable[[tuple[str, int]], ChaosProxy], dead_letters: DeadLetters
) -> None:
    """Answers that take three seconds come too late for a timeout of two; once they are quick, all goes well."""
    async with (
        small_server(lambda _body: None) as address,
        chaos_proxy(address) as proxy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}") as client,
    ):

        async def reserve(order: Order) -> None:
            (await client.post("/reserve", json=order)).raise_for_status()

        shop = Shop(reserve)
        with proxy.toxic(Latency(3)):
            assert not await shop.take({"number": 1})
        await anyio.sleep(5)  # the break is over
        assert await shop.take({"number": 2})
    dead_letters.assert_kept({"number": 1}, error="RetryExhaustedError")
    assert len(dead_letters) == 1
