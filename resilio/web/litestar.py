"""Litestar with problem details: its own exception handlers step back, and `ErrorContextMiddleware` answers around it.

**Usage.** ::

    from resilio.web.litestar import exception_handlers, with_problems

    app = with_problems(Litestar([cats], exception_handlers=exception_handlers()), handler)

Litestar's exception handlers cannot await, so that they could not report; the middleware stands around the whole
application instead, and so is what is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from resilio.alerting.optional import require

require("litestar", extra="litestar", what="resilio.web.litestar")

from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Response

from resilio.web.error_context import ErrorContextMiddleware, asked_of
from resilio.web.problem import InvalidField
from resilio.web.problem_answers import ProblemAnswers, pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar import Litestar
    from litestar.connection import Request

    from resilio.reporting.handler import ErrorHandler

__all__ = ("exception_handlers", "with_problems")

_LOCATIONS: Final = frozenset({"body", "query", "path", "header", "cookie"})


def with_problems(
    app: Litestar, handler: ErrorHandler | None = None, *, type_base: str | None = None
) -> ErrorContextMiddleware:
    """The application that is served in place of ``app``, answering errors with problem details.

    Args:
        app: Made with the `exception_handlers` of this module.
        handler: Reports errors, and has the words for them; one of its own by default.
        type_base: As for `resilio.web.starlette.install`.

    Raises:
        TypeError: ``handler`` is no `ErrorHandler`.
    """
    # Litestar names the kinds of ASGI messages one by one, which no other framework's types agree with.
    return ErrorContextMiddleware(cast("Any", app), handler, type_base=type_base)


def exception_handlers(
    handler: ErrorHandler | None = None, *, type_base: str | None = None
) -> dict[type[Exception], Callable[[Request[Any, Any, Any], Exception], Response[bytes]]]:
    """What ``Litestar(exception_handlers=...)`` takes: 422 with JSON pointers; any other error goes on to the outside.

    Args:
        handler: Has the words; as for `with_problems`.
        type_base: As for `with_problems`.
    """
    answers = ProblemAnswers(handler, type_base=type_base)

    def answer_invalid(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        found = getattr(error, "extra", None)
        fields = [_field(each) for each in (found if isinstance(found, list) else []) if isinstance(each, dict)]
        asked = asked_of(request.scope)  # type: ignore[arg-type]  # a TypedDict is no MutableMapping to a type checker
        answer = answers.of_fields(fields, asked)
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))

    def go_on(_request: Request[Any, Any, Any], error: Exception) -> NoReturn:
        raise error

    return {ValidationException: answer_invalid, HTTPException: go_on, Exception: go_on}


def _field(found: dict[str, Any]) -> InvalidField:
    location = str(getattr(found.get("source"), "value", found.get("source", "body")))
    steps = str(found.get("key", "")).split(".") if found.get("key") else []
    said = str(found.get("message", "")) or "This value cannot be used."
    return InvalidField(pointer=pointer(*steps), detail=said, location=location if location in _LOCATIONS else "body")
