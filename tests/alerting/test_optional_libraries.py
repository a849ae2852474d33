"""Libraries that come with extras: missing, or in the wrong event loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import trio
from alert_kit import Receiver, notification

from resilio import (
    AdminNotifier,
    AppriseChannel,
    DeliveryError,
    EmailChannel,
    MissingExtraError,
    SmsChannel,
    SnsChannel,
    WebhookChannel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"


@pytest.mark.parametrize(
    ("library", "extra", "build"),
    [
        ("httpx", "http", lambda: WebhookChannel("https://example.com")),
        ("aiosmtplib", "email", lambda: EmailChannel(host="h", sender="a@example.com", recipients="b@example.com")),
        ("aiobotocore", "aws", lambda: SnsChannel(TOPIC)),
        ("aiobotocore", "aws", lambda: SmsChannel("+14155550123")),
        ("aiobotocore", "aws", lambda: AdminNotifier(sns_topic_arn=TOPIC)),
        ("apprise", "apprise", lambda: AppriseChannel("json://localhost")),
    ],
)
def test_a_missing_library_is_one_clear_error(
    library: str, extra: str, build: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the channel is built, naming what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtraError, match=rf"needs {library}, .*: pip install 'resilio-toolkit\[{extra}\]'$"
    ) as caught:
        build()
    assert caught.value.extra == extra


@pytest.mark.asyncio
@pytest.mark.slow("loads Apprise's hundred services")
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise imports it
async def test_apprise_hands_a_notification_over(receiver: Receiver) -> None:
    """To a real server, by one of its URLs; that it could not is an error, and the URL is never shown."""
    url = f"json://localhost:{receiver.port}/t0ken"
    channel = AppriseChannel(url)
    await channel.deliver(notification("Größe"))
    (request,) = receiver.requests
    assert request.document["title"] == "[ERROR] Größe"
    receiver.script.append(500)
    with pytest.raises(DeliveryError, match="Apprise could not deliver it") as caught:
        await channel.deliver(notification())
    assert caught.value.retryable
    assert "t0ken" not in repr(channel) + str(caught.value)
    with pytest.raises(ValueError, match="url must be a URL that Apprise knows"):
        AppriseChannel("t0ken")


def test_apprise_needs_asyncio() -> None:
    """As a channel that is built under trio says."""

    async def build() -> None:
        with pytest.raises(RuntimeError, match=r"^AppriseChannel needs asyncio"):
            AppriseChannel("json://localhost")

    trio.run(build)
