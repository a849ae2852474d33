"""What can be asked of the alerts: incidents, their history, silences; and what can be done from a page."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rules_kit import Postbox, Switch, alerts_of, over

from resilio import (
    AdminNotifier,
    AlertRule,
    Alerts,
    DeadLetterQueue,
    DeliveryStatus,
    Finding,
    IncidentChanged,
    IncidentState,
    NotificationChannel,
    Route,
    StormLimit,
)
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from resilio.testing import EventRecorder, VirtualClock

pytestmark = pytest.mark.anyio


async def test_an_incident_tells_how_far_it_is_and_since_when(box: Postbox, virtual_clock: VirtualClock) -> None:
    """From pending over firing to the history, under one id; its second coming has another."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, severity="CRITICAL", for_=20))
    began = clock.utcnow()
    (pending,) = await alerts.check()
    assert (pending.state, pending.fired_at, pending.told) == (IncidentState.PENDING, None, False)
    assert (pending.since, pending.severity, pending.labels) == (began, "CRITICAL", {"name": "db", "kind": "d"})
    await over(alerts, 40)
    (firing,) = alerts.incidents()
    assert (firing.id, firing.state, firing.told) == (pending.id, IncidentState.FIRING, True)
    assert firing.fired_at == began + timedelta(seconds=20)
    assert firing.updated_at == began + timedelta(seconds=30)
    assert alerts.history() == []
    switch.names = ()
    await alerts.check()
    assert alerts.incidents() == []
    (over_now,) = alerts.history()
    assert (over_now.id, over_now.state) == (pending.id, IncidentState.RESOLVED)
    assert over_now.ended_at == began + timedelta(seconds=40)
    assert json.loads(json.dumps(over_now.to_dict()))["state"] == "resolved"
    switch.names = ("db",)
    await clock.sleep(1)
    (again,) = await alerts.check()
    assert again.id != pending.id


async def test_what_changes_is_told_as_an_event(
    box: Postbox, virtual_clock: VirtualClock, resilio_events: EventRecorder
) -> None:
    """Pending, firing, resolved; a check that finds nothing else tells nothing."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, for_=20))
    alerts.silence(seconds=1)
    await over(alerts, 60)
    switch.names = ()
    await over(alerts, 30)
    switch.names = ("web",)
    await alerts.check()
    found = [each.incident for each in resilio_events.of(IncidentChanged)]
    assert [(each.summary, each.state) for each in found] == [
        *(("db is down", state) for state in ("pending", "firing", "resolved")),
        ("web is down", "pending"),
    ]
    assert [each.muted for each in found] == [True, False, False, False]
    assert len({each.id for each in found}) == 2


async def test_the_history_is_bounded_and_latest_first(box: Postbox, virtual_clock: VirtualClock) -> None:
    """What was never told is in it as well; what was only pending is not."""
    switch, slow = Switch(), Switch("z")
    alerts = alerts_of(box, AlertRule("outage", switch), AlertRule("slow", slow, for_=3600), history=3)
    alerts.silence("outage", seconds=45)
    for number in range(5):
        switch.names = (f"db{number}",)
        await over(alerts, 10)
        switch.names = slow.names = ()
        await over(alerts, 10)
    assert [each.summary for each in alerts.history()] == ["db4 is down", "db3 is down", "db2 is down"]
    assert [each.told for each in alerts.history()] == [True, True, False]
    assert alerts.history(rule="slow") == []
    with pytest.raises(ValueError, match="history must be"):
        Alerts(AdminNotifier(), [], history=-1)


async def test_a_muted_incident_says_by_what(box: Postbox, virtual_clock: VirtualClock) -> None:
    """By the ids of silences, and the names of rules."""
    alerts = alerts_of(
        box, AlertRule("letters", Switch("letters")), AlertRule("db", Switch("db"), inhibits=["letters"])
    )
    silence = alerts.silence("db", seconds=60, created_by="tzara", comment="being moved, password=canary")
    letters, db = await alerts.check()
    assert (letters.silenced_by, letters.inhibited_by, letters.muted) == ((), ("db",), True)
    assert (db.silenced_by, db.inhibited_by, db.muted) == ((silence.id,), (), True)
    assert (silence.created_by, silence.comment) == ("tzara", "being moved, password=[redacted]")
    assert silence.ends_at - silence.starts_at == timedelta(seconds=60)
    assert box.told == []


async def test_silences_are_listed_ended_and_remembered(box: Postbox, virtual_clock: VirtualClock) -> None:
    """Soonest to end first; what is over stays for a while, with who ended it."""
    alerts = alerts_of(box, AlertRule("outage", Switch("db")))
    long = alerts.silence(seconds=1000, created_by="tzara")
    short = alerts.silence("outage", seconds=100, labels={"name": "db"})
    assert alerts.silences() == [short, long]
    ended = alerts.unsilence(long.id, by="arp")
    assert ended is not None
    assert (ended.expired_by, ended.is_active, ended.to_dict()["state"]) == ("arp", False, "expired")
    assert alerts.unsilence(long) is None
    assert alerts.unsilence("no such id") is None
    assert short.is_active
    await clock.sleep(101)
    assert not short.is_active
    assert alerts.silences() == []
    assert [each.id for each in alerts.silences(expired=True)] == [short.id, long.id]
    for _ in range(300):
        alerts.unsilence(alerts.silence(seconds=1))
    assert len(alerts.silences(expired=True)) == 200


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"rule": "no such"}, ValueError, r"rule must be one of \['outage'\], not 'no such'"),
        ({"labels": {"shelf": 7}}, TypeError, "labels must be texts by name"),
        ({"seconds": 0}, ValueError, "seconds must be"),
        ({"seconds": 1e10}, ValueError, "seconds must be"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    given: dict[str, Any], error: type[Exception], told: str, box: Postbox
) -> None:
    """By the name of what is wrong with it."""
    with pytest.raises(error, match=told):
        alerts_of(box, AlertRule("outage", Switch())).silence(**{"seconds": 1, **given})


async def test_secrets_in_findings_are_neither_shown_nor_told(box: Postbox, virtual_clock: VirtualClock) -> None:
    """A condition of one's own may say anything."""

    class Careless:
        async def findings(self) -> Sequence[Finding]:
            said = "password=canary4711"
            return [
                Finding(
                    summary=said,
                    labels={"url": "https://me:canary4711@host", "api_key": "canary4711"},
                    details={"said": said},
                )
            ]

    alerts = alerts_of(box, AlertRule("outage", Careless()))
    found = await alerts.check()
    assert len(found) == 1
    assert len(await alerts.check()) == 1
    assert len(box.letters) == 1
    assert "canary" not in repr(found) + repr(box.letters)


# -- group_wait --------------------------------------------------------------------------------------------------------


async def test_incidents_that_begin_within_group_wait_are_told_in_one_message(
    box: Postbox, virtual_clock: VirtualClock
) -> None:
    """The first waits for the others; latecomers wait for each other; another group waits for itself."""
    switch = Switch("a1")
    alerts = alerts_of(box, AlertRule("outage", switch, group_wait=30, group_by=["kind"]))
    await over(alerts, 20)
    switch.names = ("a1", "a2", "b1")
    await over(alerts, 10)
    assert box.told == []
    await over(alerts, 10)
    assert box.told == ["outage: a1 is down (and 1 more)"]
    switch.names = ("a1", "a2", "a3", "b1")
    await over(alerts, 20)
    assert box.told[1:] == ["outage: b1 is down"]
    switch.names = ("a1", "a2", "a3", "a4", "b1")
    await over(alerts, 20)
    assert box.told[2:] == ["outage: a1 is down (and 3 more)"]


async def test_what_is_over_within_group_wait_is_not_told(box: Postbox, virtual_clock: VirtualClock) -> None:
    """The history has it."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, group_wait=30))
    await over(alerts, 20)
    switch.names = ()
    await over(alerts, 60)
    assert box.told == []
    assert [each.told for each in alerts.history()] == [False]


# -- channels ----------------------------------------------------------------------------------------------------------


async def test_a_channel_is_tried_with_a_message_of_its_own(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """Whatever its severity and its storm limit; a failure is told, counted, and no dead letter."""
    async with DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl") as untold:
        route = Route(box, min_severity="CRITICAL", limit=StormLimit(burst=1, interval=1000), policy=None)
        notifier = AdminNotifier(channel=[route, NotificationChannel.LOG], dead_letters=untold)
        assert notifier.channels == ("Postbox", "LOG")
        outcomes = [await notifier.test_channel("Postbox", by="tzara") for _ in range(3)]
        assert [each.status for each in outcomes] == [DeliveryStatus.DELIVERED] * 3
        letter = box.letters[0]
        assert (letter.severity, letter.error_type) == ("INFO", "test")
        assert letter.details == {"channel": "Postbox", "sent_by": "tzara"}
        box.closed = True
        failed = await notifier.test_channel("Postbox")
        assert (failed.status, failed.error) == (DeliveryStatus.FAILED, "ConnectionError")
        assert await untold.peek() == []
    stats = notifier.stats().channels["Postbox"]
    assert (stats.delivered, stats.told, stats.failed, stats.letters) == (3, 3, 1, 0)
    with pytest.raises(ValueError, match="no channel 'SMS', only Postbox, LOG"):
        await notifier.test_channel("SMS")


async def test_a_test_that_comes_out_of_a_delivery_is_refused(virtual_clock: VirtualClock) -> None:
    """A channel that tests itself would never end."""

    class Vain:
        name = "vain"
        found = ""

        async def deliver(self, _notification: object) -> None:
            self.found = (await notifier.test_channel("vain")).status

    vain = Vain()
    notifier = AdminNotifier(channel=vain)
    assert (await notifier.test_channel("vain")).delivered
    assert vain.found == "refused"
    assert notifier.stats().refused == 1
