"""One place for an error to go, on an event loop."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from reporting_kit import PlainTold, Told

from resilio import (
    AdminNotifier,
    DeadLetterQueue,
    ErrorHandler,
    ErrorMessageProvider,
    ErrorReport,
    ErrorReported,
    ErrorSeverity,
    ErrorTracker,
    IntegrationError,
    log_operation,
    sync,
)
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resilio import Notification
    from resilio.testing import EventRecorder, VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged."""
    monkeypatch.delenv("SNS_TOPIC_ARN", raising=False)
    with structlog.testing.capture_logs() as found:
        yield found


async def test_an_error_becomes_one_report(
    lines: list[structlog.typing.EventDict], resilio_events: EventRecorder
) -> None:
    """Classified, fingerprinted, redacted, counted, worded, logged, told; the same object again is none of it."""
    told = Told()
    handler = ErrorHandler(notifier=told)
    error = IntegrationError("no route", system="crm", operation="connect", api_key="canary")
    report = await handler.handle(error, "fetch", attempt=3)
    assert report.user_message == "Unable to connect to data source. Please check your connection"
    assert (report.operation, report.category, report.code) == ("fetch", "integration", "connection_failed")
    assert report.context == {"system": "crm", "api_key": "[redacted]", "attempt": 3}
    assert report.fingerprint.startswith("v1:")
    assert report.error_id.startswith("err-")
    assert report.first_seen == report.timestamp
    for _ in range(3):
        assert await handler.handle(error, "further up", other=1) is report
        assert await ErrorHandler().handle(error) is report
    assert handler.tracker.get_error_summary()["total_errors"] == 1
    assert [line["error_id"] for line in lines] == [report.error_id]
    assert (lines[0]["log_level"], lines[0]["event"]) == ("error", "operation failed")
    assert [each.report for each in resilio_events.of(ErrorReported)] == [report]
    ((message, details, severity, kind),) = told.heard
    assert message == "fetch failed: IntegrationError: no route"
    assert (details["error_id"], details["fingerprint"]) == (report.error_id, report.fingerprint)
    assert (severity, kind) == (ErrorSeverity.ERROR, "IntegrationError")


async def test_the_real_notifier_and_the_real_queue_take_it(
    tmp_path: Path, lines: list[structlog.typing.EventDict]
) -> None:
    """From the alert to the letter: both carry the report's id, and the report the letter's."""
    async with DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl") as letters:
        handler = ErrorHandler(notifier=AdminNotifier(), dead_letters=letters)
        async with handler.guard("answer", message={"body": "Meow"}, suppress=True) as guard:
            raise ConnectionError("no route")
        assert guard.report is not None
        assert guard.report.message_id is not None
        letter = await letters.get(guard.report.message_id)
    assert letter.message == {"body": "Meow"}
    assert letter.error_info["error_id"] == guard.report.error_id
    assert letter.error_info["error_type"] == "ConnectionError"
    assert handler.tracker.recent_reports() == [guard.report]
    notification = next(line for line in lines if "notification_id" in line)
    assert notification["message_id"] == guard.report.message_id


async def test_a_block_that_does_not_fail_is_no_report(tmp_path: Path) -> None:
    """And its message is no letter."""
    async with DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl") as letters:
        handler = ErrorHandler(dead_letters=letters)
        async with handler.guard("answer", message=1) as guard:
            pass
        assert guard.report is None
        assert (await letters.stats()).total == 0


async def test_the_error_goes_on_unless_it_is_suppressed() -> None:
    """The very object that was raised."""
    handler = ErrorHandler()
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:  # noqa: PT012 -- the guards are what is tested
        async with handler.guard("outer"):
            async with handler.guard("inner"):
                raise error
    assert caught.value is error
    assert [report.operation for report in handler.tracker.recent_reports()] == ["inner"]


async def test_a_message_is_kept_once_whoever_hands_it_on(tmp_path: Path) -> None:
    """The same message on its way up is one letter; another message spoiled by the same error is another."""
    async with DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl") as letters:
        handler = ErrorHandler(dead_letters=letters)
        error = ValueError("x")
        message = {"body": "Meow"}
        await handler.handle(error, "without")
        report = await handler.handle(error, "inner", message=message)
        again = await handler.handle(error, "outer", message=message)
        await handler.handle(error, "broadcast", message={"body": "Meow"})
        await handler.handle(ValueError("none"), message=None)
        assert report.message_id == again.message_id is not None
        assert [letter.message for letter in await letters.peek()] == [message, message, None]
        assert handler.tracker.get_error_summary()["total_errors"] == 2


async def test_a_notifier_or_queue_that_fails_is_told_and_does_no_harm(
    lines: list[structlog.typing.EventDict],
) -> None:
    """The caller gets its report; that the message is lost is critical, and in the notification."""

    class Full:
        async def send_to_dlq(self, message: Any, error_info: Any) -> str:
            raise OSError("disk full, password=canary")

    told = Told()
    report = await ErrorHandler(notifier=told, dead_letters=Full()).handle(ValueError("x"), "answer", message="m")
    assert report.message_id is None
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("critical", "a message could not be kept as a dead letter"),
        ("error", "operation failed"),
    ]
    assert told.heard[0][1]["dead_letter_error"] == "OSError: disk full, password=[redacted]"
    lines.clear()
    await ErrorHandler(notifier=Told(RuntimeError("down"))).handle(ValueError("y"), message="m")
    assert [line["event"] for line in lines] == [
        "a message could not be kept as a dead letter",
        "operation failed",
        "an error could not be told to the notifier",
    ]


async def test_cancellation_is_no_failure_and_passes(resilio_events: EventRecorder) -> None:
    """A guard neither counts nor suppresses it; `handle` raises it again."""
    handler = ErrorHandler(notifier=Told())
    ended = False
    with anyio.move_on_after(0.01) as scope:
        async with handler.guard("sleep", suppress=True):
            await anyio.sleep_forever()
        ended = True
    assert scope.cancelled_caught
    assert not ended
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as error:
            await handler.handle(error, "sleep")
            ended = True
    assert scope.cancelled_caught
    assert not ended
    for ending in (KeyboardInterrupt(), SystemExit(), GeneratorExit()):
        with pytest.raises(type(ending)):
            await handler.handle(ending)
        with pytest.raises(type(ending)):
            async with handler.guard("x", suppress=True):
                raise ending
    assert handler.tracker.get_error_summary()["total_errors"] == 0
    assert not resilio_events.of(ErrorReported)


async def test_cancelled_while_it_tells_it_has_counted_and_logged(
    lines: list[structlog.typing.EventDict],
) -> None:
    """Cancellation arrives where the notifier or the queue waits, and passes."""

    class Hangs:
        async def send_notification(self, *_: object) -> None:
            await anyio.sleep_forever()

        async def send_to_dlq(self, *_: object) -> None:
            await anyio.sleep_forever()

    for hangs in ({"notifier": Hangs()}, {"dead_letters": Hangs()}):
        lines.clear()
        handler = ErrorHandler(**hangs)  # type: ignore[arg-type]
        with anyio.move_on_after(0.01) as scope:
            await handler.handle(ValueError("x"), "answer", message=1)
        assert scope.cancelled_caught
        assert handler.tracker.get_error_summary()["total_errors"] == 1
        assert lines[-1]["event"] == "operation failed"


async def test_a_group_with_a_cancellation_in_it_passes() -> None:
    """Whoever is cancelled must not go on."""
    handler = ErrorHandler()
    with pytest.raises(BaseExceptionGroup):
        async with handler.guard("x", suppress=True):
            raise BaseExceptionGroup("both", [ValueError(), KeyboardInterrupt()])
    async with handler.guard("x", suppress=True) as guard:
        raise ExceptionGroup("two", [ValueError(), KeyError()])
    assert guard.report is not None
    assert guard.report.members == 2


async def test_blocking_notifiers_and_queues_run_in_a_thread(tmp_path: Path) -> None:
    """Those of `resilio.sync` refuse to run on an event loop's thread; the handler sees to it."""
    told = PlainTold()
    letters = sync.DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl")
    report = await ErrorHandler(notifier=told, dead_letters=letters).handle(ValueError("x"), "answer", message="m")
    assert report.message_id is not None
    assert told.heard[0][1]["message_id"] == report.message_id


async def test_only_what_is_bad_enough_is_told() -> None:
    """By default from ERROR on."""
    told = Told()
    warning = IntegrationError("x", system="s", operation="o", severity=ErrorSeverity.WARNING)
    await ErrorHandler(notifier=told).handle(warning)
    assert told.heard == []
    warning = IntegrationError("x", system="s", operation="o", severity=ErrorSeverity.WARNING)
    await ErrorHandler(notifier=told, notify_from="WARNING").handle(warning)
    assert len(told.heard) == 1


async def test_what_is_around_is_in_the_report() -> None:
    """The context of the blocks under `log_operation`, and their name where no other is given."""
    handler = ErrorHandler()
    with log_operation("outer", user=7, cat="Tzara"):
        async with log_operation("inner", cat="Arp"):
            inner = await handler.handle(ValueError(), "feed", bowl=1)
            unnamed = await handler.handle(ValueError())
    assert inner.context == {"user": 7, "cat": "Arp", "within": "outer/inner", "bowl": 1}
    assert unnamed.operation == "outer/inner"


async def test_a_fingerprint_and_a_language_of_the_callers_own() -> None:
    """`fingerprint=` joins errors, `locale=` chooses the words."""
    handler = ErrorHandler()
    one = await handler.handle(ValueError("a"), fingerprint="cats")
    other = await handler.handle(TimeoutError("b"), fingerprint="cats", locale="de-AT")
    assert one.fingerprint == other.fingerprint
    assert other.first_seen == one.timestamp
    assert other.message.title == "Das hat zu lange gedauert"


async def test_it_never_raises_over_what_an_error_is() -> None:
    """Errors whose text, attributes, or notes raise, that cannot be marked, or that are none at all."""

    class Hostile(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__resilio"):
                raise AttributeError(name)
            raise RuntimeError(name)

    class Slotted(Exception):  # noqa: N818
        def __setattr__(self, name: str, value: object) -> None:
            raise RuntimeError

    handler = ErrorHandler()
    report = await handler.handle(Hostile(), "x", strange=object(), key={1: {2}})
    assert report.error_type == "Hostile"
    assert isinstance(await handler.handle(Slotted(), "x"), ErrorReport)
    report = await handler.handle("not an error", 17)  # type: ignore[arg-type]
    assert (report.error_message, report.operation) == ("not an error", "17")
    json.dumps([each.to_dict() for each in handler.tracker.recent_reports()])


async def test_an_error_still_pickles_and_nothing_is_retained() -> None:
    """The report travels with it; a message that does not pickle stays behind."""

    class Letters:
        async def send_to_dlq(self, message: Any, error_info: Any) -> str:
            return "letter-1"

    handler = ErrorHandler(dead_letters=Letters())
    error = IntegrationError("x", system="s", operation="o")
    await handler.handle(error, message=lambda: None)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert (await handler.handle(copy)).error_id == (await handler.handle(error)).error_id
    alive = weakref.ref(error)
    del error, copy
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"notifier": object()}, TypeError, "notifier must be an object with a method send_notification"),
        ({"dead_letters": DeadLetterQueue}, TypeError, "dead_letters must be an object with a method send_to_dlq"),
        ({"in_app": "shop"}, TypeError, "in_app must be several packages"),
        ({"notify_from": "LOUD"}, ValueError, "LOUD"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(
    arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    """By the parameter's name."""
    with pytest.raises(error, match=told):
        ErrorHandler(**arguments)


async def test_a_guard_with_a_message_needs_a_queue() -> None:
    """Said before the block begins, not when the message is lost."""
    with pytest.raises(ValueError, match="message needs a handler with dead_letters"):
        ErrorHandler().guard("x", message=1)


async def test_one_tracker_serves_many_handlers() -> None:
    """Handlers may share it, and many tasks a handler."""
    tracker = ErrorTracker()
    handlers = [ErrorHandler(tracker=tracker, log=False) for _ in range(3)]

    async def work(handler: ErrorHandler) -> None:
        for _ in range(20):
            async with handler.guard("x", suppress=True):
                await anyio.lowlevel.checkpoint()
                raise ValueError

    async with anyio.create_task_group() as tasks:
        for handler in handlers * 5:
            tasks.start_soon(work, handler)
    assert tracker.get_error_summary()["total_errors"] == 300
    assert repr(handlers[0]) == "<ErrorHandler with <ErrorTracker of 300 errors>>"


async def test_the_fingerprint_is_the_notifiers_dedup_key() -> None:
    """Where it takes one: the same error is one message in the notifier's window, another error is another."""

    class Told(list[tuple[object, ...]]):
        async def send_notification(self, *told: object, dedup_key: str | None = None) -> None:
            self.append((told[0], dedup_key))

    told = Told()
    handler = ErrorHandler(notifier=told, log=False)
    report = await handler.handle(ValueError("no cat"), "find")
    assert told == [("find failed: ValueError: no cat", report.fingerprint)]
    await handler.handle(ValueError("lost"), "find", message="a message that nobody keeps")
    assert str(told[1][1]).endswith(":not-kept")


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
async def test_the_same_error_is_told_once_in_the_window(blocking: bool, virtual_clock: VirtualClock) -> None:  # noqa: FBT001 -- a parameter of the test
    """Until the window is over; a message that is lost is told even within it."""
    heard: list[Notification] = []

    class Postbox:
        async def deliver(self, notification: Notification) -> None:
            heard.append(notification)

    notifier: Any = (sync.AdminNotifier if blocking else AdminNotifier)(channel=Postbox(), dedup_window=300)
    handler = ErrorHandler(notifier=notifier, log=False)
    for number in range(100):
        await handler.handle(ValueError(f"no cat {number}"), "find")
    await handler.handle(KeyError("other"), "find")
    await handler.handle(ValueError("no cat 7"), "find", message="lost")
    assert [each.message for each in heard] == [
        "find failed: ValueError: no cat 0",
        "find failed: KeyError: 'other'",
        "find failed: ValueError: no cat 7",
    ]
    assert "dead_letter_error" in heard[2].details
    await clock.sleep(301)
    await handler.handle(ValueError("no cat 100"), "find")
    assert heard[3].details["repeated"] == 99


def test_a_copy_of_what_holds_a_handler_counts_in_the_same_place() -> None:
    """A handler is shared, not copied: its tracker has locks, and two halves of a count are none."""
    handler = ErrorHandler(log=False)
    assert copy.deepcopy({"handler": handler})["handler"] is handler


def test_a_handler_shows_the_words_that_it_uses() -> None:
    """For whoever words something else under the same roof."""
    messages = ErrorMessageProvider()
    assert ErrorHandler(messages=messages).messages is messages
    assert ErrorHandler().messages.get_message("integration", "timeout").startswith("Request timed out")
