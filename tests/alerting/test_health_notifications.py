"""Only changes of health are told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from rules_kit import Postbox

from resilio._core import clock
from resilio.alerting import health
from resilio.alerting.health import HealthLedger
from resilio.alerting.notifier import AdminNotifier
from resilio.alerting.route import Route
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from resilio.alerting.notification import Notification
    from resilio.testing.virtual_clock import VirtualClock


@pytest.mark.anyio
async def test_an_outage_is_one_error_and_one_recovery_with_its_duration(virtual_clock: VirtualClock) -> None:
    """Whoever checks every ten seconds tells twice: at the first failure, and when it is over."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    for is_healthy in (True, False, False, False, True, True):
        await notifier.send_health_check_notification(is_healthy, {"component": "openai_api"})
        await clock.sleep(10)
    assert [(letter.severity, letter.message) for letter in box.letters] == [
        (ErrorSeverity.INFO, "openai_api is healthy"),
        (ErrorSeverity.ERROR, "openai_api is unhealthy"),
        (ErrorSeverity.INFO, "openai_api is healthy again after 30.0 s"),
    ]
    assert box.letters[2].details == {"component": "openai_api", "unhealthy_for": 30.0}
    assert {letter.error_type for letter in box.letters} == {"health_check"}


@pytest.mark.anyio
async def test_what_is_not_news_returns_none() -> None:
    """The result says whether anything was told."""
    notifier = AdminNotifier(channel=Postbox())
    first = await notifier.send_health_check_notification(is_healthy=False, details={"error": "Timeout"})
    assert first is not None
    assert first.delivered
    assert await notifier.send_health_check_notification(is_healthy=False) is None


@pytest.mark.anyio
async def test_components_are_apart() -> None:
    """One component's outage says nothing about another; without a name it is the service."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    for component in ("database", "queue", "database"):
        await notifier.send_health_check_notification(is_healthy=False, details={"component": component})
    await notifier.send_health_check_notification(is_healthy=False)
    assert box.told == ["database is unhealthy", "queue is unhealthy", "service is unhealthy"]


@pytest.mark.anyio
async def test_the_callers_details_are_kept() -> None:
    """What the check found out goes along, and wins over what the notifier would add."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    await notifier.send_health_check_notification(is_healthy=False, details={"component": "db", "error": "Timeout"})
    await notifier.send_health_check_notification(is_healthy=True, details={"component": "db", "unhealthy_for": "long"})
    assert [letter.details for letter in box.letters] == [
        {"component": "db", "error": "Timeout"},
        {"component": "db", "unhealthy_for": "long"},
    ]


@pytest.mark.anyio
async def test_a_change_that_nobody_heard_is_told_at_the_next_check(virtual_clock: VirtualClock) -> None:
    """A channel that fails loses no alert, and the duration counts from the first failure."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    box.closed = True
    unheard = await notifier.send_health_check_notification(is_healthy=False)
    assert unheard is not None
    assert not unheard.delivered
    box.closed = False
    await clock.sleep(5)
    await notifier.send_health_check_notification(is_healthy=False)
    await clock.sleep(5)
    box.closed = True
    await notifier.send_health_check_notification(is_healthy=True)
    box.closed = False
    await clock.sleep(5)
    await notifier.send_health_check_notification(is_healthy=True)
    assert box.told == ["service is unhealthy", "service is healthy again after 10.0 s"]


@pytest.mark.anyio
async def test_a_cancelled_notification_is_told_at_the_next_check() -> None:
    """Cancellation passes through, and takes back that the change was told."""
    told: list[str] = []

    class Slow:
        async def deliver(self, notification: Notification) -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            told.append(notification.message)

    notifier = AdminNotifier(channel=Slow())
    with anyio.CancelScope() as scope:
        await notifier.send_health_check_notification(is_healthy=False)
    assert scope.cancelled_caught
    assert told == []
    with anyio.CancelScope() as scope, anyio.CancelScope(shield=True):
        await notifier.send_health_check_notification(is_healthy=False)
    assert told == ["service is unhealthy"]


@pytest.mark.anyio
async def test_many_checks_at_once_tell_once() -> None:
    """A hundred tasks that find the same outage are one notification."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, policy=None))
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(notifier.send_health_check_notification, False)
    assert box.told == ["service is unhealthy"]


def test_a_clock_that_stands_still_gives_no_negative_duration() -> None:
    """A recovery in the same moment lasted zero seconds."""
    ledger = HealthLedger()
    ledger.observe("db", is_healthy=False, now=5.0)
    change = ledger.observe("db", is_healthy=True, now=5.0)
    assert change is not None
    assert change.lasted == 0.0


def test_taking_back_an_old_change_does_not_touch_a_newer_one() -> None:
    """A delivery that fails late, after the component changed again, repeats nothing."""
    ledger = HealthLedger()
    outage = ledger.observe("db", is_healthy=False, now=0.0)
    assert outage is not None
    ledger.observe("db", is_healthy=True, now=1.0)
    ledger.untold(outage)
    assert ledger.observe("db", is_healthy=True, now=2.0) is None


def test_the_ledger_forgets_what_has_not_changed_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is bounded, however many names a caller makes up."""
    monkeypatch.setattr(health, "_MOST_COMPONENTS", 3)
    ledger = HealthLedger()
    for number, component in enumerate("abcad"):
        ledger.observe(component, is_healthy=number != 3, now=float(number))
    assert [ledger.observe(component, is_healthy=True, now=9.0) for component in "cd"] == [None, None]
    assert ledger.observe("a", is_healthy=False, now=9.0) is None
    forgotten = ledger.observe("b", is_healthy=True, now=9.0)
    assert forgotten is not None
    assert forgotten.lasted is None


def test_threads_that_see_one_change_agree_on_who_tells() -> None:
    """Of twenty threads exactly one gets the change."""
    ledger = HealthLedger()
    barrier = threading.Barrier(20)
    changes: list[object] = []

    def check() -> None:
        barrier.wait()
        changes.append(ledger.observe("db", is_healthy=False, now=1.0))

    threads = [threading.Thread(target=check) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([change for change in changes if change is not None]) == 1
