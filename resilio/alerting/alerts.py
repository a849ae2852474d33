"""Rules at work: looks at their conditions, tells what is new, acts."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from resilio import settings
from resilio._core import clock, durations, events
from resilio.alerting.alerts_file import AlertsFile
from resilio.alerting.announcements import addressed, worded
from resilio.alerting.conditions import ErrorNumbers, ErrorsAbove, Finding
from resilio.alerting.events import IncidentChanged
from resilio.alerting.incident_book import IncidentBook
from resilio.alerting.notifier import AdminNotifier
from resilio.alerting.outlet import described, redacted, redacted_details, say
from resilio.alerting.silences import SilenceBook
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from resilio._core.durations import Duration
    from resilio.alerting.incidents import Incident
    from resilio.alerting.notification import NotificationResult
    from resilio.alerting.recovery import RecoveryRecord
    from resilio.alerting.rules import AlertRule
    from resilio.alerting.silences import Silence

__all__ = ("Alerts", "check_critical_errors", "send_alert")

_PATIENCE: Final = 10.0
_AUDIT_LENGTH: Final = 1000
_LONGEST_SILENCE: Final = 10 * 365 * 86_400.0


class Alerts:
    """Checks rules, tells the administrator of incidents and their end, and runs the rules' actions.

        alerts = Alerts(notifier, [
            AlertRule("critical errors", ErrorsAbove(tracker), severity="CRITICAL"),
            AlertRule("model is down", CircuitOpenFor(60, names=["openai-api"]), inhibits=["letters"]),
            AlertRule("letters", DeadLettersAbove(queue, more_than=0), severity="WARNING",
                      action=replay_dead_letters(queue, breaker=breaker)),
        ])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alerts.run)

    Args:
        notifier: Who tells.
        rules: What is looked at; their names must differ.
        path: A small file in which incidents, their history and silences outlive the process: read at the start,
            replaced in one step after each check that has something to write and with each silence. If it cannot be
            read, or written, that is logged.
        history: How many incidents that are over are kept.

    Raises:
        ValueError: Two rules have one name, or a rule inhibits one that there is not; ``history`` is out of range.
        TypeError: An argument is something else altogether.

    A condition that raises, or takes longer than ten seconds, is logged; its incidents stay as they are. An alert that
    no channel took is told at the next check. Safe from any thread and event loop; of two checks at once the second
    does nothing.
    """

    __slots__ = ("_audit", "_book", "_checking", "_file", "_lock", "_notifier", "_rules", "_silences")

    def __init__(
        self,
        notifier: AdminNotifier,
        rules: Iterable[AlertRule],
        *,
        path: str | os.PathLike[str] | None = None,
        history: int = 1000,
    ) -> None:
        if not isinstance(notifier, AdminNotifier):
            msg = f"notifier must be an AdminNotifier, not {notifier!r}"
            raise TypeError(msg)
        self._rules = tuple(rules)
        names = [rule.name for rule in self._rules]
        if len(set(names)) < len(names):
            msg = f"rules must have names of their own, not {names!r}"
            raise ValueError(msg)
        for rule in self._rules:
            unknown = sorted(set(rule.inhibits) - set(names))
            if unknown:
                msg = f"rule {rule.name!r} inhibits {unknown!r}, which is no rule here; there are {names!r}"
                raise ValueError(msg)
        self._notifier = notifier
        self._book = IncidentBook(history=durations.whole("history", history))
        self._silences = SilenceBook()
        self._audit: deque[RecoveryRecord] = deque(maxlen=_AUDIT_LENGTH)
        self._lock = threading.Lock()
        self._checking = False
        self._file = None if path is None else AlertsFile(path)
        if self._file is not None:
            self._file.restore(self._book, self._silences, self._rules)

    def __repr__(self) -> str:
        return f"<Alerts {', '.join(rule.name for rule in self._rules)}>"

    async def run(self, every: Duration = 15.0) -> None:
        """Check now and every so many seconds, until it is cancelled.

        Args:
            every: Seconds between checks, above 0.
        """
        pause = durations.seconds("every", every, above=0)
        while True:
            await self.check()
            await clock.sleep(pause)

    async def check(self) -> list[Incident]:
        """Look at all rules once, tell what is to be told, act; return the incidents. Never raises an ``Exception``."""
        with self._lock:
            is_first = not self._checking
            self._checking = True
        if is_first:
            try:
                await self._check()
            finally:
                self._checking = False
        return self.incidents()

    async def _check(self) -> None:
        found = {rule.name: await _look(rule) for rule in self._rules}
        now, at = clock.monotonic(), clock.utcnow()
        changed: list[Incident] = []
        with self._lock:
            for rule in self._rules:
                findings = found[rule.name]
                if findings is not None:
                    changed += self._book.note(rule, findings, now, at)
            changed = [self._with_muting(each) for each in changed]
            words = [
                word
                for rule in self._rules
                for word in self._book.words(rule, now, functools.partial(self._is_muted, rule))
            ]
        if events.listeners:
            for each in changed:
                events.emit(IncidentChanged(incident=each))
        for word in words:
            result = await self._notifier.announce(*worded(word), **addressed(word))
            if result.heard:
                with self._lock:
                    self._book.told(word, now)
        for rule in self._rules:
            if rule.action is not None and self._may_act(rule):
                self._audit.append(await rule.action.attempt(rule.name))
        with self._lock:
            self._book.tidy()
        if self._file is not None:
            await anyio.to_thread.run_sync(self._save)

    def _may_act(self, rule: AlertRule) -> bool:
        with self._lock:
            return self._book.is_firing(rule.name) and not self._silences.covering(rule.name, {})

    def _save(self) -> None:
        if self._file is not None:
            self._file.save(self._book, self._silences, self._lock)

    # -- silence ---------------------------------------------------------------------------------------------------

    def silence(
        self,
        rule: str | None = None,
        *,
        seconds: Duration,
        labels: Mapping[str, str] | None = None,
        comment: str = "",
        created_by: str = "",
    ) -> Silence:
        """Tell nothing of some incidents for a while; a rule that is silenced altogether does not act either.

        Args:
            rule: The rule's name; None for all.
            seconds: For how long.
            labels: Only incidents with these labels.
            comment: Why.
            created_by: Who wants it so.

        Raises:
            ValueError: There is no such rule, or ``seconds`` is not above 0, or more than ten years.
            TypeError: A label is no text.

        With a ``path`` this blocks for some milliseconds, until it is written.
        """
        if rule is not None and all(rule != each.name for each in self._rules):
            msg = f"rule must be one of {[each.name for each in self._rules]!r}, not {rule!r}"
            raise ValueError(msg)
        if not all(isinstance(each, str) for pair in (labels or {}).items() for each in pair):
            msg = f"labels must be texts by name, not {labels!r}"
            raise TypeError(msg)
        length = durations.seconds("seconds", seconds, above=0, at_most=_LONGEST_SILENCE)
        with self._lock:
            silence = self._silences.add(
                rule, labels or {}, length, created_by=redacted(created_by), comment=redacted(comment)
            )
        self._save()
        return silence

    def unsilence(self, silence: Silence | str, *, by: str = "") -> Silence | None:
        """End a silence before its time. Doing it twice does no harm.

        Args:
            silence: It, or its id.
            by: Who wants it so.

        Returns:
            The silence as it is now; None if it was over, or there is none.
        """
        with self._lock:
            ended = self._silences.expire(silence if isinstance(silence, str) else silence.id, by=redacted(by))
        if ended is not None:
            self._save()
        return ended

    def silences(self, *, expired: bool = False) -> list[Silence]:
        """The silences that hold, soonest to end first.

        Args:
            expired: Whether the last 200 that are over follow, latest first.
        """
        with self._lock:
            return self._silences.listed(expired=expired)

    def _muting(self, rule: str, labels: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The silences and the rules that keep such an incident from being told."""
        inhibiting = (each.name for each in self._rules if rule in each.inhibits and self._book.is_firing(each.name))
        return self._silences.covering(rule, labels), tuple(inhibiting)

    def _is_muted(self, rule: AlertRule, labels: Mapping[str, str]) -> bool:
        return any(self._muting(rule.name, labels))

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """What is looked at."""
        return self._rules

    @property
    def notifier(self) -> AdminNotifier:
        """Who tells."""
        return self._notifier

    def incidents(self) -> list[Incident]:
        """What is pending or fires, and what is over but not told yet."""
        with self._lock:
            return [self._with_muting(each) for each in self._book.incidents()]

    def history(self, *, rule: str | None = None) -> list[Incident]:
        """The incidents that fired and are over, latest first.

        Args:
            rule: Only those of this rule.
        """
        with self._lock:
            return [each for each in self._book.history() if rule in (None, each.rule)]

    def _with_muting(self, incident: Incident) -> Incident:
        silenced_by, inhibited_by = self._muting(incident.rule, incident.labels)
        return dataclasses.replace(incident, silenced_by=silenced_by, inhibited_by=inhibited_by)

    def audit(self) -> list[RecoveryRecord]:
        """What the rules' actions did, oldest first; the last thousand."""
        return list(self._audit)


async def _look(rule: AlertRule) -> Sequence[Finding] | None:
    try:
        with anyio.fail_after(_PATIENCE):
            return [_clean(each) for each in await rule.condition.findings()]
    except Exception as error:
        say("alert rule %s could not be checked: %s", rule.name, described(error))
        return None


def _clean(finding: Finding) -> Finding:
    """A finding without secrets: it is told, shown and kept."""
    labels = {name: str(value) for name, value in redacted_details(finding.labels).items()}
    return Finding(summary=redacted(finding.summary), labels=labels, details=redacted_details(finding.details))


# -- the reference's two functions -------------------------------------------------------------------------------------


@functools.cache
def _usual_notifier(_topic: str | None) -> AdminNotifier:
    return AdminNotifier()


async def send_alert(
    title: str,
    details: Mapping[str, object] | None = None,
    *,
    severity: ErrorSeverity = ErrorSeverity.CRITICAL,
    notifier: AdminNotifier | None = None,
) -> NotificationResult:
    """Tell the administrator at once.

    Args:
        title: What happened, in one sentence.
        details: Anything else worth knowing, by name.
        severity: How bad it is.
        notifier: Who tells; by default one over SNS or the log, as the environment says.

    Returns:
        What each channel did with it. Never raises an ``Exception`` of a channel.
    """
    teller = _usual_notifier(settings.SNS_TOPIC_ARN.read()) if notifier is None else notifier
    return await teller.send_notification(title, details, severity, "alert")


async def check_critical_errors(
    tracker: ErrorNumbers,
    *,
    notifier: AdminNotifier | None = None,
    more_than: int = 3,
    within: Duration = 300.0,
) -> NotificationResult | None:
    """Tell the administrator if there were more than three CRITICAL errors in the last five minutes.

    Call it after each error or now and then: while it stays so, it is told once in the notifier's ``dedup_window``.

    Args:
        tracker: Who counts: an `ErrorTracker`.
        notifier: Who tells; by default one over SNS or the log, as the environment says.
        more_than: So many are still well.
        within: Seconds.

    Returns:
        What each channel did with the alert; None if there was nothing to tell.
    """
    found = await ErrorsAbove(tracker, more_than=more_than, within=within).findings()
    if not found:
        return None
    teller = _usual_notifier(settings.SNS_TOPIC_ARN.read()) if notifier is None else notifier
    return await teller.send_notification(
        "High critical error rate",
        found[0].details,
        ErrorSeverity.CRITICAL,
        "alert",
        dedup_key="alert:high critical error rate",
    )
