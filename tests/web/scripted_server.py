"""A real HTTP server on the test's own event loop, asyncio's or trio's, that answers by a script."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import h11
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from anyio.abc import SocketStream


@dataclass
class Reply:
    """What the server does with one request.

    Attributes:
        status: The answer's status.
        headers: Beside those that HTTP wants.
        pieces: The body, sent piece by piece.
        wait: Seconds before the headers.
        pause: Seconds before each piece.
        breaks: Whether the connection is reset where the body would end; with ``status=0`` before the headers.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Sequence[bytes] = (b"ok",)
    wait: float = 0.0
    pause: float = 0.0
    breaks: bool = False


@dataclass
class Asked:
    """A request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Script:
    """What the server is to do, request by request; then ``otherwise``, for ever.

    Attributes:
        asked: The requests so far.
        port: Where it listens.
    """

    def __init__(self, *replies: Reply, otherwise: Reply | None = None) -> None:
        self.replies = list(replies)
        self.otherwise = otherwise or Reply()
        self.asked: list[Asked] = []
        self.port = 0

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"http://127.0.0.1:{self.port}"

    def next(self) -> Reply:
        """What to do now."""
        return self.replies.pop(0) if self.replies else self.otherwise


RESET = Reply(status=0, breaks=True)


@asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[Script]:
    """Serve on a free port while the block runs."""

    async def survive(stream: SocketStream) -> None:
        try:
            async with stream:
                while await _answer(stream, script):
                    pass
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError, h11.RemoteProtocolError):
            return  # the client has gone, or is meant to go

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        script.port = listener.extra(SocketAttribute.local_port)  # noqa: S610 -- a socket's attribute, no SQL
        tasks.start_soon(listener.serve, survive)
        yield script
        tasks.cancel_scope.cancel()


async def _answer(stream: SocketStream, script: Script) -> bool:
    http = h11.Connection(h11.SERVER)
    asked = await _read(stream, http)
    if asked is None:
        return False
    script.asked.append(asked)
    reply = script.next()
    await anyio.sleep(reply.wait)
    if reply.status == 0:
        _reset(stream)
        return False
    headers = [("Transfer-Encoding", "chunked"), *reply.headers.items()]
    await stream.send(http.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
    for piece in () if asked.method == "HEAD" else reply.pieces:
        await anyio.sleep(reply.pause)
        await stream.send(http.send(h11.Data(data=piece)) or b"")
    if reply.breaks:
        await anyio.sleep(reply.pause)
        _reset(stream)
        return False
    await stream.send(http.send(h11.EndOfMessage()) or b"")
    return http.our_state is not h11.MUST_CLOSE


async def _read(stream: SocketStream, http: h11.Connection) -> Asked | None:
    request: h11.Request | None = None
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                http.receive_data(await stream.receive())
            except anyio.EndOfStream:
                http.receive_data(b"")
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return None
    assert request is not None
    headers = {name.decode(): value.decode() for name, value in request.headers}
    return Asked(request.method.decode(), request.target.decode(), headers, body)


def _reset(stream: SocketStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 -- see above
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
