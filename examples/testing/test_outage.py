"""An outage between the tenth and the fortieth second, in a few milliseconds.

Nothing is set up for this: the fixtures come with the package. `faults` does what the warehouse does on a bad day,
`virtual_clock` takes the waiting out of it, and `resilio_events`, `dead_letters` and `notifications` are what the shop
did, lost and told. Run it with ``--resilio-seed=1`` to get the same back-off each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from examples.testing.shop import Shop
from resilio import CallRejected, CircuitBreakerOpenError, CircuitStateChanged, RetryExhaustedError
from resilio.testing import match

if TYPE_CHECKING:
    from examples.testing.shop import Order
    from resilio.testing import DeadLetters, EventRecorder, FaultInjector, Notifications, VirtualClock

pytestmark = pytest.mark.anyio  # on asyncio and on trio


class Warehouse:
    """Stands for the real one."""

    def __init__(self) -> None:
        self.reserved: list[int] = []

    async def reserve(self, order: Order) -> None:
        """Reserve what was ordered."""
        self.reserved.append(order["number"])


async def test_an_outage_of_thirty_seconds_costs_no_order(
    virtual_clock: VirtualClock,
    faults: FaultInjector,
    resilio_events: EventRecorder,
    dead_letters: DeadLetters,
    notifications: Notifications,
) -> None:
    """An order a second for a minute: during the outage they are kept, afterwards they are reserved."""
    warehouse = Warehouse()
    faults.on(warehouse.reserve).between(10, 40).raises(ConnectionError)
    shop = Shop(warehouse.reserve)

    kept = []
    for number in range(60):
        if not await shop.take({"number": number}):
            kept.append(number)
        await anyio.sleep(1)
    assert virtual_clock.elapsed >= 60

    # The breaker opened, tried in vain every five seconds, and closed.
    circuit = resilio_events.where(circuit="warehouse")
    circuit.assert_sequence(
        match(CircuitStateChanged, after="open"),
        ...,
        match(CircuitStateChanged, before="half_open", after="open"),
        ...,
        match(CircuitStateChanged, after="half_open"),
        match(CircuitStateChanged, after="closed"),
    )
    opened, *_, closed = [each.elapsed for each in circuit.moments if isinstance(each.event, CircuitStateChanged)]
    assert 10 <= opened < 12
    assert 40 <= closed < 46
    assert len(circuit.of(CallRejected)) > 20  # the warehouse was left in peace

    # No order was lost.
    assert 28 <= len(kept) <= 36
    assert [message["number"] for message in dead_letters.messages] == kept
    dead_letters.assert_kept({"number": kept[-1]}, error=CircuitBreakerOpenError)

    # Somebody was told: once when it began, once when it was over.
    notifications.assert_told("warehouse is unhealthy", severity="ERROR", times=1)
    over = notifications.assert_told("warehouse is healthy again", severity="INFO", times=1)
    assert 29 < float(str(over.details["unhealthy_for"])) < 36

    await shop.catch_up()
    dead_letters.assert_empty()
    assert sorted(warehouse.reserved) == list(range(60))


async def test_a_reply_that_gets_lost_is_not_an_order_that_gets_lost(
    virtual_clock: VirtualClock, faults: FaultInjector, resilio_events: EventRecorder, dead_letters: DeadLetters
) -> None:
    """The warehouse reserves, its answer never comes: the retry asks again, so reserving must bear being done twice."""
    warehouse = Warehouse()
    faults.on(warehouse.reserve).first(1).drops_ack()
    assert await Shop(warehouse.reserve).take({"number": 1})
    assert warehouse.reserved == [1, 1]
    resilio_events.assert_attempts("reserve", 2)
    dead_letters.assert_empty()


async def test_a_warehouse_that_hangs_keeps_no_customer_waiting(
    virtual_clock: VirtualClock, faults: FaultInjector, dead_letters: DeadLetters
) -> None:
    """Three attempts of two seconds each, and the order is kept."""
    warehouse = Warehouse()
    faults.on(warehouse.reserve).hangs()
    assert not await Shop(warehouse.reserve).take({"number": 1})
    assert 6 <= virtual_clock.elapsed < 7
    dead_letters.assert_kept({"number": 1}, error=RetryExhaustedError)
