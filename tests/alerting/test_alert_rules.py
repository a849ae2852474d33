"""Rules, incidents, silences: who is told, when, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from rules_kit import Postbox, Switch, alerts_of, over

from resilio import (
    AdminNotifier,
    AlertRule,
    BurnRate,
    CallCounter,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitOpenFor,
    DeadLetterQueue,
    DeadLettersAbove,
    ErrorSeverity,
    IncidentState,
    NewErrors,
    RateAboveBaseline,
    RecoveryAction,
    RecoveryAttempted,
    RecoveryOutcome,
    ReturningErrors,
    check_critical_errors,
    replay_dead_letters,
    reset_circuit,
    send_alert,
)
from resilio._core import clock, events
from resilio.errors import SystemError as BrokenSystemError
from resilio.policies import registry
from resilio.reporting.tracker import ErrorTracker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _fresh_circuits() -> Iterator[None]:
    with registry.fresh():
        yield


# -- incidents ---------------------------------------------------------------------------------------------------------


async def test_an_incident_is_told_once_repeated_and_resolved(box: Postbox, virtual_clock: VirtualClock) -> None:
    """Firing at once, again after ``repeat``, and its end under the same key."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, severity="CRITICAL", repeat=100))
    await over(alerts, 150)
    switch.names = ()
    await over(alerts, 50)
    assert box.told == ["outage: db is down", "outage: db is down", "outage is over: db is down"]
    first, second, end = box.letters
    assert (first.severity, end.severity, end.resolves) == ("CRITICAL", "INFO", "CRITICAL")
    assert first.dedup_key == end.dedup_key == "alert:outage:"
    assert (second.at - first.at).total_seconds() == 100
    assert second.details["still"] is True
    assert alerts.incidents() == []


async def test_for_wants_it_found_all_the_time(box: Postbox, virtual_clock: VirtualClock) -> None:
    """A moment's relief begins the wait anew; until then it is pending."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, for_=30))
    await over(alerts, 30)
    assert [each.state for each in alerts.incidents()] == [IncidentState.PENDING]
    switch.names = ()
    await over(alerts, 10)
    switch.names = ("db",)
    await over(alerts, 30)
    assert box.told == []
    await over(alerts, 10)
    assert box.told == ["outage: db is down"]
    assert [each.state for each in alerts.incidents()] == [IncidentState.FIRING]


async def test_keep_firing_tells_no_end_that_is_none(box: Postbox, virtual_clock: VirtualClock) -> None:
    """What flaps is one incident."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch, keep_firing=60))
    for _ in range(5):
        switch.names = ("db",)
        await over(alerts, 10)
        switch.names = ()
        await over(alerts, 40)
    assert box.told == ["outage: db is down"]
    await over(alerts, 30)
    assert box.told[1:] == ["outage is over: db is down"]


async def test_incidents_of_a_group_are_told_together(box: Postbox, virtual_clock: VirtualClock) -> None:
    """One message for all of a rule, or for each value of a label; a newcomer is news, the end is the last one's."""
    switch, split = Switch("a1", "a2"), Switch("a1", "a2", "b1")
    alerts = alerts_of(box, AlertRule("all", switch), AlertRule("split", split, group_by=["kind"]))
    await over(alerts, 20)
    assert box.told == ["all: a1 is down (and 1 more)", "split: a1 is down (and 1 more)", "split: b1 is down"]
    firing: Any = box.letters[0].details["firing"]
    assert [each["name"] for each in firing] == ["a1", "a2"]
    switch.names, split.names = ("a2", "a3"), ("a1", "a2", "b1")
    await over(alerts, 20)
    assert box.told[3:] == ["all: a2 is down (and 1 more)"]
    assert box.letters[3].details["over"] == ["a1 is down"]
    switch.names = ()
    await over(alerts, 20)
    assert box.told[4:] == ["all is over: a2 is down (and 1 more)"]


async def test_a_consequence_is_not_told_while_its_cause_is(box: Postbox, virtual_clock: VirtualClock) -> None:
    """An inhibited rule is silent; if it outlasts the cause, it is told then."""
    cause, consequence = Switch("db"), Switch("letters")
    alerts = alerts_of(
        box, AlertRule("letters", consequence, severity="WARNING"), AlertRule("db", cause, inhibits="letters")
    )
    await over(alerts, 50)
    assert box.told == ["db: db is down"]
    assert [each.muted for each in alerts.incidents()] == [True, False]
    cause.names = ()
    await over(alerts, 20)
    assert sorted(box.told[1:]) == ["db is over: db is down", "letters: letters is down"]


async def test_a_silence_ends_and_what_still_fires_is_told(box: Postbox, virtual_clock: VirtualClock) -> None:
    """For a rule or for labels; what begins and ends in silence is never told."""
    switch = Switch("db", "web")
    alerts = alerts_of(box, AlertRule("outage", switch, group_by=["name"]))
    silence = alerts.silence("outage", seconds=100, labels={"name": "db"}, comment="being moved")
    await over(alerts, 90)
    assert box.told == ["outage: web is down"]
    await over(alerts, 30)
    assert box.told[1:] == ["outage: db is down"]
    alerts.unsilence(silence)
    everything = alerts.silence(seconds=1000)
    switch.names = ("cache",)
    await over(alerts, 20)
    switch.names = ()
    await over(alerts, 20)
    assert len(box.told) == 2
    alerts.unsilence(everything)
    await over(alerts, 20)
    assert box.told[2:] == ["outage is over: db is down", "outage is over: web is down"]
    with pytest.raises(ValueError, match=r"^rule must be one of \['outage'\], not 'outrage'"):
        alerts.silence("outrage", seconds=1)


async def test_an_alert_that_nobody_heard_is_told_at_the_next_check(box: Postbox, virtual_clock: VirtualClock) -> None:
    """A broken channel loses none."""
    alerts = alerts_of(box, AlertRule("outage", Switch("db")))
    box.closed = True
    await over(alerts, 20)
    box.closed = False
    await over(alerts, 20)
    assert box.told == ["outage: db is down"]


async def test_a_condition_that_fails_changes_nothing(
    box: Postbox, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Not to know is not to be well; the other rules are checked."""
    switch = Switch("db")
    alerts = alerts_of(box, AlertRule("outage", switch), AlertRule("other", Switch("web")))
    await over(alerts, 10)
    switch.error = OSError("no such table")
    await over(alerts, 20)
    assert box.told == ["outage: db is down", "other: web is down"]
    assert [each.state for each in alerts.incidents()] == [IncidentState.FIRING] * 2
    assert "alert rule outage could not be checked: OSError: no such table" in caplog.text


async def test_run_checks_until_it_is_cancelled(box: Postbox, virtual_clock: VirtualClock) -> None:
    """The caller's task owns it."""
    switch = Switch()
    alerts = alerts_of(box, AlertRule("outage", switch))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alerts.run, 15)
        await clock.sleep(20)
        switch.names = ("db",)
        await clock.sleep(20)
        tasks.cancel_scope.cancel()
    assert box.told == ["outage: db is down"]


async def test_rules_that_cannot_work_are_refused(box: Postbox) -> None:
    """When they are built."""
    with pytest.raises(ValueError, match="names of their own"):
        alerts_of(box, AlertRule("a", Switch()), AlertRule("a", Switch()))
    with pytest.raises(ValueError, match=r"rule 'a' inhibits \['b'\]"):
        alerts_of(box, AlertRule("a", Switch(), inhibits="b"))
    with pytest.raises(TypeError, match="condition must be an object with a method findings"):
        AlertRule("a", Switch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="for_ must be seconds"):
        AlertRule("a", Switch(), for_=-1)
    with pytest.raises(ValueError, match="objective must be below 1"):
        BurnRate(lambda _: (0, 0), objective=1)


# -- errors ------------------------------------------------------------------------------------------------------------


def critical() -> Exception:
    """An error of severity CRITICAL."""
    return BrokenSystemError("No available ports in range", component="port_registry")


async def test_more_than_three_critical_errors_in_five_minutes_is_the_fourth(
    box: Postbox, virtual_clock: VirtualClock
) -> None:
    """Exactly there, and no longer when the first of them is five minutes old."""
    tracker = ErrorTracker()
    notifier = AdminNotifier(channel=box)
    for number in range(1, 5):
        tracker.track_error(critical(), {})
        tracker.track_error(ValueError("not critical"), {})
        result = await check_critical_errors(tracker, notifier=notifier)
        assert (result is not None) == (number == 4), number
        await clock.sleep(60)
    (letter,) = box.letters
    assert (letter.message, letter.severity) == ("High critical error rate", ErrorSeverity.CRITICAL)
    assert letter.details == {"error_count": 4, "time_window": "5 minutes"}
    again = await check_critical_errors(tracker, notifier=notifier)
    assert again is not None
    assert not again.delivered  # told a moment ago
    await clock.sleep(61)
    assert await check_critical_errors(tracker, notifier=notifier) is None


async def test_send_alert_without_a_notifier_goes_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a topic, to the log."""
    monkeypatch.delenv("SNS_TOPIC_ARN", raising=False)
    with structlog.testing.capture_logs() as lines:
        result = await send_alert("High critical error rate", {"error_count": 4})
    assert result.delivered
    assert [(line["log_level"], line["event"], line["error_count"]) for line in lines] == [
        ("critical", "High critical error rate", 4)
    ]


async def test_a_rate_is_compared_with_what_is_usual(virtual_clock: VirtualClock) -> None:
    """A steady trickle is none of its business, however long; three times of it is."""
    tracker = ErrorTracker()
    condition = RateAboveBaseline(tracker, factor=3, within=300, baseline=3600, at_least=10)
    for _ in range(60):
        for _ in range(3):
            tracker.track_error(ValueError("trickle"), {})
        assert _ < 10 or await condition.findings() == ()
        await clock.sleep(60)
    for _ in range(40):
        tracker.track_error(ValueError("flood"), {})
    (finding,) = await condition.findings()
    assert "times faster than usual" in finding.summary


async def test_new_and_returning_errors_are_told_by_fingerprint(virtual_clock: VirtualClock) -> None:
    """New for five minutes; returning when it was silent for a day."""
    tracker = ErrorTracker()
    new, returning = NewErrors(tracker), ReturningErrors(tracker, after=86_400)
    tracker.track_error(ValueError("old"), {"operation": "read"})
    (finding,) = await new.findings()
    assert finding.summary == "new error: ValueError in read: old"
    assert await returning.findings() == []
    await clock.sleep(301)
    assert await new.findings() == []
    await clock.sleep(90_000)
    assert await returning.findings() == []
    tracker.track_error(ValueError("old"), {"operation": "read"})
    (finding,) = await returning.findings()
    assert finding.labels["fingerprint"].startswith("v1:")
    assert len(await returning.findings()) == 1
    await clock.sleep(301)
    assert await returning.findings() == []


# -- components --------------------------------------------------------------------------------------------------------


async def fail(breaker: CircuitBreaker, times: int = 5) -> None:
    """Let calls fail through a breaker."""
    for _ in range(times):
        with pytest.raises((ConnectionError, CircuitBreakerOpenError)):
            await breaker.execute(_refuse)


async def _refuse() -> None:
    raise ConnectionError


async def test_a_circuit_that_probes_in_vain_is_open_all_the_while(virtual_clock: VirtualClock) -> None:
    """Half-open for a moment is no relief; closed is."""
    breaker = CircuitBreaker(name="model", failure_threshold=1, recovery_timeout=20)
    condition = CircuitOpenFor(60)
    await fail(breaker, 1)
    found = []
    for second in range(0, 100, 10):
        found += [second for _ in await condition.findings()]
        if second % 20 == 0:
            await fail(breaker, 1)
        await clock.sleep(10)
    assert found == [70, 80, 90]
    (finding,) = await condition.findings()
    assert (finding.labels, finding.summary) == ({"circuit": "model"}, "circuit model has been open for more than 60 s")
    breaker.reset()
    assert await condition.findings() == []


async def test_dead_letters_by_number_and_by_age(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    """More than so many, or older than so long."""
    async with DeadLetterQueue(local_file_path=tmp_path / "letters.jsonl") as queue:
        condition = DeadLettersAbove(queue, more_than=1, older_than=3600)
        await queue.send_to_dlq("one", {})
        assert await condition.findings() == ()
        await clock.sleep(3601)
        (old,) = await condition.findings()
        assert old.summary == "a dead letter is older than 3600 s"
        await queue.send_to_dlq("two", {})
        (both,) = await condition.findings()
        assert both.summary == "there are more than 1 dead letters and a dead letter is older than 3600 s"
    with pytest.raises(ValueError, match="more_than or older_than must be given"):
        DeadLettersAbove(queue)


async def test_a_budget_that_burns_in_both_windows_is_told(virtual_clock: VirtualClock) -> None:
    """An hour's loss alone, or five bad minutes alone, is none; calls through circuits are counted."""
    with CallCounter(["api"]) as calls:
        condition = BurnRate(calls.outcomes, objective=0.9, factor=2, long=3600, short=300)

        async def minutes(number: int, failed: int, well: int) -> None:
            for _ in range(number):
                for each in [True] * failed + [False] * well:
                    calls.add(failed=each)
                await clock.sleep(60)

        await minutes(60, 0, 10)
        assert await condition.findings() == ()
        await minutes(5, 5, 5)
        assert await condition.findings() == ()  # bad now, but the hour can bear it
        await minutes(30, 5, 5)
        (finding,) = await condition.findings()
        assert finding.summary == "the error budget of 10.000% burns more than 2 times too fast"
        await minutes(6, 0, 10)
        assert await condition.findings() == ()  # the hour is bad, but it is over
        breaker = CircuitBreaker(name="api", failure_threshold=100)
        before = calls.outcomes(300)
        await fail(breaker, 3)
        await fail(CircuitBreaker(name="other"), 3)
        assert calls.outcomes(300) == (before[0] + 3, before[1] + 3)


# -- recovery ----------------------------------------------------------------------------------------------------------


async def test_letters_are_replayed_once_their_circuit_has_been_closed_for_a_while(
    box: Postbox, virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    """Not while it is open, nor at once; then, and the alert ends by itself."""
    handled: list[object] = []
    breaker = CircuitBreaker(name="model", failure_threshold=1, recovery_timeout=30)

    async def handle(message: object) -> None:
        await breaker.execute(_accept)
        handled.append(message)

    async with DeadLetterQueue(local_file_path=tmp_path / "letters.jsonl", reprocessor=handle) as queue:
        action = replay_dead_letters(queue, breaker=breaker, closed_for=60, cooldown=0)
        alerts = alerts_of(box, AlertRule("letters", DeadLettersAbove(queue, more_than=0), action=action))
        await fail(breaker, 1)
        await queue.send_to_dlq("lost", {})
        heard: list[RecoveryAttempted] = []
        with events.subscribe(heard.append, RecoveryAttempted):
            await over(alerts, 40)
            await breaker.execute(_accept)
            await over(alerts, 80)
    assert handled == ["lost"]
    outcomes = [record.outcome for record in alerts.audit()]
    assert outcomes == [RecoveryOutcome.SKIPPED] * 10 + [RecoveryOutcome.DONE]
    assert alerts.audit()[0].says == "circuit model is OPEN"
    assert "has been closed for" in alerts.audit()[5].says
    assert [event.record for event in heard] == alerts.audit()
    assert box.told == [
        "letters: there are more than 0 dead letters",
        "letters is over: there are more than 0 dead letters",
    ]


async def _accept() -> None:
    """All is well."""


async def test_an_action_is_bounded(virtual_clock: VirtualClock) -> None:
    """So many runs in a time, and a pause between them."""
    runs: list[float] = []
    action = RecoveryAction(lambda: runs.append(clock.monotonic()), name="note", max_runs=3, per=600, cooldown=60)
    began = clock.monotonic()
    outcomes = []
    for _ in range(70):
        outcomes.append((await action.attempt("rule")).outcome)
        await clock.sleep(10)
    assert [round(at - began) for at in runs] == [0, 60, 120, 600, 660]
    assert set(outcomes) == {RecoveryOutcome.DONE, RecoveryOutcome.LIMITED}


async def test_an_action_that_fails_or_hangs_is_written_down(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It raises into nobody, and may run again."""

    async def hang() -> None:
        await anyio.sleep_forever()

    hanging = await RecoveryAction(hang, name="hang", timeout=5).attempt("rule")
    assert (hanging.outcome, hanging.says, hanging.seconds) == (RecoveryOutcome.FAILED, "TimeoutError", 5)
    failing = RecoveryAction(_refuse, name="refuse", cooldown=0)
    assert [(await failing.attempt("rule")).outcome for _ in range(4)] == [
        *[RecoveryOutcome.FAILED] * 3,
        RecoveryOutcome.LIMITED,
    ]
    assert "recovery action refuse of rule rule failed: ConnectionError" in caplog.text


async def test_a_circuit_is_reset(box: Postbox, virtual_clock: VirtualClock) -> None:
    """By a rule; a silenced rule does nothing."""
    breaker = CircuitBreaker(name="model", failure_threshold=1, recovery_timeout=3600)
    alerts = alerts_of(box, AlertRule("stuck", CircuitOpenFor(60), action=reset_circuit(breaker)))
    await fail(breaker, 1)
    silence = alerts.silence("stuck", seconds=1000)
    await over(alerts, 100)
    assert breaker.state == "OPEN"
    alerts.unsilence(silence)
    await over(alerts, 10)
    assert breaker.state == "CLOSED"
    assert [record.says for record in alerts.audit()] == ["circuit model was reset"]
