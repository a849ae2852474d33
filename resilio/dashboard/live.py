"""Live updates: one picture a second for all who look, however many they are.

Nothing is queued. A client is sent the newest picture when it has taken the one before; what changed in between, a slow
one never sees, and one that takes nothing for ten seconds is hung up on. So a stream holds one picture at most. The
picture is made by whoever comes first in each second and shared by all others: there is no task to own, and nothing is
made while nobody looks.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.exceptions import HTTPException

from resilio._core import clock
from resilio.dashboard.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from resilio.dashboard.rendering import Renderer
    from resilio.dashboard.views import Views

__all__ = ("Live", "Pictures")

EVERY: Final = 1.0
"""Seconds between two looks."""

HEARTBEAT: Final = 15.0
"""Seconds after which a comment is sent, so that nothing on the way takes the line for dead."""

HANG_UP_AFTER: Final = 10.0
"""Seconds that a client may take nothing."""

_MOST_PICTURES: Final = 64
_MOST_STREAMS: Final = 1000
_log = logging.getLogger("resilio")


class Pictures:
    """The newest picture of each view, made at most once a second. Safe from any thread and any event loop."""

    def __init__(self, views: Views, renderer: Renderer) -> None:
        self._views = views
        self._renderer = renderer
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._making: set[tuple[str, str]] = set()
        self.count: int = 0
        """How many were made."""

    async def get(self, view: str, name: str = "") -> str:
        """The picture of a view, at most a second old, or two while a new one is being made.

        Raises:
            HTTPException: There is nothing of that name.
        """
        key = (view, name)
        with self._lock:
            known = self._made.get(key)
            is_fresh = known is not None and clock.monotonic() - known[0] < EVERY * 0.9
            if known is not None and (is_fresh or key in self._making):
                return known[1]
            self._making.add(key)
            self.count += 1
        try:
            at = clock.monotonic()
            picture = self._renderer.render(f"_{view}.html", **await self._views.of(view, name))
        finally:
            with self._lock:
                self._making.discard(key)
        with self._lock:
            self._made[key] = (at, picture)
            self._made.move_to_end(key)
            while len(self._made) > _MOST_PICTURES:
                self._made.popitem(last=False)
        return picture


class Live:
    """The endpoint of the streams.

    Args:
        pictures: Where the pictures come from.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.streams: int = 0
        """How many look just now."""

    async def stream(self, request: Request) -> EventSourceResponse:
        """Pictures of a view for as long as somebody looks."""
        view, name = request.query_params.get("view", ""), request.query_params.get("name", "")
        if view not in VIEWS:
            raise HTTPException(404, f"There is no view {view!r}.")
        if self.streams >= _MOST_STREAMS:
            raise HTTPException(503, f"{_MOST_STREAMS} others look already.")
        first = await self._pictures.get(view, name)
        return _Stream(self._changes(view, name, first), ping=HEARTBEAT, send_timeout=HANG_UP_AFTER, sep="\n")

    async def _changes(self, view: str, name: str, first: str) -> AsyncGenerator[dict[str, Any]]:
        self.streams += 1
        try:
            sent, picture = "", first
            while True:
                if picture != sent:
                    yield {"data": picture}
                    sent = picture
                await clock.sleep(EVERY)
                try:
                    picture = await self._pictures.get(view, name)
                except HTTPException as error:  # what was shown is gone
                    _log.debug("nothing more to show of %s %s: %s", view, name, error.detail)
                    return
        finally:
            self.streams -= 1


class _Stream(EventSourceResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            _log.info("hung up on a client of the dashboard that took nothing for %g seconds", HANG_UP_AFTER)
