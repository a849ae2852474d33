from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio import (
    AdminNotifier,
    ErrorSeverity,
    NotificationFailed,
    NotificationSent,
    sync,
)
from resilio.testing import EventRecorder, FaultInjector, Notifications, match

if TYPE_CHECKING:
    from resilio import Notification
    from resilio.testing import VirtualClock


class Pager:
    """A channel of the user's, that must not be reached."""

    name = "pager"

    def __init__(self) -> None:
        self.rung = 0

    async def deliver(self, notification: Notification) -> None:
        self.rung += 1


PAGER = Pager()
MADE_AT_IMPORT = AdminNotifier(channel=PAGER)


@pytest.mark.anyio
async def test_the_notifier_to_inject_tells_the_test(notifications: Notifications) -> None:
    """What was told is there, whole."""
    result = await notifications.notifier.send_notification(
        "Circuit is open", {"circuit": "openai"}, ErrorSeverity.WARNING, "outage"
    )
    assert result.delivered
    [told] = notifications
    assert (told.id, told.message, told.severity, told.error_type, told.details) == (
        result.id,
        "Circuit is open",
        ErrorSeverity.WARNING,
        "outage",
        {"circuit": "openai"},
    )


@pytest.mark.anyio
async def test_notifiers_of_the_code_under_test_are_caught_and_their_channels_left_alone(
    notifications: Notifications, resilio_events: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever they were made; results and events name the channel that was meant."""
    result = await MADE_AT_IMPORT.send_notification("one")
    await AdminNotifier().send_notification("two")
    assert [(each.channel, each.notification.message) for each in notifications.told] == [
        ("pager", "one"),
        ("LOG", "two"),
    ]
    assert PAGER.rung == 0
    assert caplog.records == []
    assert [outcome.channel for outcome in result.outcomes] == ["pager"]
    resilio_events.assert_sequence(match(NotificationSent, channel="pager"), match(NotificationSent, channel="LOG"))


def test_blocking_notifiers_are_caught_too(notifications: Notifications) -> None:
    """They are the same notifiers, behind the portal."""
    sync.AdminNotifier(channel=PAGER).send_notification("blocking")
    assert notifications.assert_told("blocking", channel="pager").severity is ErrorSeverity.ERROR


@pytest.mark.anyio
async def test_after_the_block_channels_are_reached_again() -> None:
    """Only the block is silent; the notifier to inject goes on telling the test."""
    pager = Pager()
    notifier = AdminNotifier(channel=pager)
    with Notifications() as notifications:
        await notifier.send_notification("in the block")
    await notifier.send_notification("after the block")
    await notifications.notifier.send_notification("to the test")
    assert pager.rung == 1
    assert [each.message for each in notifications.sent] == ["in the block", "to the test"]


@pytest.mark.anyio
async def test_deliveries_fail_by_fault_injection(
    notifications: Notifications, faults: FaultInjector, resilio_events: EventRecorder
) -> None:
    """A delivery that fails is reported by the notifier as ever."""
    faults.on(notifications.deliver).first(1).raises(ConnectionError)
    assert not (await MADE_AT_IMPORT.send_notification("lost")).delivered
    assert (await MADE_AT_IMPORT.send_notification("heard")).delivered
    assert [each.message for each in notifications] == ["heard"]
    resilio_events.assert_sequence(match(NotificationFailed, error=re.compile("ConnectionError")))


@pytest.mark.anyio
async def test_seconds_count_from_the_start_of_the_tests_body(
    virtual_clock: VirtualClock, notifications: Notifications
) -> None:
    """On the virtual clock, so that they are exact."""
    await anyio.sleep(40)
    await notifications.notifier.send_notification("Back again", severity=ErrorSeverity.INFO)
    assert [each.elapsed for each in notifications.told] == [40]
    assert notifications.timeline() == "    40.000 s  INFO to notifications: Back again"


@pytest.mark.anyio
async def test_told_finds_a_notification_by_what_is_known_of_it(notifications: Notifications) -> None:
    """Part of the message or an expression; severity, kind, channel and number narrow it."""
    notifier = notifications.notifier
    for severity in (ErrorSeverity.ERROR, ErrorSeverity.INFO):
        await notifier.send_notification("openai is moody", {"n": severity}, severity, "mood")
    await MADE_AT_IMPORT.send_notification("openai is gone")
    assert notifications.assert_told("openai is moody").details == {"n": "ERROR"}
    assert notifications.assert_told("moody", severity="info", error_type="mood").details == {"n": "INFO"}
    assert notifications.assert_told(re.compile("^openai .* gone$"), channel="pager", times=1).details == {}
    notifications.assert_told("openai", times=3)


@pytest.mark.anyio
async def test_an_assertion_that_fails_shows_everything_that_was_told(notifications: Notifications) -> None:
    """What was expected, how often it was told, and all that was."""
    await MADE_AT_IMPORT.send_notification("openai is gone", {"since": "noon"}, error_type="outage")
    shown = "ERROR to pager [outage]: openai is gone since='noon'"
    with pytest.raises(AssertionError) as failure:
        notifications.assert_told("gone", severity="CRITICAL", channel="pager")
    assert "should have been told once or more: 'gone', severity CRITICAL, to 'pager'; was told never" in str(
        failure.value
    )
    assert shown in str(failure.value)
    with pytest.raises(AssertionError, match=re.escape("should have been told twice: /g.ne/; was told once")):
        notifications.assert_told(re.compile("g.ne"), times=2)
    with pytest.raises(AssertionError, match="nobody should have been told anything") as failure:
        notifications.assert_silent()
    assert shown in str(failure.value)


def test_what_could_never_match_is_refused(notifications: Notifications) -> None:
    """An unknown severity, and no times at all."""
    with pytest.raises(ValueError, match="FATAL"):
        notifications.assert_told("gone", severity="fatal")
    with pytest.raises(ValueError, match="times must be a whole number, at least 1, not 0"):
        notifications.assert_told("gone", times=0)


def test_silence_is_silence(notifications: Notifications) -> None:
    """`if notifications:` tells whether there is one, not whether anybody was told."""
    notifications.assert_silent()
    assert notifications
    assert len(notifications) == 0
    assert notifications.timeline() == "nobody was told anything"
