"""Incidents and silences outlive the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rules_kit import Postbox, Switch, alerts_of, over

from resilio import AlertRule, IncidentState
from resilio._core import clock

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_what_was_told_is_not_told_again_after_a_restart(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """It repeats when its time has come, and its end is told to whoever heard of it."""
    switch, path = Switch("db"), tmp_path / "alerts.json"
    rule = AlertRule("outage", switch, repeat=100)
    first = alerts_of(box, rule, path=path)
    (before,) = await first.check()
    await over(first, 50)
    second = alerts_of(box, rule, path=path)
    assert [(each.id, each.state, each.told) for each in second.incidents()] == [(before.id, "firing", True)]
    await over(second, 50)
    assert box.told == ["outage: db is down"]
    await over(second, 20)
    assert box.told == ["outage: db is down"] * 2
    switch.names = ()
    third = alerts_of(box, rule, path=path)
    await third.check()
    assert box.told[2:] == ["outage is over: db is down"]
    assert [each.id for each in alerts_of(box, rule, path=path).history()] == [before.id]


async def test_a_wait_goes_on_over_a_restart(box: Postbox, virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """``for_``, ``group_wait`` and ``keep_firing`` begin once."""
    switch, path = Switch("db"), tmp_path / "alerts.json"
    rule = AlertRule("outage", switch, for_=30, group_wait=30, keep_firing=30)
    for expected in ("pending", "pending", "pending", "firing", "firing", "firing"):
        (found,) = await alerts_of(box, rule, path=path).check()
        assert found.state == expected
        await clock.sleep(10)
    assert box.told == []
    await alerts_of(box, rule, path=path).check()
    assert box.told == ["outage: db is down"]
    switch.names = ()
    for _ in range(3):
        await clock.sleep(9)
        assert len(await alerts_of(box, rule, path=path).check()) == 1
    await clock.sleep(9)
    assert await alerts_of(box, rule, path=path).check() == []


async def test_silences_last_and_end_when_they_should(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """Written at once, without a check in between; one that was ended stays so."""
    path = tmp_path / "alerts.json"
    rule = AlertRule("outage", Switch("db"))
    first = alerts_of(box, rule, path=path)
    kept = first.silence("outage", seconds=100, labels={"name": "db"}, created_by="tzara", comment="being moved")
    first.unsilence(first.silence(seconds=1000), by="arp")
    await clock.sleep(60)
    second = alerts_of(box, rule, path=path)
    (found,) = second.silences()
    assert (found.id, found.rule, found.labels, found.created_by, found.comment, found.ends_at) == (
        *(kept.id, "outage", {"name": "db"}, "tzara", "being moved"),
        kept.ends_at,
    )
    assert [each.expired_by for each in second.silences(expired=True)] == ["", "arp"]
    await over(second, 40)
    assert box.told == []
    await over(second, 10)
    assert box.told == ["outage: db is down"]


async def test_incidents_of_a_rule_that_is_gone_become_history(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """Nobody looks at them any more."""
    path = tmp_path / "alerts.json"
    await alerts_of(box, AlertRule("outage", Switch("db")), path=path).check()
    later = alerts_of(box, AlertRule("other", Switch()), path=path)
    assert later.incidents() == []
    (gone,) = later.history()
    assert (gone.rule, gone.state, gone.ended_at) == ("outage", IncidentState.RESOLVED, clock.utcnow())


DAMAGED: dict[str, Any] = {
    "empty": "",
    "no-json": "{",
    "another-format": '{"format": "resilio-error-tracker-1"}',
    "nothing-in-it": '{"format": "resilio-alerts-1"}',
    "a-list": "[]",
    "wrong-types": '{"format": "resilio-alerts-1", "silences": [1], "incidents": 2, "history": 3}',
    "wrong-incident": '{"format": "resilio-alerts-1", "silences": [], "incidents": [{"rule": 1}], "history": []}',
    "no-zone": json.dumps(
        {"format": "resilio-alerts-1", "silences": [{"id": "a", "rule": None, "labels": {}, "ends_at": "2030-01-01"}]}
    ),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
async def test_a_file_that_cannot_be_read_stops_no_alert(
    content: str, box: Postbox, virtual_clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the watch begins anew."""
    path = tmp_path / "alerts.json"
    path.write_text(content)
    alerts = alerts_of(box, AlertRule("outage", Switch("db")), path=path)
    assert "the alerts begin anew" in caplog.text
    assert alerts.silences() == []
    await alerts.check()
    assert box.told == ["outage: db is down"]
    assert len(alerts_of(box, AlertRule("outage", Switch("db")), path=path).incidents()) == 1


async def test_a_file_that_cannot_be_written_stops_no_alert(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the silence holds."""
    alerts = alerts_of(box, AlertRule("outage", Switch("db", "web")), path=tmp_path / "no such folder" / "alerts.json")
    alerts.silence(seconds=100, labels={"name": "db"})
    await alerts.check()
    assert box.told == ["outage: web is down"]
    assert "the alerts could not be saved" in caplog.text


WRITES = """
import itertools, sys
from resilio import sync

class Never:
    async def findings(self): return []

alerts = sync.Alerts(sync.AdminNotifier(), [sync.AlertRule("outage", Never())], path=sys.argv[1])
for number in itertools.count():
    alerts.unsilence(alerts.silence(seconds=1000, comment=f"silence {number}"), by="x" * 1000)
    print(number, flush=True)
"""


@pytest.mark.slow("kills three processes that have to start first")
def test_a_crash_while_it_is_written_leaves_a_whole_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The former state or the new one, and all that was told to be safe."""
    path = tmp_path / "alerts.json"
    for kills in range(1, 4):
        command = [sys.executable, "-c", WRITES, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 -- our own
            assert process.stdout is not None
            for _ in range(20 + kills):
                last = process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            last = (process.stdout.read().split() or [last])[-1]
        alerts = alerts_of(Postbox(), AlertRule("outage", Switch()), path=path)
        found = [each.comment for each in alerts.silences(expired=True)]
        assert f"silence {last.strip()}" in found
    assert "begin anew" not in caplog.text
