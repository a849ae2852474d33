"""The few things that the chaos proxy does with sockets, on any event loop.

Bare sockets and not the streams of anyio, because a proxy must be able to send a real RST, to close one direction and
keep the other, and to know exactly how much it holds.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TypeAlias

import anyio

Address: TypeAlias = tuple[socket.AddressFamily, tuple[object, ...]]

CHUNK = 65536
_BACKLOG = 1024
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK})
# What concerns a connection that is gone before it could be accepted, and not the listener.
_PASSING = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR})


def numeric(host: str, port: int) -> list[Address]:
    """The address of an IP address and a port, without asking anyone.

    Raises:
        OSError: ``host`` is a name.
    """
    return _addresses(host, port, socket.AI_NUMERICHOST)


async def resolved(host: str, port: int) -> list[Address]:
    """The addresses of ``host``, an IP address or a name.

    Raises:
        OSError: Nobody knows the name.
    """
    try:
        return numeric(host, port)
    except OSError:
        return await anyio.to_thread.run_sync(_addresses, host, port, 0)


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def bound(address: Address) -> socket.socket:
    """A socket that has its port and does not listen: whoever connects to it is refused.

    Raises:
        OSError: The port is taken.
    """
    family, where = address
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except BaseException:
        bound.close()
        raise
    return bound


def listen(bound: socket.socket) -> None:
    """Take connections from now on."""
    bound.listen(_BACKLOG)


async def accepted(listener: socket.socket) -> socket.socket:
    """The next connection."""
    while True:
        await anyio.wait_readable(listener)
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            continue
        return _ready(connection)


async def connected(addresses: list[Address]) -> socket.socket:
    """A connection to the first of ``addresses`` that takes one.

    Raises:
        OSError: None of them does; the error of the last one.
    """
    refusal: OSError | None = None
    for family, where in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            await _connect(connection, where)
        except OSError as error:
            connection.close()
            refusal = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refusal or OSError(errno.EADDRNOTAVAIL, "there is no address to connect to")


async def _connect(connection: socket.socket, where: tuple[object, ...]) -> None:
    _ready(connection)
    code = connection.connect_ex(where)
    if code in _UNDER_WAY:
        await anyio.wait_writable(connection)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def received(connection: socket.socket) -> bytes:
    """The next bytes that have come, at most `CHUNK`; none at the end of the data.

    Raises:
        OSError: The connection is broken.
    """
    while True:
        try:
            return connection.recv(CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(connection)


async def send(connection: socket.socket, data: bytes) -> None:
    """Send all of ``data``.

    Raises:
        OSError: The connection is broken.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[connection.send(rest) :]
        except BlockingIOError:
            await anyio.wait_writable(connection)


def close(connection: socket.socket, *, reset: bool) -> None:
    """Close the connection; with ``reset`` by an RST, which makes the other side's next use of it fail."""
    if reset:
        # Lingering for no time at all is how a socket is told to throw away what it holds and to say so.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _ready(connection: socket.socket) -> socket.socket:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # slices stay slices
    return connection
