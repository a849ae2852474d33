"""Whether bytes are on their way to a socket that somebody waits on, so that virtual time must stand still for them.

The kernel is asked what each TCP connection has sent and received. Where both ends are in this process, that tells
exactly whether anything is under way. Where the other end is elsewhere, an answer is expected for ``grace`` real
seconds after something was sent, and more of it for a tenth of that after something came.

Only Linux tells as much. On other systems the answer is always "nothing": hold the clock around I/O there.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from resilio.testing._timeline import real_time

if TYPE_CHECKING:
    from collections.abc import Iterable

_Address: TypeAlias = tuple[str, int]
_Ends: TypeAlias = tuple[_Address, _Address]

_OPEN = frozenset({1, 4, 5})  # established, and half closed by us: something may still come
_CONNECTING = 2


class _Connection(NamedTuple):
    """What the kernel says of one end of a TCP connection."""

    ends: _Ends
    state: int
    sent: int
    received: int
    sent_ago: float
    received_ago: float


class _Exchange:
    """What was seen of a connection to elsewhere so far."""

    __slots__ = ("received", "sent", "until")

    def __init__(self, connection: _Connection, now: float, grace: float) -> None:
        self.sent = connection.sent
        self.received = connection.received
        if connection.state == _CONNECTING:
            self.until = now + grace
        elif connection.sent_ago <= connection.received_ago:
            self.until = now + grace - connection.sent_ago
        else:
            self.until = now + grace / 10 - connection.received_ago

    def update(self, connection: _Connection, now: float, grace: float) -> None:
        """Take in what happened since the last look."""
        if connection.sent != self.sent:
            self.until = now + grace
        elif connection.received != self.received:
            self.until = now + grace / 10
        self.sent, self.received = connection.sent, connection.received


class Wire:
    """The TCP connections of one event loop.

    Args:
        grace: Real seconds that an answer from another process may take.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._exchanges: dict[_Ends, _Exchange] = {}
        self._other_ends: dict[_Ends, int] = {}

    def is_busy(self, descriptors: Iterable[int]) -> bool:
        """Tell whether something may be on its way to any of these file descriptors."""
        connections = [connection for fd in descriptors if (connection := _inspect(fd)) is not None]
        now = real_time()
        busy = False
        for connection in connections:  # all of them, so that each exchange is followed
            busy |= self._may_receive(connection, now)
        return busy

    def _may_receive(self, here: _Connection, now: float) -> bool:
        exchange = self._exchanges.get(here.ends)
        if exchange is None:
            exchange = self._exchanges[here.ends] = _Exchange(here, now, self._grace)
        else:
            exchange.update(here, now, self._grace)
        there = self._other_end(here.ends, search=now < exchange.until)
        if there is not None:
            return there.sent > here.received or here.sent > there.received
        return now < exchange.until

    def _other_end(self, ends: _Ends, *, search: bool) -> _Connection | None:
        wanted = (ends[1], ends[0])
        known = self._other_ends.pop(ends, None)
        candidates: list[int] = [] if known is None else [known]
        if search:
            candidates += (int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 -- numbers, no paths
        for fd in candidates:
            connection = _inspect(fd)
            if connection is not None and connection.ends == wanted:
                self._other_ends[ends] = fd
                return connection
        return None


_INFO = struct.Struct("@B 43x I 4x I 72x Q 64x Q Q")  # of `struct tcp_info` in linux/tcp.h, up to bytes_retrans


def _inspect(fd: int) -> _Connection | None:
    """What the kernel says of ``fd``; None unless it is a TCP connection through which something may still come."""
    if sys.platform != "linux":
        return None
    try:
        # An object around the number, to ask with; it lets go of it in the end. Whatever family it really is of, this
        # one makes room for the longer addresses.
        end = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, fileno=fd)
    except OSError:
        return None
    try:
        info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        if len(info) < _INFO.size:
            return None  # a kernel before 4.19
        state, sent_ago, received_ago, received, sent, sent_again = _INFO.unpack(info)
        if state not in _OPEN and state != _CONNECTING:
            return None
        ends = (_address(end.getsockname()), _address(end.getpeername()) if state != _CONNECTING else ("", 0))
    except OSError:
        return None
    else:
        return _Connection(ends, state, sent - sent_again, received, sent_ago / 1000, received_ago / 1000)
    finally:
        end.detach()


def _address(name: tuple[str, int]) -> _Address:
    # A dual-stack server sees its IPv4 clients under mapped addresses.
    return name[0].removeprefix("::ffff:"), name[1]
