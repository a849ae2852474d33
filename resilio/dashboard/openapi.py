"""What the JSON endpoints take and give, as an OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from resilio.dashboard.circuits import CIRCUIT_ACTIONS
from resilio.dashboard.replays import LEAST_RATE, MOST_LETTERS, MOST_RATE

__all__ = ("document",)

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_NUMBER: Final[Schema] = {"type": "number"}
_FLAG: Final[Schema] = {"type": "boolean"}
_ANY: Final[Schema] = {}
_TIME: Final[Schema] = {"type": "number", "description": "Seconds since 1970"}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        made["required"] = sorted(required)
    return made


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _object({"error": _TEXT, "status": _WHOLE}),
    "Process": _object(
        {"process": _TEXT, "host": _TEXT, "pid": _WHOLE, "started": _TIME, "at": _TIME, "is_here": _FLAG}
    ),
    "Group": _object(
        {
            **dict.fromkeys(("fingerprint", "error_type", "error_message", "category", "severity", "operation"), _TEXT),
            "status": {"enum": ["new", "returning", "active", "quiet"]},
            "count": _WHOLE,
            "first_seen": _TIME,
            "last_seen": _TIME,
            "trace": _list(_WHOLE),
        }
    ),
    "Circuit": _object(
        {
            **dict.fromkeys(("name", "state", "trip", "last_failure", "isolated_by"), _TEXT),
            **dict.fromkeys(("rejected", "failed", "failed_probes", "transitions"), _WHOLE),
            "counts": {"type": "object", "additionalProperties": _NUMBER},
            "retry_at": _maybe(_TIME),
            "changed_at": _maybe(_TIME),
        }
    ),
    "Change": _object({**dict.fromkeys(("circuit", "before", "after", "error"), _TEXT), "number": _WHOLE, "at": _TIME}),
    "Letter": _object(
        {
            **dict.fromkeys(("id", "first_failed_at", "last_failed_at", "group"), _TEXT),
            "status": {"enum": ["waiting", "claimed", "parked"]},
            "message": _ANY,
            "error_info": _ANY,
            "attempts": _WHOLE,
            "history": _list(_ANY),
        },
        {"editable": _FLAG},
    ),
    "Replay": _object(
        {
            **dict.fromkeys(("id", "what", "by", "why"), _TEXT),
            "state": {"enum": ["running", "done", "failing", "stopped", "broken", "interrupted"]},
            **dict.fromkeys(("most", "replayed", "failed", "parked"), _WHOLE),
            "began": _TIME,
            "ended": _maybe(_TIME),
            "lines": _list(_list(_TEXT)),
        }
    ),
    "Incident": _object(
        {
            **dict.fromkeys(("rule", "state", "severity", "summary"), _TEXT),
            "since": _TIME,
            "told": _FLAG,
            "muted": _FLAG,
        }
    ),
    "Silence": _object(
        {**dict.fromkeys(("id", "starts_at", "ends_at", "created_by", "comment"), _TEXT), "rule": _maybe(_TEXT)}
    ),
    "Health": _object({"component": _TEXT, "healthy": _FLAG, "details": {"type": "object"}, "at": _TIME}),
}

_FILTERS: Final[dict[str, Schema]] = {
    "error": _TEXT,
    "group": _TEXT,
    "status": {"enum": ["waiting", "claimed", "parked", ""]},
    "within": {"enum": ["1h", "24h", "7d", ""]},
    "text": _TEXT,
}


def _answer(schema: Schema, status: int = 200, *, fails: tuple[int, ...] = ()) -> dict[str, Any]:
    reasons = {
        400: "Malformed", 401: "Not logged in", 403: "Not allowed", 404: "Not there", 409: "Not now",
        413: "Too large", 415: "Not JSON", 422: "Not what it should be", 503: "The queue cannot be used",
    }  # fmt: skip
    answers = {str(status): {"description": "Done", "content": {"application/json": {"schema": schema}}}}
    for code in sorted({401, 403, *fails}):
        content = {"application/json": {"schema": _ref("Error")}}
        answers[str(code)] = {"description": reasons[code], "content": content}
    return answers


def _operation(
    what: str,
    answers: dict[str, Any],
    *,
    path: tuple[str, ...] = (),
    query: dict[str, Schema] | None = None,
    body: Schema | None = None,
    acts: bool = False,
) -> dict[str, Any]:
    parameters = [{"name": name, "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}} for name in path]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in (query or {}).items()]
    if acts:
        site = {"type": "string", "enum": ["same-origin"]}
        parameters.append({"name": "Sec-Fetch-Site", "in": "header", "required": True, "schema": site})
    made: dict[str, Any] = {"summary": what, "parameters": parameters, "responses": answers}
    if body is not None:
        made["requestBody"] = {
            "required": bool(body.get("required")),
            "content": {"application/json": {"schema": body}},
        }
    return made


@cache
def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "resilio dashboard",
            "version": "1",
            "description": "What the dashboard shows and does. Actions need the header Sec-Fetch-Site: same-origin.",
        },
        "servers": [{"url": ".."}],
        "paths": {f"/api{path}": operations for path, operations in {**_looking(), **_letters(), **_acting()}.items()},
        "components": {"schemas": _SCHEMAS},
    }


def _looking() -> dict[str, Any]:
    page: Schema = {"type": "integer", "minimum": 1, "maximum": 10_000}
    error = _object({"group": _ref("Group"), "samples": _list(_ANY), "letters": _list(_TEXT)})
    errors = _object(
        {"groups": _list(_ref("Group")), "matching": _WHOLE, "page": _WHOLE, "pages": _WHOLE, "total": _WHOLE}
    )
    alerts = _object(
        {
            "incidents": _list(_ref("Incident")),
            "history": _list({"type": "object"}),
            "silences": _list(_ref("Silence")),
            "rules": _list(_TEXT),
            "channels": _list(_TEXT),
        }
    )
    overview = _object(
        {
            "processes": _list(_ref("Process")),
            "errors": _object({"total": _WHOLE, "per_minute": _NUMBER}),
            "circuits": _object({"total": _WHOLE, "open": _list(_ref("Circuit"))}),
            "letters": _maybe({"type": "object"}),
            "alerts": _object({"firing": _list(_ref("Incident"))}),
            "health": _object({"checks": _WHOLE, "unwell": _list(_ref("Health"))}),
            "last_hour": {"type": "object"},
        }
    )
    circuits = _object({"circuits": _list(_ref("Circuit")), "changes": _list(_ref("Change"))})
    wanted = {**dict.fromkeys(("status", "severity", "category", "text"), _TEXT), "page": page}
    return {
        "/overview": {"get": _operation("The state of things", _answer(overview))},
        "/errors": {"get": _operation("Groups of errors", _answer(errors, fails=(422,)), query=wanted)},
        "/errors/{fingerprint}": {"get": _operation("One group", _answer(error, fails=(404,)), path=("fingerprint",))},
        "/circuits": {"get": _operation("Circuits, and how they changed", _answer(circuits))},
        "/replays/{id}": {
            "get": _operation("How far a replay is", _answer(_ref("Replay"), fails=(404,)), path=("id",))
        },
        "/alerts": {"get": _operation("Incidents, silences and channels", _answer(alerts))},
        "/health": {"get": _operation("Health", _answer(_object({"healthy": _FLAG, "checks": _list(_ref("Health"))})))},
    }


def _letters() -> dict[str, Any]:
    found = _object({"letters": _list(_ref("Letter")), "next": _maybe(_TEXT)})
    query = {**_FILTERS, "after": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 100}}
    rate: Schema = {"type": "number", "minimum": LEAST_RATE, "maximum": MOST_RATE}
    limit: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_LETTERS}
    ids = {**_list(_TEXT), "minItems": 1, "maxItems": MOST_LETTERS}
    many = _object({}, {**_FILTERS, "ids": ids, "rate": rate, "limit": limit, "nonce": _TEXT})
    reading = (404, 503)
    writing = (400, 404, 409, 413, 415, 422, 503)

    def post(what: str, answer: dict[str, Any], body: Schema | None = None) -> dict[str, Any]:
        return {"post": _operation(what, answer, path=("id",), body=body, acts=True)}

    edit = _operation(
        "Put another message into a letter", _answer(_ref("Letter"), fails=writing), path=("id",),
        body=_object({"message": _ANY}), acts=True,
    )  # fmt: skip
    discarded = _answer(_object({"discarded": _WHOLE}), fails=writing)
    reason = _object({"reason": {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"\S"}})
    begun = _answer(_ref("Replay"), 202, fails=writing)
    return {
        "/letters": {"get": _operation("Dead letters", _answer(found, fails=(404, 422, 503)), query=query)},
        "/letters/{id}": {"get": _operation("One letter", _answer(_ref("Letter"), fails=reading), path=("id",))},
        "/letters/replay": {"post": _operation("Replay letters", begun, body=many, acts=True)},
        "/letters/{id}/message": {"put": edit},
        "/letters/{id}/replay": post("Replay a letter", begun, _object({}, {"nonce": _TEXT})),
        "/letters/{id}/park": post("Park a letter", _answer(_ref("Letter"), fails=reading)),
        "/letters/{id}/requeue": post("Let a letter wait again", _answer(_ref("Letter"), fails=reading)),
        "/letters/{id}/discard": post("Delete a letter", discarded, reason),
    }


def _acting() -> dict[str, Any]:
    seconds: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 31_536_000}
    silence = _object({"seconds": seconds}, {"rule": _TEXT, "comment": _TEXT})
    circuit = _operation(
        f"One of {', '.join(CIRCUIT_ACTIONS)}", _answer(_object({"outcome": _TEXT}), fails=(404,)),
        path=("name", "action"), acts=True,
    )  # fmt: skip
    test = _operation(
        "Send a test message", _answer(_object({"channel": _TEXT, "status": _TEXT, "error": _TEXT}), fails=(404,)),
        path=("name",), acts=True,
    )  # fmt: skip
    return {
        "/circuits/{name}/{action}": {"post": circuit},
        "/replays/{id}/stop": {
            "post": _operation("Stop a replay", _answer(_ref("Replay"), fails=(404,)), path=("id",), acts=True)
        },
        "/silences": {
            "post": _operation(
                "Silence a rule, or all",
                _answer(_ref("Silence"), 201, fails=(400, 404, 413, 415, 422)),
                body=silence,
                acts=True,
            )
        },
        "/silences/{id}": {
            "delete": _operation(
                "End a silence", _answer(_object({"ended": _TEXT}), fails=(404,)), path=("id",), acts=True
            )
        },
        "/channels/{name}/test": {"post": test},
    }
