"""A small HTTP server on the test's own event loop: real sockets, real HTTP."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import h11
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from anyio.abc import SocketStream


@asynccontextmanager
async def small_server(handle: Callable[[bytes], None]) -> AsyncGenerator[tuple[str, int]]:
    """Serve on a free port while the block runs: each request's body goes to ``handle``, each answer is 204."""

    async def converse(stream: SocketStream) -> None:
        async with stream:
            http = h11.Connection(h11.SERVER)
            while http.our_state is not h11.MUST_CLOSE:
                body = b""
                while not isinstance(event := http.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        try:
                            http.receive_data(await stream.receive())
                        except anyio.EndOfStream:
                            return
                    elif isinstance(event, h11.Data):
                        body += event.data
                handle(body)
                answer = [h11.Response(status_code=204, headers=[]), h11.EndOfMessage()]
                await stream.send(b"".join(http.send(each) or b"" for each in answer))
                http.start_next_cycle()

    async def survive(stream: SocketStream) -> None:
        try:
            await converse(stream)
        except anyio.BrokenResourceError as error:
            print(f"a connection broke: {error!r}")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, survive)
        yield "127.0.0.1", listener.extra(SocketAttribute.local_port)  # noqa: S610 -- no Django here
        group.cancel_scope.cancel()
