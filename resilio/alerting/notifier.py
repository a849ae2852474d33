"""Telling an administrator, without ever making things worse."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resilio import settings
from resilio._core import clock, dice, events
from resilio.alerting.channels import Channel, LogChannel, NotificationChannel
from resilio.alerting.events import NotificationFailed, NotificationSent
from resilio.alerting.health import HealthLedger
from resilio.alerting.notification import ChannelOutcome, Notification, NotificationResult
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from resilio.alerting.health import HealthChange

_log = logging.getLogger("resilio")


class AdminNotifier:
    """Tells an administrator that something is wrong.

    Without arguments it writes to the application's log.

    Args:
        sns_topic_arn: The SNS topic to publish to. Default: ``SNS_TOPIC_ARN`` from the environment.
        channel: Where notifications go: ``NotificationChannel.LOG``, or an object of your own with the method
            ``async def deliver(notification)``. Default: SNS if there is a topic, else the log.

    Raises:
        ValueError: The channel is unknown, or not available yet: for now that is all but the log and your own.
        TypeError: ``channel`` is something else altogether.

    Sending never raises: what a channel could not deliver is in the result, in a ``NotificationFailed`` event and in
    the log of the package, so a notification can be sent from any ``except`` block. Cancellation passes through.

    Safe to build at import time and to share between event loops, threads, asyncio and trio.

        >>> notifier = AdminNotifier()
        >>> async def report() -> None:
        ...     result = await notifier.send_notification(
        ...         "OpenAI circuit is open", details={"circuit": "openai-api"}, severity=ErrorSeverity.WARNING
        ...     )
        ...     assert result.delivered
    """

    __slots__ = ("_channels", "_health")

    def __init__(
        self,
        *,
        sns_topic_arn: str | None = None,
        channel: NotificationChannel | Channel | None = None,
    ) -> None:
        self._channels: tuple[Channel, ...] = (_chosen(sns_topic_arn, channel),)
        self._health = HealthLedger()

    async def send_notification(
        self,
        message: str,
        details: Mapping[str, object] | None = None,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        error_type: str | None = None,
    ) -> NotificationResult:
        """Tell the administrator.

        Args:
            message: What happened, in one sentence.
            details: Anything else worth knowing, by name.
            severity: How bad it is; on the log channel, the level.
            error_type: The kind of error, as you name it.

        Returns:
            The notification's id, and what each channel did with it. Never raises an ``Exception``.
        """
        details = _as_mapping(details)
        try:
            severity = ErrorSeverity(severity)
        except ValueError:
            # An alert with a misspelt severity is still an alert.
            details = {"unknown_severity": severity, **details}
            severity = ErrorSeverity.ERROR
        notification = Notification(
            id=dice.randbytes(8).hex(),
            message=_text(message),
            severity=severity,
            error_type=None if error_type is None else _text(error_type),
            details=details,
            at=clock.utcnow(),
        )
        outcomes = [await _deliver(channel, notification) for channel in self._channels]
        return NotificationResult(id=notification.id, outcomes=tuple(outcomes))

    async def send_health_check_notification(
        self,
        is_healthy: bool,  # noqa: FBT001 -- the reference's signature
        details: Mapping[str, object] | None = None,
    ) -> NotificationResult | None:
        """Tell the administrator that a component's health changed.

        Only changes are told, and the first word about a component: call it after every check. Unhealthy is told as
        ERROR, healthy as INFO; a recovery says how long the component was unhealthy (``unhealthy_for``, seconds). A
        change that no channel took is told at the next check.

        Args:
            is_healthy: How the component is.
            details: Anything worth knowing; ``details["component"]`` names the component.

        Returns:
            As `send_notification`; None when there was nothing new to tell. Never raises an ``Exception``.
        """
        details = _as_mapping(details)
        component = _text(details.get("component", "service"))
        change = self._health.observe(component, is_healthy=bool(is_healthy), now=clock.monotonic())
        if change is None:
            return None
        heard = False
        try:
            result = await self.send_notification(
                _sentence(change),
                {"component": component, **_duration(change), **details},
                ErrorSeverity.INFO if change.is_healthy else ErrorSeverity.ERROR,
                "health_check",
            )
            heard = result.delivered
        finally:
            if not heard:
                self._health.untold(change)
        return result

    def __repr__(self) -> str:
        return f"<AdminNotifier to {', '.join(map(_name_of, self._channels))}>"


def _chosen(sns_topic_arn: str | None, channel: NotificationChannel | Channel | None) -> Channel:
    if channel is None:
        source = "sns_topic_arn" if sns_topic_arn else "the environment variable SNS_TOPIC_ARN"
        if sns_topic_arn or settings.SNS_TOPIC_ARN.read():
            msg = (
                f"{source} is set, but notifications over SNS are not available yet; "
                "pass channel=NotificationChannel.LOG to write them to the log"
            )
            raise ValueError(msg)
        return LogChannel()
    if isinstance(channel, str):
        allowed = "NotificationChannel.LOG or an object with a method deliver(notification)"
        try:
            kind = NotificationChannel(channel)
        except ValueError:
            msg = f"channel must be {allowed}, not {channel!r}"
            raise ValueError(msg) from None
        if kind is not NotificationChannel.LOG:
            msg = f"channel must be {allowed}, not {kind!s}, which is not available yet"
            raise ValueError(msg)
        return LogChannel()
    if isinstance(channel, type) or not callable(getattr(channel, "deliver", None)):
        msg = f"channel must be a NotificationChannel or an object with a method deliver(notification), not {channel!r}"
        raise TypeError(msg)
    return channel


async def _deliver(channel: Channel, notification: Notification) -> ChannelOutcome:
    name = _name_of(channel)
    try:
        await channel.deliver(notification)
    except Exception as error:
        why = _described(error)
        try:
            # The last resort: nobody may learn of it in another way.
            _log.error(
                "channel %s could not deliver notification %s (%s: %s): %s",
                *(name, notification.id, notification.severity, notification.message, why),
            )
        except Exception as second:
            why = f"{why}; and logging that raised {_described(second)}"
        if events.listeners:
            events.emit(
                NotificationFailed(
                    notification_id=notification.id,
                    channel=name,
                    severity=notification.severity,
                    error_type=notification.error_type,
                    error=why,
                )
            )
        return ChannelOutcome(channel=name, delivered=False, error=why)
    if events.listeners:
        events.emit(
            NotificationSent(
                notification_id=notification.id,
                channel=name,
                severity=notification.severity,
                error_type=notification.error_type,
            )
        )
    return ChannelOutcome(channel=name, delivered=True)


def _sentence(change: HealthChange) -> str:
    if not change.is_healthy:
        return f"{change.component} is unhealthy"
    if change.lasted is None:
        return f"{change.component} is healthy"
    return f"{change.component} is healthy again after {change.lasted:.1f} s"


def _duration(change: HealthChange) -> dict[str, object]:
    return {"unhealthy_for": change.lasted} if change.is_healthy and change.lasted is not None else {}


def _name_of(channel: Channel) -> str:
    return _text(getattr(channel, "name", None) or type(channel).__name__)


def _as_mapping(details: object) -> dict[str, object]:
    # What is not a mapping is a caller's slip in an `except` block: worth telling, not worth an exception.
    if details is None:
        return {}
    try:
        return dict(details) if isinstance(details, Mapping) else {"details": details}
    except Exception as error:
        return {"details": f"<{type(details).__name__} that cannot be read: {_described(error)}>"}


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {_text(error)}".removesuffix(": ")
