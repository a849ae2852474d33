"""Is it worth another try?"""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp
import anyio
import httpx
import pytest
import requests
import trio
import urllib3.exceptions

from resilio.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    IntegrationError,
    OperationTimeoutError,
    ValidationError,
    http_status,
    is_transient,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST = httpx.Request("GET", "http://cat.invalid/")


def from_httpx(status: int) -> Exception:
    """The error that httpx raises for an answer with this status."""
    try:
        httpx.Response(status, request=REQUEST).raise_for_status()
    except httpx.HTTPStatusError as error:
        return error
    pytest.fail(f"httpx takes {status} for a success")


def from_requests(status: int) -> Exception:
    """The error that requests raises for an answer with this status."""
    response = requests.Response()
    response.status_code = status
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        return error
    pytest.fail(f"requests takes {status} for a success")


def from_aiohttp(status: int) -> Exception:
    """The error that aiohttp raises for an answer with this status."""
    return aiohttp.ClientResponseError(SimpleNamespace(real_url="http://cat.invalid/"), (), status=status)  # type: ignore[arg-type]


class ClientError(Exception):
    """An error of the shape that botocore's has: code and status in a dict."""

    def __init__(self, code: str, status: int | None = 400) -> None:
        super().__init__(code)
        metadata = {} if status is None else {"HTTPStatusCode": status}
        self.response: Mapping[str, object] = {"Error": {"Code": code}, "ResponseMetadata": metadata}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError(),
        ConnectionResetError(),
        ConnectionRefusedError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.timeout(),  # noqa: UP041 -- old code raises it by this name
        asyncio.TimeoutError(),  # noqa: UP041
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.PoolTimeout("full"),
        httpx.RemoteProtocolError("cut off"),
        requests.ConnectionError(),
        requests.Timeout(),
        requests.exceptions.ChunkedEncodingError(),
        urllib3.exceptions.ProtocolError(),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ServerTimeoutError(),
        aiohttp.ClientPayloadError(),
        anyio.BrokenResourceError(),
        trio.BrokenResourceError(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_connection_and_timeout_errors_are(error: Exception) -> None:
    """The builtin ones, and those of the usual clients, in whatever class they come."""
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError(),
        OSError("disk full"),
        FileNotFoundError(),
        PermissionError(),
        ssl.SSLCertVerificationError(),
        httpx.UnsupportedProtocol("gopher"),
        httpx.TooManyRedirects("around"),
        requests.exceptions.InvalidURL(),
        requests.exceptions.MissingSchema(),
        anyio.ClosedResourceError(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_what_would_fail_again_is_not(error: Exception) -> None:
    """Mistakes of the caller and of the program are not worth another try."""
    assert not is_transient(error)


@pytest.mark.parametrize("make", [from_httpx, from_requests, from_aiohttp])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_these_answers_are(make: Callable[[int], Exception], status: int) -> None:
    """408, 425, 429 and everything from 500 up, in the error of each client."""
    error = make(status)
    assert is_transient(error)
    assert http_status(error) == status


@pytest.mark.parametrize("make", [from_httpx, from_requests, from_aiohttp])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_other_answers_are_not(make: Callable[[int], Exception], status: int) -> None:
    """What the other side refused for good stays refused."""
    error = make(status)
    assert not is_transient(error)


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "SlowDown", "RequestThrottled"])
def test_throttling_in_botocores_shape_is(code: str) -> None:
    """A throttled AWS call is known by its code where the answer carries no status."""
    assert is_transient(ClientError(code, status=None))


def test_other_codes_in_botocores_shape_are_not() -> None:
    """An unknown code without a status is no reason to try again."""
    assert not is_transient(ClientError("AccessDenied", status=None))
    assert not is_transient(ClientError("AccessDenied", status=403))


def test_a_server_error_in_botocores_shape_is() -> None:
    """A 503 is transient whatever its code says."""
    assert is_transient(ClientError("SomethingNew", status=503))


def test_the_errors_own_word_decides() -> None:
    """A `retryable` of True or False wins over class and status; anything else under that name says nothing."""
    assert not is_transient(OperationTimeoutError("too slow", seconds=1.0, retryable=False))
    assert is_transient(ValidationError("odd", field="f", value=1, retryable=True))
    assert is_transient(CircuitBreakerOpenError("open", breaker="b"))
    assert is_transient(BulkheadFullError("full"))
    assert not is_transient(IntegrationError("no", system="s", operation="o"))
    declared = from_httpx(503)
    declared.retryable = False  # type: ignore[attr-defined]
    assert not is_transient(declared)
    vague = ConnectionError()
    vague.retryable = "maybe"  # type: ignore[attr-defined]
    assert is_transient(vague)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_interruption_never_is(error: BaseException) -> None:
    """Not even one that calls itself retryable."""
    error.retryable = True  # type: ignore[attr-defined]
    assert not is_transient(error)


@pytest.mark.parametrize("response", [None, 3, {}, {"Error": None}, {"ResponseMetadata": 1}, SimpleNamespace()])
def test_an_odd_response_attribute_breaks_nothing(response: object) -> None:
    """Errors of unknown libraries may carry anything under `response`."""
    error = RuntimeError()
    error.response = response  # type: ignore[attr-defined]
    assert http_status(error) is None
    assert not is_transient(error)


@pytest.mark.parametrize("status", [True, "503", 0, 99, None])
def test_a_status_is_a_number_from_a_hundred_up(status: object) -> None:
    """A bool, a text or an exit code is no HTTP status."""
    error = RuntimeError()
    error.status_code = status  # type: ignore[attr-defined]
    assert http_status(error) is None


def test_a_class_of_ones_own_with_a_known_name_is_not() -> None:
    """Only the libraries' own classes, and what derives from them, are known by name."""

    class Timeout(Exception):  # noqa: N818 -- as requests calls it
        pass

    class MyTimeout(requests.Timeout):
        pass

    assert not is_transient(Timeout())
    assert is_transient(MyTimeout())
