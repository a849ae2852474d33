"""Errors after a response has begun, in background tasks, on WebSockets, and clients that go away."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import anyio
import httpx
import httpx2
import pytest
from httpx2.websockets import WebSocketDisconnect
from reports_kit import heard
from served import served
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from resilio import CircuitBreakerOpenError
from resilio.testing import ChaosProxy, LimitData, Slicer
from resilio.web.starlette import ErrorContextMiddleware, install

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from reports_kit import Heard
    from starlette.requests import Request
    from starlette.websockets import WebSocket

KINDS = {"unexpected": RuntimeError("the model fell asleep"), "ours": CircuitBreakerOpenError("shut", breaker="model")}


class Seen:
    """What the application noticed."""

    stream_ended = threading.Event()
    upload_ended = threading.Event()
    chat_ended = threading.Event()


async def broken_stream(request: Request) -> Response:
    """Two pieces, then an error."""

    async def pieces() -> AsyncGenerator[str]:
        yield "Da"
        yield "da"
        raise KINDS[request.path_params["kind"]]

    return StreamingResponse(pieces())


async def endless(_request: Request) -> Response:
    """Goes on until nobody listens."""

    async def pieces() -> AsyncGenerator[str]:
        try:
            while True:
                yield "meow " * 1000
                await anyio.sleep(0.01)
        finally:
            Seen.stream_ended.set()

    return StreamingResponse(pieces())


async def afterwards(request: Request) -> Response:
    """An answer, and a background task that fails."""

    async def work() -> None:
        raise KINDS[request.path_params["kind"]]

    return PlainTextResponse("done", background=BackgroundTask(work))


async def upload(request: Request) -> Response:
    """Reads what is sent."""
    try:
        return PlainTextResponse(str(len(await request.body())))
    finally:
        Seen.upload_ended.set()


async def chat(websocket: WebSocket) -> None:
    """Says hello, then fails; or listens until the client has gone."""
    await websocket.accept()
    await websocket.send_text("hello")
    if websocket.path_params["kind"] == "listen":
        try:
            await websocket.receive_text()
        finally:
            Seen.chat_ended.set()
    raise KINDS[websocket.path_params["kind"]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An application with everything installed."""
    app = Starlette(
        routes=[
            Route("/stream/{kind}", broken_stream),
            Route("/endless", endless),
            Route("/afterwards/{kind}", afterwards),
            Route("/upload", upload, methods=["POST"]),
            WebSocketRoute("/chat/{kind}", chat),
        ]
    )
    install(app)
    with served(app) as base:
        yield base


@pytest.fixture
def reports() -> Iterator[Heard]:
    """What is reported meanwhile."""
    for error in KINDS.values():
        vars(error).pop("__resilio_report__", None)  # the same error objects serve several tests
    with heard() as listening:
        yield listening


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_that_has_begun_is_cut_off_and_not_overwritten(url: str, reports: Heard, kind: str) -> None:
    """Its reader notices, and it is reported once, as the error that it was."""
    with httpx.stream("GET", f"{url}/stream/{kind}") as response:
        assert response.status_code == 200
        got: list[str] = []

        def read() -> None:
            for piece in response.iter_text():
                got.append(piece)  # noqa: PERF402 -- it breaks off

        with pytest.raises(httpx.RemoteProtocolError):
            read()
        assert "".join(got) == "Dada"
    report = reports.one()
    assert report.error_type == type(KINDS[kind]).__name__
    assert report.context["during"] == "the response"
    reports.assert_none()


@pytest.mark.parametrize("kind", KINDS)
def test_a_background_task_that_fails_is_reported_and_changes_no_response(url: str, reports: Heard, kind: str) -> None:
    """The client has its answer already."""
    assert httpx.get(f"{url}/afterwards/{kind}").text == "done"
    report = reports.one()
    assert report.error_type == type(KINDS[kind]).__name__
    assert (report.context["during"], report.operation) == ("a background task", "GET /afterwards/{kind}")
    reports.assert_none()


def test_a_client_that_stops_listening_is_no_error(url: str, reports: Heard) -> None:
    """The stream is closed, and nobody is told."""
    Seen.stream_ended.clear()
    with httpx.stream("GET", f"{url}/endless") as response:
        next(response.iter_bytes())
    assert Seen.stream_ended.wait(30)
    reports.assert_none()


def test_a_client_that_goes_away_while_it_sends_is_no_error(url: str, reports: Heard) -> None:
    """Half a request is nothing to be told about."""
    Seen.upload_ended.clear()
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    assert Seen.upload_ended.wait(30)
    assert httpx.post(f"{url}/upload", content=b"whole").text == "5"
    reports.assert_none()


@pytest.mark.anyio
async def test_a_network_that_misbehaves_is_no_error_of_the_application(url: str) -> None:
    """Requests that arrive in crumbs are answered, and those that break off are nobody's fault."""
    with heard() as reports:
        async with (
            ChaosProxy(("127.0.0.1", int(url.rpartition(":")[2]))) as proxy,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}") as client,
        ):
            with proxy.toxic(Slicer(50, direction="upstream")):
                assert (await client.post("/upload", content=b"m" * 500)).text == "500"
            with proxy.toxic(LimitData(200, direction="upstream")), pytest.raises(httpx.TransportError):
                await client.post("/upload", content=b"m" * 5000)
            assert (await client.post("/upload", content=b"m" * 5000)).text == "5000"
            await proxy.cut()
            assert (await client.get("/nowhere")).status_code == 404
        reports.assert_none()


@pytest.mark.parametrize(("kind", "code"), [("unexpected", 1011), ("ours", 1013)])
def test_a_websocket_is_closed_with_a_code_that_says_whether_to_come_again(
    url: str, reports: Heard, kind: str, code: int
) -> None:
    """The reason is the id of the report."""
    with httpx2.Client() as client, client.websocket(url.replace("http", "ws") + f"/chat/{kind}") as websocket:
        assert websocket.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
        assert closed.value.code == code
    report = reports.one()
    assert report.error_type == type(KINDS[kind]).__name__
    assert report.context["method"] == "WEBSOCKET"
    assert closed.value.reason == report.error_id
    reports.assert_none()


def test_a_websocket_that_its_client_leaves_is_no_error(url: str, reports: Heard) -> None:
    """Nobody is told."""
    Seen.chat_ended.clear()
    with httpx2.Client() as client, client.websocket(url.replace("http", "ws") + "/chat/listen") as websocket:
        assert websocket.receive_text() == "hello"
    assert Seen.chat_ended.wait(30)
    assert httpx.get(f"{url}/nowhere").status_code == 404
    reports.assert_none()


def test_in_debug_mode_the_frameworks_own_page_is_shown(reports: Heard) -> None:
    """With the traceback, for the developer; it is reported as well."""
    app = Starlette(debug=True, routes=[Route("/stream/{kind}", _raise)])
    install(app)
    with served(app) as base:
        response = httpx.get(f"{base}/stream/unexpected")
    assert "Traceback" in response.text
    assert reports.one().error_type == "RuntimeError"


async def _raise(_request: Request) -> Response:
    msg = "on purpose"
    raise RuntimeError(msg)


def test_the_middleware_serves_any_asgi_application(reports: Heard) -> None:
    """Without a framework."""

    async def bare(_scope: object, _receive: object, _send: object) -> None:
        raise CircuitBreakerOpenError("shut", breaker="model", retry_after=2)

    with served(ErrorContextMiddleware(bare)) as base:
        response = httpx.get(f"{base}/cats")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert reports.one().operation == "GET /cats"
