"""What is told, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from resilio.errors import ErrorSeverity


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a channel is given to deliver.

    Attributes:
        id: Names this notification in logs, events and results.
        message: What happened, for people.
        severity: How bad it is.
        error_type: The kind of error as the sender names it, or None.
        details: Anything else worth knowing, by name; a copy, made when the notification was sent.
        at: When it was sent, UTC.
    """

    id: str
    message: str
    severity: ErrorSeverity
    error_type: str | None
    details: Mapping[str, object]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOutcome:
    """What one channel did with a notification.

    Attributes:
        channel: Its name.
        delivered: Whether it took the notification.
        error: Why it did not, as text; empty if it did.
    """

    channel: str
    delivered: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationResult:
    """What became of a notification.

    Attributes:
        id: The notification's id.
        outcomes: One for each channel that was tried.
    """

    id: str
    outcomes: tuple[ChannelOutcome, ...]

    @property
    def delivered(self) -> bool:
        """Whether at least one channel took it."""
        return any(outcome.delivered for outcome in self.outcomes)
