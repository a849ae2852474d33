"""Telling an administrator, without ever making things worse."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import anyio

from resilio._core import clock, durations
from resilio.alerting.dedup import DedupWindow
from resilio.alerting.drafts import Kind, as_mapping, draft, new_id
from resilio.alerting.health import HealthLedger
from resilio.alerting.notification import ChannelOutcome, DeliveryStatus, Notification, NotificationResult
from resilio.alerting.outlet import ChannelStats, Outlet, is_delivering, say, text_of
from resilio.alerting.rendering import from_document
from resilio.alerting.routing import outlets_of, routes_of
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from anyio.abc import TaskGroup

    from resilio._core.durations import Duration
    from resilio.alerting.outlet import LetterBox
    from resilio.alerting.routing import Target

__all__ = ("AdminNotifier", "NotifierStats")

_FLUSH_TIME = 2.0
_LAST_LETTER_TIME = 0.5
_IDLE = 1.0
_LONGEST_KEY = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierStats:
    """What a notifier has done since it was made.

    Attributes:
        channels: What each channel did, by name.
        duplicates: Notifications left out because the same was told a moment before.
        refused: Notifications that came out of a delivery, and were only logged.
    """

    channels: Mapping[str, ChannelStats]
    duplicates: int
    refused: int


class AdminNotifier:
    """Tells an administrator that something is wrong.

    Without arguments it writes to the application's log.

        notifier = AdminNotifier(
            channel=[
                LogChannel(),
                Route(EmailChannel(host=..., sender=..., recipients=...), min_severity="ERROR"),
                Route(SmsChannel("+14155550123"), min_severity="CRITICAL"),
            ],
            dead_letters=DeadLetterQueue(local_file_path="untold.jsonl"),
        )

    Args:
        sns_topic_arn: The SNS topic to publish to. Default: ``SNS_TOPIC_ARN`` from the environment.
        channel: Where notifications go: ``NotificationChannel.LOG`` or ``SNS``, a channel object (`EmailChannel`,
            `SmsChannel`, `SnsChannel`, `WebhookChannel`, or your own with ``async def deliver(notification)``), a
            `Route`, or several of these. Default: SNS if there is a topic, else the log.
        dedup_window: Seconds for which a ``dedup_key`` that was told is not told again.
        dead_letters: Where what no try could deliver is kept: a `DeadLetterQueue`.

    Raises:
        ValueError: The channel is unknown, or needs settings that were not given.
        TypeError: ``channel`` or ``dead_letters`` is something else altogether.
        MissingExtraError: A channel's library is not installed.
        RuntimeError: SNS was asked for where trio runs.

    Sending never raises: what a channel could not deliver is in the result, in a ``NotificationFailed`` event, in the
    log of the package, in `stats` and, if there is a queue, a dead letter; so a notification can be sent from any
    ``except`` block. Cancellation passes through. Channels are told side by side, each as its `Route` says: by default
    tried three times within 30 seconds, and sent a digest in place of too many messages. What is notified while a
    channel is at work, by its own code or by a listener, is only logged: the notifier does not notify about itself.

    Digests are sent with the next notification for which there is room. ``async with notifier:`` sends them as soon as
    there is room, and in the end, for at most two seconds, what is left; what it must drop it says.

    Safe to build at import time and to share between event loops, threads, asyncio and trio.

        >>> notifier = AdminNotifier()
        >>> async def report() -> None:
        ...     result = await notifier.send_notification(
        ...         "OpenAI circuit is open", details={"circuit": "openai-api"}, severity=ErrorSeverity.WARNING
        ...     )
        ...     assert result.delivered
    """

    __slots__ = ("__weakref__", "_dedup", "_duplicates", "_health", "_outlets", "_refused", "_running")

    def __init__(
        self,
        *,
        sns_topic_arn: str | None = None,
        channel: Target | Iterable[Target] | None = None,
        dedup_window: Duration = 300.0,
        dead_letters: LetterBox | None = None,
    ) -> None:
        if dead_letters is not None and not callable(getattr(dead_letters, "send_to_dlq", None)):
            msg = f"dead_letters must be a DeadLetterQueue or None, not {dead_letters!r}"
            raise TypeError(msg)
        self._outlets = outlets_of(routes_of(sns_topic_arn, channel), dead_letters)
        self._dedup = DedupWindow(durations.seconds("dedup_window", dedup_window))
        self._health = HealthLedger()
        self._duplicates = 0
        self._refused = 0
        self._running: dict[int, TaskGroup] = {}  # by the task that entered
        weakref.finalize(self, _last_words, self._outlets)

    async def send_notification(
        self,
        message: str,
        details: Mapping[str, object] | None = None,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        error_type: str | None = None,
        *,
        dedup_key: str | None = None,
        resolves: ErrorSeverity | None = None,
    ) -> NotificationResult:
        """Tell the administrator.

        Args:
            message: What happened, in one sentence.
            details: Anything else worth knowing, by name.
            severity: How bad it is; on the log channel, the level.
            error_type: The kind of error, as you name it.
            dedup_key: Names the trouble. Told once within the notifier's ``dedup_window``, unless it got worse; the
                next time it says how often it was left out (``repeated``).
            resolves: How bad the trouble called ``dedup_key`` was, if this says that it is over: whoever was told of
                that is told of its end.

        Returns:
            The notification's id, and what each channel did with it. Never raises an ``Exception``.
        """
        if dedup_key is None or is_delivering.get():
            return await self.announce(message, details, severity, error_type, dedup_key=dedup_key, resolves=resolves)
        # Before anything is copied and redacted: in a storm nearly all are told already.
        key = text_of(dedup_key)[:_LONGEST_KEY]
        kind = Kind.of(severity, resolves)
        repeated = self._dedup.claim(key, kind.severity, resolved=kind.resolves is not None, now=clock.monotonic())
        if repeated is None:
            self._duplicates += 1
            return _result(new_id(), self._outlets, DeliveryStatus.DUPLICATE)
        heard = False
        try:
            notification = draft(message, details, kind, error_type, dedup_key)
            if repeated:
                notification = replace(notification, details={"repeated": repeated, **notification.details})
            result = await self._tell(notification)
            heard = result.heard
        finally:
            if not heard:
                self._dedup.release(key)
        return result

    async def announce(
        self,
        message: str,
        details: Mapping[str, object] | None = None,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        error_type: str | None = None,
        *,
        dedup_key: str | None = None,
        resolves: ErrorSeverity | None = None,
    ) -> NotificationResult:
        """As `send_notification`, but told even if ``dedup_key`` was told a moment ago: for who keeps count himself."""
        notification = draft(message, details, Kind.of(severity, resolves), error_type, dedup_key)
        return self._refuse(notification) if is_delivering.get() else await self._tell(notification)

    async def _tell(self, notification: Notification) -> NotificationResult:
        severity = notification.severity if notification.resolves is None else notification.resolves
        told = [outlet for outlet in self._outlets if severity >= outlet.route.min_severity]
        if len(told) == 1:  # the usual case; a task group would cost more than the rest
            return NotificationResult(id=notification.id, outcomes=(await _hand_over(told[0], notification),))
        outcomes: dict[str, ChannelOutcome] = {}

        async def tell(outlet: Outlet) -> None:
            outcomes[outlet.name] = await _hand_over(outlet, notification)

        async with anyio.create_task_group() as tasks:
            for outlet in told:
                tasks.start_soon(tell, outlet)
        # A channel that raised a cancellation of its own making has told nobody.
        lost = "it was cancelled from inside"
        return NotificationResult(
            id=notification.id,
            outcomes=tuple(
                outcomes.get(each.name) or ChannelOutcome(channel=each.name, status=DeliveryStatus.FAILED, error=lost)
                for each in told
            ),
        )

    def _refuse(self, notification: Notification) -> NotificationResult:
        self._refused += 1
        say(
            "not told, because it came out of a delivery (%s: %s) %r",
            *(notification.severity, notification.message, notification.details),
        )
        return _result(notification.id, self._outlets, DeliveryStatus.REFUSED)

    async def send_health_check_notification(
        self,
        is_healthy: bool,  # noqa: FBT001 -- the reference's signature
        details: Mapping[str, object] | None = None,
    ) -> NotificationResult | None:
        """Tell the administrator that a component's health changed.

        Only changes are told, and the first word about a component: call it after every check. Unhealthy is told as
        ERROR, healthy as INFO; a recovery says how long the component was unhealthy (``unhealthy_for``, seconds), and
        goes to the channels that the outage went to. A change that no channel took is told at the next check.

        Args:
            is_healthy: How the component is.
            details: Anything worth knowing; ``details["component"]`` names the component.

        Returns:
            As `send_notification`; None when there was nothing new to tell. Never raises an ``Exception``.
        """
        details = as_mapping(details)
        component = text_of(details.get("component", "service"))
        change = self._health.observe(component, is_healthy=bool(is_healthy), now=clock.monotonic())
        if change is None:
            return None
        heard = False
        try:
            result = await self.send_notification(
                str(change),
                {**change.details(), **details},
                ErrorSeverity.INFO if change.is_healthy else ErrorSeverity.ERROR,
                "health_check",
                resolves=ErrorSeverity.ERROR if change.is_healthy and change.lasted is not None else None,
            )
            heard = result.heard
        finally:
            if not heard:
                self._health.untold(change)
        return result

    async def redeliver(self, message: Mapping[str, Any]) -> None:
        """Deliver a dead letter of this notifier to the channel that could not take it: the queue's ``reprocessor``.

            async def again(message):
                await admin.redeliver(message)

            untold = DeadLetterQueue(local_file_path="untold.jsonl", reprocessor=again)
            admin = AdminNotifier(channel=[...], dead_letters=untold)
            await untold.reprocess_all()

        Args:
            message: The message of the letter.

        Raises:
            ValueError: It is no notification, or this notifier has no channel of that name.
            DeliveryError: The channel could not take it this time either; the letter stays.
        """
        try:
            name, document = message["channel"], message["notification"]
        except (KeyError, TypeError) as error:
            msg = f"not a dead letter of a notifier: it has no {error}"
            raise ValueError(msg) from error
        notification = from_document(document)
        await self._outlet(name).redeliver(notification)

    async def test_channel(self, channel: str, *, by: str = "") -> ChannelOutcome:
        """Deliver a test message to one channel, to see whether somebody gets it.

        It goes past the severities, the storm limit and the dedup window, and is no dead letter if it fails; it is
        tried as hard as any other.

        Args:
            channel: The channel's name, one of `channels`.
            by: Who wants it so.

        Returns:
            What the channel did with it. Never raises an ``Exception`` of the channel.

        Raises:
            ValueError: This notifier has no channel of that name.
        """
        outlet = self._outlet(channel)
        details = {"channel": channel, **({"sent_by": by} if by else {})}
        told = "This is a test: if you read it, the channel works"
        notification = draft(told, details, Kind(ErrorSeverity.INFO), "test", None)
        if is_delivering.get():
            self._refuse(notification)
            return ChannelOutcome(channel=channel, status=DeliveryStatus.REFUSED)
        return await outlet.test(notification)

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the channels, as they stand in results, events and `stats`."""
        return tuple(outlet.name for outlet in self._outlets)

    def _outlet(self, name: object) -> Outlet:
        for outlet in self._outlets:
            if outlet.name == name:
                return outlet
        msg = f"this notifier has no channel {name!r}, only {', '.join(self.channels)}"
        raise ValueError(msg)

    # -- digests -------------------------------------------------------------------------------------------------------

    def stats(self) -> NotifierStats:
        """What was told, held, dropped and left out since the notifier was made."""
        channels = {outlet.name: outlet.stats() for outlet in self._outlets}
        return NotifierStats(channels=channels, duplicates=self._duplicates, refused=self._refused)

    def next_digest(self) -> float:
        """Seconds until a digest may be due, at most 1."""
        waits = [outlet.due() for outlet in self._outlets]
        return min(_IDLE, *(wait for wait in waits if wait is not None), _IDLE)

    async def send_digests(self) -> None:
        """Send every digest that is due. Who entered the notifier need not call it."""
        async with anyio.create_task_group() as tasks:
            for outlet in self._outlets:
                tasks.start_soon(outlet.tell_held)

    async def flush(self) -> int:
        """Send what is held for digests now, for at most two seconds; drop the rest, and return how much that was.

        What is dropped is logged, told as a ``NotificationsDropped`` event, and kept as a dead letter if there is a
        queue. Safe while others send.
        """
        with anyio.move_on_after(_FLUSH_TIME - _LAST_LETTER_TIME, shield=True):
            async with anyio.create_task_group() as tasks:
                for outlet in self._outlets:
                    tasks.start_soon(_flush, outlet)
        dropped = 0
        with anyio.move_on_after(_LAST_LETTER_TIME, shield=True):
            for outlet in self._outlets:
                dropped += await outlet.give_up()
        return dropped

    async def __aenter__(self) -> Self:
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        self._running[anyio.get_current_task().id] = tasks
        for outlet in self._outlets:
            tasks.start_soon(_send_digests, outlet)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks = self._running.pop(anyio.get_current_task().id)
        tasks.cancel_scope.cancel()
        try:
            await tasks.__aexit__(None, None, None)
        finally:  # a program that is cancelled has something to say, too
            await self.flush()

    def __repr__(self) -> str:
        return f"<AdminNotifier to {', '.join(outlet.name for outlet in self._outlets)}>"


async def _hand_over(outlet: Outlet, notification: Notification) -> ChannelOutcome:
    return await outlet.tell(notification)


async def _send_digests(outlet: Outlet) -> None:
    while True:
        due = outlet.due()
        await clock.sleep(_IDLE if due is None else due)
        await outlet.tell_held()


async def _flush(outlet: Outlet) -> None:
    while await outlet.tell_held(forced=True) is not None:
        """Whatever came meanwhile goes along."""


def _last_words(outlets: tuple[Outlet, ...]) -> None:
    for outlet in outlets:
        outlet.last_words()


def _result(notification_id: str, outlets: Iterable[Outlet], status: DeliveryStatus) -> NotificationResult:
    return NotificationResult(
        id=notification_id, outcomes=tuple(ChannelOutcome(channel=each.name, status=status) for each in outlets)
    )
