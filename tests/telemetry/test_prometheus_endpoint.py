"""What Prometheus scrapes: a real server, a real scrape, and a parser's opinion."""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

import anyio
import httpx
import pytest
import uvicorn
from prometheus_client import parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from starlette.applications import Starlette
from starlette.routing import Mount

from resilio import CircuitBreaker, DeadLetterQueue
from resilio._core import clock, events
from resilio.alerting.optional import MissingExtraError
from resilio.telemetry import prometheus_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.telemetry import PrometheusApp


@pytest.fixture
def app() -> Iterator[PrometheusApp]:
    """An endpoint that is closed afterwards."""
    made = prometheus_app()
    yield made
    made.close()


@contextmanager
def served(app: object) -> Iterator[str]:
    """A real server, and its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = clock.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the server ended"
            assert clock.monotonic() < end, "the server did not start"
            clock.sleep_blocking(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


@pytest.mark.slow("starts a server")
def test_a_scrape_over_http_is_what_prometheus_reads(app: PrometheusApp) -> None:
    """Served alone by uvicorn, with its life cycle, the text parses and holds the circuit's state."""
    CircuitBreaker(name="api").force_open()
    with served(app) as url, urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310
        assert answer.headers["content-type"].startswith("text/plain")
        families = {family.name: family for family in parser.text_string_to_metric_families(answer.read().decode())}
    states = {
        sample.labels["resilio_circuit_state"]: sample.value for sample in families["resilio_circuit_state"].samples
    }
    assert states["forced_open"] == 1
    assert states["closed"] == 0


@pytest.mark.anyio
async def test_it_is_mounted_in_an_application(app: PrometheusApp) -> None:
    """Below a path of a Starlette application, on asyncio and on trio; other methods are refused."""
    CircuitBreaker(name="api")
    outer = Starlette(routes=[Mount("/metrics", app)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://test") as client:
        answer = await client.get("/metrics/")
        assert answer.status_code == 200
        assert 'resilio_circuit_name="api"' in answer.text
        head = await client.head("/metrics/")
        assert (head.status_code, head.text) == (200, "")
        assert (await client.post("/metrics/")).status_code == 405
        asked = await client.get("/metrics/", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics_families(asked.text))  # type: ignore[no-untyped-call]  # the library's own


@pytest.mark.slow("starts a server")
def test_it_serves_wsgi_as_well(app: PrometheusApp) -> None:
    """A real WSGI server gives the same text."""
    CircuitBreaker(name="api")

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with make_server("127.0.0.1", 0, app.wsgi, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert b'resilio_circuit_name="api"' in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="405"):
                urllib.request.urlopen(url, data=b"x", timeout=30)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.anyio
async def test_a_scrape_does_not_hold_up_the_event_loop() -> None:
    """While a queue takes its time, other tasks of the loop that serves the scrape go on."""
    letters = DeadLetterQueue(local_file_path="letters.jsonl")
    await letters.send_to_dlq(1, ValueError("x"))
    app = prometheus_app(queues=[letters])
    try:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            with anyio.fail_after(60):
                while 'status="waiting"} 1.0' not in (await client.get("/")).text:
                    await anyio.lowlevel.checkpoint()
    finally:
        app.close()
        await letters.aclose()


def test_closing_ends_the_listening() -> None:
    """Nothing is heard any more, and closing again does no harm."""
    app = prometheus_app()
    app.close()
    app.close()
    assert not events.listeners


def test_without_the_exporter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear error says what to install, and nothing is switched on."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'resilio-toolkit\[prometheus\]'"):
        prometheus_app()
    assert not events.listeners
