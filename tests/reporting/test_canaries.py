"""A secret that is put into every corner of an error comes out of none."""

from __future__ import annotations

import json
import logging
import pickle
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import structlog
from canary_kit import CANARY, SHAPES, thrown

from resilio import (
    AdminNotifier,
    DeadLetterQueue,
    ErrorHandler,
    ErrorMessageProvider,
    ErrorReported,
    ErrorTracker,
    IntegrationError,
    Redactor,
    ValidationError,
    enhance_error_context,
    log_events,
    log_operation,
)

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.testing import EventRecorder

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No topic that somebody would be told at."""
    monkeypatch.delenv("SNS_TOPIC_ARN", raising=False)


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("configured", [True, False], ids=["structlog", "stdlib"])
async def test_a_canary_appears_nowhere(
    text: str,
    configured: bool,  # noqa: FBT001 -- a parameter of the test
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    resilio_events: EventRecorder,
) -> None:
    """Not in the log, the report, the letter, the notification, the tracker and its file, nor what the user reads."""
    caplog.set_level(logging.DEBUG)
    written: list[Any] = []
    if configured:
        structlog.configure(processors=[lambda _logger, _method, line: written.append(dict(line)) or "told"])  # type: ignore[func-returns-value]
    messages = ErrorMessageProvider()
    messages.register("general", "general_error", "{note} {password} {error_message} {nested} {url}")
    tracker = ErrorTracker(path=tmp_path / "tracker.json")
    async with DeadLetterQueue(local_file_path=tmp_path / "dead.jsonl") as letters:
        handler = ErrorHandler(notifier=AdminNotifier(), dead_letters=letters, tracker=tracker, messages=messages)
        with log_events(least="DEBUG"):
            context: dict[str, Any] = {
                "password": CANARY,
                "note": f"tried {CANARY} and {text}",
                "nested": {"headers": [("Authorization", CANARY)], "text": text, CANARY: 1},
                "url": text,
                "object": thrown(text),
            }
            with log_operation("outer", apiKey=CANARY, said=f"{CANARY}!"):
                async with handler.guard(f"answer {text}", message="kept as it is", suppress=True, **context) as guard:
                    raise thrown(text)
            report = guard.report
            assert report is not None
        tracker.save()
        letter = await letters.get(str(report.message_id))
    seen = {
        "report": repr(report) + json.dumps(report.to_dict()),
        "pickle": pickle.dumps(report).decode("latin-1"),
        "user": report.user_message,
        "letter": repr(letter.error_info) + (tmp_path / "dead.jsonl").read_text("utf-8"),
        "tracker": json.dumps(tracker.get_error_summary()) + (tmp_path / "tracker.json").read_text("utf-8"),
        "log": repr(written) + caplog.text + repr([record.__dict__ for record in caplog.records]),
        "events": repr(resilio_events.of(ErrorReported)),
        "enhanced": json.dumps(enhance_error_context(thrown(text), context)),
    }
    assert len(written) + len(caplog.records) >= 3
    assert [place for place, text in seen.items() if CANARY in text] == []


async def test_the_value_of_a_secret_field_is_none_of_the_reports() -> None:
    """Whose name says so, in an error of the taxonomy; nor is a text of one's own that must appear nowhere."""
    handler = ErrorHandler(log=False, redactor=Redactor(secrets=[f"own-{CANARY}"]))
    error = ValidationError(f"'{CANARY}' is too short", field="password", value=CANARY, min_length=20)
    report = await handler.handle(error, "sign up")
    assert CANARY not in repr(report)
    other = IntegrationError(f"own-{CANARY}", system="s", operation="o", why=f"own-{CANARY}")
    assert CANARY not in repr(await handler.handle(other, f"own-{CANARY}"))
    await anyio.lowlevel.checkpoint()
