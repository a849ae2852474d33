"""Notifications over Amazon SNS: to a topic, and as an SMS to one phone."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from resilio._core import durations
from resilio.alerting.channels import NotificationChannel
from resilio.alerting.errors import DeliveryError
from resilio.alerting.media import SNS_BODY_BYTES, ascii_subject, cut_bytes, e164, mask_phone_number, one_line, sms
from resilio.alerting.optional import refuse_trio, require
from resilio.alerting.rendering import as_text, title_of
from resilio.errors import is_transient

if TYPE_CHECKING:
    from resilio._core.durations import Duration
    from resilio.alerting.notification import Notification

__all__ = ("SmsChannel", "SnsChannel")

_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<topic>[A-Za-z0-9_-]{1,256}(\.fifo)?)"
)


class _SnsClient:
    """How to reach SNS: one session for each event loop, one client for each message."""

    __slots__ = ("_lock", "_sessions", "_settings")

    def __init__(self, what: str, region: str | None, endpoint_url: str | None, timeout: Duration) -> None:
        require("aiobotocore", extra="aws", what=what)
        refuse_trio(what, "aiobotocore")
        limit = durations.seconds("timeout", timeout, above=0)
        self._settings = {"region_name": region, "endpoint_url": endpoint_url, "timeout": limit}
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def publish(self, **message: Any) -> None:
        from aiobotocore.config import AioConfig  # noqa: PLC0415 -- optional, and 230 ms to import
        from aiobotocore.session import get_session  # noqa: PLC0415

        settings = dict(self._settings)
        limit = settings.pop("timeout")
        # The notifier tries again; if both did, a message might come nine times.
        config = AioConfig(connect_timeout=limit, read_timeout=limit, retries={"total_max_attempts": 1})
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._sessions:
                self._sessions[loop] = get_session()
            session = self._sessions[loop]
        async with session.create_client("sns", config=config, **settings) as client:
            await client.publish(**message)


class SnsChannel:
    """Publishes notifications to an SNS topic.

    Credentials come from where AWS's tools look for them: environment, profile, role. ``AWS_ENDPOINT_URL`` is
    understood. Subject and body are cut to what SNS takes; severity and error type go along as message attributes, for
    subscriptions with a filter. On a FIFO topic the error type is the group.

    Args:
        topic_arn: The topic.
        region: Default: the topic's.
        endpoint_url: Another address than AWS's, for tests.
        timeout: Seconds to connect, and to be answered.
        name: What results, events and stats call it.

    Raises:
        MissingExtraError: aiobotocore is not installed.
        RuntimeError: This thread runs trio; aiobotocore needs asyncio.
        ValueError: ``topic_arn`` is no topic's ARN.
    """

    __slots__ = ("_client", "name", "topic_arn")

    def __init__(
        self,
        topic_arn: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: Duration = 10.0,
        name: str = str(NotificationChannel.SNS),
    ) -> None:
        found = _ARN.fullmatch(topic_arn) if isinstance(topic_arn, str) else None
        if found is None:
            msg = f"topic_arn must be like 'arn:aws:sns:us-east-1:123456789012:alerts', not {topic_arn!r}"
            raise ValueError(msg)
        self.topic_arn: str = topic_arn
        self._client = _SnsClient("SnsChannel", region or found["region"], endpoint_url, timeout)
        self.name: str = name

    def __repr__(self) -> str:
        return f"<SnsChannel {self.name} {self.topic_arn}>"

    async def deliver(self, notification: Notification) -> None:
        """Publish once.

        Raises:
            DeliveryError: SNS did not take it.
            RuntimeError: This thread runs trio.
        """
        refuse_trio("SnsChannel", "aiobotocore")
        facts = {"severity": str(notification.severity), "error_type": notification.error_type or "none"}
        facts = {name: one_line(value) for name, value in facts.items()}
        size = sum(len(f"{name}String{value}".encode()) for name, value in facts.items())
        message: dict[str, Any] = {
            "TopicArn": self.topic_arn,
            "Subject": ascii_subject(title_of(notification)),
            "Message": cut_bytes(as_text(notification), SNS_BODY_BYTES - size),
            "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in facts.items()},
        }
        if self.topic_arn.endswith(".fifo"):
            message["MessageGroupId"] = ascii_subject(facts["error_type"]).replace(" ", "_")
            message["MessageDeduplicationId"] = notification.id
        try:
            await self._client.publish(**message)
        except Exception as error:
            raise _failed(error, self.name) from None


class SmsChannel:
    """Sends notifications as SMS to one phone, over SNS.

    Args:
        phone_number: In the form E.164, ``+14155550123``. It is masked wherever it is shown.
        sender_id: What the phone shows as the sender, where a country allows that: 3 to 11 letters and digits.
        region: Default: as AWS's tools find it.
        endpoint_url: Another address than AWS's, for tests.
        timeout: Seconds to connect, and to be answered.
        name: What results, events and stats call it.

    Raises:
        MissingExtraError: aiobotocore is not installed.
        RuntimeError: This thread runs trio; aiobotocore needs asyncio.
        TypeError, ValueError: An argument is not what it should be; the message names it.

    A text is cut to one message of 160 characters. Several phones are several channels, so that a retry reaches only
    the one that it is for.
    """

    __slots__ = ("_client", "_phone_number", "_sender_id", "name")

    def __init__(
        self,
        phone_number: str,
        *,
        sender_id: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        timeout: Duration = 10.0,
        name: str = str(NotificationChannel.SMS),
    ) -> None:
        self._phone_number = e164("phone_number", phone_number)
        if sender_id is not None and not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9]{3,11}", sender_id):
            msg = f"sender_id must be 3 to 11 letters and digits, with a letter among them, not {sender_id!r}"
            raise ValueError(msg)
        self._sender_id = sender_id
        self._client = _SnsClient("SmsChannel", region, endpoint_url, timeout)
        self.name: str = name

    def __repr__(self) -> str:
        return f"<SmsChannel {self.name} {mask_phone_number(self._phone_number)}>"

    async def deliver(self, notification: Notification) -> None:
        """Send one SMS.

        Raises:
            DeliveryError: SNS did not take it.
            RuntimeError: This thread runs trio.
        """
        refuse_trio("SmsChannel", "aiobotocore")
        attributes = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
        if self._sender_id is not None:
            attributes["AWS.SNS.SMS.SenderID"] = {"DataType": "String", "StringValue": self._sender_id}
        # No brackets: the GSM alphabet gives each of them two places.
        text = f"{'RESOLVED' if notification.resolved else notification.severity}: {notification.message}"
        try:
            await self._client.publish(PhoneNumber=self._phone_number, Message=sms(text), MessageAttributes=attributes)
        except Exception as error:
            raise _failed(error, self.name, self._phone_number) from None


def _failed(error: Exception, channel: str, phone_number: str | None = None) -> DeliveryError:
    text = str(error)
    if phone_number is not None:
        # With and without the plus: services like to quote what they do not like.
        for shown in (phone_number, phone_number[1:]):
            text = text.replace(shown, mask_phone_number(phone_number))
    worth = is_transient(error) or (isinstance(error, OSError) and not isinstance(error, ImportError))
    return DeliveryError(f"{type(error).__name__}: {one_line(text)}", channel=channel, retryable=worth)
