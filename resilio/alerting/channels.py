"""The ways a notification can go to somebody."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from resilio._core import logs

if TYPE_CHECKING:
    from resilio.alerting.notification import Notification


class NotificationChannel(StrEnum):
    """The kinds of channel that come with the package."""

    LOG = "LOG"
    SNS = "SNS"
    EMAIL = "EMAIL"
    SMS = "SMS"
    WEBHOOK = "WEBHOOK"


class Channel(Protocol):
    """One way to tell somebody; an object of your own with this method can be a notifier's channel.

    It may have a ``name``, a string that stands for it in results and events; otherwise its class's name does.
    """

    async def deliver(self, notification: Notification) -> None:
        """Hand ``notification`` over; return once it is out of this process's hands.

        Raises:
            Exception: It could not be handed over. The notifier reports it and goes on.
        """


class LogChannel:
    """Writes notifications to the application's log: structlog, stdlib logging, or stderr if neither is set up.

    The severity is the log level; ``notification_id``, ``error_type`` and the details are structured fields.

    Args:
        logger: The logger's name.
    """

    __slots__ = ("_logger",)

    name: str = str(NotificationChannel.LOG)

    def __init__(self, *, logger: str = "resilio.alerting") -> None:
        self._logger = logger

    async def deliver(self, notification: Notification) -> None:
        """Write one line. Raises what the application's logging raises."""
        fields: dict[str, object] = {"notification_id": notification.id}
        if notification.error_type is not None:
            fields["error_type"] = notification.error_type
        logs.write(
            notification.severity.lower(),
            notification.message,
            # The facts about the notification first; a detail of the same name is kept beside them.
            {**fields, **{f"{key}_" if key in fields else key: value for key, value in notification.details.items()}},
            logger=self._logger,
        )
