"""FastAPI with problem details: all of `resilio.web.starlette`, 422 with JSON pointers, and OpenAPI that says so.

**Usage.** ::

    from resilio.web.fastapi import health_endpoint, install, lifespan

    app = FastAPI(lifespan=lifespan(letters, admin))
    install(app, ErrorHandler(notifier=admin, dead_letters=letters))
    app.add_route("/health", health_endpoint([HealthCheck.of_circuit(breaker)]))
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from resilio.alerting.optional import require

require("fastapi", extra="fastapi", what="resilio.web.fastapi")

from fastapi.exceptions import RequestValidationError

from resilio.web import starlette
from resilio.web.error_context import asked_of
from resilio.web.problem import PROBLEM_JSON, InvalidField, ProblemDetails
from resilio.web.problem_answers import ProblemAnswers, pointer
from resilio.web.starlette import ErrorContextMiddleware, exception_handlers, health_endpoint, lifespan, response_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from resilio.reporting.handler import ErrorHandler

__all__ = ("ErrorContextMiddleware", "exception_handlers", "health_endpoint", "install", "invalid_fields", "lifespan")

_LOCATIONS: Final = frozenset({"body", "query", "path", "header", "cookie"})
_AUTHORS_WORDS: Final = frozenset({"value_error", "assertion_error"})
_DEEPEST: Final = 5
_SHORTEST_QUOTE: Final = 3
_REFERENCE: Final = {"$ref": "#/components/schemas/ProblemDetails"}
_REPLACED: Final = ("HTTPValidationError", "ValidationError")


def install(app: FastAPI, handler: ErrorHandler | None = None, *, type_base: str | None = None) -> ErrorHandler:
    """Let an application answer its errors with problem details, and say so in its OpenAPI document.

    A request that does not validate is answered with 422 and a JSON pointer to each part that is wrong. What was sent
    is not repeated.

    Args:
        app: A FastAPI application that has not started.
        handler: As for `resilio.web.starlette.install`.
        type_base: As there.

    Returns:
        The handler in use.

    Raises:
        TypeError: ``handler`` is no `ErrorHandler`.
        RuntimeError: The application has started already.
    """
    handler = starlette.install(app, handler, type_base=type_base)
    answers = ProblemAnswers(handler, type_base=type_base)

    async def answer_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 -- it is registered for nothing else
        return response_of(answers.of_fields(invalid_fields(error.errors()), asked_of(request.scope)))

    app.add_exception_handler(RequestValidationError, answer_invalid)
    _document(app)
    return handler


def invalid_fields(errors: Sequence[Any]) -> list[InvalidField]:
    """What pydantic found wrong, as problem details tell it.

    Args:
        errors: ``error.errors()`` of a validation error; ``loc`` begins with the part of the request.
    """
    fields = []
    for each in errors:
        location, *steps = each.get("loc") or ("body",)
        if location not in _LOCATIONS:
            location, steps = "body", [location, *steps]
        if each.get("type") == "json_invalid":
            steps = []  # where in the text, which is no pointer
        fields.append(InvalidField(location=str(location), pointer=pointer(*steps), detail=_said(each)))
    return fields


def _said(error: Any) -> str:
    """What is wrong, without what was sent: a validator of the application may quote it, and pydantic quotes tags."""
    said, kind = str(error.get("msg", "")), error.get("type")
    if kind == "union_tag_invalid":
        return f"The tag should be one of {(error.get('ctx') or {}).get('expected_tags', 'those expected')}"
    if not said or (kind in _AUTHORS_WORDS and _quotes(said, error.get("input"), _DEEPEST)):
        return "This value cannot be used."
    return said


def _quotes(said: str, sent: object, deepest: int) -> bool:
    """Tell whether a text repeats what was sent, or a part of it."""
    if isinstance(sent, dict):
        return deepest > 0 and any(_quotes(said, each, deepest - 1) for each in (*sent.keys(), *sent.values()))
    if isinstance(sent, (list, tuple, set)):
        return deepest > 0 and any(_quotes(said, each, deepest - 1) for each in sent)
    text = str(sent)
    is_whole = deepest == _DEEPEST  # a short part of something larger may well be a word of the sentence
    return bool(text) and (is_whole or len(text) > _SHORTEST_QUOTE) and text in said


def _document(app: FastAPI) -> None:
    """Put the problem's schema into the OpenAPI document, in place of FastAPI's own."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    content = {PROBLEM_JSON: {"schema": _REFERENCE}}
    for path in document.get("paths", {}).values():
        for operation in path.values():
            responses = operation.get("responses") if isinstance(operation, dict) else None
            if responses is None:
                continue
            if _is_fastapis(responses.get("422")):
                responses["422"] = {"description": "The request does not validate", "content": content}
            responses.setdefault("default", {"description": "A problem", "content": content})
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["ProblemDetails"] = ProblemDetails.json_schema()
    for name in _REPLACED:  # unless the application still refers to them
        rest = {each: schema for each, schema in schemas.items() if each != name}
        if f'schemas/{name}"' not in json.dumps([document.get("paths"), rest]):
            schemas.pop(name, None)
    return document


def _is_fastapis(response: Any) -> bool:
    return "#/components/schemas/HTTPValidationError" in json.dumps(response)
