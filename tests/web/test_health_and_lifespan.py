"""The health endpoint, and what a lifespan opens, runs and closes."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from reports_kit import heard
from served import served
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from resilio import AdminNotifier, CircuitBreaker, DeadLetterQueue, HealthCheck
from resilio.web.starlette import health_endpoint, install, lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from starlette.requests import Request


class Component:
    """Well, until it is told otherwise."""

    def __init__(self) -> None:
        self.is_well = True

    async def probe(self) -> tuple[bool, dict[str, object]]:
        """What a check finds."""
        return self.is_well, {"connections": 3, "password": "not-to-be-seen"}


@contextmanager
def health(*checks: HealthCheck, **settings: Any) -> Generator[str]:
    """An application with nothing but a health endpoint; its URL."""
    app = Starlette(routes=[Route("/health", health_endpoint(checks, **settings))])
    with served(app) as url:
        yield f"{url}/health"


def test_health_is_200_while_all_is_well_and_503_otherwise() -> None:
    """Each component is named, with nothing that was found besides."""
    component, breaker = Component(), CircuitBreaker()
    circuit = HealthCheck.of_circuit(breaker, component="model")
    with health(HealthCheck("database", component.probe), circuit) as url:
        well = httpx.get(url)
        assert well.status_code == 200
        assert well.json() == {"status": "ok", "checks": {"database": {"status": "ok"}, "model": {"status": "ok"}}}
        assert well.headers["Cache-Control"] == "no-store"
        component.is_well = False
        ill = httpx.get(f"{url}?details=true")
        assert ill.status_code == 503
        assert ill.json() == {
            "status": "unavailable",
            "checks": {"database": {"status": "unavailable"}, "model": {"status": "ok"}},
        }
        component.is_well = True
        with breaker.isolate():
            assert httpx.head(url).status_code == 503
        assert (httpx.head(url).status_code, httpx.head(url).content) == (200, b"")


def test_details_are_shown_if_they_may_be_and_are_asked_for() -> None:
    """Without secrets."""

    def explode() -> bool:
        msg = "password=not-to-be-seen"
        raise ConnectionError(msg)

    checks = HealthCheck("database", Component().probe), HealthCheck("cache", explode)
    with health(*checks, details=True) as url:
        assert "connections" not in httpx.get(url).text
        shown = httpx.get(f"{url}?details=true")
        assert shown.json()["checks"]["database"] == {
            "status": "ok",
            "details": {"connections": 3, "password": "[redacted]"},
        }
        assert "ConnectionError" in shown.json()["checks"]["cache"]["details"]["error"]
        assert "not-to-be-seen" not in shown.text


def test_a_probe_that_hangs_is_unwell_after_its_timeout() -> None:
    """The endpoint answers all the same."""

    async def hang() -> None:
        await anyio.sleep_forever()

    with health(HealthCheck("database", hang, timeout=0.05)) as url:
        assert httpx.get(url, timeout=30).status_code == 503


def test_no_checks_are_well() -> None:
    """The process answers, which is all that was asked."""
    with health() as url:
        assert httpx.get(url).json() == {"status": "ok", "checks": {}}


def test_bad_checks_are_refused() -> None:
    """When the endpoint is made."""
    with pytest.raises(TypeError, match="checks must be HealthChecks"):
        health_endpoint([CircuitBreaker()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="components of their own"):
        health_endpoint([HealthCheck("a", bool), HealthCheck("a", bool)])


# -- lifespan ----------------------------------------------------------------------------------------------------------


class Journal(list[str]):
    """What happened, in order."""

    @asynccontextmanager
    async def awaited(self, name: str) -> AsyncGenerator[None]:
        """A resource that is opened on the event loop."""
        self.append(f"open {name}")
        yield
        self.append(f"close {name}")

    @contextmanager
    def plain(self, name: str) -> Generator[None]:
        """A resource that is not."""
        self.append(f"open {name}")
        yield
        self.append(f"close {name}")


def test_resources_are_opened_in_order_and_closed_in_reverse() -> None:
    """Tasks run in between, and a lifespan of one's own inside of all."""
    journal = Journal()

    async def watch() -> None:
        journal.append("watch")
        try:
            await anyio.sleep_forever()
        finally:
            journal.append("end of watch")

    @asynccontextmanager
    async def mine(_app: Starlette) -> AsyncGenerator[dict[str, str]]:
        async with journal.awaited("mine"):
            yield {"cat": "Tzara"}

    async def cat(request: Request) -> JSONResponse:
        return JSONResponse(request.state.cat)

    opened = lifespan(journal.awaited("queue"), journal.plain("file"), tasks=[watch], within=mine)
    with served(Starlette(routes=[Route("/", cat)], lifespan=opened), lifespan="on") as url:
        assert httpx.get(url).json() == "Tzara"
    assert journal[:3] == ["open queue", "open file", "open mine"]
    assert journal[-4:] == ["close mine", "end of watch", "close file", "close queue"]
    assert "watch" in journal


def test_a_task_that_fails_is_reported_and_ends_alone() -> None:
    """The application goes on."""

    async def stumble() -> None:
        msg = "a stone"
        raise RuntimeError(msg)

    app = Starlette(routes=[Route("/health", health_endpoint([]))], lifespan=lifespan(tasks=[stumble]))
    with heard() as reports, served(app, lifespan="on") as url:
        assert "stumble" in reports.one().operation
        assert httpx.get(f"{url}/health").status_code == 200


def test_queues_and_notifiers_are_what_it_is_for(tmp_path: Path) -> None:
    """A letter sent by a request is on disk when the application has ended, and can be opened again."""
    letters = DeadLetterQueue(local_file_path=str(tmp_path / "letters.jsonl"))
    admin = AdminNotifier()

    async def send(_request: Request) -> JSONResponse:
        letter = await letters.send_to_dlq({"cat": "Tzara"}, ValueError("no fish"))
        told = await admin.send_notification("no fish")
        return JSONResponse([letter, told.delivered])

    app = Starlette(routes=[Route("/", send)], lifespan=lifespan(letters, admin))
    install(app)
    for _ in range(2):
        with served(app, lifespan="on") as url:
            letter, told = httpx.get(url).json()
            assert told
    assert letter in (tmp_path / "letters.jsonl").read_text(encoding="utf-8")


def test_what_cannot_be_opened_is_refused() -> None:
    """By its place."""
    with pytest.raises(TypeError, match="number 2 is none"):
        lifespan(DeadLetterQueue(), "letters")  # type: ignore[arg-type]
