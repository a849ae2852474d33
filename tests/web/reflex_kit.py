"""Reflex's own event processor with states in memory: no front end, no server, no socket, no browser."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Self, TypeVar

import reflex as rx
from reflex.event import Event
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import BaseStateToken
from reflex.state import OnLoadInternalState
from reflex_base.constants.state import FIELD_MARKER
from reflex_base.event.context import EventContext
from reflex_base.event.processor import BaseStateEventProcessor
from reflex_base.registry import RegistrationContext
from reflex_base.utils.format import format_event_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

os.environ["REFLEX_TELEMETRY_ENABLED"] = "false"  # read with the first event: no test tells anybody

S = TypeVar("S", bound=rx.State)

TOKEN = "a-client"  # noqa: S105 -- names a client


class Client:
    """One client of an application: sends events as its browser would, and notes what comes back.

    Attributes:
        deltas: The values that the browser was sent, for each delta by name.
        events: The events that the browser was sent: redirects, scripts.
        unhandled: The exceptions that reached the application's backend exception handler.
    """

    def __init__(self, backend_exception_handler: Callable[[Exception], Any] | None = None) -> None:
        self.deltas: list[dict[str, Any]] = []
        self.events: list[Event] = []
        self.unhandled: list[Exception] = []

        def handler(exception: Exception) -> Any:
            self.unhandled.append(exception)
            return backend_exception_handler(exception) if backend_exception_handler is not None else None

        app = getattr(RegistrationContext.ensure_context(), "_app", None)
        self._app: rx.App = rx.App() if app is None else app  # one for the whole process
        self._states: Any = StateManagerMemory()  # type: ignore[abstract]  # mypy stumbles over its overrides
        self._processor = BaseStateEventProcessor(backend_exception_handler=handler, graceful_shutdown_timeout=0.05)

        async def emit_delta(_token: str, delta: Mapping[str, Mapping[str, Any]]) -> None:
            changed = {
                name.removesuffix(FIELD_MARKER): value for part in delta.values() for name, value in part.items()
            }
            self.deltas.append(changed)

        async def emit_event(_token: str, *events: Event) -> None:
            self.events.extend(events)

        self._processor._root_context = EventContext(
            token="",
            txid="",
            state_manager=self._states,
            enqueue_impl=self._processor.enqueue_many,
            emit_delta_impl=emit_delta,  # type: ignore[arg-type]  # called by position
            emit_event_impl=emit_event,  # type: ignore[arg-type]  # the same
        )

    async def __aenter__(self) -> Self:
        await self._processor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._processor.stop()
        await self._states.close()

    async def send(self, handler: Any, /, *, page: str = "/", **payload: Any) -> asyncio.Future[Any]:
        """Send an event as a browser does, by name, without waiting for it."""
        name = handler if isinstance(handler, str) else format_event_handler(handler)
        event = Event(
            name=name,
            payload=payload,
            router_data={"pathname": page, "asPath": page, "headers": {"origin": "http://localhost"}},
        )
        return await self._processor.enqueue(TOKEN, event)

    async def fire(self, handler: Any, /, *, page: str = "/", **payload: Any) -> None:
        """Send an event and wait until its handler has ended."""
        sent = await self.send(handler, page=page, **payload)
        done, _ = await asyncio.wait({sent}, timeout=30)
        assert done, f"{handler} did not end; is there such a handler?"

    def pages(self, *pages: tuple[str, Any]) -> Any:
        """Add pages to the application, each with what it does on load, and return the event that loads a page."""
        for route, on_load in pages:
            if route not in self._app._unevaluated_pages:
                self._app.add_page(rx.text(route), route=route, on_load=on_load)
        vars(self._app).pop("router", None)  # computed from the pages there were
        return OnLoadInternalState.event_handlers["on_load_internal"]

    async def state(self, kind: type[S]) -> S:
        """The client's state, as the server keeps it."""
        root = await self._states.get_state(BaseStateToken(ident=TOKEN, cls=kind))
        state: S = await root.get_state(kind)
        return state

    @property
    def shown(self) -> dict[str, Any]:
        """What the browser shows: the last value of everything that it was sent."""
        return {name: value for delta in self.deltas for name, value in delta.items()}
