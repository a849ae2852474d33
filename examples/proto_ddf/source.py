"""The data source: a real HTTP service, with a switch that makes it fail."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

RECORDS = {
    "warehouse": [{"item": "felt mice", "count": 12}, {"item": "cardboard boxes", "count": 3}],
    "crm": [{"item": "Tristan", "count": 1}, {"item": "Hannah", "count": 2}],
}


class DataSource:
    """``GET /<source>/records`` gives records; ``POST /switch`` with ``{"up": false}`` lets connections be reset.

    As a context manager it serves while the block runs, in a thread.

    Attributes:
        url: Where it is served, on a free port of this machine.
        is_up: Whether it answers.
    """

    def __init__(self) -> None:
        self.is_up = True
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not source.is_up:
                    self.close_connection = True  # hang up without a word
                    return
                records = RECORDS.get(self.path.strip("/").removesuffix("/records"))
                self._answer(404 if records is None else 200, records)

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                source.is_up = bool(asked["up"])
                self._answer(200, {"up": source.is_up})

            def _answer(self, status: int, content: object) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
                """Keep the terminal for the errors."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
