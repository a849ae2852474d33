"""The pages: what a browser is shown."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from resilio._core import dice
from resilio.dashboard.access import Action
from resilio.dashboard.editing import is_editable
from resilio.dashboard.operations import DEFAULT_RATE, queue_troubles
from resilio.dashboard.replays import MOST_LETTERS, MOST_RATE
from resilio.dashboard.requests import LetterQuery, asked

if TYPE_CHECKING:
    from starlette.requests import Request

    from resilio.dashboard.collector import Collector
    from resilio.dashboard.rendering import Renderer
    from resilio.dashboard.views import Views

__all__ = ("Notes", "Pages")

_MOST_NOTES: Final = 500


class Notes:
    """What came of an action, told on the page that is shown after it. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: OrderedDict[str, str] = OrderedDict()

    def leave(self, text: str) -> str:
        """Keep a text; return what it is asked for by."""
        key = dice.randbytes(8).hex()
        with self._lock:
            self._notes[key] = text
            while len(self._notes) > _MOST_NOTES:
                self._notes.popitem(last=False)
        return key

    def find(self, key: str) -> str:
        """The text; empty if it is not known, as for another process's."""
        with self._lock:
            return self._notes.get(key, "")


class Pages:
    """The endpoints that answer GET with a page.

    Args:
        views: What is shown.
        renderer: How.
        notes: What came of the last action.
        collector: What this process has.
    """

    def __init__(self, views: Views, renderer: Renderer, notes: Notes, collector: Collector) -> None:
        self._views = views
        self._renderer = renderer
        self._notes = notes
        self._collector = collector

    def _page(self, request: Request, page: str, template: str, /, **values: Any) -> HTMLResponse:
        identity = asked(request).identity
        return HTMLResponse(
            self._renderer.render(
                template,
                page=page,
                base="",
                identity=identity,
                may={str(each): identity.role.may(each) for each in Action},
                note=self._notes.find(request.query_params.get("note", "")),
                nonce=dice.randbytes(16).hex(),
                **values,
            )
        )

    async def overview(self, request: Request) -> HTMLResponse:
        """The state of things."""
        return self._page(request, "overview", "overview.html", **await self._views.overview())

    async def errors(self, request: Request) -> HTMLResponse:
        """Groups of errors."""
        query = request.query_params
        names = ("status", "severity", "category", "text", "sort")
        values = self._views.errors(
            {name: query.get(name, "")[:200] for name in names}, _page_number(query.get("page"))
        )
        return self._page(request, "errors", "errors.html", **values)

    async def error(self, request: Request) -> HTMLResponse:
        """One group."""
        values = await self._views.error(request.query_params.get("group", ""))
        return self._page(request, "errors", "error.html", **values)

    async def circuits(self, request: Request) -> HTMLResponse:
        """All circuits."""
        return self._page(request, "circuits", "circuits.html", **self._views.circuits())

    async def circuit(self, request: Request) -> HTMLResponse:
        """One circuit, and what can be done with it."""
        values = self._views.circuit(request.query_params.get("name", ""))
        return self._page(request, "circuits", "circuit.html", **values)

    async def letters(self, request: Request) -> HTMLResponse:
        """A page of dead letters."""
        query = LetterQuery.of(request.query_params)
        values = await self._views.letters(query, request.query_params.get("after", ""))
        return self._page(
            request, "letters", "letters.html", rate=DEFAULT_RATE, most=MOST_LETTERS, most_rate=MOST_RATE, **values
        )

    async def letter(self, request: Request) -> HTMLResponse:
        """One letter, and what can be done with it."""
        queue = self._collector.sources.queue
        if queue is None:
            raise HTTPException(404, "This dashboard was made without a dead letter queue.")
        with queue_troubles():
            letter = await queue.get(request.query_params.get("id", ""))
        tracked = self._collector.group(letter.group) is not None
        return self._page(
            request,
            "letters",
            "letter.html",
            letter=letter,
            can_replay=queue.can_replay,
            editable=is_editable(letter.message),
            tracked=tracked,
        )

    async def replay(self, request: Request) -> HTMLResponse:
        """How far a replay is."""
        values = await self._views.replay(request.query_params.get("id", ""))
        return self._page(request, "letters", "replay.html", **values)

    async def alerts(self, request: Request) -> HTMLResponse:
        """Incidents, silences and channels."""
        return self._page(request, "alerts", "alerts.html", **await self._views.alert_desk())

    async def health(self, request: Request) -> HTMLResponse:
        """What the health checks find."""
        return self._page(request, "health", "health.html", **await self._views.health())


def _page_number(text: str | None) -> int:
    try:
        found = int(text or 1)
    except ValueError:
        found = 0
    if not 1 <= found <= 10_000:  # noqa: PLR2004 -- more than there can be
        raise HTTPException(422, f"page must be a whole number from 1, not {text!r}.")
    return found
