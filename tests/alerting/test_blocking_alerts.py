"""Rules and health checks for code without an event loop."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest
from rules_kit import Postbox

import resilio
from resilio import Route, errors, sync

if TYPE_CHECKING:
    from pathlib import Path


def test_rules_are_checked_without_await() -> None:
    """An alert, a silence, an audit: as the async ones."""
    box, tracker, breaker = Postbox(), sync.ErrorTracker(), sync.CircuitBreaker(name="blocking rule")
    rule = sync.AlertRule("critical", sync.ErrorsAbove(tracker), action=sync.reset_circuit(breaker))
    alerts = sync.Alerts(sync.AdminNotifier(channel=box), [rule])
    breaker.force_open()
    for _ in range(4):
        tracker.track_error(errors.SystemError("no disk", component="disk"), {})
    (incident,) = alerts.check()
    assert incident.state is sync.IncidentState.FIRING
    assert [letter.message for letter in box.letters] == ["critical: more than 3 CRITICAL errors in 5 minutes"]
    assert [record.outcome for record in alerts.audit()] == [sync.RecoveryOutcome.DONE]
    assert breaker.state is sync.CircuitState.CLOSED
    silence = alerts.silence("critical", seconds=60)
    assert alerts.incidents()[0].muted
    alerts.unsilence(silence)
    assert not alerts.incidents()[0].muted
    assert repr(alerts) == "<Alerts critical>"
    with pytest.raises(TypeError, match=r"notifier must be a resilio\.sync\.AdminNotifier"):
        sync.Alerts(resilio.AdminNotifier(), [])  # type: ignore[arg-type]


def test_health_checks_run_in_a_thread_until_they_are_told_to_end() -> None:
    """What the first look finds is told."""
    box, over = Postbox(), threading.Event()

    def probe() -> bool:
        over.set()
        return False

    checks = sync.HealthChecks(sync.AdminNotifier(channel=box), [sync.HealthCheck("db", probe)])
    thread = threading.Thread(target=checks.run, args=(30,), kwargs={"until": over})
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert [letter.message for letter in box.letters] == ["db is unhealthy"]
    assert checks.check() == {"db": False}
    assert [(each.component, each.is_healthy) for each in checks.results()] == [("db", False)]


def test_what_a_page_asks_is_answered_without_an_event_loop(tmp_path: Path) -> None:
    """Incidents, history, silences, channels; kept in a file."""
    box, path = Postbox(), tmp_path / "alerts.json"
    notifier = sync.AdminNotifier(channel=box)
    rule = sync.AlertRule("letters", sync.ErrorsAbove(tracker := sync.ErrorTracker(), more_than=0, severity=None))
    alerts = sync.Alerts(notifier, [rule], path=path)
    assert (alerts.rules, alerts.notifier, notifier.channels) == ((rule,), notifier, ("Postbox",))
    tracker.track_error(ValueError("no"))
    (found,) = alerts.check()
    silence = alerts.silence(seconds=100, created_by="tzara")
    again = sync.Alerts(notifier, [rule], path=path)
    assert [(each.id, each.silenced_by) for each in again.incidents()] == [(found.id, (silence.id,))]
    assert again.history() == []
    assert [each.id for each in again.silences()] == [silence.id]
    assert again.unsilence(silence.id, by="arp") is not None
    assert notifier.test_channel("Postbox").delivered


def test_send_alert_and_check_critical_errors_take_a_notifier() -> None:
    """A blocking one."""
    box, tracker = Postbox(), sync.ErrorTracker()
    notifier = sync.AdminNotifier(channel=box)
    assert sync.send_alert("High critical error rate", {"error_count": 4}, notifier=notifier).delivered
    assert sync.check_critical_errors(tracker, notifier=notifier) is None
    assert [letter.severity for letter in box.letters] == ["CRITICAL"]


def test_a_blocking_queue_keeps_what_could_not_be_delivered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of either kind."""
    box = Postbox()
    box.closed = True
    with sync.DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl") as queue:
        notifier = sync.AdminNotifier(channel=Route(box, policy=None), dead_letters=queue)
        assert not notifier.send_notification("down").delivered
        (letter,) = queue.peek()
    assert letter["message"]["notification"]["message"] == "down"


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *(("Alerts", method) for method in ("__init__", "check", "silence", "unsilence", "silences")),
        *(("Alerts", method) for method in ("incidents", "history", "audit")),
        *(("HealthChecks", method) for method in ("__init__", "check", "results")),
        ("AdminNotifier", "test_channel"),
    ],
)
def test_the_signatures_are_those_of_the_async_ones(kind: str, method: str) -> None:
    """Name for name, default for default."""

    def shape(owner: Any) -> list[tuple[str, object, object]]:
        parameters = inspect.signature(getattr(getattr(owner, kind), method)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert shape(sync) == shape(resilio)
