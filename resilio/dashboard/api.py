"""The same as JSON, below ``/api``: what the pages show and do, for scripts; `/api/openapi.json` describes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from resilio.dashboard.editing import is_editable
from resilio.dashboard.openapi import document
from resilio.dashboard.operations import DEFAULT_RATE, queue_troubles
from resilio.dashboard.replays import MOST_LETTERS
from resilio.dashboard.requests import LetterQuery, asked, read_json
from resilio.dashboard.views import PAGE
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from starlette.background import BackgroundTask
    from starlette.requests import Request

    from resilio.dashboard.collector import Collector
    from resilio.dashboard.operations import Operations
    from resilio.dashboard.replays import Replay, Replays
    from resilio.dashboard.views import Views
    from resilio.deadletters.letter import DeadLetter

__all__ = ("Api",)

_FILTERS: Final = ("error", "group", "status", "within", "text")


class Json(JSONResponse):
    """JSON in ASCII: a text of an error may hold what has no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Api:
    """The endpoints that speak JSON.

    Args:
        views: What is shown.
        collector: What this process has.
        operations: What is done.
        replays: The replays of this process.
    """

    def __init__(self, views: Views, collector: Collector, operations: Operations, replays: Replays) -> None:
        self._views = views
        self._collector = collector
        self._do = operations
        self._replays = replays

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/api/openapi.json", self.openapi),
            Route("/api/overview", self.overview),
            Route("/api/errors", self.errors),
            Route("/api/errors/{fingerprint}", self.error),
            Route("/api/circuits", self.circuits),
            Route("/api/circuits/{name}/{action}", self.act_on_circuit, methods=["POST"]),
            Route("/api/letters", self.letters),
            Route("/api/letters/replay", self.replay_many, methods=["POST"]),
            Route("/api/letters/{id}", self.letter),
            Route("/api/letters/{id}/message", self.edit, methods=["PUT"]),
            Route("/api/letters/{id}/replay", self.replay_one, methods=["POST"]),
            Route("/api/letters/{id}/park", self.park, methods=["POST"]),
            Route("/api/letters/{id}/requeue", self.requeue, methods=["POST"]),
            Route("/api/letters/{id}/discard", self.discard, methods=["POST"]),
            Route("/api/replays/{id}", self.replay),
            Route("/api/replays/{id}/stop", self.stop, methods=["POST"]),
            Route("/api/alerts", self.alerts),
            Route("/api/silences", self.silence, methods=["POST"]),
            Route("/api/silences/{id}", self.end_silence, methods=["DELETE"]),
            Route("/api/channels/{name}/test", self.test_channel, methods=["POST"]),
            Route("/api/health", self.health),
        ]

    # -- looking -------------------------------------------------------------------------------------------------------

    async def openapi(self, request: Request) -> Json:
        """What there is, in OpenAPI."""
        asked(request)
        return Json(document())

    async def overview(self, request: Request) -> Json:
        """The state of things."""
        asked(request)
        found = await self._views.overview()
        stats = found["stats"]
        return Json(
            {
                "processes": _rows(found["processes"]),
                "errors": {"total": found["total"], "per_minute": found["rate"]},
                "circuits": {"total": found["circuits"], "open": _rows(found["open"])},
                "letters": None if stats is None else _plain(stats.to_dict()),
                "alerts": {"firing": _rows(found["firing"])},
                "health": {"checks": found["checks"], "unwell": _rows(found["unwell"])},
                "last_hour": found["series"],
            }
        )

    async def errors(self, request: Request) -> Json:
        """Groups of errors, most frequent first."""
        page = _whole(request, "page", 1, 10_000)
        wanted = {name: request.query_params.get(name, "") for name in ("status", "severity", "category", "text")}
        found = self._views.errors(wanted, page)
        return Json(
            {
                "groups": _rows(found["groups"]),
                "matching": found["matching"],
                "page": page,
                "pages": found["pages"],
                "total": found["total"],
            }
        )

    async def error(self, request: Request) -> Json:
        """One group, with samples."""
        found = await self._views.error(request.path_params["fingerprint"])
        return Json(
            {"group": _plain(found["group"].to_dict()), "samples": found["samples"], "letters": _ids(found["letters"])}
        )

    async def circuits(self, request: Request) -> Json:
        """Circuits and their last changes."""
        asked(request)
        found = self._views.circuits()
        return Json({"circuits": _rows(found["circuits"]), "changes": _rows(found["changes"])})

    async def letters(self, request: Request) -> Json:
        """Dead letters, oldest first."""
        limit = _whole(request, "limit", PAGE, 100)
        query = LetterQuery.of(request.query_params)
        with queue_troubles():
            letters = await self._do.queue.peek(
                limit, after=request.query_params.get("after") or None, where=query.filter
            )
        return Json(
            {"letters": [_shown(each) for each in letters], "next": letters[-1].id if len(letters) == limit else None}
        )

    async def letter(self, request: Request) -> Json:
        """One letter."""
        return Json(await self._letter(request.path_params["id"]))

    async def _letter(self, letter_id: str) -> dict[str, Any]:
        with queue_troubles():
            letter = await self._do.queue.get(letter_id)
        return _shown(letter) | {"editable": is_editable(letter.message)}

    async def replay(self, request: Request) -> Json:
        """How far a replay is."""
        return Json(_plain((await self._views.replay(request.path_params["id"]))["replay"].to_dict()))

    async def alerts(self, request: Request) -> Json:
        """Incidents."""
        asked(request)
        found = await self._views.alert_desk()
        return Json(
            {
                "incidents": _rows(found["incidents"]),
                "history": [each.to_dict() for each in found["history"]],
                "silences": [each.to_dict() for each in found["silences"]],
                "rules": found["rules"],
                "channels": [name for name, _ in found["channels"]],
            }
        )

    async def health(self, request: Request) -> Json:
        """What the health checks find."""
        asked(request)
        found = await self._views.health()
        return Json({"healthy": all(each.healthy for each in found["health"]), "checks": _rows(found["health"])})

    # -- doing ---------------------------------------------------------------------------------------------------------

    async def act_on_circuit(self, request: Request) -> Json:
        """Reset, isolate, end-isolation or force-open."""
        name, action = request.path_params["name"], request.path_params["action"]
        return Json({"outcome": self._do.circuit(asked(request).identity, name, action)})

    async def replay_one(self, request: Request) -> Json:
        """Replay a letter."""
        body = await read_json(request)
        letter_id = request.path_params["id"]
        with queue_troubles():
            await self._do.queue.get(letter_id)
        who = asked(request).identity
        return _begun(self._do.replay(who, [letter_id], nonce=_text(body, "nonce"), rate=DEFAULT_RATE))

    async def replay_many(self, request: Request) -> Json:
        """Replay some letters, or all that match."""
        who, body = asked(request).identity, await read_json(request)
        nonce, rate = _text(body, "nonce"), _number(body, "rate", DEFAULT_RATE)
        ids = body.get("ids")
        if ids is not None:
            if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
                raise HTTPException(422, "ids must be a list of texts.")
            return _begun(self._do.replay(who, ids, nonce=nonce, rate=rate))
        most = body.get("limit", MOST_LETTERS)
        if isinstance(most, bool) or not isinstance(most, int):
            raise HTTPException(422, "limit must be a whole number.")
        query = LetterQuery.of({name: _text(body, name) for name in _FILTERS})
        return _begun(self._do.replay_all(who, query, nonce=nonce, rate=rate, most=most))

    async def stop(self, request: Request) -> Json:
        """Stop a replay."""
        replay = self._do.stop(asked(request).identity, request.path_params["id"])
        return Json(_plain(replay.row().to_dict()))

    async def edit(self, request: Request) -> Json:
        """Put another message into a letter."""
        body = await read_json(request)
        if "message" not in body:
            raise HTTPException(422, "message must be given.")
        letter_id = request.path_params["id"]
        await self._do.edit(asked(request).identity, letter_id, json.dumps(body["message"]))
        return Json(await self._letter(letter_id))

    async def park(self, request: Request) -> Json:
        """Set a letter aside."""
        letter_id = request.path_params["id"]
        await self._do.park(asked(request).identity, letter_id)
        return Json(await self._letter(letter_id))

    async def requeue(self, request: Request) -> Json:
        """Make a letter wait again."""
        letter_id = request.path_params["id"]
        await self._do.requeue(asked(request).identity, letter_id)
        return Json(await self._letter(letter_id))

    async def discard(self, request: Request) -> Json:
        """Delete a letter, and say why."""
        who, body = asked(request).identity, await read_json(request)
        return Json({"discarded": await self._do.discard(who, [request.path_params["id"]], _text(body, "reason"))})

    async def silence(self, request: Request) -> Json:
        """Silence a rule, or all."""
        who, body = asked(request).identity, await read_json(request)
        seconds = _number(body, "seconds", 0.0)
        silence = await self._do.silence(who, _text(body, "rule"), seconds, _text(body, "comment"))
        return Json(silence.to_dict(), 201)

    async def end_silence(self, request: Request) -> Json:
        """End a silence before its time."""
        await self._do.end_silence(asked(request).identity, request.path_params["id"])
        return Json({"ended": request.path_params["id"]})

    async def test_channel(self, request: Request) -> Json:
        """Send a test message to a channel."""
        outcome = await self._do.test_channel(asked(request).identity, request.path_params["name"])
        return Json(
            {"channel": outcome.channel, "status": str(outcome.status), "error": str(redact(outcome.error or ""))}
        )


def _begun(found: tuple[Replay, BackgroundTask | None]) -> Json:
    replay, run = found
    return Json(_plain(replay.row().to_dict()), 202, background=run)


def _shown(letter: DeadLetter) -> dict[str, Any]:
    source, headers = redact(letter.source), redact(letter.headers)
    return {
        "id": letter.id,
        "status": str(letter.status),
        "message": redact(letter.message),
        "error_info": redact(letter.error_info),
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "last_failed_at": letter.last_failed_at.isoformat(),
        "group": letter.group,
        "history": redact(list(letter.history)),
        "source": source,
        "headers": headers,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without secrets in its texts; what names it stays as it is, or it could not be asked for."""
    names = {"id", "fingerprint", "process", "name", "circuit", "component", "last_error_id", "groups", "counts"}
    return {name: value if name in names else redact(value) for name, value in row.items()}


def _rows(rows: Any) -> list[dict[str, Any]]:
    return [_plain(each.to_dict()) for each in rows]


def _ids(letters: list[DeadLetter]) -> list[str]:
    return [each.id for each in letters]


def _whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):  # noqa: PLR2004
        raise HTTPException(422, f"{name} must be a whole number, 1 to {most}, not {text!r}.")
    return int(text)


def _text(body: dict[str, Any], name: str) -> str:
    found = body.get(name, "")
    if not isinstance(found, str):
        raise HTTPException(422, f"{name} must be text.")
    return found


def _number(body: dict[str, Any], name: str, default: float) -> float:
    found = body.get(name, default)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise HTTPException(422, f"{name} must be a number.")
    return float(found)
