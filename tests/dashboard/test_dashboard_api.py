"""The JSON endpoints keep to what their OpenAPI document says of them, whatever they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import schemathesis
from dashboard_kit import OURS, asking
from hypothesis import HealthCheck as Suppressed
from hypothesis import Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as conforms

from resilio._core import clock
from resilio.dashboard.openapi import document

if TYPE_CHECKING:
    from dashboard_kit import Service

EXAMPLES = 10
CHECKS = [
    schemathesis.checks.not_a_server_error,
    conforms.status_code_conformance,
    conforms.content_type_conformance,
    conforms.response_schema_conformance,
]


def operations() -> list[str]:
    """What there is, such as ``GET /api/overview``."""
    paths: dict[str, dict[str, Any]] = document()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


@pytest.mark.slow("an endpoint is asked thirty odd questions")
@pytest.mark.parametrize("operation", operations())
def test_an_endpoint_keeps_to_its_document(service: Service, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses, content types and bodies are those of the document, for good requests and for bad ones."""

    async def no_wait(_: float) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(clock, "sleep", no_wait)  # a replay may be asked to take its time
    service.fail(ValueError("x"))
    [letter, _] = anyio.run(service.lose, {"n": 1}, "text")
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", service.dashboard())
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    [endpoint] = [each for each in found if each.label == operation]
    strategy = endpoint.as_strategy(GenerationMode.POSITIVE) | endpoint.as_strategy(GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,  # the same questions in every run
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(Suppressed),
    )
    @given(case=strategy)
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers=OURS)
        case.validate_response(response, checks=CHECKS)
        statuses.add(response.status_code)
        if "id" in case.path_parameters and "/letters/" in operation:
            case.path_parameters["id"] = letter
            response = case.call(headers=OURS)
            case.validate_response(response, checks=CHECKS)
            statuses.add(response.status_code)

    statuses: set[int] = set()
    ask()
    assert statuses


@pytest.mark.anyio
async def test_what_the_pages_do_can_be_done_over_json(service: Service) -> None:
    """A script replays, edits, parks, discards, resets and silences, and reads what came of it."""
    one, two = await service.lose({"n": 1}, {"n": 2, "token": "t-secret-0815"})
    service.open_circuit()
    async with asking(service.dashboard()) as script:
        page = (await script.get("/api/letters", params={"limit": 1})).json()
        assert (page["letters"][0]["id"], page["next"]) == (one, one)
        assert page["letters"][0]["message"] == {"n": 1}
        begun = await script.post(f"/api/letters/{one}/replay", json={})
        assert (begun.status_code, begun.json()["most"]) == (202, 1)
        ended = (await script.get(f"/api/replays/{begun.json()['id']}")).json()
        assert (ended["state"], ended["replayed"], ended["lines"]) == ("done", 1, [[one, "replayed", ""]])
        edited = await script.put(f"/api/letters/{two}/message", json={"message": {"n": 3, "token": "[redacted]"}})
        assert edited.json()["message"] == {"n": 3, "token": "[redacted]"}
        assert (await service.queue.get(two)).message == {"n": 3, "token": "t-secret-0815"}
        assert (await script.post(f"/api/letters/{two}/park")).json()["status"] == "parked"
        assert (await script.post(f"/api/letters/{two}/requeue")).json()["status"] == "waiting"
        assert (await script.post(f"/api/letters/{two}/discard", json={"reason": "a test"})).json() == {"discarded": 1}
        assert (await script.post("/api/circuits/openai-api/reset")).json()["outcome"] == "openai-api is closed now"
        silence = (await script.post("/api/silences", json={"rule": "letters wait", "seconds": 60})).json()
        assert (await script.get("/api/alerts")).json()["silences"][0]["id"] == silence["id"]
        assert (await script.delete(f"/api/silences/{silence['id']}")).status_code == 200
        assert (await script.get("/api/health")).json()["healthy"] is True
        overview = (await script.get("/api/overview")).json()
    assert service.handled == [{"n": 1}]
    assert overview["letters"]["total"] == 0
    assert overview["circuits"] == {"total": 1, "open": []}


@pytest.mark.anyio
async def test_errors_are_json_too(service: Service) -> None:
    """What is refused, missing or malformed is told as JSON below `/api`."""
    async with asking(service.dashboard()) as script:
        for method, path, status, content in (
            ("GET", "/api/nothing", 404, None),
            ("POST", "/api/overview", 405, None),
            ("POST", "/api/letters/replay", 400, b"{"),
            ("POST", "/api/letters/replay", 422, b"[]"),
            ("POST", "/api/letters/replay", 422, b'{"rate": NaN}'),
            ("POST", "/api/letters/replay", 422, b'{"ids": [5]}'),
            ("GET", "/api/letters?limit=0", 422, None),
        ):
            kind = {"Content-Type": "application/json"} if content else {}
            answer = await script.request(method, path, content=content, headers=kind)
            assert (answer.status_code, answer.json()["status"]) == (status, status), path
        plain = await script.post("/api/letters/replay", content=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
