"""Notifications over Apprise, which speaks to a hundred services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resilio.alerting.errors import DeliveryError
from resilio.alerting.optional import refuse_trio, require
from resilio.alerting.rendering import as_text, title_of
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from resilio.alerting.notification import Notification

__all__ = ("AppriseChannel",)


class AppriseChannel:
    """Hands notifications to Apprise: one of its services, by its URL.

    Not for what must wake somebody: Apprise waits between messages, does not say why one failed, and whether it is
    worth another try. Where this package has a channel of its own, take that.

    Args:
        url: An Apprise URL, such as ``"ntfy://topic"``. It is a password and is never shown.
        name: What results, events and stats call it.

    Raises:
        MissingExtraError: apprise is not installed.
        RuntimeError: This thread runs trio; Apprise needs asyncio.
        ValueError: Apprise does not know such a URL.
    """

    __slots__ = ("_apprise", "name")

    def __init__(self, url: str, *, name: str = "APPRISE") -> None:
        require("apprise", extra="apprise", what="AppriseChannel")
        refuse_trio("AppriseChannel", "apprise")
        import apprise  # noqa: PLC0415 -- optional

        self._apprise: Any = apprise.Apprise()
        if not self._apprise.add(url):
            msg = "url must be a URL that Apprise knows; see https://github.com/caronc/apprise/wiki"
            raise ValueError(msg)
        self.name: str = name

    def __repr__(self) -> str:
        return f"<AppriseChannel {self.name}>"

    async def deliver(self, notification: Notification) -> None:
        """Hand it over.

        Raises:
            DeliveryError: Apprise says that it could not.
            RuntimeError: This thread runs trio.
        """
        refuse_trio("AppriseChannel", "apprise")
        taken = await self._apprise.async_notify(
            title=title_of(notification), body=as_text(notification), notify_type=_kind(notification)
        )
        if not taken:
            msg = "Apprise could not deliver it, and does not say why; its logger may"
            raise DeliveryError(msg, channel=self.name, retryable=True)


def _kind(notification: Notification) -> str:
    if notification.resolved:
        return "success"
    if notification.severity >= ErrorSeverity.ERROR:
        return "failure"
    return "warning" if notification.severity >= ErrorSeverity.WARNING else "info"
