"""The application: it asks another service for cats, and tells its users what happened when that fails."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Query

from resilio import ConsecutiveFailures, ErrorHandler, HealthCheck, ValidationError
from resilio.web.fastapi import health_endpoint, install, lifespan
from resilio.web.httpx import ResilientTransport


def make_app(upstream: str) -> FastAPI:
    """The application in front of the service at that URL."""
    transport = ResilientTransport(
        max_retries=1,
        base_delay=0.05,
        attempt_timeout=1,
        total_timeout=5,
        trip=ConsecutiveFailures(4),
        recovery_timeout=1.5,
    )
    client = httpx.AsyncClient(base_url=upstream, transport=transport)
    app = FastAPI(title="Cats", lifespan=lifespan(client))
    install(app, ErrorHandler(log=False))
    app.add_route("/health", health_endpoint([HealthCheck.of_circuit(transport.breaker(upstream), component="cats")]))

    @app.get("/cats/{number}")
    async def cat(number: int, lives: Annotated[int, Query(ge=1, le=9)] = 9) -> dict[str, Any]:
        """A cat and its lives."""
        if number == 13:  # noqa: PLR2004 -- the one that is no number of a cat
            msg = "13 is nobody's number"
            raise ValidationError(msg, field="number", value=number)
        found = await client.get(f"/{number}")
        found.raise_for_status()
        return {**found.json(), "lives": lives}

    @app.get("/bug")
    async def bug() -> None:
        """What nobody has thought of."""
        msg = "the password is tuna"
        raise RuntimeError(msg)

    return app
