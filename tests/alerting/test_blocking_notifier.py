"""The notifier for code without an event loop."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING

import pytest
import structlog

import resilio.alerting.notifier
from resilio.errors import ErrorSeverity
from resilio.sync import AdminNotifier, NotificationChannel, Route

if TYPE_CHECKING:
    from resilio.alerting.notification import Notification


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNS_TOPIC_ARN", raising=False)


def test_a_notification_is_logged_without_await() -> None:
    """The call returns when the line is written."""
    notifier = AdminNotifier()
    with structlog.testing.capture_logs() as lines:
        result = notifier.send_notification("The disk is full", {"free": 0}, ErrorSeverity.CRITICAL, "disk")
    assert result.delivered
    assert lines == [
        {
            "log_level": "critical",
            "event": "The disk is full",
            "notification_id": result.id,
            "error_type": "disk",
            "free": 0,
        }
    ]


def test_what_the_application_bound_to_its_context_is_logged_too() -> None:
    """Context variables reach the log line although it is written on another thread."""
    written: list[object] = []

    def keep(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        written.append(line["request"])
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    with structlog.contextvars.bound_contextvars(request="r-17"):
        AdminNotifier().send_notification("told")
    assert written == ["r-17"]


def test_only_changes_of_health_are_told() -> None:
    """The blocking notifier remembers health as the async one does."""
    notifier = AdminNotifier(channel=NotificationChannel.LOG)
    with structlog.testing.capture_logs() as lines:
        results = [
            notifier.send_health_check_notification(is_healthy=is_healthy, details={"component": "openai_api"})
            for is_healthy in (False, False, True)
        ]
    assert [result is None for result in results] == [False, True, False]
    assert [(line["log_level"], line["component"]) for line in lines] == [
        ("error", "openai_api"),
        ("info", "openai_api"),
    ]


def test_a_failing_channel_does_not_raise(caplog: pytest.LogCaptureFixture) -> None:
    """The result says what went wrong."""

    class Broken:
        async def deliver(self, notification: Notification) -> None:
            raise ConnectionError(notification.id)

    result = AdminNotifier(channel=Route(Broken(), policy=None)).send_notification("told")
    assert not result.delivered
    assert result.id in caplog.text


def test_many_threads_share_one_notifier() -> None:
    """Fifty threads, fifty lines, fifty ids."""
    notifier = AdminNotifier()
    ids: list[str] = []
    with structlog.testing.capture_logs() as lines:
        threads = [
            threading.Thread(target=lambda: ids.append(notifier.send_notification("told").id)) for _ in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(str(line["notification_id"]) for line in lines) == sorted(ids)
    assert len(set(ids)) == 50


@pytest.mark.anyio
async def test_on_an_event_loop_it_is_refused() -> None:
    """Blocking the loop is a mistake that is named, together with the way out."""
    notifier = AdminNotifier()
    with pytest.raises(RuntimeError, match=r"^AdminNotifier.send_notification\(\) would block the event loop"):
        notifier.send_notification("told")
    with pytest.raises(RuntimeError, match=r"^AdminNotifier.send_health_check_notification\(\) would block"):
        notifier.send_health_check_notification(is_healthy=True)


def test_wrong_arguments_are_refused_as_in_the_async_notifier() -> None:
    """The same checks, the same words."""
    with pytest.raises(ValueError, match="channel=SMS needs settings"):
        AdminNotifier(channel=NotificationChannel.SMS)
    assert repr(AdminNotifier()) == "<AdminNotifier to LOG>"


@pytest.mark.parametrize(
    "method", ["__init__", "send_notification", "send_health_check_notification", "stats", "flush"]
)
def test_the_signatures_are_those_of_the_async_notifier(method: str) -> None:
    """Name for name, default for default; only a queue may also be a blocking one."""

    def shape(kind: type) -> list[tuple[str, object, object]]:
        parameters = inspect.signature(getattr(kind, method)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert shape(AdminNotifier) == shape(resilio.alerting.notifier.AdminNotifier)
