"""The notifier, rules and health checks for code without an event loop.

Nothing is decided here: each call runs the async twin's on the background loop.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

from resilio._core import clock, durations, portal
from resilio.alerting import alerts as _alerts
from resilio.alerting import health_checks as _health_checks
from resilio.alerting import notifier as _notifier
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from resilio._core.durations import Duration
    from resilio.alerting.conditions import ErrorNumbers
    from resilio.alerting.health_checks import HealthCheck, HealthResult
    from resilio.alerting.incidents import Incident
    from resilio.alerting.notification import ChannelOutcome, NotificationResult
    from resilio.alerting.notifier import NotifierStats
    from resilio.alerting.outlet import LetterBox
    from resilio.alerting.recovery import RecoveryRecord
    from resilio.alerting.routing import Target
    from resilio.alerting.rules import AlertRule
    from resilio.alerting.silences import Silence

__all__ = ("AdminNotifier", "Alerts", "HealthChecks", "check_critical_errors", "send_alert")


class BlockingLetterBox(Protocol):
    """What keeps a notification that could not be delivered; a `resilio.sync.DeadLetterQueue` is one."""

    def send_to_dlq(self, message: Any, error_info: object) -> str:
        """Keep ``message``; return its id."""


class AdminNotifier:
    """Tells an administrator that something is wrong; the blocking twin of `resilio.AdminNotifier`.

    Takes the same arguments; ``dead_letters`` may be a queue of either kind. Safe to share between threads; in a forked
    child it goes on working. ``with notifier:`` sends digests as soon as there is room, and what is left at the end.
    """

    __slots__ = ("_digests", "_notifier")

    def __init__(
        self,
        *,
        sns_topic_arn: str | None = None,
        channel: Target | Iterable[Target] | None = None,
        dedup_window: Duration = 300.0,
        dead_letters: LetterBox | BlockingLetterBox | None = None,
    ) -> None:
        queue: Any = getattr(dead_letters, "_queue", dead_letters)  # what a blocking queue stands for
        self._notifier = _notifier.AdminNotifier(
            sns_topic_arn=sns_topic_arn, channel=channel, dedup_window=dedup_window, dead_letters=queue
        )
        self._digests: list[threading.Event] = []

    def send_notification(
        self,
        message: str,
        details: Mapping[str, object] | None = None,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        error_type: str | None = None,
        *,
        dedup_key: str | None = None,
        resolves: ErrorSeverity | None = None,
    ) -> NotificationResult:
        """Tell the administrator; arguments and result as of the async method.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        send = functools.partial(self._notifier.send_notification, dedup_key=dedup_key, resolves=resolves)
        return portal.call(send, message, details, severity, error_type)

    def send_health_check_notification(
        self,
        is_healthy: bool,  # noqa: FBT001 -- the reference's signature
        details: Mapping[str, object] | None = None,
    ) -> NotificationResult | None:
        """Tell the administrator that a component's health changed; as the async method.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(self._notifier.send_health_check_notification, is_healthy, details)

    def redeliver(self, message: Mapping[str, Any]) -> None:
        """Deliver a dead letter of this notifier to the channel that could not take it; as the async method.

        Raises:
            ValueError: It is no notification, or this notifier has no channel of that name.
            DeliveryError: The channel could not take it this time either; the letter stays.
            RuntimeError: This thread runs an event loop.
        """
        portal.call(self._notifier.redeliver, message)

    def test_channel(self, channel: str, *, by: str = "") -> ChannelOutcome:
        """Deliver a test message to one channel; as the async method.

        Raises:
            ValueError: This notifier has no channel of that name.
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(functools.partial(self._notifier.test_channel, channel, by=by))

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels."""
        return self._notifier.channels

    def stats(self) -> NotifierStats:
        """What was told, held, dropped and left out since the notifier was made."""
        return self._notifier.stats()

    def flush(self) -> int:
        """Send what is held for digests, for at most two seconds; drop the rest, and return how much that was.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(self._notifier.flush)

    def __enter__(self) -> Self:
        over = threading.Event()
        threading.Thread(target=self._send_digests, args=(over,), name="resilio-digests", daemon=True).start()
        self._digests.append(over)
        return self

    def __exit__(self, *_: object) -> None:
        self._digests.pop().set()
        self.flush()

    def _send_digests(self, over: threading.Event) -> None:
        while not clock.wait_blocking(over, self._notifier.next_digest()):
            portal.call(self._notifier.send_digests)

    def __repr__(self) -> str:
        return repr(self._notifier)


class Alerts:
    """Checks rules, tells of incidents, and acts; the blocking twin of `resilio.Alerts`.

    Takes the same arguments, with a blocking notifier.
    """

    __slots__ = ("_alerts", "_notifier")

    def __init__(
        self,
        notifier: AdminNotifier,
        rules: Iterable[AlertRule],
        *,
        path: str | os.PathLike[str] | None = None,
        history: int = 1000,
    ) -> None:
        if not isinstance(notifier, AdminNotifier):
            msg = f"notifier must be a resilio.sync.AdminNotifier, not {notifier!r}"
            raise TypeError(msg)
        self._notifier = notifier
        self._alerts = _alerts.Alerts(notifier._notifier, rules, path=path, history=history)  # noqa: SLF001 -- our own twin

    def check(self) -> list[Incident]:
        """Look at all rules once, tell what is to be told, act, and return the incidents.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(self._alerts.check)

    def run(self, every: Duration = 15.0, *, until: threading.Event | None = None) -> None:
        """Check now and every so many seconds, until the event is set; for a thread of its own.

        Args:
            every: Seconds between checks, above 0.
            until: Ends it; None for never.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        _repeat(self.check, every, until)

    def silence(
        self,
        rule: str | None = None,
        *,
        seconds: Duration,
        labels: Mapping[str, str] | None = None,
        comment: str = "",
        created_by: str = "",
    ) -> Silence:
        """Tell nothing of some incidents for a while; as the async method.

        Raises:
            ValueError: There is no such rule.
        """
        return self._alerts.silence(rule, seconds=seconds, labels=labels, comment=comment, created_by=created_by)

    def unsilence(self, silence: Silence | str, *, by: str = "") -> Silence | None:
        """End a silence before its time; as the async method."""
        return self._alerts.unsilence(silence, by=by)

    def silences(self, *, expired: bool = False) -> list[Silence]:
        """The silences that hold; as the async method."""
        return self._alerts.silences(expired=expired)

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """What is looked at."""
        return self._alerts.rules

    @property
    def notifier(self) -> AdminNotifier:
        """Who tells."""
        return self._notifier

    def incidents(self) -> list[Incident]:
        """What is pending or fires, and what is over but not told yet."""
        return self._alerts.incidents()

    def history(self, *, rule: str | None = None) -> list[Incident]:
        """The incidents that fired and are over, latest first; as the async method."""
        return self._alerts.history(rule=rule)

    def audit(self) -> list[RecoveryRecord]:
        """What the rules' actions did, oldest first; the last thousand."""
        return self._alerts.audit()

    def __repr__(self) -> str:
        return repr(self._alerts)


class HealthChecks:
    """Looks at components and tells of changes; the blocking twin of `resilio.HealthChecks`.

    Takes the same arguments, with a blocking notifier.
    """

    __slots__ = ("_checks",)

    def __init__(self, notifier: AdminNotifier, checks: Iterable[HealthCheck]) -> None:
        self._checks = _health_checks.HealthChecks(notifier._notifier, checks)  # noqa: SLF001 -- our own twin

    def check(self) -> dict[str, bool]:
        """Look once at all of them, tell what changed, and return whether each is well.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(self._checks.check)

    def results(self) -> list[HealthResult]:
        """What was found last, in the order of the checks; what was never looked at is left out."""
        return self._checks.results()

    def run(self, every: Duration = 30.0, *, until: threading.Event | None = None) -> None:
        """Look now and every so many seconds, until the event is set; for a thread of its own.

        Args:
            every: Seconds between looks, above 0.
            until: Ends it; None for never.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        _repeat(self.check, every, until)


def send_alert(
    title: str,
    details: Mapping[str, object] | None = None,
    *,
    severity: ErrorSeverity = ErrorSeverity.CRITICAL,
    notifier: AdminNotifier | None = None,
) -> NotificationResult:
    """Tell the administrator at once; arguments and result as of `resilio.send_alert`.

    Raises:
        RuntimeError: This thread runs an event loop.
    """
    told = functools.partial(_alerts.send_alert, severity=severity, notifier=_inner(notifier))
    return portal.call(told, title, details)


def check_critical_errors(
    tracker: ErrorNumbers,
    *,
    notifier: AdminNotifier | None = None,
    more_than: int = 3,
    within: Duration = 300.0,
) -> NotificationResult | None:
    """Tell the administrator if there were too many CRITICAL errors; as `resilio.check_critical_errors`.

    Raises:
        RuntimeError: This thread runs an event loop.
    """
    check = functools.partial(
        _alerts.check_critical_errors, notifier=_inner(notifier), more_than=more_than, within=within
    )
    return portal.call(check, tracker)


def _inner(notifier: AdminNotifier | None) -> _notifier.AdminNotifier | None:
    return None if notifier is None else notifier._notifier  # noqa: SLF001 -- our own twin


def _repeat(check: Callable[[], object], every: Duration, until: threading.Event | None) -> None:
    pause = durations.seconds("every", every, above=0)
    over = threading.Event() if until is None else until
    while not over.is_set():
        check()
        clock.wait_blocking(over, pause)
