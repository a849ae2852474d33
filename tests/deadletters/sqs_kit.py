"""Real servers that speak SQS, in processes of their own on 127.0.0.1, and a wire to them that can be disturbed."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3

from resilio._core import clock
from resilio.deadletters.letter import LetterIds, new_body
from resilio.deadletters.sqs_store import SqsStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    Payload = dict[str, Any]
    Answer = tuple[int, Payload]
    Rule = Callable[[Payload, Callable[[Payload], Answer]], Answer]

ACCOUNT = {"moto": "123456789012", "ministack": "000000000000"}
_STARTS_WITHIN = 30.0


def settings() -> dict[str, str]:
    """Environment variables for any AWS client."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@cache
def server(kind: str) -> int:
    """The port of a server of that kind; it ends with the tests."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    if kind == "moto":
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        own: dict[str, str] = {}
    else:
        command = [sys.executable, "-m", "ministack"]
        own = {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "SERVICES": "sqs",
            "IOT_MTLS_ENABLED": "0",
        }
    process = subprocess.Popen(  # noqa: S603
        command,
        env={**os.environ, **settings(), **own},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(process.wait)
    atexit.register(process.kill)
    end = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < end:
        assert process.poll() is None, f"{kind} ended as soon as it was started"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return port
        time.sleep(0.05)
    raise AssertionError(f"{kind} did not start within {_STARTS_WITHIN} s")


class Wire:
    """Passes requests on to a server, counts them, and does to them what a test wants.

    Attributes:
        calls: How many requests of each kind came, such as ``"SendMessageBatch"``.
        sent: The kind and the payload of each request.
        rules: By kind, what answers a request: it gets the payload and a function that passes it on.
        is_down: Whether connections are cut without an answer.
    """

    def __init__(self, kind: str) -> None:
        self.upstream = server(kind)
        self.calls: Counter[str] = Counter()
        self.sent: list[tuple[str, Payload]] = []
        self.rules: dict[str, Rule] = {}
        self.is_down = False
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def refuse(self, action: str, code: str, *, status: int = 400, times: int | None = None) -> None:
        """Answer with an error of AWS, so many times or always."""
        left = [times]

        def rule(payload: Payload, forward: Callable[[Payload], Answer]) -> Answer:
            if left[0] == 0:
                return forward(payload)
            if left[0] is not None:
                left[0] -= 1
            return status, {"__type": f"com.amazonaws.sqs#{code}", "message": f"refused by the test: {code}"}

        self.rules[action] = rule

    def answer(self, action: str, payload: Payload) -> Answer:
        self.calls[action] += 1
        self.sent.append((action, payload))

        def forward(changed: Payload) -> Answer:
            return self._forward(action, changed)

        rule = self.rules.get(action)
        return forward(payload) if rule is None else rule(payload, forward)

    def _forward(self, action: str, payload: Payload) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        headers = {
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/sqs/aws4_request, "
            "SignedHeaders=host, Signature=0",
        }
        try:
            connection.request("POST", "/", json.dumps(payload).encode(), headers)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body or b"{}")
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 200

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go whenever they like."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            if wire.is_down:
                self.close_connection = True
                return
            action = self.headers["X-Amz-Target"].rpartition(".")[2]
            try:
                status, answer = wire.answer(action, payload)
            except ConnectionAbortedError:  # a rule wants the connection cut
                self.close_connection = True
                return
            body = json.dumps(answer).encode()
            with suppress(ConnectionError):  # the client may have gone
                self.send_response(status)
                if status != http.client.OK:
                    code = answer.get("__type", "").rpartition("#")[2]
                    self.send_header("x-amzn-query-error", f"{code};Sender")
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@dataclass
class RemoteQueue:
    """A queue of its own on a real server.

    Attributes:
        kind: ``"moto"`` or ``"ministack"``.
        url: Its URL, by way of the wire.
        wire: What all requests to that URL pass.
        other: A client that goes to the server directly, as another consumer would.
        direct_url: The queue's URL for that one.
    """

    kind: str
    url: str
    wire: Wire
    other: Any
    direct_url: str
    ids: LetterIds = field(default_factory=LetterIds)

    def receive(self, most: int = 10, *, seconds: int = 30) -> list[dict[str, Any]]:
        """Receive as another consumer."""
        answer = self.other.receive_message(
            QueueUrl=self.direct_url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=seconds,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def bodies(self) -> list[Any]:
        """What all visible messages say; they are hidden afterwards."""
        found: list[Any] = []
        while True:
            messages = self.receive()
            if not messages:
                return found
            found += [json.loads(each["Body"]) for each in messages]

    def send(self, body: str) -> None:
        """Send a message as another program would."""
        self.other.send_message(QueueUrl=self.direct_url, MessageBody=body)

    def counts(self) -> tuple[int, int]:
        """How many messages are visible, and how many are not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.other.get_queue_attributes(QueueUrl=self.direct_url, AttributeNames=names)["Attributes"]
        return int(told[names[0]]), int(told[names[1]])


@cache
def _client(port: int) -> Any:
    client = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    atexit.register(client.close)
    return client


@contextmanager
def remote_queue(kind: str, *, name: str | None = None, **attributes: str) -> Iterator[RemoteQueue]:
    """A new, empty queue."""
    wire = Wire(kind)
    other = _client(wire.upstream)
    name = name or f"q-{uuid.uuid4().hex[:12]}"
    try:
        direct_url = other.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        url = f"http://127.0.0.1:{wire.port}/{ACCOUNT[kind]}/{name}"
        yield RemoteQueue(kind, url, wire, other, direct_url)
    finally:
        wire.close()


@asynccontextmanager
async def opened_store(queue: RemoteQueue, **arguments: Any) -> AsyncIterator[SqsStore]:
    """A store on a queue, which does not wait for letters, and is closed afterwards."""
    store = SqsStore(queue.url, **{"wait": 0, **arguments})
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def on_sqs(_: Path) -> AsyncIterator[SqsStore]:
    """A store on a queue of its own, with nothing of this machine's own settings."""
    with mock.patch.dict(os.environ, settings()), remote_queue("ministack") as made:
        async with opened_store(made) as store:
            yield store


async def keep(
    store: Any, message: object = "hello", *, error: str = "ValueError", ids: LetterIds | None = None, **more: Any
) -> str:
    """Have a store keep a message; returns the letter's id."""
    letter_id, body = a_letter(message, error=error, ids=ids, **more)
    key = more.get("deduplication_key")
    kept: str = await store.add(letter_id, body, deduplication_key=key)
    return kept


_ids = LetterIds()


def a_letter(
    message: object = "hello", *, error: str = "ValueError", ids: LetterIds | None = None, **more: Any
) -> tuple[str, bytes]:
    """The id and the JSON of a letter."""
    now = clock.utcnow()
    letter_id = (ids or _ids).next(now)
    return letter_id, new_body(letter_id, message, {"error_type": error, "error_message": "it broke"}, now, **more)


def entries_of(wire: Wire, action: str = "SendMessageBatch") -> list[list[Mapping[str, Any]]]:
    """The entries of each batch that was sent."""
    return [payload["Entries"] for kind, payload in wire.sent if kind == action]
