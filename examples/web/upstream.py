"""A service that knows about cats, and fails in any way it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

CATS = ("Tzara", "Hannah", "Emmy")
BUSY_FOR = 1
"""Seconds that it asks to wait for when it is busy."""


class Upstream:
    """The service.

    Attributes:
        mood: ``well``, ``busy`` (429 for the next request), ``broken`` (500 for all), ``slow`` (no answer in time).
    """

    def __init__(self) -> None:
        self.mood = "well"
        self.asked = 0
        self.asgi = Starlette(routes=[Route("/{number:int}", self.cat)])

    async def cat(self, request: Request) -> Response:
        """One cat, in the present mood."""
        self.asked += 1
        if self.mood == "busy":
            self.mood = "well"
            return Response(status_code=429, headers={"Retry-After": str(BUSY_FOR)})
        if self.mood == "broken":
            return Response(status_code=500)
        if self.mood == "slow":
            await anyio.sleep(60)
        return JSONResponse({"name": CATS[request.path_params["number"] % len(CATS)]})
