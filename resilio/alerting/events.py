"""What the notifier tells: one frozen value per channel and notification.

They hold no exception objects, only texts, so that keeping them keeps nothing else alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio._core.events import Event

if TYPE_CHECKING:
    from resilio.errors import ErrorSeverity


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationEvent(Event):
    """Anything that happened to a notification.

    Attributes:
        notification_id: The id that `send_notification` returned.
        channel: The channel's name.
        severity: How bad it is.
        error_type: The kind of error as its sender names it, or None.
    """

    notification_id: str
    channel: str
    severity: ErrorSeverity
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSent(NotificationEvent):
    """A channel took a notification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFailed(NotificationEvent):
    """A channel could not take a notification.

    Attributes:
        error: Why, as text.
    """

    error: str
