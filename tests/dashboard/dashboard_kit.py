"""What the dashboard's tests share: a service with something of everything, and ways to ask its dashboard."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from resilio import (
    AdminNotifier,
    AlertRule,
    Alerts,
    CircuitBreaker,
    DeadLetterQueue,
    DeadLettersAbove,
    ErrorTracker,
    HealthCheck,
)
from resilio.dashboard import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from resilio import Notification

OURS = {"Sec-Fetch-Site": "same-origin"}
PAGES = ("", "errors", "circuits", "letters", "alerts", "health")
HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{191*1009}}"


class Printer:
    """A channel that keeps what it was given."""

    name = "printer"

    def __init__(self) -> None:
        self.printed: list[Notification] = []

    async def deliver(self, notification: Notification) -> None:
        self.printed.append(notification)


@dataclass
class Service:
    """A service that has had a bad day.

    Attributes:
        handled: The messages that were replayed.
        broken: While it is set, replays fail.
    """

    folder: Path
    handled: list[Any] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        self.tracker = ErrorTracker()
        self.queue = DeadLetterQueue(
            local_file_path=self.folder / "letters.jsonl", reprocessor=self.handle, replay_delay=0, max_attempts=3
        )
        self.printer = Printer()
        self.notifier = AdminNotifier(channel=self.printer)
        self.alerts = Alerts(self.notifier, [AlertRule("letters wait", DeadLettersAbove(self.queue, more_than=0))])
        self.breaker = CircuitBreaker(name="openai-api", failure_threshold=2, recovery_timeout=600)
        self.checks = [HealthCheck("database", lambda: True), HealthCheck.of_circuit(self.breaker)]

    async def handle(self, message: Any) -> None:
        if self.broken:
            text = f"no answer to {message}"
            raise ConnectionError(text)
        self.handled.append(message)

    def fail(self, error: Exception, **context: Any) -> str:
        """Count an error as a handler would, and let the circuit know; return its fingerprint."""
        try:
            raise error
        except Exception as raised:
            return self.tracker.track_error(raised, {"operation": "ask", **context}).fingerprint

    def open_circuit(self) -> None:
        for _ in range(2):
            self.breaker.acquire().failure(ConnectionError("asleep"))

    async def lose(self, *messages: Any) -> list[str]:
        """Make dead letters of messages; return their ids."""
        return [await self.queue.send_to_dlq(each, ConnectionError("asleep")) for each in messages]

    def dashboard(self, **options: Any) -> Starlette:
        if "auth" not in options:
            options = {"insecure_no_auth": True, **options}
        return create_app(
            tracker=self.tracker,
            queue=self.queue,
            notifier=self.notifier,
            alerts=self.alerts,
            health_checks=self.checks,
            **options,
        )


def asking(app: ASGIApp, **headers: str) -> httpx.AsyncClient:
    """A client of the application as a browser's tab on it would be; what runs behind an answer runs to its end."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers={**OURS, **headers})


def nonce_on(page: httpx.Response) -> str:
    """The nonce of the forms on a page."""
    found = re.search(r'name="nonce" value="(\w+)"', page.text)
    assert found, page.text
    return found[1]


def said_on(page: httpx.Response) -> str:
    """A page's text without its tags, in one line."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.text).split())


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the signals belong to pytest


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a free port, in a thread of its own; gives its address."""
    settings = uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=2, lifespan="on")
    server = _Server(settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not (server.started and server.servers):
            assert thread.is_alive(), "the server ended"
            assert time.monotonic() < deadline, "the server does not begin"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not end"
