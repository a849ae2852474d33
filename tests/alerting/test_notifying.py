"""Telling an administrator, without ever making things worse."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
import structlog

from resilio._core import events
from resilio.alerting.channels import LogChannel, NotificationChannel
from resilio.alerting.events import NotificationEvent, NotificationFailed, NotificationSent
from resilio.alerting.notifier import AdminNotifier
from resilio.alerting.route import Route
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from resilio.alerting.notification import Notification

pytestmark = pytest.mark.anyio


class Postbox:
    """A channel that keeps what it is given, or fails as it is told to."""

    name = "postbox"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.letters: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.letters.append(notification)


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNS_TOPIC_ARN", raising=False)


# -- sending -----------------------------------------------------------------------------------------------------------


async def test_without_arguments_a_notification_is_logged() -> None:
    """Message, details and kind of error become one structured line at the severity's level."""
    with structlog.testing.capture_logs() as lines:
        result = await AdminNotifier().send_notification(
            message="Failed to process message from user",
            details={"user_id": "+1XXXXXXXXXX", "message_id": "msg_123"},
            severity=ErrorSeverity.ERROR,
            error_type="message_processing_error",
        )
    assert lines == [
        {
            "log_level": "error",
            "event": "Failed to process message from user",
            "notification_id": result.id,
            "error_type": "message_processing_error",
            "user_id": "+1XXXXXXXXXX",
            "message_id": "msg_123",
        }
    ]


@pytest.mark.parametrize("severity", list(ErrorSeverity))
async def test_the_severity_is_the_log_level(severity: ErrorSeverity, caplog: pytest.LogCaptureFixture) -> None:
    """Each of the five severities is written at the level of its name, to the alerting logger."""
    with caplog.at_level(logging.DEBUG):
        await AdminNotifier(channel=NotificationChannel.LOG).send_notification("told", severity=severity)
    assert [(record.name, record.levelname) for record in caplog.records] == [("resilio.alerting", severity.value)]


async def test_the_default_severity_is_error() -> None:
    """A message alone is enough."""
    box = Postbox()
    await AdminNotifier(channel=box).send_notification("The disk is full")
    (letter,) = box.letters
    assert (letter.message, letter.severity, letter.error_type) == ("The disk is full", ErrorSeverity.ERROR, None)
    assert letter.details == {}


async def test_the_result_names_the_notification_and_its_channel() -> None:
    """The id in the result is the one that the channel saw; every notification has its own."""
    box = Postbox()
    notifier = AdminNotifier(channel=Route(box, limit=None))
    results = [await notifier.send_notification("told") for _ in range(100)]
    assert [result.id for result in results] == [letter.id for letter in box.letters]
    assert len({result.id for result in results}) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", result.id) for result in results)
    assert results[0].delivered
    assert [(outcome.channel, outcome.delivered, outcome.error) for outcome in results[0].outcomes] == [
        ("postbox", True, "")
    ]


async def test_a_channel_without_a_name_goes_by_its_class() -> None:
    """A minimal channel needs nothing but `deliver`."""

    class Pigeon:
        async def deliver(self, notification: Notification) -> None:
            await anyio.lowlevel.checkpoint()

    notifier = AdminNotifier(channel=Pigeon())
    result = await notifier.send_notification("told")
    assert result.outcomes[0].channel == "Pigeon"
    assert repr(notifier) == "<AdminNotifier to Pigeon>"


async def test_a_delivery_is_an_event() -> None:
    """Listeners learn what was sent, over which channel."""
    heard: list[NotificationEvent] = []
    with events.subscribe(heard.append, NotificationEvent):
        result = await AdminNotifier(channel=Postbox()).send_notification(
            "told", severity=ErrorSeverity.CRITICAL, error_type="outage"
        )
    (event,) = heard
    assert isinstance(event, NotificationSent)
    assert event.notification_id == result.id
    assert (event.channel, event.severity, event.error_type) == ("postbox", ErrorSeverity.CRITICAL, "outage")


async def test_details_are_copied() -> None:
    """What the caller does to its details afterwards does not reach the channel."""
    box = Postbox()
    details = {"attempt": 1}
    await AdminNotifier(channel=box).send_notification("told", details)
    details["attempt"] = 2
    assert box.letters[0].details == {"attempt": 1}


async def test_a_detail_cannot_hide_the_notifications_own_fields() -> None:
    """A detail called like a field of ours is kept beside it."""
    with structlog.testing.capture_logs() as lines:
        result = await AdminNotifier().send_notification(
            "told", {"notification_id": "mine", "error_type": "mine too"}, error_type="ours"
        )
    assert lines[0]["notification_id"] == result.id
    assert lines[0]["error_type"] == "ours"
    assert lines[0]["notification_id_"] == "mine"
    assert lines[0]["error_type_"] == "mine too"


# -- never into the error path -----------------------------------------------------------------------------------------


async def test_a_failing_channel_never_raises_and_is_never_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is in the result, in an event, and in the log together with the message that was not delivered."""
    heard: list[NotificationEvent] = []
    with events.subscribe(heard.append, NotificationEvent):
        result = await AdminNotifier(
            channel=Route(Postbox(ConnectionError("no route")), policy=None)
        ).send_notification("The disk is full", severity=ErrorSeverity.CRITICAL)
    assert not result.delivered
    assert [(outcome.delivered, outcome.error) for outcome in result.outcomes] == [(False, "ConnectionError: no route")]
    (event,) = heard
    assert isinstance(event, NotificationFailed)
    assert (event.notification_id, event.error) == (result.id, "ConnectionError: no route")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("resilio", "ERROR")
    assert "The disk is full" in record.getMessage()
    assert "ConnectionError: no route" in record.getMessage()


async def test_a_log_that_raises_does_not_raise_into_the_caller() -> None:
    """Even with logging broken from end to end the caller goes on, and the result says what happened."""

    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            msg = f"no place for {record.levelname}"
            raise OSError(msg)

    handler = Broken()
    logging.getLogger("resilio").addHandler(handler)
    try:
        result = await AdminNotifier().send_notification("told")
    finally:
        logging.getLogger("resilio").removeHandler(handler)
    assert not result.delivered
    assert (
        result.outcomes[0].error == "OSError: no place for ERROR; and logging that raised OSError: no place for ERROR"
    )


class Mute:
    """An object that can neither be shown nor turned into text."""

    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class Locked(Mapping[str, object]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> object:
        raise LookupError(key)

    def __iter__(self) -> Iterator[str]:
        msg = "locked"
        raise LookupError(msg)

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("a string", {"details": "a string"}),
        (["a", "list"], {"details": ["a", "list"]}),
        (Locked(), {"details": "<Locked that cannot be read: LookupError: locked>"}),
    ],
)
async def test_odd_details_are_told_all_the_same(details: object, told: dict[str, object]) -> None:
    """What is no readable mapping is a slip in somebody's `except` block: told, not raised."""
    box = Postbox()
    result = await AdminNotifier(channel=box).send_notification("told", details)  # type: ignore[arg-type]
    assert result.delivered
    assert box.letters[0].details == told


async def test_a_message_without_text_is_told_all_the_same() -> None:
    """An exception passed for the message is told as its text; one without a text as such."""
    box = Postbox()
    notifier = AdminNotifier(channel=box)
    await notifier.send_notification(ValueError("no cat"), error_type=ValueError)  # type: ignore[arg-type]
    await notifier.send_notification(Mute())  # type: ignore[arg-type]
    assert [letter.message for letter in box.letters] == ["no cat", "<Mute whose text raises ValueError>"]
    assert box.letters[0].error_type == "<class 'ValueError'>"


async def test_a_channels_error_without_text_is_described() -> None:
    """An exception whose `str` raises is still named; one without a text goes by its class."""

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise ValueError

    for error, text in (
        (WordlessError(), "WordlessError: <WordlessError whose text raises ValueError>"),
        (OSError(), "OSError"),
    ):
        result = await AdminNotifier(channel=Route(Postbox(error), policy=None)).send_notification("told")
        assert result.outcomes[0].error == text


async def test_an_unknown_severity_is_an_error_and_says_so() -> None:
    """A misspelt severity costs no alert; one given as text counts as itself."""
    box = Postbox()
    notifier = AdminNotifier(channel=box)
    await notifier.send_notification("told", severity="DISASTER")  # type: ignore[arg-type]
    await notifier.send_notification("told", severity="CRITICAL")  # type: ignore[arg-type]
    first, second = box.letters
    assert (first.severity, first.details) == (ErrorSeverity.ERROR, {"unknown_severity": "DISASTER"})
    assert (second.severity, second.details) == (ErrorSeverity.CRITICAL, {})


async def test_cancellation_passes_through() -> None:
    """A notifier that is waiting for its channel is cancelled like anything else."""
    heard: list[NotificationEvent] = []

    class Slow:
        async def deliver(self, notification: Notification) -> None:
            scope.cancel()
            await anyio.sleep_forever()

    with events.subscribe(heard.append, NotificationEvent), anyio.CancelScope() as scope:
        await AdminNotifier(channel=Slow()).send_notification("told")
    assert scope.cancelled_caught
    assert heard == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
async def test_interruptions_are_no_failures(error: BaseException) -> None:
    """Ctrl-C in a channel ends the caller, it is no failed delivery."""
    raised: BaseException | None = None
    try:
        await AdminNotifier(channel=Route(Postbox(error), policy=None)).send_notification("told")
    except BaseException as caught:
        raised = caught
    assert raised is error


# -- construction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel",
    [NotificationChannel.EMAIL, NotificationChannel.SMS, NotificationChannel.WEBHOOK],
)
async def test_a_kind_that_needs_settings_is_refused_with_the_way_out(channel: NotificationChannel) -> None:
    """Better no notifier than one that tells nobody."""
    with pytest.raises(ValueError, match=rf"^channel={channel} needs settings: pass channel=\w+Channel\("):
        AdminNotifier(channel=channel)


async def test_sns_without_a_topic_is_refused() -> None:
    """The message names the argument and the environment variable."""
    with pytest.raises(ValueError, match=r"^channel=SNS needs a topic: pass sns_topic_arn, or set .* SNS_TOPIC_ARN$"):
        AdminNotifier(channel=NotificationChannel.SNS)


def test_a_topic_means_sns_wherever_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument or the environment variable is enough; a channel that was asked for wins."""
    topic = "arn:aws:sns:us-east-1:123456789012:alerts"
    assert repr(AdminNotifier(sns_topic_arn=topic)) == "<AdminNotifier to SNS>"
    monkeypatch.setenv("SNS_TOPIC_ARN", topic)
    assert repr(AdminNotifier()) == "<AdminNotifier to SNS>"
    assert repr(AdminNotifier(channel=NotificationChannel.LOG)) == "<AdminNotifier to LOG>"


async def test_no_topic_is_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, and an empty variable, mean the log."""
    monkeypatch.setenv("SNS_TOPIC_ARN", "")
    assert repr(AdminNotifier(sns_topic_arn=None)) == "<AdminNotifier to LOG>"


@pytest.mark.parametrize("channel", ["PIGEON", "log", ""])
async def test_an_unknown_channel_is_refused(channel: str) -> None:
    """The message shows the value and what is allowed."""
    with pytest.raises(ValueError, match=rf"^channel must be a NotificationChannel .*, not '{channel}'$"):
        AdminNotifier(channel=channel)  # type: ignore[arg-type]


@pytest.mark.parametrize("channel", [3, object(), Postbox, LogChannel])
async def test_what_cannot_deliver_is_no_channel(channel: object) -> None:
    """A channel is an object with `deliver`; a class is not one yet."""
    with pytest.raises(TypeError, match=r"^channel must be a NotificationChannel or an object with a method deliver"):
        AdminNotifier(channel=channel)  # type: ignore[arg-type]


async def test_a_logger_of_ones_own_may_be_named(caplog: pytest.LogCaptureFixture) -> None:
    """A log channel built by hand writes where it is told to."""
    await AdminNotifier(channel=LogChannel(logger="my.alerts")).send_notification("told")
    assert [record.name for record in caplog.records] == ["my.alerts"]
