"""The architecture document's state handling and its implementation examples, on our mixin, with today's `await`."""

from __future__ import annotations

import ast
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
import requests
from anyio import to_thread
from snippets import QuickClock, code_of, run

import resilio
from resilio import ErrorHandler, IntegrationError, ValidationError, errors
from resilio.web.reflex import ErrorStateMixin as ReflexErrorStateMixin
from resilio.web.reflex import error_display
from resilio.web.state import ErrorStateMixin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from snippets import Backend

DOCUMENT = "architecture.md"


def awaited(code: str) -> str:
    """The code with what is async today awaited; nothing else of it is touched."""
    return re.sub(r"(?<!def )\bself\.handle_error\(", "await self.handle_error(", code)


class State(ErrorStateMixin):
    """A state of ours, with the fields that the document's methods use."""

    error_handler: ClassVar = ErrorHandler(log=False)
    user_id = "tzara"
    generation_status = generation_message = ""


def test_the_mixin_has_the_references_fields_and_methods() -> None:
    """Every name of the document's `State`, for any framework and for Reflex."""
    (state,) = ast.parse(code_of(DOCUMENT, "State Error Handling")).body
    assert isinstance(state, ast.ClassDef)
    fields = {
        node.target.id for node in state.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    methods = {node.name for node in state.body if isinstance(node, ast.FunctionDef)}
    assert fields == {"error_message", "error_type", "error_context"}
    assert {"handle_error", "_categorize_error", "_get_error_code"} <= methods
    assert all(hasattr(ErrorStateMixin, name) for name in fields | methods)
    assert all(hasattr(ReflexErrorStateMixin, name) for name in fields | methods - {"_schedule_error_clear"})


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("x", field="f", value=1),
        errors.SystemError("x", component="c"),
        IntegrationError("x", system="s", operation="o"),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_categories_are_the_references(error: Exception) -> None:
    """Its own method and ours say the same."""
    code = code_of(DOCUMENT, "State Error Handling")
    method = (
        "def _categorize_error" + code.partition("def _categorize_error")[2].partition("    def _get_error_code")[0]
    )
    theirs = run(
        re.sub(r"^    ", "", method, flags=re.MULTILINE),
        ValidationError=ValidationError,
        SystemError=errors.SystemError,
        IntegrationError=IntegrationError,
    )["_categorize_error"]
    assert State()._categorize_error(error) == theirs(None, error)


def test_the_display_shows_what_the_references_shows() -> None:
    """Every text of its markup, every field and the event that it names."""
    tree = ast.parse(code_of(DOCUMENT, "Error Display Components"))
    display = tree.body[0]
    fields = {
        node.attr
        for node in ast.walk(display)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "state"
    }
    assert fields == {"error_message", "error_type", "error_context", "retry_operation"}

    class Shown(ReflexErrorStateMixin, _rx().State):  # type: ignore[misc]
        """A state to show."""

    ours = str(error_display(Shown).render())
    for each in (fields - {"error_context"}) | {"retry_possible", "Try Again", "Error type: ", "red"}:
        assert each in ours, each


def _rx() -> Any:
    import reflex as rx  # noqa: PLC0415 -- heavy

    return rx


# -- implementation examples -------------------------------------------------------------------------------------------


class Ports:
    """A register that has no ports at first."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    def reserve_pair(self, name: str) -> tuple[str, int]:
        if self.failures:
            self.failures -= 1
            msg = "No available ports in range"
            raise errors.SystemError(msg, component="port_registry")
        return name, 3000


def generator(ports: Ports, failure: Exception | None = None) -> type[State]:
    """A state whose `generate_app` is the document's."""

    async def write(_self: object, _ports: object) -> None:
        if failure is not None:
            raise failure

    space = run(
        awaited(code_of(DOCUMENT, "Enhanced Generation with Error Handling")),
        ValidationError=ValidationError,
        SystemError=errors.SystemError,
        PORT_REGISTRY=ports,
        log_operation=resilio.log_operation,
        logger=type("logger", (), {"warning": lambda *_, **__: None}),
        asyncio=type("asyncio", (), {"sleep": QuickClock().sleep}),
    )
    return type("Generator", (State,), {"generate_app": space["generate_app"], "_generate_app_code": write})


@pytest.mark.parametrize(
    ("name", "failures", "failure", "message", "context"),
    [
        ("", 0, None, "Please provide a project name", {"validation_field": "project_name"}),
        ("ab", 0, None, "Project name must be at least 3 characters", {"validation_value": "ab"}),
        (
            *("cats", 2, None, "No available ports found. Please try again in a moment"),
            {"system_component": "port_registry"},
        ),
        ("cats", 0, PermissionError(13, "no"), "Permission denied. Please check file permissions", {}),
    ],
    ids=["no-name", "short-name", "no-port", "no-permission"],
)
def test_the_generation_example_shows_each_error_as_what_it_is(
    name: str, failures: int, failure: Exception | None, message: str, context: dict[str, object]
) -> None:
    """Where the document looked for words in the error's text, the error's own code decides."""
    state: Any = generator(Ports(failures), failure)()
    state.project_name = name
    anyio.run(state.generate_app)
    assert (state.generation_status, state.error_message) == ("error", message)
    assert context.items() <= dict(state.error_context).items()
    assert (state.error_context["operation"], state.error_context["user_id"]) == ("app_generation", "tzara")


def test_the_generation_example_succeeds_after_a_second_try() -> None:
    """Nothing is shown of the first."""
    state: Any = generator(Ports(failures=1))()
    state.project_name = "cats"
    anyio.run(state.generate_app)
    assert (state.generation_status, state.generation_message) == ("success", "Successfully generated cats!")
    assert state.error_message == ""


class IntegrationStatus(Enum):
    """How a source's connection is."""

    SUCCESS = "success"
    ERROR = "error"


def source_of(backend: Backend) -> Any:
    """A state whose `connect_source` is the document's, async, with real requests."""
    code = awaited(code_of(DOCUMENT, "Data Source Connection with Error Handling"))
    code = code.replace("def connect_source", "async def connect_source")
    code = code.replace("self._test_connection(", "await self._test_connection(")
    code = code.replace("self._load_source_data(", "await self._load_source_data(")

    async def try_connection(_self: object, source: str) -> bool:
        answer = await to_thread.run_sync(lambda: requests.get(f"{backend.url}/{source}", timeout=10))
        return answer.ok

    async def load(_self: object, source: str) -> Any:
        answer = await to_thread.run_sync(lambda: requests.get(f"{backend.url}/{source}/records", timeout=10))
        return answer.json()

    connect: Callable[[Any], Awaitable[None]] = run(
        code,
        ValidationError=ValidationError,
        IntegrationError=IntegrationError,
        IntegrationStatus=IntegrationStatus,
        retry_with_backoff=resilio.retry_with_backoff,
    )["connect_source"]
    members = {"connect_source": connect, "_test_connection": try_connection, "_load_source_data": load}
    return type("Source", (State,), {"selected_source": "crm", **members})()


def test_the_connection_example_connects(backend: Backend) -> None:
    """Records are loaded from a real server; nothing is shown."""
    backend.answer = {"records": [1, 2]}
    source = source_of(backend)
    anyio.run(source.connect_source)
    assert source.integration_status is IntegrationStatus.SUCCESS
    assert source.source_records == {"records": [1, 2]}
    assert source.error_message == ""


def test_the_connection_example_shows_its_errors(backend: Backend) -> None:
    """A failed connection with its source, a missing choice as bad input."""
    backend.script.append(503)
    source = source_of(backend)
    anyio.run(source.connect_source)
    assert source.integration_status is IntegrationStatus.ERROR
    assert source.error_message == "Unable to connect to data source. Please check your connection"
    assert source.error_context["source_type"] == "crm"
    source.selected_source = ""
    anyio.run(source.connect_source)
    assert source.error_category == "validation"
