"""Real peers for the tests of the chaos proxy: servers that do one simple thing, and ways to ask a client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from anyio.abc import ByteStream, SocketStream

    Address = tuple[str, int]


@asynccontextmanager
async def serving(handler: Callable[[SocketStream], Awaitable[object]]) -> AsyncIterator[Address]:
    """A TCP server on a free port of the loopback address, while the block runs."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, handler)
        yield "127.0.0.1", listener.extra(SocketAttribute.local_port)  # noqa: S610 -- a socket's attribute, no SQL
        tasks.cancel_scope.cancel()


async def echo(stream: ByteStream) -> None:
    """Send back what comes, to the end."""
    async with stream:
        try:
            async for data in stream:
                await stream.send(data)
            await stream.send_eof()
        except anyio.BrokenResourceError:
            return


def sending(data: bytes) -> Callable[[SocketStream], Awaitable[None]]:
    """A server that sends ``data`` and then hangs up."""

    async def send(stream: SocketStream) -> None:
        async with stream:
            try:
                await stream.send(data)
                await stream.send_eof()
                async for _ in stream:
                    pass
            except anyio.BrokenResourceError:
                return

    return send


class Collector:
    """A server that keeps what each connection sent, and how it ended."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.endings: list[str] = []
        self.ended = anyio.Event()

    async def __call__(self, stream: SocketStream) -> None:
        mine = len(self.received)
        self.received.append(b"")
        async with stream:
            ending = await ending_of(stream, lambda data: self._keep(mine, data))
        self.endings.append(ending)
        self.ended.set()

    def _keep(self, mine: int, data: bytes) -> None:
        self.received[mine] += data


async def ending_of(stream: ByteStream, keep: Callable[[bytes], object] = bool) -> str:
    """Read to the end, and tell what it was: ``"eof"``, or the error that the operating system gave."""
    try:
        while True:
            keep(await stream.receive())
    except anyio.EndOfStream:
        return "eof"
    except anyio.BrokenResourceError as error:
        return type(error.__cause__).__name__


async def everything(stream: ByteStream) -> bytes:
    """What comes until the end of the data."""
    data = bytearray()
    async for chunk in stream:
        data += chunk
    return bytes(data)


async def exactly(stream: ByteStream, count: int) -> bytes:
    """The next ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        data += await stream.receive(count - len(data))
    return bytes(data)
