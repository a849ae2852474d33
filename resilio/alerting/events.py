"""What the notifier and the alerts tell: one frozen value per channel and notification, one per change of an incident.

They hold no exception objects, only texts, so that keeping them keeps nothing else alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio._core.events import Event

if TYPE_CHECKING:
    from resilio.alerting.incidents import Incident
    from resilio.errors import ErrorSeverity


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationEvent(Event):
    """Anything that happened to a notification.

    Attributes:
        notification_id: The id that `send_notification` returned, or a digest's.
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
    """A channel took a notification.

    Attributes:
        count: How many notifications it stands for: more than 1 for a digest.
    """

    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFailed(NotificationEvent):
    """A channel could not take a notification, however often it was tried.

    Attributes:
        error: Why, as text.
        letter_id: The dead letter that it was kept as; empty if it was not.
    """

    error: str
    letter_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsDropped(Event):
    """Notifications that were held for a digest will not be told: the program ends.

    Attributes:
        channel: The channel's name.
        count: How many.
        letter_id: The dead letter that they were kept as, counted by kind; empty if they were not.
    """

    channel: str
    count: int
    letter_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChanged(Event):
    """An incident is found, fires, or is over.

    Attributes:
        incident: How it is now. That one is over which was only pending is not told.
    """

    incident: Incident
