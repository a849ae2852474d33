"""One channel at work: what is let through, how it is tried, and what becomes of what fails."""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from resilio._core import clock, events
from resilio.alerting.errors import DeliveryError
from resilio.alerting.events import NotificationFailed, NotificationsDropped, NotificationSent
from resilio.alerting.notification import ChannelOutcome, DeliveryStatus
from resilio.alerting.rendering import as_document
from resilio.alerting.storms import Admission, StormGuard
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.alerting.channels import Channel
    from resilio.alerting.notification import Notification
    from resilio.alerting.route import Route
    from resilio.policies.policy import AsyncForms, Policy

__all__ = (
    "ChannelStats",
    "LetterBox",
    "Outlet",
    "attempt",
    "described",
    "is_delivering",
    "redacted",
    "redacted_details",
    "say",
    "text_of",
)

_log = logging.getLogger("resilio")

is_delivering: ContextVar[bool] = ContextVar("resilio_is_delivering", default=False)
"""Set while a channel is at work: what is notified meanwhile is about the notifier itself."""


class LetterBox(Protocol):
    """What keeps a notification that could not be delivered; a `DeadLetterQueue` is one."""

    async def send_to_dlq(self, message: Any, error_info: object) -> str:
        """Keep ``message``; return its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats:
    """What a channel has done since its notifier was made.

    Attributes:
        delivered: Messages that it took.
        told: Notifications that were in them: a digest stands for many.
        failed: Notifications that were in messages it did not take.
        held: Notifications that had to wait for a digest.
        waiting: Those that still do.
        dropped: Those that were held and never told.
        digests: Messages that were digests.
        letters: Messages kept as dead letters.
    """

    delivered: int = 0
    told: int = 0
    failed: int = 0
    held: int = 0
    waiting: int = 0
    dropped: int = 0
    digests: int = 0
    letters: int = 0


class Outlet:
    """A channel with its route, its storm guard and its numbers. Safe from any thread and any event loop."""

    __slots__ = ("_counts", "_guard", "_letters", "_lock", "name", "route")

    def __init__(self, name: str, route: Route, letters: LetterBox | None) -> None:
        self.name: str = name
        self.route: Route = route
        self._letters = letters
        self._guard = None if route.limit is None else StormGuard(route.limit)
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(ChannelStats.__dataclass_fields__, 0)

    async def tell(self, notification: Notification) -> ChannelOutcome:
        """Deliver ``notification``, or hold it; if there is room again, with all that was held before it."""
        if self._guard is None:
            return await self._send(notification)
        admission = self._guard.admit(notification, clock.monotonic())
        if admission is Admission.SEND:
            return await self._send(notification)
        self._add(held=notification.count)
        status = DeliveryStatus.HELD if admission is Admission.HELD else DeliveryStatus.DROPPED
        return await self.tell_held() or ChannelOutcome(channel=self.name, status=status)

    async def tell_held(self, *, forced: bool = False) -> ChannelOutcome | None:
        """Deliver a digest if one is due, or if ``forced`` whenever there is something in it; None if there is not."""
        guard = self._guard
        held = None if guard is None else guard.release(clock.monotonic(), forced=forced)
        if guard is None or held is None:
            return None
        try:
            outcome = await self._send(held.as_notification(clock.monotonic(), clock.utcnow()))
        except BaseException:
            guard.put_back(held)  # cancelled: nobody was told, and somebody still should be
            raise
        self._add(digests=1)
        return outcome

    def due(self) -> float | None:
        """Seconds until a digest may go; None if there is nothing in it."""
        return None if self._guard is None else self._guard.due(clock.monotonic())

    async def give_up(self) -> int:
        """Drop what is held, as a dead letter if there is a queue; say so, and return how many they were."""
        held = None if self._guard is None else self._guard.release(clock.monotonic(), forced=True)
        if held is None:
            return 0
        digest = held.as_notification(clock.monotonic(), clock.utcnow())
        self._add(dropped=digest.count)
        counts = digest.details["counts"]
        say(
            "%d notifications for channel %s were held for a digest and are dropped: %s",
            digest.count,
            self.name,
            counts,
        )
        letter = await self._keep(digest, "the program ended before there was room for them")
        if events.listeners:
            events.emit(NotificationsDropped(channel=self.name, count=digest.count, letter_id=letter))
        return digest.count

    def last_words(self) -> None:
        """At the end of the process: say what was never told. Called where no event loop runs any more."""
        waiting = 0 if self._guard is None else self._guard.waiting
        if waiting:
            say("%d notifications for channel %s were held for a digest that was never sent", waiting, self.name)

    def stats(self) -> ChannelStats:
        """The numbers so far."""
        waiting = 0 if self._guard is None else self._guard.waiting
        with self._lock:
            return ChannelStats(**{**self._counts, "waiting": waiting})

    async def _send(self, notification: Notification) -> ChannelOutcome:
        outcome, letter = await attempt(
            self.route.channel, self.name, notification, policy=self.route.policy, keep=self._keep
        )
        if outcome.delivered:
            self._add(delivered=1, told=notification.count)
        else:
            self._add(failed=notification.count, letters=int(bool(letter)))
        return outcome

    async def test(self, notification: Notification) -> ChannelOutcome:
        """Deliver ``notification`` past the storm guard; it is not kept if that fails."""
        outcome, _ = await attempt(self.route.channel, self.name, notification, policy=self.route.policy)
        self._add(**({"delivered": 1, "told": 1} if outcome.delivered else {"failed": 1}))
        return outcome

    async def redeliver(self, notification: Notification) -> None:
        """Deliver what could not be delivered before; it is not kept again, for it is a dead letter still.

        Raises:
            DeliveryError: It could not be delivered this time either.
        """
        outcome, _ = await attempt(self.route.channel, self.name, notification, policy=self.route.policy)
        if not outcome.delivered:
            raise DeliveryError(outcome.error, channel=self.name, retryable=True)
        self._add(delivered=1, told=notification.count)

    async def _keep(self, notification: Notification, why: str) -> str:
        """Keep ``notification`` as a dead letter, if there is a queue; return the letter's id, or nothing."""
        if self._letters is None:
            return ""
        message = {"notification": as_document(notification), "channel": self.name}
        info = {"error_type": "notification_not_delivered", "error_message": why, "timestamp": str(clock.utcnow())}
        try:
            return await self._letters.send_to_dlq(message, info)
        except Exception as error:
            say("notification %s could not be kept as a dead letter: %s", notification.id, described(error))
            return ""

    def _add(self, **numbers: int) -> None:
        with self._lock:
            for name, number in numbers.items():
                self._counts[name] += number


class _Keep(Protocol):
    async def __call__(self, notification: Notification, why: str, /) -> str: ...


async def attempt(
    channel: Channel, name: str, notification: Notification, *, policy: Policy | None = None, keep: _Keep | None = None
) -> tuple[ChannelOutcome, str]:
    """Deliver ``notification``; what fails is kept, logged and told as an event.

    Returns:
        What became of it, and the id of the dead letter or nothing. Never raises an ``Exception``.
    """
    token = is_delivering.set(True)
    try:
        try:
            if policy is None:
                await channel.deliver(notification)
            else:
                await cast("AsyncForms", policy).execute(channel.deliver, notification)
        except Exception as error:
            return await _failed(name, notification, described(error), keep)
        if events.listeners:
            events.emit(
                NotificationSent(
                    notification_id=notification.id,
                    channel=name,
                    severity=notification.severity,
                    error_type=notification.error_type,
                    count=notification.count,
                )
            )
        return ChannelOutcome(channel=name, status=DeliveryStatus.DELIVERED), ""
    finally:
        is_delivering.reset(token)


async def _failed(name: str, notification: Notification, why: str, keep: _Keep | None) -> tuple[ChannelOutcome, str]:
    try:
        # The last resort: nobody may learn of it in another way.
        _log.error(
            "channel %s could not deliver notification %s (%s: %s): %s",
            *(name, notification.id, notification.severity, notification.message, why),
        )
    except Exception as second:
        why = f"{why}; and logging that raised {described(second)}"
    letter = "" if keep is None else await keep(notification, why)
    if events.listeners:
        events.emit(
            NotificationFailed(
                notification_id=notification.id,
                channel=name,
                severity=notification.severity,
                error_type=notification.error_type,
                error=why,
                letter_id=letter,
            )
        )
    return ChannelOutcome(channel=name, status=DeliveryStatus.FAILED, error=why), letter


def say(text: str, *values: object) -> bool:
    """Write an error to the package's log; tell whether that worked."""
    try:
        _log.error(text, *values)
    except Exception:
        return False  # there is nobody left to tell
    return True


def text_of(value: object) -> str:
    """``str(value)``, or that it has none."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


def redacted(value: object) -> str:
    """``str(value)`` without secrets."""
    return str(redact(text_of(value)))


def redacted_details(details: Mapping[str, object]) -> Mapping[str, object]:
    """A plain copy of details without secrets."""
    found = redact(details)
    return found if isinstance(found, dict) else {"details": found}


def described(error: BaseException) -> str:
    """An error as one text: its class and what it says, without secrets."""
    return f"{type(error).__name__}: {redacted(error)}".removesuffix(": ")
