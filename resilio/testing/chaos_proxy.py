"""A TCP proxy that misbehaves on purpose, in this process and on this event loop.

async with ChaosProxy(("127.0.0.1", port), seed=7) as proxy:
    client = await anyio.connect_tcp(*proxy.address)
    with proxy.toxic(Latency(2.0, jitter=0.5)):
        ...                                 # everything from the server takes two seconds
    await proxy.down()                      # connections are cut, and new ones refused
    await proxy.up()                        # on the same port
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import anyio

from resilio._core import clock, durations, events
from resilio.testing import proxy_sockets
from resilio.testing.proxy_connection import Connection, Engagement, ProxyConnection
from resilio.testing.toxics import Toxic

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from anyio.abc import TaskGroup

    from resilio.testing.proxy_sockets import Address

__all__ = ("ChaosProxy", "ProxyConnection", "ProxyEvent")

_LOG_LENGTH = 100_000
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEvent(events.Event):
    """Something that happened in a chaos proxy.

    Attributes:
        proxy: The proxy's address, ``host:port``.
        connection: The number of the connection that it happened to, from 1; None: to the proxy as a whole.
        what: What happened, such as ``"engaged Latency(2)"``.
        elapsed: Seconds since the proxy began, on the project's clock.
    """

    proxy: str
    connection: int | None
    what: str
    elapsed: float

    def __str__(self) -> str:
        who = "proxy" if self.connection is None else f"connection {self.connection}"
        return f"{self.elapsed:10.3f} s  {who}: {self.what}"


class ChaosProxy:
    """Stands between a client and a server, and does to their connections what networks do.

    It carries bytes, so anything that runs over TCP passes, TLS included. Toxics take effect on connections that are
    open already, too. What is drawn is keyed by the seed, the connection's number and the toxic's: connections do not
    change each other's fate. All waiting goes by the project's clock, so virtual time makes it instant. It holds
    64 KiB in each direction, and what a `Latency` is allowed to keep under way; past that the sender has to wait.

    Args:
        upstream: The server's host and port.
        seed: Whatever identifies the run; the same seed gives the same faults.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.

    Raises:
        TypeError: ``upstream`` is no pair of host and port.
        ValueError: A port is out of range.

    A proxy belongs to the event loop, asyncio or trio, in which it was entered, and must be used from that loop alone.
    Code without an event loop uses `resilio.testing.blocking_chaos_proxy.BlockingChaosProxy`. Everything that happens
    is also emitted as a `ProxyEvent`.
    """

    def __init__(
        self, upstream: tuple[str, int], *, seed: int | str = 0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        try:
            server, server_port = upstream
        except (TypeError, ValueError):
            msg = f"upstream must be a pair of host and port, such as ('127.0.0.1', 5432), not {upstream!r}"
            raise TypeError(msg) from None
        self.seed = seed
        self.upstream: tuple[str, int] = (
            server,
            durations.whole("upstream's port", server_port, at_least=1, at_most=_HIGHEST_PORT),
        )
        self.host = host
        self._port = durations.whole("port", port, at_least=0, at_most=_HIGHEST_PORT)
        self._begun: float | None = None
        self._tasks: TaskGroup | None = None
        self._door: _Door | None = None
        self._spare: socket.socket | None = None
        self._address: Address | None = None
        self._servers: list[Address] = []
        self._engaged: list[Engagement] = []
        self._added = 0
        self._accepted = 0
        self._live: dict[int, Connection] = {}
        self._past: deque[ProxyConnection] = deque(maxlen=_LOG_LENGTH)
        self._log: deque[ProxyEvent] = deque(maxlen=_LOG_LENGTH)

    # -- its life ------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that it listens on; the same for as long as the object lives.

        Raises:
            RuntimeError: The proxy was not entered yet, and was to take a free port.
        """
        if self._port == 0:
            self._refuse_when_outside()
        return self._port

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as a client's ``connect`` takes them."""
        return self.host, self.port

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            msg = "this chaos proxy is running already; make another one"
            raise RuntimeError(msg)
        self._servers = await proxy_sockets.resolved(*self.upstream)
        self._address = (await proxy_sockets.resolved(self.host, self._port))[0]
        self._begun = clock.monotonic()
        self._bind()
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        self._tasks = tasks
        self._open_door()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = self._tasks
        assert tasks is not None
        tasks.cancel_scope.cancel()
        try:
            # Without the block's error, which would come out wrapped in a group: a test wants its own.
            await tasks.__aexit__(None, None, None)
        finally:
            self._tasks = self._door = None
            if self._spare is not None:
                self._spare.close()

    async def down(self) -> None:
        """Cut all connections and refuse new ones, as when the server's process is gone. The port is kept."""
        self._refuse_when_outside()
        door = self._door
        assert door is not None
        if not door.scope.cancel_called:
            self.note("down")
            door.scope.cancel()
        await door.closed.wait()
        await self.cut()

    async def up(self) -> None:
        """Take connections again after `down`, on the same port."""
        self._refuse_when_outside()
        door = self._door
        assert door is not None
        if door.scope.cancel_called:
            await door.closed.wait()
            if self._door is door:  # nobody was quicker
                self._open_door()
                self.note("up")

    @property
    def is_up(self) -> bool:
        """Whether it takes connections."""
        return self._door is not None and not self._door.scope.cancel_called

    async def cut(self) -> int:
        """Break all present connections by an RST to both sides, and return how many there were."""
        self._refuse_when_outside()
        live = list(self._live.values())
        for each in live:
            each.end("cut", reset=True)
        for each in live:
            await each.over.wait()
        return len(live)

    # -- toxics --------------------------------------------------------------------------------------------------------

    def add(self, *toxics: Toxic) -> None:
        """Put toxics to work on present and future connections, after those that are at work already.

        Raises:
            TypeError: One of them is no toxic.
        """
        for each in toxics:
            if not isinstance(each, Toxic):
                msg = f"add takes toxics, such as Latency(0.5), not {each!r}"
                raise TypeError(msg)
        for each in toxics:
            self._added += 1
            engagement = Engagement(self._added, each)
            self._engaged.append(engagement)
            self.note(f"added {each}")
            for connection in list(self._live.values()):
                connection.engage(engagement)

    def remove(self, *toxics: Toxic) -> None:
        """Take toxics from work. What they delayed is still under way; what they dropped is lost.

        Raises:
            ValueError: One of them is not at work.
        """
        for each in toxics:
            found = [one for one in self._engaged if one.toxic is each] or [
                one for one in self._engaged if one.toxic == each
            ]
            if not found:
                msg = f"{each} is not at work in this proxy; at work: {', '.join(map(str, self.toxics)) or 'none'}"
                raise ValueError(msg)
            self._disengage(found[-1])

    @contextmanager
    def toxic(self, *toxics: Toxic) -> Iterator[None]:
        """Have toxics at work while the block runs. One that `reset` or `remove` took meanwhile does no harm."""
        before = self._added
        self.add(*toxics)
        mine = range(before + 1, self._added + 1)
        try:
            yield
        finally:
            for each in [one for one in self._engaged if one.number in mine]:
                self._disengage(each)

    def _disengage(self, engagement: Engagement) -> None:
        self._engaged.remove(engagement)
        self.note(f"removed {engagement.toxic}")
        for connection in list(self._live.values()):
            connection.disengage(engagement)

    async def reset(self) -> None:
        """Remove all toxics, and be `up`. Connections that still live go on."""
        self.remove(*self.toxics)
        await self.up()

    @property
    def toxics(self) -> tuple[Toxic, ...]:
        """The toxics at work, in the order in which data passes them."""
        return tuple(each.toxic for each in self._engaged)

    # -- what happened -------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> tuple[ProxyConnection, ...]:
        """What became of each connection, in the order of their numbers; of those that are over, the last 100 000."""
        records = [*self._past, *(each.record() for each in self._live.values())]
        return tuple(sorted(records, key=lambda each: each.number))

    @property
    def log(self) -> tuple[ProxyEvent, ...]:
        """What happened, oldest first; at most the last 100 000 events."""
        return tuple(self._log)

    def timeline(self) -> str:
        """One line for each event of the log."""
        return "\n".join(map(str, self._log)) or "nothing happened"

    def describe(self) -> str:
        """The addresses, the seed, the toxics at work and what became of each connection."""
        host, port = self.upstream
        lines = [f"chaos proxy {self.host}:{self._port} -> {host}:{port}, seed {self.seed!r}"]
        lines += [f"  toxic {each}" for each in self.toxics]
        for each in self.connections:
            by = f", by {', '.join(each.toxics)}" if each.toxics else ""
            carried = f"{each.upstream_bytes} bytes up, {each.downstream_bytes} down"
            lines.append(f"  connection {each.number}: {each.outcome or 'open'}, {carried}{by}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<ChaosProxy {self.host}:{self._port} -> {self.upstream[0]}:{self.upstream[1]}>"

    # -- for the connections -------------------------------------------------------------------------------------------

    def elapsed(self) -> float:
        """Seconds since the proxy was entered, on the project's clock."""
        return 0.0 if self._begun is None else clock.monotonic() - self._begun

    def note(self, what: str, connection: int | None = None) -> None:
        """Write an event into the log, and emit it."""
        event = ProxyEvent(proxy=f"{self.host}:{self._port}", connection=connection, what=what, elapsed=self.elapsed())
        self._log.append(event)
        if events.listeners:
            events.emit(event)

    # -- the door ------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        assert self._address is not None
        family, where = self._address
        self._spare = proxy_sockets.bound((family, (where[0], self._port, *where[2:])))
        self._port = self._spare.getsockname()[1]

    def _open_door(self) -> None:
        listener, self._spare = self._spare, None
        assert listener is not None
        assert self._tasks is not None
        proxy_sockets.listen(listener)
        self._door = _Door(listener, anyio.CancelScope(), anyio.Event())
        self._tasks.start_soon(self._keep, self._door, self._tasks)

    async def _keep(self, door: _Door, tasks: TaskGroup) -> None:
        try:
            with door.scope:
                while True:
                    client = await proxy_sockets.accepted(door.listener)
                    self._accepted += 1
                    connection = Connection(self, self._accepted, client)
                    self._live[connection.number] = connection
                    self.note("opened", connection.number)
                    tasks.start_soon(self._carry, connection)
        finally:
            # A listener cannot be told to stop listening. It is closed, and at once another socket takes its port,
            # so that nobody else gets it meanwhile.
            door.listener.close()
            self._bind()
            door.closed.set()

    async def _carry(self, connection: Connection) -> None:
        try:
            await connection.run(self._servers, self._engaged)
        finally:
            del self._live[connection.number]
            self._past.append(connection.record())

    def _refuse_when_outside(self) -> None:
        if self._tasks is None:
            msg = "this chaos proxy does not run: enter it with `async with` first"
            raise RuntimeError(msg)


@dataclass(frozen=True, slots=True, eq=False)
class _Door:
    """A socket that takes connections until its scope is cancelled."""

    listener: socket.socket
    scope: anyio.CancelScope
    closed: anyio.Event
