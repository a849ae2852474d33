"""The architecture document's snippets on messages, context and tracking run as they stand, on our names."""

from __future__ import annotations

import ast
import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from snippets import QuickClock, code_of, run

from resilio import errors
from resilio.sync import ErrorMessageProvider, ErrorTracker, ValidationError, enhance_error_context

if TYPE_CHECKING:
    from types import FunctionType

DOCUMENT = "architecture.md"


def references(title: str, name: str) -> dict[str, Any]:
    """The reference's own definitions under a title, to compare ours with."""
    tree = ast.parse(code_of(DOCUMENT, title))
    assert any(getattr(node, "name", None) == name for node in tree.body)
    space: dict[str, Any] = {"Counter": __import__("collections").Counter, "datetime": __import__("datetime").datetime}
    exec(compile(tree, "<reference>", "exec"), space)  # noqa: S102 -- our own text
    return space


def test_every_code_of_the_references_templates_has_a_text_of_ours() -> None:
    """The same words, but for the template that speaks of invalid characters."""
    theirs = references("Error Message Templates", "ErrorMessageProvider")["ErrorMessageProvider"]
    for category, codes in theirs.ERROR_TEMPLATES.items():
        for code, text in codes.items():
            ours = ErrorMessageProvider.get_message(category, code, unused=1)
            assert ours == theirs.get_message(category, code, unused=1) or code == "invalid_characters", text
    assert ErrorMessageProvider.get_message("no", "such") != "An error occurred"


def test_the_trackers_summary_has_the_references_keys_and_counts() -> None:
    """What is said of the same errors is the same."""
    theirs = ast.parse(code_of(DOCUMENT, "Error Metrics Collection"))
    summary = next(node for node in ast.walk(theirs) if isinstance(node, ast.FunctionDef) and "summary" in node.name)
    keys = {each.value for node in ast.walk(summary) if isinstance(node, ast.Dict) for each in node.keys}  # type: ignore[union-attr]
    tracker = ErrorTracker()
    for error in (ValueError("a"), ValueError("b"), KeyError("c")):
        tracker.track_error(error, {"operation": "feed"})
    found = tracker.get_error_summary()
    assert keys == {"total_errors", "unique_errors", "error_types", "recent_errors"}
    assert keys <= set(found)
    assert (found["total_errors"], found["error_types"]) == (3, {"ValueError": 2, "KeyError": 1})
    for each in found["recent_errors"]:
        assert {"timestamp", "error_type", "error_message", "context"} <= set(each)


class Steps:
    """What the snippets' methods are called on: a state without Reflex, that can generate an application."""

    user_id = "tzara"

    def __init__(self, project_name: str) -> None:
        self.project_name = project_name
        self.generation_status = self.generation_message = ""
        self.error_message = self.error_type = ""
        self.error_context: dict[str, Any] = {}
        self.generated: list[object] = []
        self.failure: Exception | None = None

    async def _generate_app_code(self, ports: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.generated.append(ports)

    def _schedule_error_clear(self) -> None:
        """A timer of the state's own, which is not this room's business."""


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


@pytest.fixture
def generate(names: dict[str, Any]) -> Any:
    """Run the snippets' `generate_app`, with the document's own `handle_error`, on a state and a register."""

    def start(state: Steps, ports: Ports) -> None:
        quick = QuickClock()
        space = {
            **names,
            "SystemError": errors.SystemError,
            "PORT_REGISTRY": ports,
            "logger": logging.getLogger("reference"),
            "asyncio": type("asyncio", (), {"sleep": quick.sleep}),
        }
        body = (
            code_of(DOCUMENT, "State Error Handling").partition("    def handle_error")[2].partition("    def _sch")[0]
        )
        methods = run("class Mixin:\n    def handle_error" + body, **{**space, "logger": _QuietLogger()})["Mixin"]
        generate_app: FunctionType = run(code_of(DOCUMENT, "Enhanced Generation with Error Handling"), **space)[
            "generate_app"
        ]
        state.__class__ = type("State", (Steps, methods), {"generate_app": generate_app})
        asyncio.run(state.generate_app())  # type: ignore[attr-defined]

    return start


class _QuietLogger:
    """Takes what the snippet logs: `extra=` with keys that stdlib logging would refuse is the snippet's own."""

    def __init__(self) -> None:
        self.extras: list[dict[str, Any]] = []

    def error(self, _message: str, *, extra: dict[str, Any], exc_info: bool) -> None:
        assert exc_info
        self.extras.append(extra)


def test_the_generation_snippet_succeeds_after_a_second_try(generate: Any) -> None:
    """`log_operation` around the work, a `SystemError` that is tried again."""
    state = Steps("cats")
    generate(state, Ports(failures=1))
    assert state.generation_status == "success"
    assert state.generated == [("cats", 3000)]
    assert state.error_message == ""


@pytest.mark.parametrize(
    ("name", "ports", "failure", "message", "kind"),
    [
        ("", 0, None, "An error occurred", "ValidationError"),
        ("cats", 2, None, "No available ports found. Please try again in a moment", "SystemError"),
        ("cats", 0, KeyError("x"), "An error occurred", "KeyError"),
    ],
)
def test_the_generation_snippet_words_its_errors(
    generate: Any, name: str, ports: int, failure: Exception | None, message: str, kind: str
) -> None:
    """The document's `handle_error`, on our provider and our context; where it said nothing, ours says what to do."""
    state = Steps(name)
    state.failure = failure
    generate(state, Ports(failures=ports))
    assert state.generation_status == "error"
    assert state.error_type == kind
    assert state.error_message
    assert state.error_message == message or message == "An error occurred" != state.error_message
    assert state.error_context["user_id"] == "tzara"
    assert state.error_context["operation"] == "app_generation"


def test_the_context_is_the_references_with_its_names(names: dict[str, Any]) -> None:
    """Every name that the reference's function sets, and the caller's."""
    tree = ast.parse(code_of(DOCUMENT, "Error Context Enhancement"))
    keys = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    found = enhance_error_context(ValidationError("x", field="f", value=1), {"operation": "test"})
    assert set(found) == {*keys, "operation"}
    assert names["enhance_error_context"] is enhance_error_context
