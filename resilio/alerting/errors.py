"""What a channel raises when it cannot deliver."""

from __future__ import annotations

from typing import Any

from resilio.errors import IntegrationError

__all__ = ("DeliveryError",)


class DeliveryError(IntegrationError):
    """A channel could not deliver a notification. Its text holds no secret: no URL's path, no phone number.

    Attributes:
        channel: The channel's name.
        retryable: Whether the same delivery may succeed later.
        retry_after: Seconds that the other side asks to wait; None if it does not ask.
    """

    code = "delivery_failed"

    def __init__(
        self, message: str, *, channel: str, retryable: bool = False, retry_after: float | None = None, **context: Any
    ) -> None:
        super().__init__(message, system=channel, operation="deliver", retryable=retryable, **context)
        self.channel = channel
        self.retry_after = retry_after
