"""A secret in every corner of an error reaches nobody, from the handler to real mailboxes and hooks."""

from __future__ import annotations

import email
import email.policy
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from alert_kit import MailServer, Receiver, free_port
from canary_kit import CANARY, SHAPES, thrown

from resilio import (
    AdminNotifier,
    AlertRule,
    Alerts,
    DeadLetterQueue,
    EmailChannel,
    ErrorHandler,
    ErrorsAbove,
    ErrorTracker,
    LogChannel,
    NewErrors,
    Route,
    WebhookChannel,
    WebhookFormat,
    log_operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def written() -> Iterator[list[Any]]:
    """What structlog writes, as its last processor sees it."""
    lines: list[Any] = []
    structlog.configure(processors=[lambda _logger, _method, line: lines.append(json.dumps(line)) or "told"])  # type: ignore[func-returns-value]
    yield lines
    structlog.reset_defaults()


def mailbox(server: MailServer) -> EmailChannel:
    """A channel to it."""
    return EmailChannel(
        host="localhost",
        port=server.port,
        sender="alerts@example.com",
        recipients="ops@example.com",
        tls_context=server.trust,
        username="alerts",
        password="right",
    )


def hook(receiver: Receiver, form: WebhookFormat) -> WebhookChannel:
    """A channel to it."""
    key = "a routing key" if form is WebhookFormat.PAGERDUTY else None
    return WebhookChannel(receiver.url, format=form, routing_key=key, allow_private=True)


def files(folder: Path) -> dict[str, str]:
    """What is on the disk."""
    return {path.name: path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow("a mail server with TLS, five webhooks and a disk, for each shape of a secret")
@pytest.mark.asyncio
@pytest.mark.parametrize("text", SHAPES, ids=["url", "bearer", "password", "json", "cookie"])
async def test_a_canary_reaches_nobody(
    text: str,
    tmp_path: Path,
    mail_server: MailServer,
    receiver: Receiver,
    written: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No mail, no webhook of any format, no log line, no file, no dead letter, no incident."""
    caplog.set_level(logging.DEBUG)
    hooks = [hook(receiver, each) for each in WebhookFormat]
    nowhere = WebhookChannel(f"http://127.0.0.1:{free_port()}/", allow_private=True)
    tracker = ErrorTracker(path=tmp_path / "tracker.json")
    async with (
        DeadLetterQueue(local_file_path=tmp_path / "spoiled.jsonl") as spoiled,
        DeadLetterQueue(local_file_path=tmp_path / "untold.jsonl") as untold,
        AdminNotifier(
            channel=[LogChannel(), mailbox(mail_server), *hooks, Route(nowhere, policy=None)], dead_letters=untold
        ) as notifier,
    ):
        handler = ErrorHandler(notifier=notifier, dead_letters=spoiled, tracker=tracker)
        rules = [
            AlertRule("new", NewErrors(tracker)),
            AlertRule("many", ErrorsAbove(tracker, more_than=0, severity=None)),
        ]
        alerts = Alerts(notifier, rules, path=tmp_path / "alerts.json")
        context: dict[str, Any] = {
            "password": CANARY,
            "note": f"tried {CANARY} and {text}",
            "nested": {"headers": [("Authorization", CANARY)], "text": text, CANARY: 1},
            "object": thrown(text),
        }
        with log_operation("outer", apiKey=CANARY, said=f"{CANARY}!"):
            async with handler.guard(f"answer {text}", message={"body": "Meow"}, suppress=True, **context):
                raise thrown(text)
        alerts.silence(seconds=0.001, created_by=text, comment=text)
        await alerts.check()
        await alerts.check()
        tracker.save()
        assert (await untold.stats()).total >= 3
    mails = [email.message_from_bytes(each.content, policy=email.policy.default) for each in mail_server.mails]
    seen = {
        "mails": "".join(f"{mail.items()}{mail.get_content()}" for mail in mails),
        "webhooks": json.dumps([(each.headers, each.document) for each in receiver.requests]),
        "log": "".join(written) + caplog.text + repr([record.__dict__ for record in caplog.records]),
        **files(tmp_path),
        "incidents": repr(alerts.incidents()) + repr(alerts.silences(expired=True)),
    }
    assert len(mails) == 3
    assert len(receiver.requests) == 3 * len(hooks)
    assert {"tracker.json", "alerts.json", "spoiled.jsonl", "untold.jsonl"} <= set(seen)
    assert all(
        "err-" in place for name, place in seen.items() if name.startswith(("mails", "webhooks", "log", "tracker"))
    )
    assert [place for place, told in seen.items() if CANARY in told] == []
