"""What a client of a Starlette application sees of an error, over a real socket, and what is reported of it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from reports_kit import heard
from served import served
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from resilio import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    ErrorHandler,
    ErrorMessageProvider,
    IntegrationError,
    OperationTimeoutError,
    RateLimitExceededError,
    RetryExhaustedError,
    ValidationError,
    errors,
    log_operation,
)
from resilio.web.starlette import exception_handlers, install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reports_kit import Heard
    from starlette.requests import Request

SECRET = "sk-proj-4f9d2c7a1b8e"  # noqa: S105 -- a canary


def late() -> RetryExhaustedError:
    """Every attempt took too long."""
    return RetryExhaustedError("no", attempts=3, last_exception=OperationTimeoutError("late", seconds=3))


ERRORS: dict[str, Any] = {
    "circuit": lambda: CircuitBreakerOpenError("x", breaker="b", retry_after=4.2),
    "circuit-soon": lambda: CircuitBreakerOpenError("x", breaker="b", retry_after=0.0),
    "circuit-forced": lambda: CircuitBreakerOpenError("x", breaker="b"),
    "rate": lambda: RateLimitExceededError("x", retry_after=0.3),
    "bulkhead": lambda: BulkheadFullError("x"),
    "timeout": lambda: OperationTimeoutError("x", seconds=3),
    "integration": lambda: IntegrationError(f"x {SECRET}", system="crm", operation="connect"),
    "exhausted": lambda: RetryExhaustedError("x", attempts=3, last_exception=ConnectionError("y")),
    "exhausted-late": late,
    "connection": lambda: ConnectionError(SECRET),
    "foreign-timeout": lambda: TimeoutError(SECRET),
    "validation": lambda: ValidationError(f"no {SECRET}", field="cat.name/nick", value=SECRET),
    "system": lambda: errors.SystemError(f"no port {SECRET}", component="ports"),
    "unexpected": lambda: RuntimeError(f"the password is {SECRET}"),
    "disk": lambda: OSError(28, f"No space left on {SECRET}"),
    "group": lambda: ExceptionGroup("g", [CircuitBreakerOpenError("x", breaker="b", retry_after=2)]),
    "http": lambda: HTTPException(403, "not your cat", headers={"WWW-Authenticate": "Meow"}),
    "http-500": lambda: HTTPException(503, "tired", headers={"Retry-After": "9"}),
    "http-304": lambda: HTTPException(304),
}


async def fail(request: Request) -> PlainTextResponse:
    """Raise what the path says."""
    error: Exception = ERRORS[request.path_params["kind"]]()
    raise error


async def work(request: Request) -> PlainTextResponse:
    """Report by itself, and answer all the same."""
    with log_operation("feeding", cat="Tzara"):
        await request.app.state.handler.handle(ValueError("no fish"))
    return PlainTextResponse("fed")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An application with everything installed."""
    messages = ErrorMessageProvider()
    messages.register("general", "general_error", "Rien ne va plus.", locale="fr")
    app = Starlette(routes=[Mount("/api", routes=[Route("/fail/{kind}", fail)]), Route("/work", work)])
    app.state.handler = install(app, ErrorHandler(messages=messages))
    app.add_middleware(CORSMiddleware, allow_origins=["https://cats.example"])
    with served(app) as base:
        yield base


@pytest.fixture
def reports() -> Iterator[Heard]:
    """What is reported meanwhile."""
    with heard() as listening:
        yield listening


def ask(url: str, kind: str, method: str = "GET", **headers: str) -> httpx.Response:
    """One request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.request(method, f"{url}/api/fail/{kind}", headers=named)


@pytest.mark.parametrize(
    ("kind", "status", "code", "retry_after"),
    [
        ("circuit", 503, "circuit_open", "5"),
        ("circuit-soon", 503, "circuit_open", "1"),
        ("circuit-forced", 503, "circuit_open", None),
        ("rate", 429, "rate_limited", "1"),
        ("bulkhead", 503, "bulkhead_full", None),
        ("timeout", 504, "timeout", None),
        ("integration", 502, "connection_failed", None),
        ("exhausted", 502, "retries_exhausted", None),
        ("exhausted-late", 504, "retries_exhausted", None),
        ("connection", 502, "connection_failed", None),
        ("foreign-timeout", 504, "timeout", None),
        ("validation", 422, "validation_error", None),
        ("system", 500, "port_unavailable", None),
        ("unexpected", 500, "general_error", None),
        ("disk", 500, "general_error", None),
        ("group", 503, "circuit_open", "2"),
    ],
)
def test_each_kind_of_error_has_its_status(
    url: str, reports: Heard, kind: str, status: int, code: str, retry_after: str | None
) -> None:
    """With problem details that name the one report that was made, and nothing of the exception."""
    response = ask(url, kind)
    problem = response.json()
    report = reports.one()
    reports.assert_none()
    assert response.status_code == problem["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers.get("Retry-After") == retry_after
    assert problem.get("retry_after") == (None if retry_after is None else int(retry_after))
    assert problem["code"] == code
    assert problem["error_id"] == report.error_id
    assert problem["instance"] == f"/api/fail/{kind}"
    assert problem["type"] == "about:blank"
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["detail"]
    assert SECRET not in response.text
    assert report.operation == "GET /api/fail/{kind}"
    assert (report.context["method"], report.context["path"]) == ("GET", f"/api/fail/{kind}")
    assert report.context["request_id"] == response.headers["X-Request-ID"]


def test_a_field_that_cannot_be_used_is_pointed_to(url: str) -> None:
    """By a JSON pointer; what was put in is not repeated."""
    problem = ask(url, "validation").json()
    assert [(each.get("in"), each["pointer"]) for each in problem["errors"]] == [(None, "#/cat/name~1nick")]
    assert SECRET not in json.dumps(problem)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("text/*;q=0.9, application/json;q=0.3", True),
        ("application/json", False),
        ("*/*", False),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("text/html;q=0, */*", False),
        ("image/png", False),
        ("text/html;q=nonsense", False),
        ("text/html;q=nan", False),
        (",;;=,", False),
    ],
)
def test_a_browser_gets_a_page_and_a_program_json(url: str, accept: str, is_page: bool) -> None:  # noqa: FBT001
    """As the q-values of Accept say; caches are told that it depends."""
    response = ask(url, "circuit", accept=accept)
    assert response.headers["Vary"].startswith("Accept, Accept-Language")
    assert response.headers["Cache-Control"] == "no-store"
    if is_page:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<h1>Another service is down</h1>" in response.text
        assert "It may work again in 5 s." in response.text
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    else:
        assert response.json()["status"] == 503


def test_a_page_escapes_and_names_the_report(url: str, reports: Heard) -> None:
    """Nothing that was sent becomes markup."""
    response = ask(url, "validation", accept="text/html")
    assert f"<code>{reports.one().error_id}</code>" in response.text
    assert "<script" not in response.text
    assert SECRET not in response.text


@pytest.mark.parametrize(
    ("accept_language", "locale", "said"),
    [
        ("de", "de", "Bei uns hat etwas"),
        ("de-AT", "de", "Bei uns hat etwas"),
        ("fr-CA;q=0.9, de;q=0.8", "fr", "Rien ne va plus."),
        ("fr;q=0.2, de;q=0.8", "de", "Bei uns hat etwas"),
        ("it, es;q=0.9, de;q=0.1", "de", "Bei uns hat etwas"),
        ("it", "en", "Something on our side"),
        ("*", "en", "Something on our side"),
        ("de;q=0, *", "en", "Something on our side"),
        ("de;q=x, en", "en", "Something on our side"),
        ("", "en", "Something on our side"),
    ],
)
def test_the_words_are_in_the_language_that_is_wanted_most(
    url: str, accept_language: str, locale: str, said: str
) -> None:
    """Of those that there are texts in."""
    response = ask(url, "unexpected", accept_language=accept_language)
    assert response.json()["detail"].startswith(said)
    assert response.headers["Content-Language"] == locale


def test_a_head_request_gets_the_headers_alone(url: str) -> None:
    """And the connection stays usable."""
    with httpx.Client() as client:
        response = client.head(f"{url}/api/fail/circuit")
        assert (response.status_code, response.content, response.headers["Retry-After"]) == (503, b"", "5")
        assert client.get(f"{url}/work").text == "fed"


def test_what_the_application_answers_by_itself_keeps_its_words_and_headers(url: str, reports: Heard) -> None:
    """Below 500 it is no error, and not reported."""
    response = ask(url, "http")
    assert response.json() == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": "not your cat",
        "instance": "/api/fail/http",
    }
    assert response.headers["WWW-Authenticate"] == "Meow"
    assert ask(url, "http-304").status_code == 304
    missing = httpx.get(f"{url}/nowhere/<b>")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")
    assert missing.json()["instance"] == "/nowhere/%3Cb%3E"
    wrong = httpx.post(f"{url}/work")
    assert (wrong.status_code, set(wrong.headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})
    reports.assert_none()
    tired = ask(url, "http-500")
    assert (tired.headers["Retry-After"], tired.json()["detail"]) == ("9", "tired")
    assert tired.json()["error_id"] == reports.one().error_id


def test_a_request_id_is_taken_over_or_made_up(url: str, reports: Heard) -> None:
    """What is no plain id is not taken over, and so can forge no line of a log."""
    given = ask(url, "unexpected", x_request_id="from-the-edge-7")
    assert given.headers["X-Request-ID"] == reports.one().context["request_id"] == "from-the-edge-7"
    for bad in ("x" * 200, "a b", "<script>", ""):
        made = ask(url, "unexpected", x_request_id=bad).headers["X-Request-ID"]
        assert made != bad
        assert len(made) == 16
    assert httpx.get(f"{url}/work").headers["X-Request-ID"]


def test_whatever_is_reported_within_knows_the_request(url: str, reports: Heard) -> None:
    """Also by code that has never heard of it."""
    httpx.get(f"{url}/work?token={SECRET}", headers={"X-Request-ID": "r1"})
    report = reports.one()
    assert report.operation == "feeding"
    expected = {"method": "GET", "path": "/work", "request_id": "r1", "cat": "Tzara"}
    assert {name: report.context[name] for name in expected} == expected
    assert SECRET not in repr(report)


def test_errors_carry_the_headers_of_middlewares_around(url: str) -> None:
    """A page of another origin may read the problem."""
    for kind in ("unexpected", "circuit"):
        response = ask(url, kind, origin="https://cats.example")
        assert response.headers["Access-Control-Allow-Origin"] == "https://cats.example"


def test_problem_types_can_be_pages_of_ones_own() -> None:
    """Then the title is that of the kind of problem, as RFC 9457 has it."""
    app = Starlette(routes=[Route("/api/fail/{kind}", fail)])
    install(app, type_base="https://errors.example.com/")
    with served(app) as url:
        problem = ask(url, "circuit").json()
        assert problem["type"] == "https://errors.example.com/circuit_open"
        assert problem["title"] == "Another service is down"


def test_without_the_middleware_the_exception_handlers_do(reports: Heard) -> None:
    """For an application that puts its own middlewares together."""
    handlers: Any = exception_handlers()
    app = Starlette(routes=[Route("/api/fail/{kind}", fail)], exception_handlers=handlers)
    with served(app) as url:
        for kind, status in (("circuit", 503), ("unexpected", 500), ("http", 403)):
            response = ask(url, kind)
            assert response.status_code == response.json()["status"] == status
            assert SECRET not in response.text
    assert [reports.one().code, reports.one().code] == ["circuit_open", "general_error"]
    reports.assert_none()


def test_bad_arguments_are_refused() -> None:
    """Under their names."""
    with pytest.raises(TypeError, match=r"handler must be a resilio\.ErrorHandler"):
        install(Starlette(), "handler")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="type_base must be a URI"):
        install(Starlette(), type_base=7)  # type: ignore[arg-type]
