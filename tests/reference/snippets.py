"""The reference's snippets, word for word, and what they run against: a real server, and a clock that runs fast."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio.lowlevel

HERE = Path(__file__).parent
# Only import lines of the reference's own package are touched.
REFERENCE_IMPORT = re.compile(r"^from error_handling\.\w+ import ", re.MULTILINE)


def code_of(document: str, title: str) -> str:
    """The first Python block under a heading of one of the documents beside this file."""
    text = (HERE / document).read_text(encoding="utf-8")
    found = re.search(rf"^#+ [^\n]*{re.escape(title)}[^\n]*\n.*?^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{document} has no code under {title!r}"
    return found[1]


def run(code: str, **names: object) -> dict[str, Any]:
    """Run a snippet with its import line changed to `resilio.sync`, and return the names it leaves behind.

    What the snippet uses without importing it comes from ``names``.
    """
    changed = REFERENCE_IMPORT.sub("from resilio.sync import ", code)
    space: dict[str, Any] = dict(names)
    exec(compile(changed, "<snippet>", "exec"), space)  # noqa: S102 -- our own text
    return space


class QuickClock:
    """A clock that somebody who sleeps on it moves: no wait takes any time."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def utcnow(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    async def sleep(self, seconds: float) -> None:
        self.sleep_blocking(seconds)
        await anyio.lowlevel.checkpoint()

    def sleep_blocking(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(timeout)


class Backend:
    """A real HTTP server on this machine that does what it is told: an answer's status, or a reset connection.

    Attributes:
        script: What to do with the next requests, then 200 for all that follow: a status, or ``"reset"``.
        answer: The JSON document of every answer.
        requests: Method and path of every request, in order.
        bodies: Their bodies.
    """

    def __init__(self) -> None:
        self.script: deque[int | str] = deque()
        self.forever: int | str = 200
        self.answer: dict[str, Any] = {}
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.requests.append(f"{self.command} {self.path}")
                backend.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                action = backend.script.popleft() if backend.script else backend.forever
                if action == "reset":
                    self.close_connection = True
                    return
                body = json.dumps(backend.answer).encode()
                self.send_response(int(action))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
                """Keep stderr clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
