"""The dashboard and the alert rules name only metrics and labels that a real scrape has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import parser

from resilio import CircuitBreaker, ErrorSeverity, ErrorTracker, sync
from resilio._core import clock, events
from resilio.alerting.events import NotificationFailed, NotificationSent
from resilio.deadletters.events import LetterDeleted, LetterKept, LetterReplayed, ReplayFailed
from resilio.policies.circuit_machine import CircuitState
from resilio.policies.events import (
    BulkheadRejected,
    CallFailed,
    CircuitStateChanged,
    FellBack,
    Hedged,
    RateLimited,
    RetryGivenUp,
    RetryScheduled,
    TimedOut,
)
from resilio.reporting.events import OperationEnded
from resilio.telemetry import prometheus_app

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "examples" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
NAME = re.compile(r"\b(?:resilio|messaging|error)_\w+")

EVENTS = (
    CallFailed(circuit="api", duration=0.1, error="x"),
    CircuitStateChanged(circuit="api", number=1, before=CircuitState.CLOSED, after=CircuitState.OPEN),
    RetryScheduled(operation="ask", attempt=1, error="x", delay=0.5),
    RetryGivenUp(operation="ask", attempt=2, error="x", reason="budget"),
    TimedOut(operation="ask", seconds=1),
    FellBack(operation="ask", error="x"),
    Hedged(operation="ask", calls=2, delay=0.1),
    BulkheadRejected(running=1, waiting=0),
    RateLimited(limiter="RateLimiter", retry_after=1),
    OperationEnded(operation="ask", duration=0.2, outcome="succeeded"),
    LetterKept(location="letters.jsonl", message_id="1", error_type="KeyError"),
    LetterReplayed(location="letters.jsonl", message_id="1", attempts=0),
    ReplayFailed(location="letters.jsonl", message_id="2", attempts=1, error="x", parked=False),
    LetterDeleted(location="letters.jsonl", message_id="3"),
    NotificationSent(notification_id="n", channel="log", severity=ErrorSeverity.ERROR),
    NotificationFailed(notification_id="n", channel="sns", severity=ErrorSeverity.ERROR, error="x"),
)


def everything() -> tuple[set[str], set[str]]:
    """The names of all metrics, and of all labels, in a scrape after everything that is measured has happened."""
    letters = sync.DeadLetterQueue(local_file_path="letters.jsonl")
    tracker = ErrorTracker()
    app = prometheus_app(queues=[letters], tracker=tracker)
    try:
        breaker = CircuitBreaker(name="api")
        sync.ErrorHandler(tracker=tracker).handle(ConnectionError("x"), "ask")
        for event in EVENTS:
            events.emit(event)
        metrics: set[str] = set()
        labels: set[str] = set()
        end = clock.monotonic() + 60
        while "resilio_dead_letters" not in metrics:
            assert clock.monotonic() < end, "the queue was not read"
            text, _ = app.render()
            for family in parser.text_string_to_metric_families(text.decode()):
                for sample in family.samples:
                    metrics.add(sample.name)
                    labels |= set(sample.labels)
        assert breaker.state is CircuitState.CLOSED
        return metrics, labels
    finally:
        app.close()
        letters.close()


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with where it is."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']!r}", target["expr"]
            yield f"legend of {panel['title']!r}", target["legendFormat"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for rule in RULES:
        yield f"alert {rule['alert']}", rule["expr"]
        for text in rule["annotations"].values():
            yield f"text of alert {rule['alert']}", text


def test_every_name_is_in_a_scrape() -> None:
    """A renamed metric would leave a panel empty and an alert silent."""
    known = set.union(*everything())
    for where, text in expressions():
        for name in NAME.findall(text):
            assert name in known, f"{where}: {name}"


def test_every_metric_is_on_the_dashboard() -> None:
    """What is measured can be seen."""
    shown = {
        name
        for panel in DASHBOARD["panels"]
        for each in panel.get("targets", ())
        for name in NAME.findall(each["expr"])
    }
    metrics, _ = everything()
    counted = {re.sub(r"_(sum|count|bucket|created)$", "", name) for name in metrics if name.startswith("resilio_")}
    assert {re.sub(r"_bucket$", "", name) for name in shown} >= counted


def test_panels_do_not_overlap() -> None:
    """Grafana would push them apart."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    """A severity to route by, a summary and a description."""
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["expr"].count("(") == rule["expr"].count(")")
