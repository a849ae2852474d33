"""The chaos proxy for tests without an event loop.

with BlockingChaosProxy(("127.0.0.1", port)) as proxy:
    client = socket.create_connection(proxy.address)
    proxy.cut()
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from anyio.from_thread import start_blocking_portal

from resilio._core.drive import refuse_in_event_loop
from resilio.testing.chaos_proxy import ChaosProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.from_thread import BlockingPortal

    from resilio.testing.chaos_proxy import ProxyConnection, ProxyEvent
    from resilio.testing.toxics import Toxic

T = TypeVar("T")


class BlockingChaosProxy:
    """A `ChaosProxy` on an event loop of its own in a background thread, from `with` to the end of the block.

    Same arguments, names and results, without ``await``. Safe to use from any thread that runs no event loop. Delays
    go by the project's clock as it is in that thread: real time, unless a test's clock says otherwise.

    Args:
        upstream: The server's host and port.
        seed: Whatever identifies the run; the same seed gives the same faults.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.

    Raises:
        TypeError: ``upstream`` is no pair of host and port.
        ValueError: A port is out of range.
    """

    def __init__(
        self, upstream: tuple[str, int], *, seed: int | str = 0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._proxy = ChaosProxy(upstream, seed=seed, host=host, port=port)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self.upstream: tuple[str, int] = self._proxy.upstream
        self.seed = seed
        self.host = host

    def __enter__(self) -> Self:
        refuse_in_event_loop("BlockingChaosProxy")
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            stack.enter_context(portal.wrap_async_context_manager(self._proxy))
            self._stack = stack.pop_all()
        self._portal = portal
        return self

    def __exit__(self, *_: object) -> None:
        self._portal = None
        self._stack.close()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._proxy.port

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as ``socket.create_connection`` takes them."""
        return self._proxy.address

    @property
    def is_up(self) -> bool:
        """Whether it takes connections."""
        return self._read(lambda: self._proxy.is_up)

    def down(self) -> None:
        """Cut all connections and refuse new ones, as when the server's process is gone. The port is kept."""
        self._running.call(self._proxy.down)

    def up(self) -> None:
        """Take connections again after `down`, on the same port."""
        self._running.call(self._proxy.up)

    def cut(self) -> int:
        """Break all present connections by an RST to both sides, and return how many there were."""
        return self._running.call(self._proxy.cut)

    def reset(self) -> None:
        """Remove all toxics, and be `up`."""
        self._running.call(self._proxy.reset)

    def add(self, *toxics: Toxic) -> None:
        """Put toxics to work on present and future connections."""
        self._running.call(lambda: self._proxy.add(*toxics))

    def remove(self, *toxics: Toxic) -> None:
        """Take toxics from work; see [ChaosProxy.remove][resilio.testing.chaos_proxy.ChaosProxy.remove]."""
        self._running.call(lambda: self._proxy.remove(*toxics))

    @contextmanager
    def toxic(self, *toxics: Toxic) -> Iterator[None]:
        """Have toxics at work while the block runs."""
        block = self._proxy.toxic(*toxics)
        self._running.call(block.__enter__)
        try:
            yield
        finally:
            self._running.call(lambda: block.__exit__(None, None, None))

    @property
    def toxics(self) -> tuple[Toxic, ...]:
        """The toxics at work, in the order in which data passes them."""
        return self._read(lambda: self._proxy.toxics)

    @property
    def connections(self) -> tuple[ProxyConnection, ...]:
        """What became of each connection, in the order of their numbers."""
        return self._read(lambda: self._proxy.connections)

    @property
    def log(self) -> tuple[ProxyEvent, ...]:
        """What happened, oldest first."""
        return self._read(lambda: self._proxy.log)

    def timeline(self) -> str:
        """One line for each event of the log."""
        return "\n".join(map(str, self.log)) or "nothing happened"

    def describe(self) -> str:
        """The addresses, the seed, the toxics at work and what became of each connection."""
        return self._read(self._proxy.describe)

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._proxy)[1:]}"

    @property
    def _running(self) -> BlockingPortal:
        if self._portal is None:
            msg = "this chaos proxy does not run: enter it with `with` first"
            raise RuntimeError(msg)
        return self._portal

    def _read(self, fn: Callable[[], T]) -> T:
        return fn() if self._portal is None else self._portal.call(fn)
