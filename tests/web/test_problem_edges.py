"""What stands at the edges of problem details: other people's middlewares, bare scopes, and names that do not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from httpx2.websockets import WebSocketDisconnect
from reports_kit import heard
from served import served
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

import resilio.web
from resilio import CircuitBreakerOpenError, RetryExhaustedError, ValidationError
from resilio.web.error_context import asked_of
from resilio.web.negotiation import language, wants_html
from resilio.web.problem import InvalidField, ProblemDetails, phrase_of, status_of, wait_of
from resilio.web.problem_answers import leaf_of, pointer
from resilio.web.starlette import exception_handlers, install

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket


async def hello(_request: Request) -> PlainTextResponse:
    """Fine."""
    return PlainTextResponse("hello")


class Doorkeeper:
    """A middleware of somebody else, which lets nobody in."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse."""
        raise HTTPException(401, "who are you?", headers={"WWW-Authenticate": "Meow"})


def test_an_http_exception_of_a_middleware_keeps_its_status() -> None:
    """Outside of the framework's own handlers it would have become a 500."""
    app = Starlette(routes=[Route("/", hello)])
    app.add_middleware(Doorkeeper)
    install(app)
    with heard() as reports, served(app) as url:
        response = httpx.get(url)
        assert (response.status_code, response.json()["detail"]) == (401, "who are you?")
        assert response.headers["WWW-Authenticate"] == "Meow"
        reports.assert_none()


def test_without_the_middleware_a_websocket_is_closed_by_the_handlers() -> None:
    """With the same code and reason."""

    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        raise CircuitBreakerOpenError("shut", breaker="model")

    handlers: Any = exception_handlers()
    app = Starlette(routes=[WebSocketRoute("/chat", chat)], exception_handlers=handlers)
    with heard() as reports, served(app) as url, httpx2.Client() as client:
        with client.websocket(url.replace("http", "ws") + "/chat") as websocket:
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
        assert (closed.value.code, closed.value.reason) == (1013, reports.one().error_id)


def test_operations_are_named_by_route_where_the_scope_does_not_say() -> None:
    """As with a Starlette that does not put the route there: it is looked for."""
    app = Starlette(routes=[Route("/", hello), Mount("/v1", routes=[Route("/cats/{number}", other)])])
    scope = {"type": "http", "method": "GET", "path": "/v1/cats/7", "app": app, "endpoint": other}
    assert asked_of(scope).operation == "GET /v1/cats/{number}"
    assert asked_of({**scope, "endpoint": leaf_of}).operation == "GET /v1/cats/7"
    assert asked_of({"type": "http", "method": "GET", "path": "/x"}).operation == "GET /x"


async def other(_request: Request) -> PlainTextResponse:
    """Another one."""
    return PlainTextResponse("other")


def test_statuses_and_waits_of_errors_alone() -> None:
    """Without a request."""
    assert status_of(ValidationError("no", field="a", value=1)) == 422
    assert status_of(RetryExhaustedError("no", attempts=2, last_result="busy")) == 502
    assert status_of(BaseExceptionGroup("two", [ValueError(), KeyError()])) == 500
    assert wait_of(CircuitBreakerOpenError("shut", breaker="b", retry_after=float("inf")), 503) is None
    assert wait_of(CircuitBreakerOpenError("shut", breaker="b", retry_after=1.0000001), 503) == 2
    assert wait_of(CircuitBreakerOpenError("shut", breaker="b", retry_after=5), 502) is None
    assert phrase_of(599) == "Error"


def test_a_problem_holds_what_is_known_and_no_more() -> None:
    """Members that are empty are left out, and text that no encoding has is no obstacle."""
    assert ProblemDetails(status=418, title="Teapot").to_dict() == {
        "type": "about:blank",
        "title": "Teapot",
        "status": 418,
    }
    field = InvalidField(pointer="#/a", detail="no", location="query")
    assert ProblemDetails(status=422, title="t", errors=(field,)).to_dict()["errors"] == [
        {"in": "query", "pointer": "#/a", "detail": "no"}
    ]
    assert b"?" in ProblemDetails(status=500, title="\ud800").to_json()


def test_groups_are_looked_into_while_they_hold_one_error() -> None:
    """Of several, none is the cause."""
    error = ValueError()
    assert leaf_of(ExceptionGroup("a", [ExceptionGroup("b", [error])])) is error
    several = ExceptionGroup("a", [error, KeyError()])
    assert leaf_of(several) is several


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "#"),
        (("a", 0), "#/a/0"),
        (("",), "#/"),
        (("~/é %",), "#/~0~1%C3%A9%20%25"),
        (("x" * 300,), "#/" + "x" * 100),
    ],
    ids=["whole", "nested", "empty", "escaped", "cut"],
)
def test_json_pointers_are_those_of_rfc_6901(steps: tuple[object, ...], expected: str) -> None:
    """In a URI fragment, and no longer than they help."""
    assert pointer(*steps) == expected


def test_headers_without_end_are_cut() -> None:
    """A client cannot make us read for long."""
    assert not wants_html("a/b," * 100_000 + "text/html")
    assert language("xx," * 100_000 + "de", {"de", "en"}, "en") == "en"
    assert language("de-" * 100_000, {"de", "en"}, "en") in ("de", "en")


def test_the_room_shows_its_names() -> None:
    """And no others."""
    assert resilio.web.ProblemDetails is ProblemDetails
    with pytest.raises(AttributeError, match="no attribute 'ProblemDetail'"):
        _ = resilio.web.ProblemDetail
