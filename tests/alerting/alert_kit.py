"""Real servers for the channels: HTTP that does what it is told, SMTP with TLS and a password, AWS on this machine."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from resilio import ErrorSeverity, Notification

if TYPE_CHECKING:
    from collections.abc import Mapping


def notification(message: str = "The disk is full", **fields: Any) -> Notification:
    """A notification to deliver."""
    given: dict[str, Any] = {
        "id": "0123456789abcdef",
        "severity": ErrorSeverity.ERROR,
        "error_type": None,
        "details": {},
        "at": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        **fields,
    }
    return Notification(message=message, **given)


@dataclass
class Request:
    """What the HTTP server was asked."""

    path: str
    headers: Mapping[str, str]
    document: Any


class Receiver:
    """A real HTTP server: answers as its script says, then 200.

    Attributes:
        script: Statuses; ``(status, headers)``; or ``"hang"``, which answers when the server closes.
        requests: What it was asked, in order.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[Any] = deque()
        self.requests: list[Request] = []
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(Request(self.path, dict(self.headers), json.loads(body)))
                action = receiver.script.popleft() if receiver.script else 200
                if action == "hang":
                    receiver.over.wait()
                    self.close_connection = True
                    return
                status, headers = action if isinstance(action, tuple) else (action, {})
                said = b"no such hook: " + self.path.encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
                """Keep stderr clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}/services/s3cret"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def free_port() -> int:
    """A port that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@dataclass
class Mail:
    """A mail that came."""

    sender: str
    recipients: list[str]
    content: bytes
    was_tls: bool
    user: str | None


@dataclass
class MailServer:
    """A real SMTP server, with STARTTLS and a password or with neither.

    Attributes:
        mails: What came, in order.
        refuses: Answers to the next mails, such as ``"451 try later"``.
        refused_recipients: Addresses that it does not know.
    """

    tls: bool = True
    mails: list[Mail] = field(default_factory=list)
    refuses: deque[str] = field(default_factory=deque)
    refused_recipients: set[str] = field(default_factory=set)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        authority = trustme.CA()
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        secure: dict[str, Any] = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": self._authenticate,
        }
        self.port = free_port()  # aiosmtpd takes no 0
        self._controller = Controller(self, hostname="localhost", port=self.port, **(secure if self.tls else {}))
        self._controller.start()

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False, auth_data=data.login.decode())

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refused_recipients:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        if self.refuses:
            return self.refuses.popleft()
        self.mails.append(
            Mail(
                sender=envelope.mail_from,
                recipients=list(envelope.rcpt_tos),
                content=envelope.content,
                was_tls=session.ssl is not None,
                user=session.auth_data,
            )
        )
        return "250 OK"

    def close(self) -> None:
        """Stop serving."""
        self._controller.stop()
