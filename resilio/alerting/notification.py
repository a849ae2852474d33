"""What is told, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
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
        dedup_key: Names the trouble that this is about, so that two words about it can be told for one; or None.
        resolves: How bad the trouble was that this says the end of; None if it does not.
        count: How many notifications it stands for: more than 1 for a digest.
    """

    id: str
    message: str
    severity: ErrorSeverity
    error_type: str | None
    details: Mapping[str, object]
    at: datetime
    dedup_key: str | None = None
    resolves: ErrorSeverity | None = None
    count: int = 1

    @property
    def resolved(self) -> bool:
        """Whether this says that a trouble is over."""
        return self.resolves is not None


class DeliveryStatus(StrEnum):
    """What a channel did with a notification."""

    DELIVERED = "delivered"
    """It took it."""
    FAILED = "failed"
    """It could not deliver it, however often it tried."""
    HELD = "held"
    """There were too many; it is told in the channel's next digest."""
    DROPPED = "dropped"
    """There were far too many; the next digest counts it, without its text."""
    DUPLICATE = "duplicate"
    """The same was told a moment ago."""
    REFUSED = "refused"
    """It came out of a delivery: the notifier does not notify about itself. It was logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOutcome:
    """What one channel did with a notification.

    Attributes:
        channel: Its name.
        status: What it did.
        error: Why it failed, as text; empty if it did not.
    """

    channel: str
    status: DeliveryStatus
    error: str = ""

    @property
    def delivered(self) -> bool:
        """Whether it took the notification."""
        return self.status is DeliveryStatus.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationResult:
    """What became of a notification.

    Attributes:
        id: The notification's id.
        outcomes: One for each channel that its severity is told to.
    """

    id: str
    outcomes: tuple[ChannelOutcome, ...]

    @property
    def delivered(self) -> bool:
        """Whether at least one channel took it."""
        return any(outcome.delivered for outcome in self.outcomes)

    @property
    def heard(self) -> bool:
        """Whether somebody was told, just now or a moment ago, or will be, by a digest."""
        unheard = (DeliveryStatus.FAILED, DeliveryStatus.REFUSED)
        return any(outcome.status not in unheard for outcome in self.outcomes)
