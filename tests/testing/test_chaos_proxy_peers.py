"""The chaos proxy between peers that people use: TLS, an HTTP client and server, blocking sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
import trustme
import uvicorn
from anyio.streams.tls import TLSStream
from chaos_peers import exactly, serving
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from resilio.testing.blocking_chaos_proxy import BlockingChaosProxy
from resilio.testing.chaos_proxy import ChaosProxy
from resilio.testing.toxics import BlackHole, Corrupt, Latency, LimitData, ResetPeer, Slicer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import SocketStream
    from starlette.requests import Request

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

Address = tuple[str, int]


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whoever signs the server's certificate."""
    return trustme.CA()


async def test_tls_passes_through(virtual_clock: VirtualClock, authority: trustme.CA) -> None:
    """The handshake and the data pass, cut into slices and late; the certificate is the server's own."""
    async with tls_echo(authority) as server, ChaosProxy(server) as proxy:
        proxy.add(Latency(2, jitter=1, direction="both"), Slicer(50, variation=49))
        async with await tls_client(proxy, authority) as client:
            await client.send(b"secret" * 1000)
            assert await exactly(client, 6000) == b"secret" * 1000
        assert virtual_clock.elapsed > 4
        assert sum(each.downstream_bytes for each in proxy.connections) > 6000


async def test_tls_notices_a_flipped_bit(authority: trustme.CA) -> None:
    """What a plain stream would swallow, TLS refuses."""
    async with tls_echo(authority) as server, ChaosProxy(server) as proxy:
        client = await tls_client(proxy, authority)
        proxy.add(Corrupt(1.0))
        await client.send(b"secret")
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
            await client.receive()
        await anyio.aclose_forcefully(client)


def tls_echo(authority: trustme.CA) -> AbstractAsyncContextManager[Address]:
    """An echo server that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def secret_echo(plain: SocketStream) -> None:
        async with plain:
            try:
                stream = await TLSStream.wrap(plain, ssl_context=context, standard_compatible=False)
                async for data in stream:
                    await stream.send(data)
            except (ssl.SSLError, anyio.BrokenResourceError):
                return  # the peer heard nonsense and left

    return serving(secret_echo)


async def tls_client(proxy: ChaosProxy, authority: trustme.CA) -> TLSStream:
    """A client that trusts the authority and asks for the server's own name."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return await anyio.connect_tcp(
        *proxy.address, ssl_context=context, tls_hostname="localhost", tls_standard_compatible=False
    )


# -- HTTP --------------------------------------------------------------------------------------------------------------


async def hello(_: Request) -> PlainTextResponse:
    """Six hundred bytes."""
    return PlainTextResponse("hello " * 100)


@pytest.fixture(scope="module")
def shop() -> Iterator[Address]:
    """A Starlette application served by uvicorn in a thread."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # connections that come before uvicorn is ready wait for it
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=[Route("/", hello)]), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(10)
    listening.close()


async def test_an_http_client_meets_each_fault(shop: Address) -> None:
    """The errors are the ones that httpx raises in production, and between them all is well."""
    async with ChaosProxy(shop) as proxy, httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}") as client:

        async def is_well() -> bool:
            return (await client.get("/")).text == "hello " * 100

        assert await is_well()
        with proxy.toxic(Slicer(10), Slicer(1, direction="upstream")):
            assert await is_well()
        with proxy.toxic(LimitData(300)), pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
        with proxy.toxic(ResetPeer()), pytest.raises(httpx.ReadError):
            await client.get("/")
        await proxy.down()
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        await proxy.up()
        assert await is_well()
        await proxy.cut()
        assert await is_well()


async def test_an_http_client_times_out_in_virtual_time(virtual_clock: VirtualClock, shop: Address) -> None:
    """An answer that never comes costs the client's whole patience, and the test none."""
    async with (
        ChaosProxy(shop) as proxy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.port}", timeout=300) as client,
    ):
        with proxy.toxic(BlackHole()), pytest.raises(httpx.ReadTimeout):
            await client.get("/")
        assert virtual_clock.elapsed == pytest.approx(300, abs=1)
        with virtual_clock.hold():  # nobody can tell how long uvicorn's thread takes
            assert (await client.get("/")).text == "hello " * 100


# -- without an event loop ---------------------------------------------------------------------------------------------


def ask(address: Address) -> bytes:
    """One HTTP request over a blocking socket."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer


def test_the_blocking_form_has_the_same_names(shop: Address) -> None:
    """A test without an event loop goes through every fault with plain sockets."""
    with BlockingChaosProxy(shop, seed=3) as proxy:
        assert ask(proxy.address).endswith(b"hello ")
        limit = LimitData(20)
        with proxy.toxic(limit):
            assert proxy.toxics == (limit,)
            assert ask((proxy.host, proxy.port)) == b"HTTP/1.1 200 OK\r\ndat"
        proxy.add(ResetPeer())
        with pytest.raises(ConnectionResetError):
            ask(proxy.address)
        proxy.remove(ResetPeer())
        proxy.down()
        assert not proxy.is_up
        with pytest.raises(ConnectionRefusedError):
            ask(proxy.address)
        proxy.up()
        assert proxy.is_up
        with socket.create_connection(proxy.address, timeout=10) as client:
            client.sendall(b"GET")
            while proxy.connections[-1].upstream_bytes < 3:
                pass
            assert proxy.cut() == 1
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        proxy.add(LimitData(0))
        proxy.reset()
        assert ask(proxy.address).endswith(b"hello ")
        outcomes = [each.outcome for each in proxy.connections]
        assert outcomes[:4] == ["closed", "LimitData(20)", "ResetPeer()", "cut"]
        assert "connection 4: cut" in proxy.describe()
    assert "down" in proxy.timeline()
    assert len(proxy.connections) == 5
    assert proxy.log[0].what == "opened"
    assert repr(proxy).startswith("<BlockingChaosProxy 127.0.0.1:")


def test_the_blocking_form_lets_errors_through(shop: Address) -> None:
    """From the block, from its methods, and when it does not run."""
    proxy = BlockingChaosProxy(shop)
    with pytest.raises(RuntimeError, match="enter it with `with` first"):
        proxy.cut()
    with pytest.raises(ZeroDivisionError), proxy:
        raise ZeroDivisionError
    with proxy, pytest.raises(ValueError, match="is not at work in this proxy"):
        proxy.remove(ResetPeer())
    with pytest.raises(ConnectionRefusedError):
        ask(proxy.address)


async def test_the_blocking_form_is_refused_in_an_event_loop(shop: Address) -> None:
    """It would block the loop; the async form is there for that."""
    with pytest.raises(RuntimeError, match="would block the event loop"):
        BlockingChaosProxy(shop).__enter__()
