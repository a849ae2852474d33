"""The chaos proxy itself: what it carries, how it goes down and comes up, what it tells."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import pytest
from chaos_peers import Collector, echo, ending_of, everything, exactly, sending, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilio._core import clock, events
from resilio.testing.chaos_proxy import ChaosProxy, ProxyEvent
from resilio.testing.toxics import Bandwidth, BlackHole, Corrupt, Latency, LimitData, ResetPeer, Slicer

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

NOBODY = ("127.0.0.1", 1)  # a port that no test listens on


async def test_bytes_pass_both_ways() -> None:
    """Without a toxic the proxy is not there."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        assert proxy.host == "127.0.0.1"
        assert proxy.address == ("127.0.0.1", proxy.port)
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"hello")
            assert await exactly(client, 5) == b"hello"
            await client.send_eof()
            assert await client_is_over(client)
        await over(proxy)
        (record,) = proxy.connections
        assert (record.outcome, record.upstream_bytes, record.downstream_bytes) == ("closed", 5, 5)


async def test_one_direction_may_end_before_the_other() -> None:
    """After the client has said all, the server may go on: the end of data passes each way by itself."""
    collected = b""

    async def answer_late(stream: SocketStream) -> None:
        nonlocal collected
        async with stream:
            collected = await everything(stream)
            await stream.send(b"got " + collected)

    async with serving(answer_late) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"all")
            await client.send_eof()
            assert await everything(client) == b"got all"


async def test_much_data_passes_whole() -> None:
    """Eight megabytes there and back, while both sides send at once."""
    data = bytes(range(256)) * 4096 * 8
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client, anyio.create_task_group() as tasks:

            async def send() -> None:
                await client.send(data)
                await client.send_eof()

            tasks.start_soon(send)
            assert await everything(client) == data


async def test_a_slow_reader_makes_the_sender_wait() -> None:
    """The proxy holds no more than it says, whatever the server would like to send."""
    sent = 0

    async def pour(stream: SocketStream) -> None:
        nonlocal sent
        async with stream:
            try:
                for _ in range(1024):
                    await stream.send(bytes(65536))
                    sent += 65536
            except anyio.BrokenResourceError:
                return

    async with serving(pour) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.receive()
            before = -1
            while before != sent:
                before = sent
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
            held = proxy._live[1]._downstream._held
            assert held <= 2 * 65536
            assert sent < 1024 * 65536
        await proxy.cut()


@pytest.mark.slow("megabytes through real sockets")
async def test_latency_holds_no_more_than_its_buffer(virtual_clock: VirtualClock) -> None:
    """A long line fills up, and then its sender has to wait."""
    data = bytes(3_000_000)
    async with serving(sending(data)) as server, ChaosProxy(server) as proxy:
        proxy.add(Latency(10, buffer=100_000))
        async with await anyio.connect_tcp(*proxy.address) as client:
            most = 0

            async def watch() -> None:
                nonlocal most
                while True:
                    most = max(most, *(each._downstream._held for each in proxy._live.values()), 0)
                    await clock.sleep(1)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                assert await everything(client) == data
                tasks.cancel_scope.cancel()
        assert 100_000 <= most <= 100_000 + 2 * 65536
        # Each fill of the line takes ten seconds.
        assert virtual_clock.elapsed >= 10 * (len(data) // (100_000 + 2 * 65536))


async def test_many_connections_at_once() -> None:
    """Each has its own bytes and its own number."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        answers: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            async with await anyio.connect_tcp(*proxy.address) as client:
                await client.send(b"%d" % number)
                await client.send_eof()
                answers[number] = await everything(client)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(ask, number)
        assert answers == {number: b"%d" % number for number in range(40)}
        await over(proxy)
        assert [each.number for each in proxy.connections] == list(range(1, 41))
        assert {each.outcome for each in proxy.connections} == {"closed"}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.binary(max_size=5000),
    st.lists(
        st.sampled_from(
            [
                Latency(1.0, jitter=1.0, direction="both"),
                Bandwidth(2000, direction="upstream"),
                Bandwidth(500.0),
                Slicer(100, variation=99, delay=0.1, direction="both"),
                Slicer(7),
                LimitData(5001, direction="both"),
                ResetPeer(1e6),
            ]
        ),
        max_size=4,
    ),
)
@pytest.mark.slow("fifteen runs through real sockets")
async def test_what_harms_no_data_keeps_every_byte(
    virtual_clock: VirtualClock, data: bytes, toxics: list[Latency | Bandwidth | Slicer | LimitData | ResetPeer]
) -> None:
    """Bytes in are bytes out, through any row of toxics that delay or cut up."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        proxy.add(*toxics)
        async with await anyio.connect_tcp(*proxy.address) as client:
            if data:
                await client.send(data)
            await client.send_eof()
            assert await everything(client) == data


# -- down, up, cut -----------------------------------------------------------------------------------------------------


async def test_down_refuses_for_real_and_up_comes_back() -> None:
    """A connection is refused by the operating system, present ones are reset, and the port stays the same."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        port = proxy.port
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"a")
            await exactly(client, 1)
            await proxy.down()
            assert not proxy.is_up
            assert await ending_of(client) == "ConnectionResetError"
        for _ in range(2):
            assert await refusal(proxy) == "ConnectionRefusedError"
            await proxy.down()  # twice does no harm
        await proxy.up()
        await proxy.up()
        assert proxy.is_up
        assert proxy.port == port
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"b")
            assert await exactly(client, 1) == b"b"


async def test_the_port_is_kept_while_the_proxy_is_down() -> None:
    """Nobody else can take it meanwhile."""
    async with ChaosProxy(NOBODY) as proxy:
        await proxy.down()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(proxy.address)


async def test_cut_resets_both_sides() -> None:
    """Client and server see a reset; the proxy goes on taking connections."""
    collector = Collector()
    async with serving(collector) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"partly")
            while collector.received != [b"partly"]:
                await anyio.lowlevel.checkpoint()
            assert await proxy.cut() == 1
            assert await ending_of(client) == "ConnectionResetError"
            await collector.ended.wait()
            assert collector.endings == ["ConnectionResetError"]
        assert proxy.connections[0].outcome == "cut"
        assert await proxy.cut() == 0
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"again")
            while collector.received != [b"partly", b"again"]:
                await anyio.lowlevel.checkpoint()


async def test_down_and_up_by_several_tasks_at_once() -> None:
    """Whoever comes second waits for the first, and nobody listens twice."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(proxy.down)
                tasks.start_soon(proxy.down)
            assert await refusal(proxy) == "ConnectionRefusedError"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(proxy.up)
                tasks.start_soon(proxy.up)
            async with await anyio.connect_tcp(*proxy.address) as client:
                await client.send(b"b")
                assert await exactly(client, 1) == b"b"


async def test_reset_removes_every_toxic_and_comes_up() -> None:
    """The connection that suffered goes on unharmed."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            proxy.add(BlackHole(), Corrupt(1.0, direction="upstream"))
            await client.send(b"lost")
            while proxy.connections[0].upstream_bytes < 4:
                await anyio.lowlevel.checkpoint()
            await proxy.reset()
            assert proxy.toxics == ()
        await proxy.down()
        await proxy.reset()
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"whole")
            assert await exactly(client, 5) == b"whole"


async def test_a_server_that_cannot_be_reached_resets_the_client() -> None:
    """As near as a proxy comes to a refusal, and the log says why."""
    async with ChaosProxy(NOBODY) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            assert await ending_of(client) == "ConnectionResetError"
        await over(proxy)
        assert proxy.connections[0].outcome == "the server could not be reached: Connection refused"


async def test_a_reset_by_one_side_reaches_the_other() -> None:
    """A client that dies is no client that says goodbye."""
    collector = Collector()
    async with serving(collector) as server, ChaosProxy(server) as proxy:
        client = socket.create_connection(proxy.address)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        while not collector.received:
            await anyio.lowlevel.checkpoint()
        client.close()
        await collector.ended.wait()
        assert collector.endings == ["ConnectionResetError"]
        await over(proxy)
        assert proxy.connections[0].outcome == "reset by the client"


async def test_a_client_that_reads_no_more_resets_the_server() -> None:
    """The proxy notices when it hands on data to a client that is gone."""
    async with serving(sending(bytes(2_000_000))) as server, ChaosProxy(server) as proxy:
        client = socket.create_connection(proxy.address)
        client.close()
        await over(proxy)
        assert proxy.connections[0].outcome == "reset by the client"


# -- its life ----------------------------------------------------------------------------------------------------------


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    """No group is wrapped around it, and everything is closed."""
    async with serving(echo) as server:
        proxy = ChaosProxy(server)
        clients = []

        async def failing_test() -> None:
            async with proxy:
                clients.append(await anyio.connect_tcp(*proxy.address))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await failing_test()
        async with clients[0] as client:
            assert await ending_of(client) in {"eof", "ConnectionResetError"}
        assert await refusal(proxy) == "ConnectionRefusedError"


async def test_cancellation_closes_everything(virtual_clock: VirtualClock) -> None:
    """A test that runs out of time leaves no socket behind."""
    async with serving(echo) as server:
        with anyio.move_on_after(5) as scope:
            async with ChaosProxy(server) as proxy, await anyio.connect_tcp(*proxy.address):
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert await refusal(proxy) == "ConnectionRefusedError"
        assert [each.outcome for each in proxy.connections] in (["closed"], ["closed with the proxy"])


async def test_a_proxy_may_be_entered_again() -> None:
    """One at a time; it keeps its port, its toxics and its count."""
    async with serving(echo) as server:
        proxy = ChaosProxy(server)
        proxy.add(LimitData(2))
        ports = set()
        for _ in range(2):
            async with proxy:
                ports.add(proxy.port)
                with pytest.raises(RuntimeError, match="is running already"):
                    await proxy.__aenter__()
                async with await anyio.connect_tcp(*proxy.address) as client:
                    await client.send(b"abc")
                    assert await everything(client) == b"ab"
        assert len(ports) == 1
        assert [each.number for each in proxy.connections] == [1, 2]


async def test_a_proxy_that_does_not_run_says_so() -> None:
    """Before it is entered there is no port and nothing to cut."""
    proxy = ChaosProxy(NOBODY)
    with pytest.raises(RuntimeError, match="enter it with `async with` first"):
        _ = proxy.port
    for method in (proxy.down, proxy.up, proxy.cut, proxy.reset):
        with pytest.raises(RuntimeError, match="does not run"):
            await method()
    assert not proxy.is_up
    assert proxy.timeline() == "nothing happened"


async def test_a_port_that_is_taken_is_an_error() -> None:
    """It comes from entering, and names the port's trouble."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            async with ChaosProxy(NOBODY, port=other.getsockname()[1]):
                pass  # pragma: no cover -- it is not entered


async def test_names_are_looked_up(virtual_clock: VirtualClock) -> None:
    """The server may be given by name; a name that nobody knows is an error when the proxy is entered."""
    async with serving(echo) as (_, port), ChaosProxy(("localhost", port)) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"a")
            assert await exactly(client, 1) == b"a"
    with pytest.raises(OSError, match=r"not known|No address|failure|resolution"):
        await ChaosProxy(("no-such-host.invalid", port)).__aenter__()


def test_arguments_are_checked() -> None:
    """Under their own names."""
    with pytest.raises(TypeError, match="upstream must be a pair of host and port"):
        ChaosProxy("127.0.0.1:80")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="upstream must be a pair of host and port"):
        ChaosProxy(80)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="upstream's port must be a whole number, at least 1 and at most 65535"):
        ChaosProxy(("127.0.0.1", 0))
    with pytest.raises(ValueError, match="port must be a whole number, at least 0 and at most 65535"):
        ChaosProxy(NOBODY, port=65536)
    proxy = ChaosProxy(NOBODY)
    with pytest.raises(TypeError, match=r"add takes toxics, such as Latency\(0\.5\), not <class"):
        proxy.add(Latency)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Latency\(1\) is not at work in this proxy; at work: none"):
        proxy.remove(Latency(1))
    proxy.add(Corrupt(1.0), Corrupt(1.0))
    with pytest.raises(ValueError, match=r"at work: Corrupt\(1\), Corrupt\(1\)"):
        proxy.remove(Latency(1))
    proxy.remove(Corrupt(1.0))
    assert proxy.toxics == (Corrupt(1.0),)


# -- what it tells -----------------------------------------------------------------------------------------------------


async def test_it_tells_what_happened_when(virtual_clock: VirtualClock) -> None:
    """Typed events in order, on the project's clock, and emitted as well."""
    heard: list[ProxyEvent] = []
    with events.subscribe(heard.append, ProxyEvent):
        async with serving(echo) as server, ChaosProxy(server, seed=9) as proxy:
            async with await anyio.connect_tcp(*proxy.address) as client:
                await client.send(b"a")
                await exactly(client, 1)
                with proxy.toxic(Latency(2.0)):
                    await client.send(b"b")
                    await exactly(client, 1)
                await proxy.down()
            await clock.sleep(1)
            await proxy.up()
            told = [(round(each.elapsed, 6), each.connection, each.what) for each in proxy.log]
            assert told == [
                (0, 1, "opened"),
                (0, None, "added Latency(2)"),
                (0, 1, "engaged Latency(2)"),
                (2, None, "removed Latency(2)"),
                (2, None, "down"),
                (2, 1, "cut; 2 bytes up, 2 down"),
                (3, None, "up"),
            ]
            assert tuple(heard) == proxy.log
            assert proxy.timeline().splitlines()[5] == "     2.000 s  connection 1: cut; 2 bytes up, 2 down"
            host, port = server
            assert proxy.describe() == (
                f"chaos proxy 127.0.0.1:{proxy.port} -> {host}:{port}, seed 9\n"
                "  connection 1: cut, 2 bytes up, 2 down, by Latency(2)"
            )
            assert repr(proxy) == f"<ChaosProxy 127.0.0.1:{proxy.port} -> {host}:{port}>"
            assert proxy.connections[0].closed == pytest.approx(2)


async def test_an_open_connection_is_told_of_too() -> None:
    """As it stands."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            proxy.add(Slicer(1))
            await client.send(b"abc")
            await exactly(client, 3)
            (record,) = proxy.connections
            assert (record.outcome, record.closed, record.downstream_bytes) == (None, None, 3)
            assert "  toxic Slicer(1)\n  connection 1: open, 3 bytes up, 3 down, by Slicer(1)" in proxy.describe()


# -- asking ------------------------------------------------------------------------------------------------------------


async def client_is_over(client: SocketStream) -> bool:
    """Whether the client sees the end of the data."""
    return await ending_of(client) == "eof"


async def over(proxy: ChaosProxy) -> None:
    """Wait until no connection is open."""
    while not proxy.connections or any(each.closed is None for each in proxy.connections):
        await anyio.lowlevel.checkpoint()


async def refusal(proxy: ChaosProxy) -> str:
    """The operating system's answer to a new connection."""
    try:
        stream = await anyio.connect_tcp(*proxy.address)
    except OSError as error:
        return type(error.__cause__ or error).__name__
    await stream.aclose()
    return "taken"
