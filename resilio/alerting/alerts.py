"""Rules at work: looks at their conditions, tells what is new, acts."""

from __future__ import annotations

import functools
import threading
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio

from resilio import settings
from resilio._core import clock, durations
from resilio.alerting.conditions import ErrorNumbers, ErrorsAbove
from resilio.alerting.incidents import Incident, IncidentBook
from resilio.alerting.notifier import AdminNotifier
from resilio.alerting.outlet import described, say
from resilio.alerting.rules import AlertRule, Silence
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from resilio._core.durations import Duration
    from resilio.alerting.conditions import Finding
    from resilio.alerting.incidents import Word
    from resilio.alerting.notification import NotificationResult
    from resilio.alerting.recovery import RecoveryRecord

__all__ = ("Alerts", "check_critical_errors", "send_alert")

_PATIENCE: Final = 10.0
_AUDIT_LENGTH: Final = 1000
_LISTED: Final = 20


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

    Raises:
        ValueError: Two rules have one name, or a rule inhibits one that there is not.
        TypeError: An argument is something else altogether.

    A condition that raises, or takes longer than ten seconds, is logged; its incidents stay as they are. An alert that
    no channel took is told at the next check. Safe from any thread and event loop; of two checks at once the second
    does nothing.
    """

    __slots__ = ("_audit", "_book", "_checking", "_lock", "_notifier", "_rules", "_silences")

    def __init__(self, notifier: AdminNotifier, rules: Iterable[AlertRule]) -> None:
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
        self._book = IncidentBook()
        self._silences: tuple[Silence, ...] = ()
        self._audit: deque[RecoveryRecord] = deque(maxlen=_AUDIT_LENGTH)
        self._lock = threading.Lock()
        self._checking = False

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
        with self._lock:
            for rule in self._rules:
                findings = found[rule.name]
                if findings is not None:
                    self._book.note(rule, findings, now, at)
            words = [
                word
                for rule in self._rules
                for word in self._book.words(rule, now, functools.partial(self._is_muted, rule.name))
            ]
        for word in words:
            result = await self._notifier.announce(*_worded(word), **_addressed(word))
            if result.heard:
                with self._lock:
                    self._book.told(word, now)
        for rule in self._rules:
            if rule.action is not None and self._may_act(rule):
                self._audit.append(await rule.action.attempt(rule.name))
        with self._lock:
            self._book.tidy()

    def _may_act(self, rule: AlertRule) -> bool:
        with self._lock:
            return self._book.is_firing(rule.name) and not self._is_silenced(rule.name, {})

    # -- silence ---------------------------------------------------------------------------------------------------

    def silence(
        self,
        rule: str | None = None,
        *,
        seconds: Duration,
        labels: Mapping[str, str] | None = None,
        comment: str = "",
    ) -> Silence:
        """Tell nothing of some incidents for a while; a rule that is silenced altogether does not act either.

        Args:
            rule: The rule's name; None for all.
            seconds: For how long.
            labels: Only incidents with these labels.
            comment: Why.

        Raises:
            ValueError: There is no such rule.
        """
        if rule is not None and all(rule != each.name for each in self._rules):
            msg = f"rule must be one of {[each.name for each in self._rules]!r}, not {rule!r}"
            raise ValueError(msg)
        length = durations.seconds("seconds", seconds, above=0)
        now = clock.monotonic()
        silence = Silence(
            rule=rule,
            labels=dict(labels or {}),
            until=now + length,
            ends_at=clock.utcnow() + timedelta(seconds=length),
            comment=comment,
        )
        with self._lock:
            self._silences = (*(each for each in self._silences if now < each.until), silence)
        return silence

    def unsilence(self, silence: Silence) -> None:
        """End a silence before its time. Doing it twice does no harm."""
        with self._lock:
            self._silences = tuple(each for each in self._silences if each is not silence)

    def _is_silenced(self, rule: str, labels: Mapping[str, str]) -> bool:
        now = clock.monotonic()
        return any(silence.covers(rule, labels, now) for silence in self._silences)

    def _is_muted(self, rule: str, labels: Mapping[str, str]) -> bool:
        if self._is_silenced(rule, labels):
            return True
        return any(rule in each.inhibits and self._book.is_firing(each.name) for each in self._rules)

    # -- looking ---------------------------------------------------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """What is pending or fires, and what is over but not told yet."""
        with self._lock:
            return self._book.incidents(self._is_muted)

    def audit(self) -> list[RecoveryRecord]:
        """What the rules' actions did, oldest first; the last thousand."""
        return list(self._audit)


async def _look(rule: AlertRule) -> Sequence[Finding] | None:
    try:
        with anyio.fail_after(_PATIENCE):
            return await rule.condition.findings()
    except Exception as error:
        say("alert rule %s could not be checked: %s", rule.name, described(error))
        return None


def _worded(word: Word) -> tuple[str, dict[str, object]]:
    told = word.firing or word.resolved
    first = told[0].summary
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    message = f"{word.rule.name}: {first}{more}"
    if not word.firing:
        message = f"{word.rule.name} is over: {first}{more}"
    details: dict[str, object] = {"rule": word.rule.name}
    if len(told) == 1:
        details |= {**told[0].details, **told[0].labels}
    else:
        key = "firing" if word.firing else "over"
        details[key] = [{"summary": each.summary, **each.labels, **each.details} for each in told[:_LISTED]]
        details["number"] = len(told)
    if word.firing and word.resolved:
        details["over"] = [each.summary for each in word.resolved[:_LISTED]]
    if word.is_repeated:
        details["still"] = True
    return message, details


def _addressed(word: Word) -> dict[str, Any]:
    group = ",".join(f"{name}={value}" for name, value in word.group)
    return {
        "severity": word.rule.severity if word.firing else ErrorSeverity.INFO,
        "error_type": "alert",
        "dedup_key": f"alert:{word.rule.name}:{group}",
        "resolves": None if word.firing else word.rule.severity,
    }


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
