"""The check-up of notification channels: whether each can be reached, without telling anybody anything."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from resilio.alerting.aws import SmsChannel, SnsChannel
from resilio.alerting.channels import LogChannel
from resilio.alerting.email_channel import EmailChannel
from resilio.alerting.webhook import WebhookChannel
from resilio.cli.checks import Finding, Verdict
from resilio.errors import ErrorSeverity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resilio.alerting.notifier import AdminNotifier

__all__ = ("check_channels", "send_test")

_PATIENCE: Final = 5.0
_HTTPS: Final = 443
_HTTP: Final = 80
_READY: Final = b"220"


async def check_channels(notifier: AdminNotifier) -> AsyncIterator[Finding]:
    """Whether what each channel of a notifier talks to has a name, takes connections, and says what it should."""
    for outlet in notifier._outlets:  # noqa: SLF001 -- a check-up looks inside
        channel: Any = outlet.route.channel
        if isinstance(channel, LogChannel):
            yield _finding(outlet.name, Verdict.OK, "writes to the application's log")
            continue
        place = _place(channel)
        if place is None:
            told = f"{type(channel).__name__}: a check-up does not know how to reach it"
            yield _finding(outlet.name, Verdict.NOTE, told, "--send-test tries it")
            continue
        yield await _reach(outlet.name, *place, is_mail=isinstance(channel, EmailChannel))


def _place(channel: Any) -> tuple[str, int] | None:
    if isinstance(channel, EmailChannel):
        return channel.host, channel.port
    if isinstance(channel, WebhookChannel):
        return _address(channel._url)  # noqa: SLF001 -- see above
    if isinstance(channel, (SnsChannel, SmsChannel)):
        settings = channel._client._settings  # noqa: SLF001 -- see above
        url = settings["endpoint_url"] or os.environ.get("AWS_ENDPOINT_URL_SNS") or os.environ.get("AWS_ENDPOINT_URL")
        region = settings["region_name"] or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if url:
            return _address(str(url))
        return None if region is None else (f"sns.{region}.amazonaws.com", _HTTPS)
    return None


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (_HTTP if parts.scheme == "http" else _HTTPS)


async def _reach(name: str, host: str, port: int, *, is_mail: bool) -> Finding:
    try:
        with anyio.fail_after(_PATIENCE):
            await anyio.to_thread.run_sync(socket.getaddrinfo, host, port, abandon_on_cancel=True)
    except (OSError, TimeoutError) as error:
        told = f"{host} has no address: {_reason(error)}"
        return _finding(name, Verdict.PROBLEM, told, "see whether the name is right and DNS works from here")
    try:
        with anyio.fail_after(_PATIENCE):
            async with await anyio.connect_tcp(host, port) as stream:
                greeting = await stream.receive(200) if is_mail and port != _SMTPS else b""
    except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        told = f"{host}:{port} does not answer: {_reason(error)}"
        return _finding(name, Verdict.PROBLEM, told, "see whether it runs there, and whether a firewall is between")
    if greeting and not greeting.startswith(_READY):
        told = f"{host}:{port} is no mail server, or refuses: {greeting[:60]!r}"
        return _finding(name, Verdict.PROBLEM, told, "see whether host and port are the mail server's")
    return _finding(name, Verdict.OK, f"{host}:{port} can be reached")


_SMTPS: Final = 465  # greets only once TLS stands


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None or isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error
    return str(error) or f"nothing within {_PATIENCE:g} s"


async def send_test(notifier: AdminNotifier) -> AsyncIterator[Finding]:
    """Tell every channel that this is a test, and whether it took it."""
    result = await notifier.send_notification(
        "This is a test from `resilio doctor`: nothing is wrong",
        {"host": socket.gethostname()},
        severity=ErrorSeverity.CRITICAL,  # so that every route lets it through
        error_type="resilio_doctor_test",
    )
    for outcome in result.outcomes:
        told = f"test: {outcome.status}{f', {outcome.error}' if outcome.error else ''}"
        verdict = Verdict.OK if outcome.status == "delivered" else Verdict.PROBLEM
        advice = "" if verdict is Verdict.OK else "see what the channel says; nobody is told of an outage over it"
        yield _finding(outcome.channel, verdict, told, advice)


def _finding(name: str, verdict: Verdict, told: str, advice: str = "") -> Finding:
    return Finding(area="channels", name=name, verdict=verdict, told=told, advice=advice)
