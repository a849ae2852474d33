"""The same names for code without an event loop: the same arguments and the same results, without ``await``.

Nothing is decided here. A policy runs the very decisions of its async twin, on the same state; an object that does I/O
sends each call to one background event loop. On a thread that runs an event loop, what would block it raises a
``RuntimeError`` instead.

    >>> from resilio.sync import AdminNotifier
    >>> result = AdminNotifier().send_notification("The nightly export failed", {"rows": 0})
    >>> result.delivered
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resilio._core import portal
from resilio.alerting import notifier as _notifier
from resilio.alerting.channels import NotificationChannel
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.alerting.channels import Channel
    from resilio.alerting.notification import NotificationResult

__all__ = (
    "AdminNotifier",
    "ErrorSeverity",
    "NotificationChannel",
)


# -- alerting ----------------------------------------------------------------------------------------------------------


class AdminNotifier:
    """Tells an administrator that something is wrong; the blocking twin of `resilio.AdminNotifier`.

    Takes the same arguments. Safe to share between threads; in a forked child it goes on working.
    """

    __slots__ = ("_notifier",)

    def __init__(
        self,
        *,
        sns_topic_arn: str | None = None,
        channel: NotificationChannel | Channel | None = None,
    ) -> None:
        self._notifier = _notifier.AdminNotifier(sns_topic_arn=sns_topic_arn, channel=channel)

    def send_notification(
        self,
        message: str,
        details: Mapping[str, object] | None = None,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        error_type: str | None = None,
    ) -> NotificationResult:
        """Tell the administrator; arguments and result as of the async method.

        Raises:
            RuntimeError: This thread runs an event loop.
        """
        return portal.call(self._notifier.send_notification, message, details, severity, error_type)

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

    def __repr__(self) -> str:
        return repr(self._notifier)
