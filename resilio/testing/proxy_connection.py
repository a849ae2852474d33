"""One connection through the chaos proxy: two pipes, and how it ends."""

from __future__ import annotations

import random
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.lowlevel

from resilio._core import clock
from resilio.testing import proxy_sockets
from resilio.testing.proxy_pieces import Deadline, Ending, Piece, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import TaskGroup

    from resilio.testing.proxy_sockets import Address
    from resilio.testing.toxics import Toxic

_HELD = proxy_sockets.CHUNK


@dataclass(frozen=True, slots=True, eq=False)
class Engagement:
    """A toxic that was added to a proxy, and the how-manieth it was."""

    number: int
    toxic: Toxic


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConnection:
    """What became of a connection.

    Attributes:
        number: The connection's number, from 1, in the order in which they came.
        opened: When it came, in seconds since the proxy began.
        closed: When it was over; None while it goes on.
        outcome: How it ended, such as ``"closed"``, ``"reset by the client"`` or ``"cut"``; None while it goes on.
        upstream_bytes: Bytes handed on to the server.
        downstream_bytes: Bytes handed on to the client.
        toxics: The toxics that worked on it, as they are written.
    """

    number: int
    opened: float
    closed: float | None
    outcome: str | None
    upstream_bytes: int
    downstream_bytes: int
    toxics: tuple[str, ...]


class Host(Protocol):
    """What a connection needs of its proxy."""

    seed: int | str

    def elapsed(self) -> float:
        """Seconds since the proxy began."""

    def note(self, what: str, connection: int) -> None:
        """Write into the proxy's log."""


class _Pipe:
    """One direction: reads on one side, holds what is not due yet, writes on the other."""

    def __init__(self, name: str, source: str, target: str) -> None:
        self.name = name
        self.sent = 0
        self.stages: dict[int, Stage] = {}
        self._source, self._target = source, target
        self._waiting: deque[Piece] = deque()
        self._held = 0
        self._changed = anyio.Event()

    async def read(self, source: socket.socket, connection: Connection) -> None:
        """Take in data until there is no more; no more than may be held."""
        try:
            while True:
                while self._held >= _HELD + sum(stage.buffer for stage in self.stages.values()):
                    await self._change()
                data = await proxy_sockets.received(source)
                self.take_in([Piece(data, clock.monotonic(), None if data else Ending.EOF)], self.stages.values())
                if not data:
                    return
        except OSError:
            connection.end(f"reset by the {self._source}", reset=True)

    def take_in(self, pieces: Iterable[Piece], stages: Iterable[Stage]) -> None:
        """Send ``pieces`` through ``stages`` and hold what comes out until it is due."""
        for stage in stages:
            pieces = [out for piece in pieces for out in stage.feed(piece)]
        for piece in pieces:
            # In a queue bytes keep their order, whatever the toxics say and whichever come and go meanwhile.
            self._waiting.append(piece)
            self._held += len(piece.data)
        self.stir()

    async def write(self, target: socket.socket, connection: Connection) -> None:
        """Hand on each piece when it is due, up to the end of the data."""
        try:
            while True:
                while not self._waiting:
                    await self._change()
                piece = self._waiting[0]
                wait = piece.due - clock.monotonic()
                if wait > 0:
                    await clock.sleep(wait)
                await proxy_sockets.send(target, piece.data)
                self._waiting.popleft()
                self._held -= len(piece.data)
                self.sent += len(piece.data)
                self.stir()
                if piece.ending is Ending.EOF:
                    target.shutdown(socket.SHUT_WR)
                    return
                if piece.ending is not None:
                    connection.end(piece.reason, reset=piece.ending is Ending.RESET)
                    return
        except OSError:
            connection.end(f"reset by the {self._target}", reset=True)

    def stir(self) -> None:
        """Let the reader and the writer look again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def _change(self) -> None:
        await self._changed.wait()


class Connection:
    """A client's connection and the one to the server that goes with it. Belongs to one event loop.

    Args:
        host: The proxy.
        number: The connection's number, from 1.
        client: The accepted socket.
    """

    def __init__(self, host: Host, number: int, client: socket.socket) -> None:
        self.number = number
        self.over: anyio.Event = anyio.Event()
        self._host = host
        self._client = client
        self._opened = host.elapsed()
        self._closed: float | None = None
        self._outcome: str | None = None
        self._reset = False
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._upstream = _Pipe("upstream", "client", "server")
        self._downstream = _Pipe("downstream", "server", "client")
        self._timers: dict[int, list[anyio.CancelScope]] = {}
        self._toxics: list[str] = []

    def record(self) -> ProxyConnection:
        """The connection as it stands."""
        return ProxyConnection(
            number=self.number,
            opened=self._opened,
            closed=self._closed,
            outcome=self._outcome if self._closed is not None else None,
            upstream_bytes=self._upstream.sent,
            downstream_bytes=self._downstream.sent,
            toxics=tuple(self._toxics),
        )

    async def run(self, upstream: list[Address], engaged: Iterable[Engagement]) -> None:
        """Carry the connection until it ends, one way or another.

        Args:
            upstream: The server's addresses, tried in turn.
            engaged: The toxics at work; looked at once the server took the connection.
        """
        server: socket.socket | None = None
        try:
            with self._scope:
                try:
                    server = await proxy_sockets.connected(upstream)
                except OSError as error:
                    self.end(f"the server could not be reached: {error.strerror or error}", reset=True)
                else:
                    await self._carry(server, engaged)
                    self.end("closed", reset=False)
        finally:
            self._outcome = self._outcome or "closed with the proxy"
            for each in (self._client, server):
                if each is not None:
                    proxy_sockets.close(each, reset=self._reset)
            self._closed = self._host.elapsed()
            self._host.note(
                f"{self._outcome}; {self._upstream.sent} bytes up, {self._downstream.sent} down", self.number
            )
            self.over.set()

    def end(self, outcome: str, *, reset: bool) -> None:
        """Let the connection end; the first reason counts."""
        if self._outcome is None:
            self._outcome, self._reset = outcome, reset
            self._scope.cancel()

    def engage(self, engagement: Engagement) -> None:
        """Put a toxic to work, if its dice say so and the connection is up."""
        toxic = engagement.toxic
        key = f"{self._host.seed}/{self.number}/{engagement.number}"
        if self._tasks is None or random.Random(key).random() >= toxic.toxicity:  # noqa: S311 -- seeded on purpose
            return
        self._toxics.append(str(toxic))
        self._host.note(f"engaged {toxic}", self.number)
        for pipe in (self._upstream, self._downstream):
            if toxic.direction in {pipe.name, "both"}:
                stage = toxic.stage(f"{key}/{pipe.name}")
                pipe.stages[engagement.number] = stage
                pipe.stir()
                if stage.deadline is not None:
                    self._start_timer(engagement, stage.deadline)

    def disengage(self, engagement: Engagement) -> None:
        """Take a toxic from work; what is under way already stays under way."""
        for scope in self._timers.pop(engagement.number, ()):
            scope.cancel()
        for pipe in (self._upstream, self._downstream):
            stage = pipe.stages.get(engagement.number)
            if stage is not None:
                numbers = list(pipe.stages)
                later = [pipe.stages[each] for each in numbers[numbers.index(engagement.number) + 1 :]]
                del pipe.stages[engagement.number]
                pipe.take_in(stage.leave(clock.monotonic()), later)

    async def _carry(self, server: socket.socket, engaged: Iterable[Engagement]) -> None:
        async with anyio.create_task_group() as self._tasks:
            for each in engaged:
                self.engage(each)
            await anyio.lowlevel.checkpoint()  # a connection that is to end at once carries nothing
            async with anyio.create_task_group() as pumps:
                pumps.start_soon(self._upstream.read, self._client, self)
                pumps.start_soon(self._upstream.write, server, self)
                pumps.start_soon(self._downstream.read, server, self)
                pumps.start_soon(self._downstream.write, self._client, self)
            self._tasks.cancel_scope.cancel()

    def _start_timer(self, engagement: Engagement, deadline: Deadline) -> None:
        assert self._tasks is not None
        if deadline.delay == 0:
            self._time_is_up(engagement.toxic, deadline)
            return
        scope = anyio.CancelScope()
        self._timers.setdefault(engagement.number, []).append(scope)
        self._tasks.start_soon(self._wait_for, deadline, engagement.toxic, scope)

    async def _wait_for(self, deadline: Deadline, toxic: Toxic, scope: anyio.CancelScope) -> None:
        with scope:
            await clock.sleep(deadline.delay)
            self._time_is_up(toxic, deadline)

    def _time_is_up(self, toxic: Toxic, deadline: Deadline) -> None:
        self.end(str(toxic), reset=deadline.ending is Ending.RESET)
