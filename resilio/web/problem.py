"""Problem details: what an HTTP client is told about an error, in the form of RFC 9457."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from resilio.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    IntegrationError,
    OperationTimeoutError,
    RateLimitExceededError,
    ResilioError,
    RetryExhaustedError,
    ValidationError,
)
from resilio.policies.retry_after import retry_after
from resilio.reporting.classification import classify

__all__ = ("PROBLEM_JSON", "InvalidField", "ProblemDetails", "chosen_status", "phrase_of", "status_of", "wait_of")

PROBLEM_JSON: Final = "application/problem+json"

_UNAVAILABLE: Final = frozenset({429, 503})
_STATUSES: Final[tuple[tuple[type[ResilioError], int], ...]] = (
    (ValidationError, 422),
    (RateLimitExceededError, 429),
    (CircuitBreakerOpenError, 503),
    (BulkheadFullError, 503),
    (OperationTimeoutError, 504),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidField:
    """A part of the request that cannot be used.

    Attributes:
        pointer: Where it is, as a JSON pointer in a URI fragment: ``#/cat/name``.
        detail: What is wrong with it. What was put in is not repeated.
        location: Which part of the request the pointer points into: ``body``, ``query``, ``path``, ``header``,
            ``cookie``; empty if nobody can tell.
    """

    pointer: str
    detail: str
    location: str = ""

    def to_dict(self) -> dict[str, str]:
        """As JSON shows it."""
        where = {"in": self.location} if self.location else {}
        return {**where, "pointer": self.pointer, "detail": self.detail}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemDetails:
    """What an HTTP client is told about an error (RFC 9457). It holds no exception, and nothing of an unexpected one.

    Attributes:
        status: The HTTP status.
        title: The kind of problem in a few words.
        type: A URI for the kind of problem; ``about:blank`` says no more than the status.
        detail: What happened, and what to do.
        instance: The path that was asked for.
        code: Names the kind of problem for programs: ``circuit_open``.
        error_id: The id of its `ErrorReport`, as in the log and in alerts; None if nothing was reported.
        retry_after: Whole seconds after which another try may work, at least 1; None when nobody can tell.
        errors: The parts of the request that cannot be used.

        >>> problem = ProblemDetails(status=503, title="Service Unavailable", code="circuit_open", retry_after=5)
        >>> problem.to_dict()
        {'type': 'about:blank', 'title': 'Service Unavailable', 'status': 503, 'code': 'circuit_open', 'retry_after': 5}
    """

    status: int
    title: str
    type: str = "about:blank"
    detail: str = ""
    instance: str = ""
    code: str = ""
    error_id: str | None = None
    retry_after: int | None = None
    errors: tuple[InvalidField, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON shows it; what is empty is left out."""
        members: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
            "code": self.code,
            "error_id": self.error_id,
            "retry_after": self.retry_after,
            "errors": [each.to_dict() for each in self.errors],
        }
        return {name: value for name, value in members.items() if value or name == "status"}

    def to_json(self) -> bytes:
        """The body of an answer of the type ``application/problem+json``."""
        return json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "replace")

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """The JSON schema of `to_dict`, for OpenAPI documents."""
        text = {"type": "string"}
        return {
            "type": "object",
            "title": "ProblemDetails",
            "description": "What went wrong (RFC 9457).",
            "required": ["type", "title", "status"],
            "properties": {
                "type": {"type": "string", "format": "uri-reference", "default": "about:blank"},
                "title": text,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": text,
                "instance": {"type": "string", "format": "uri-reference"},
                "code": {**text, "description": "Names the kind of problem for programs."},
                "error_id": {**text, "description": "Names this very occurrence in our log."},
                "retry_after": {"type": "integer", "minimum": 1, "description": "Seconds."},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["pointer", "detail"],
                        "properties": {
                            "in": {**text, "enum": ["body", "query", "path", "header", "cookie"]},
                            "pointer": {**text, "description": "A JSON pointer in a URI fragment."},
                            "detail": text,
                        },
                    },
                },
            },
        }


def status_of(error: BaseException) -> int:
    """The HTTP status that stands for an error.

    | error | status |
    |---|---|
    | an ``HTTPException`` of a web framework | its own |
    | `ValidationError` | 422 |
    | `RateLimitExceededError` | 429 |
    | `CircuitBreakerOpenError`, `BulkheadFullError` | 503 |
    | `OperationTimeoutError`, other timeouts, retries that ended in one | 504 |
    | other `IntegrationError`, errors of connections and HTTP clients | 502 |
    | anything else | 500 |
    """
    chosen = chosen_status(error)
    if chosen is not None:
        return chosen
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    if isinstance(error, RetryExhaustedError) and error.last_exception is not None:
        return 504 if status_of(error.last_exception) == 504 else 502  # noqa: PLR2004 -- a status
    kind_of_error = classify(error)
    if kind_of_error.category != "integration":
        return 422 if isinstance(error, ResilioError) and kind_of_error.category == "validation" else 500
    return 504 if kind_of_error.code == "timeout" and not isinstance(error, IntegrationError) else 502


def chosen_status(error: BaseException) -> int | None:
    """The status of an ``HTTPException``, by which an application says itself what it answers; None for other errors.

    By name, for each web framework has a class of its own.
    """
    status = getattr(error, "status_code", None)
    is_one = any(kind.__name__ == "HTTPException" for kind in type(error).__mro__)
    return status if is_one and isinstance(status, int) and 100 <= status <= 599 else None  # noqa: PLR2004


def wait_of(error: BaseException, status: int) -> int | None:
    """Whole seconds, rounded up and at least 1, after which the same request may succeed; None if nobody can tell."""
    asked = retry_after(error) if status in _UNAVAILABLE and chosen_status(error) is None else None
    return None if asked is None else max(math.ceil(asked), 1)


def phrase_of(status: int) -> str:
    """The status in words."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
