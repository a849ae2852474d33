"""The architecture document's retry and breaker snippets run as they stand, with imports in place of definitions."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from snippets import Backend, QuickClock, code_of, run

from resilio.sync import CircuitBreakerOpenError, IntegrationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENT = "architecture.md"


def usage(title: str, **names: object) -> dict[str, Any]:
    """Run what a snippet shows under "# Usage:"; `resilio.sync` takes the place of the definitions above it."""
    return run(code_of(DOCUMENT, title).partition("# Usage:\n")[2], **names)


class IntegrationStatus(Enum):
    """How a source's connection is."""

    IDLE = "idle"
    SUCCESS = "success"
    ERROR = "error"


class Source:
    """The state object that the snippet's `connect_source` is a method of, connecting to the test's server."""

    selected_source = "crm"
    integration_status = IntegrationStatus.IDLE
    connect_source: Callable[[], None]

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.handled: list[tuple[str, str, dict[str, object]]] = []
        self.source_records: Any = None

    def _test_connection(self, source: str) -> bool:
        return requests.get(f"{self.backend.url}/{source}", timeout=10).ok

    def _load_source_data(self, source: str) -> Any:
        return requests.get(f"{self.backend.url}/{source}/records", timeout=10).json()

    def handle_error(self, error: Exception, operation: str, **context: object) -> None:
        self.handled.append((type(error).__name__, operation, context))


def test_the_retry_usage_decorates_a_method(names: dict[str, Any]) -> None:
    """The decorated method keeps its name and is called with its arguments."""
    connect = usage("Retry with Exponential Backoff", **names)["connect_to_source"]
    assert connect.__name__ == "connect_to_source"
    assert connect(object(), "https://example.com") is None
    assert connect(object(), source_url="https://example.com") is None


def test_the_retry_usage_retries_connection_errors_and_raises_the_last(
    names: dict[str, Any], quick_clock: QuickClock
) -> None:
    """Three retries as in the snippet, after between half and all of 1, 2 and 4 seconds; then the last error."""
    errors = [ConnectionError(str(number)) for number in range(4)]
    pending = iter(errors)

    @names["retry_with_backoff"](max_retries=3, base_delay=1.0)  # type: ignore[untyped-decorator]
    def fail() -> None:
        raise next(pending)

    with pytest.raises(ConnectionError) as caught:
        fail()
    assert caught.value is errors[3]
    assert len(quick_clock.slept) == 3
    for wait, full in zip(quick_clock.slept, (1.0, 2.0, 4.0), strict=True):
        assert full / 2 <= wait <= full


def test_the_breaker_usage_guards_a_method(names: dict[str, Any], backend: Backend, quick_clock: QuickClock) -> None:
    """After three failures the snippet's circuit is open for thirty seconds, by way of `timeout=` and `call`."""
    left = usage("Circuit Breaker Pattern", **names)

    def make_api_call(endpoint: str) -> str:
        answer = requests.get(f"{backend.url}{endpoint}", timeout=10)
        answer.raise_for_status()
        return "fine"

    client = SimpleNamespace(_make_api_call=make_api_call)
    assert left["call_external_api"](client, "/cats") == "fine"
    backend.forever = 500
    for _ in range(3):
        with pytest.raises(requests.HTTPError):
            left["call_external_api"](client, "/cats")
    with pytest.raises(IntegrationError) as caught:
        left["call_external_api"](client, "/cats")
    assert isinstance(caught.value, CircuitBreakerOpenError)
    assert left["circuit_breaker"].state == "OPEN"
    assert len(backend.requests) == 4
    backend.forever = 200
    quick_clock.elapsed += 30
    assert left["call_external_api"](client, "/cats") == "fine"
    assert left["circuit_breaker"].state == "CLOSED"


@pytest.fixture
def source(names: dict[str, Any], backend: Backend) -> Source:
    """A source whose class has the snippet's `connect_source` as a method."""
    names["IntegrationStatus"] = IntegrationStatus
    code = code_of(DOCUMENT, "Data Source Connection with Error Handling")
    connect = run(code, **names)["connect_source"]
    kind = type("ConnectedSource", (Source,), {"connect_source": connect})
    made: Source = kind(backend)
    return made


def test_the_integration_snippet_connects(source: Source, backend: Backend) -> None:
    """A working source is tested, loaded and reported as connected."""
    backend.answer = {"records": [1, 2]}
    source.connect_source()
    assert source.integration_status is IntegrationStatus.SUCCESS
    assert source.source_records == {"records": [1, 2]}
    assert source.handled == []


def test_the_integration_snippet_handles_the_taxonomy(source: Source, backend: Backend) -> None:
    """A missing choice is a ValidationError, a failed test an IntegrationError with its context."""
    backend.script.append(503)
    source.connect_source()
    source.selected_source = ""
    source.connect_source()
    assert source.integration_status is IntegrationStatus.ERROR
    assert source.handled == [
        (IntegrationError.__name__, "source_connection", {"source_type": "crm"}),
        (ValidationError.__name__, "source_connection", {}),
    ]
