"""What each service behind a webhook wants to be sent, within its limits."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from resilio.alerting.media import cut, one_line
from resilio.alerting.rendering import as_document, as_fields, title_of
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.alerting.notification import Notification

__all__ = ("PAGERDUTY_URL", "WebhookFormat", "payload_for")

PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"


class WebhookFormat(StrEnum):
    """Who is behind a webhook."""

    JSON = "JSON"
    """Anything of your own: a document with the notification's fields."""
    SLACK = "SLACK"
    TEAMS = "TEAMS"
    DISCORD = "DISCORD"
    PAGERDUTY = "PAGERDUTY"
    """Events API v2: an incident is triggered, and resolved under the same ``dedup_key``."""


_COLOURS: Final = {
    ErrorSeverity.DEBUG: 0x9E9E9E,
    ErrorSeverity.INFO: 0x2E7D32,
    ErrorSeverity.WARNING: 0xF9A825,
    ErrorSeverity.ERROR: 0xC62828,
    ErrorSeverity.CRITICAL: 0x6A1B9A,
}
_RESOLVED_COLOUR: Final = 0x2E7D32


def payload_for(form: WebhookFormat, notification: Notification, *, routing_key: str | None = None) -> dict[str, Any]:
    """The document to post."""
    if form is WebhookFormat.PAGERDUTY:
        return _pagerduty(notification, routing_key or "")
    return _FORMS[form](notification)


def _slack(notification: Notification) -> dict[str, Any]:
    # Section texts of 3 000 characters, ten fields of 2 000 (https://docs.slack.dev/reference/block-kit/blocks).
    title = cut(_slack_text(title_of(notification)), 2900)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"}}]
    fields = as_fields(notification, most=10, longest=300)
    if fields:
        texts = (f"*{_slack_text(name)}*\n{cut(_slack_text(value), 1500)}" for name, value in fields)
        blocks.append({"type": "section", "fields": [{"type": "mrkdwn", "text": text} for text in texts]})
    footer = {"type": "mrkdwn", "text": f"{notification.id} at {notification.at.isoformat(timespec='seconds')}"}
    blocks.append({"type": "context", "elements": [footer]})
    return {"text": title, "attachments": [{"color": f"#{_colour(notification):06x}", "blocks": blocks}]}


def _slack_text(text: str) -> str:
    # The three characters that mean something; a `<!channel>` in an error's text must call nobody.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(notification: Notification) -> dict[str, Any]:
    # An adaptive card, as Teams workflows take it; 28 KB in all.
    facts = [{"title": name, "value": value} for name, value in as_fields(notification, most=10, longest=500)]
    colour = "good" if notification.resolved else _TEAMS_COLOURS[notification.severity]
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": title_of(notification), "wrap": True, "weight": "bolder", "color": colour}
    ]
    if facts:
        body.append({"type": "FactSet", "facts": facts})
    footer = f"{notification.id} at {notification.at.isoformat(timespec='seconds')}"
    body.append({"type": "TextBlock", "text": footer, "wrap": True, "isSubtle": True, "size": "small"})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [content]}


_TEAMS_COLOURS: Final = {
    ErrorSeverity.DEBUG: "default",
    ErrorSeverity.INFO: "good",
    ErrorSeverity.WARNING: "warning",
    ErrorSeverity.ERROR: "attention",
    ErrorSeverity.CRITICAL: "attention",
}


def _discord(notification: Notification) -> dict[str, Any]:
    # An embed: title 256, 25 fields of 256 and 1 024 characters, 6 000 in all.
    fields = as_fields(notification, most=10, longest=400)
    embed = {
        "title": one_line(title_of(notification), 256),
        "color": _colour(notification),
        "timestamp": notification.at.isoformat(timespec="milliseconds"),
        "fields": [{"name": name, "value": value, "inline": len(value) <= 40} for name, value in fields],  # noqa: PLR2004 -- three fit in a row
        "footer": {"text": notification.id},
    }
    # An @everyone in an error's text must call nobody.
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _pagerduty(notification: Notification, routing_key: str) -> dict[str, Any]:
    # https://developer.pagerduty.com/docs/send-alert-event: summary of 1 024, dedup_key of 255 characters.
    document = as_document(notification)
    key = cut(notification.dedup_key or notification.id, 255, mark="")
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if notification.resolved else "trigger",
        "dedup_key": key,
    }
    if not notification.resolved:
        event["payload"] = {
            "summary": one_line(notification.message, 1024),
            "source": "resilio",
            "severity": _PAGERDUTY_SEVERITIES[notification.severity],
            "timestamp": document["at"],
            "class": notification.error_type or "",
            "custom_details": document["details"],
        }
    return event


_PAGERDUTY_SEVERITIES: Final = {
    ErrorSeverity.DEBUG: "info",
    ErrorSeverity.INFO: "info",
    ErrorSeverity.WARNING: "warning",
    ErrorSeverity.ERROR: "error",
    ErrorSeverity.CRITICAL: "critical",
}

_FORMS: Final[dict[WebhookFormat, Callable[[Notification], dict[str, Any]]]] = {
    WebhookFormat.JSON: as_document,
    WebhookFormat.SLACK: _slack,
    WebhookFormat.TEAMS: _teams,
    WebhookFormat.DISCORD: _discord,
}


def _colour(notification: Notification) -> int:
    return _RESOLVED_COLOUR if notification.resolved else _COLOURS[notification.severity]
