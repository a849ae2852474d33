"""Serving an ASGI application with uvicorn while a block runs."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import anyio
import uvicorn
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Ctrl-C belongs to the program, which has more to end than its servers.
        yield


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on ``port`` of 127.0.0.1; 0 for a free one.

    Raises:
        OSError: The port is taken.
    """
    return socket.create_server(("127.0.0.1", port), backlog=512)


def url_of(listener: socket.socket) -> str:
    """The base URL of what is served on ``listener``."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, lifespan: Literal["on", "off"] = "off", log_level: str = "warning"
) -> AsyncIterator[None]:
    """Serve ``app`` while the block runs, then hang up and close ``listener``."""

    async def forgiving(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):  # who asked is gone in the middle of a sentence, as on Ctrl-C
            await app(scope, receive, send)

    settings = uvicorn.Config(
        forgiving, lifespan=lifespan, access_log=False, log_level=log_level, ws="none", timeout_graceful_shutdown=1
    )
    server = _Server(settings)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_serve, server, listener)
        try:
            while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
                await anyio.sleep(0.01)
            yield
        finally:
            server.should_exit = True


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    # A cancelled program still hangs up properly; the graceful shutdown has its own deadline.
    with listener, anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])
