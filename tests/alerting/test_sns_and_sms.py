"""SNS and SMS, on an AWS server on this machine."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
import trio
from alert_kit import notification
from moto.backends import get_backend

from resilio import (
    AdminNotifier,
    DeliveryError,
    ErrorSeverity,
    NotificationChannel,
    Route,
    SmsChannel,
    SnsChannel,
    sync,
)

pytestmark = pytest.mark.slow("loads botocore's service descriptions")

TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"


class Inbox:
    """A topic, and the queue that is subscribed to it."""

    def __init__(self, name: str = "alerts", **attributes: str) -> None:
        self._sqs = boto3.client("sqs")
        sns = boto3.client("sns")
        self.topic: str = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        suffix = ".fifo" if name.endswith(".fifo") else ""
        fifo = {"FifoQueue": "true"} if suffix else {}
        self._url = self._sqs.create_queue(QueueName=f"inbox{suffix}", Attributes=fifo)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def read(self) -> list[Any]:
        """What came through the topic."""
        found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(each["Body"]) for each in found]


@pytest.fixture
def inbox(aws: str) -> Inbox:
    """A topic with somebody to read it."""
    return Inbox()


def texts_sent(aws: str) -> list[list[str]]:
    """Numbers and texts of the SMS that the server would have sent."""
    # The server runs in this process, and shows its SMS to nobody.
    messages = get_backend("sns")["123456789012"]["us-east-1"].sms_messages
    return [list(each) for each in messages.values()]


@pytest.mark.asyncio
async def test_a_notification_reaches_a_subscriber(inbox: Inbox) -> None:
    """Subject, body and attributes come out of a queue that is subscribed to the topic."""
    told = notification("Größe überschritten\nSubject: forged", error_type="disk", details={"free": 0})
    await SnsChannel(inbox.topic).deliver(told)
    (message,) = inbox.read()
    assert message["Subject"] == "[ERROR] Gro?e uberschritten Subject: forged"
    assert "Größe überschritten" in message["Message"]
    assert "free: 0" in message["Message"]
    assert message["MessageAttributes"]["severity"]["Value"] == "ERROR"
    assert message["MessageAttributes"]["error_type"]["Value"] == "disk"


@pytest.mark.asyncio
async def test_a_body_beyond_256_kib_is_cut_and_taken(inbox: Inbox) -> None:
    """Half a megabyte of umlauts arrives, cut between two of them."""
    await SnsChannel(inbox.topic).deliver(notification("ü" * 300_000))
    (message,) = inbox.read()
    assert 255 * 1024 < len(message["Message"].encode()) <= 256 * 1024
    assert set(message["Message"][:-1]) == {"ü"}
    assert len(message["Subject"]) == 100


@pytest.mark.asyncio
async def test_a_fifo_topic_is_given_its_group(aws: str) -> None:
    """What such a topic demands goes along."""
    inbox = Inbox("alerts.fifo", FifoTopic="true")
    await SnsChannel(inbox.topic).deliver(notification(error_type="disk full"))
    (message,) = inbox.read()
    assert message["Subject"] == "[ERROR] The disk is full"


@pytest.mark.asyncio
async def test_the_notifier_finds_its_topic_in_the_environment(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the reference: a topic in the environment and nothing else."""
    monkeypatch.setenv("SNS_TOPIC_ARN", inbox.topic)
    result = await AdminNotifier().send_notification("told", severity=ErrorSeverity.CRITICAL)
    assert result.delivered
    assert [each["Subject"] for each in inbox.read()] == ["[CRITICAL] told"]


def test_the_blocking_notifier_publishes_too(inbox: Inbox) -> None:
    """Behind the portal the same client works."""
    notifier = sync.AdminNotifier(sns_topic_arn=inbox.topic, channel=NotificationChannel.SNS)
    assert notifier.send_notification("from a thread").delivered
    assert [each["Subject"] for each in inbox.read()] == ["[ERROR] from a thread"]


@pytest.mark.asyncio
async def test_a_topic_that_is_not_there_fails_at_once(aws: str) -> None:
    """Another try would not make one."""
    with pytest.raises(DeliveryError, match="NotFound") as caught:
        await SnsChannel(TOPIC).deliver(notification())
    assert not caught.value.retryable


@pytest.mark.asyncio
async def test_no_server_is_worth_another_try(aws: str, unused_tcp_port: int) -> None:
    """A connection that fails may come about later."""
    channel = SnsChannel(TOPIC, endpoint_url=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(DeliveryError, match="EndpointConnectionError") as caught:
        await channel.deliver(notification())
    assert caught.value.retryable


@pytest.mark.asyncio
async def test_an_sms_is_one_message_of_160_characters(aws: str) -> None:
    """The number and the cut text reach the server."""
    await SmsChannel("+14155550123").deliver(notification("x" * 500))
    ((number, text),) = texts_sent(aws)
    assert number == "+14155550123"
    assert len(text) == 160
    assert text.endswith("...")


@pytest.mark.asyncio
async def test_a_phone_number_is_masked_wherever_it_is_shown(
    aws: str, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In `repr`, in results and in the log, whatever goes wrong."""
    channel = SmsChannel("+14155550123", endpoint_url=f"http://127.0.0.1:{unused_tcp_port}")
    result = await AdminNotifier(channel=Route(channel, policy=None)).send_notification("told")
    assert not result.delivered
    assert repr(channel) == "<SmsChannel SMS +1XXXXXXXXXX>"
    assert "4155550123" not in repr(result) + caplog.text


@pytest.mark.parametrize("number", ["2065550199", "+1 206 555 0199", "+0123456789", "+123456", "+1234567890123456", ""])
@pytest.mark.asyncio
async def test_a_number_that_is_not_e164_is_refused(number: str) -> None:
    """The message says what the form is, and shows the number masked."""
    with pytest.raises(ValueError, match=r"^phone_number must be a phone number in the form E\.164") as caught:
        SmsChannel(number)
    assert number[3:] not in str(caught.value) or not number


@pytest.mark.asyncio
async def test_what_is_no_topic_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"^topic_arn must be like 'arn:aws:sns"):
        SnsChannel("alerts")


def test_under_trio_it_is_refused_when_built_and_when_used() -> None:
    """The message says why, and what to take."""
    built_before = SnsChannel(TOPIC)

    async def build() -> None:
        with pytest.raises(RuntimeError, match=r"^SnsChannel needs asyncio, because aiobotocore does"):
            SnsChannel(TOPIC)
        with pytest.raises(RuntimeError, match=r"^SmsChannel needs asyncio"):
            SmsChannel("+14155550123")
        with pytest.raises(RuntimeError, match=r"^SnsChannel needs asyncio"):
            await built_before.deliver(notification())

    trio.run(build)
