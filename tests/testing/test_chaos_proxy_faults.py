"""Each toxic on real sockets, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import anyio
import pytest
from chaos_peers import Collector, echo, ending_of, everything, exactly, sending, serving

from resilio._core import clock
from resilio.testing.chaos_proxy import ChaosProxy
from resilio.testing.toxics import Bandwidth, BlackHole, Corrupt, Latency, LimitData, ResetPeer, Slicer, SlowClose

if TYPE_CHECKING:
    from anyio.abc import SocketStream

    from resilio.testing.proxy_pieces import Direction
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("direction", "seconds"), [("upstream", 2), ("downstream", 2), ("both", 4)])
async def test_latency_delays_its_direction(virtual_clock: VirtualClock, direction: Direction, seconds: float) -> None:
    """A round trip takes the delay once for each direction that it works in."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            with proxy.toxic(Latency(2, direction=direction)):
                await client.send(b"a")
                await exactly(client, 1)
            assert virtual_clock.elapsed == pytest.approx(seconds)
            await client.send(b"b")
            await exactly(client, 1)
            assert virtual_clock.elapsed == pytest.approx(seconds)


@pytest.mark.slow("megabytes through real sockets")
async def test_latency_keeps_the_bandwidth(virtual_clock: VirtualClock) -> None:
    """A hundred chunks sent a tenth of a second apart arrive a tenth of a second apart, each two seconds late."""
    sent, arrived = [], []
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        proxy.add(Latency(2))
        async with await anyio.connect_tcp(*proxy.address) as client, anyio.create_task_group() as tasks:

            async def send() -> None:
                for number in range(100):
                    sent.append(virtual_clock.elapsed)
                    await client.send(b"%02d" % number)
                    await clock.sleep(0.1)

            tasks.start_soon(send)
            for number in range(100):
                assert await exactly(client, 2) == b"%02d" % number
                arrived.append(virtual_clock.elapsed)
    assert arrived == [pytest.approx(each + 2) for each in sent]


@pytest.mark.slow("hundreds of pieces through real sockets")
async def test_jitter_keeps_the_order_and_follows_the_seed(virtual_clock: VirtualClock) -> None:
    """Delays vary, bytes do not overtake each other, and the same seed gives the same delays."""

    async def delays(seed: int) -> list[float]:
        found = []
        async with serving(echo) as server, ChaosProxy(server, seed=seed) as proxy:
            proxy.add(Latency(1, jitter=0.9))
            async with await anyio.connect_tcp(*proxy.address) as client:
                for number in range(10):
                    begun = virtual_clock.elapsed
                    await client.send(b"%d" % number)
                    assert await exactly(client, 1) == b"%d" % number
                    found.append(round(virtual_clock.elapsed - begun, 6))
        return found

    first = await delays(1)
    assert len(set(first)) > 5
    assert all(0.1 <= each <= 1.9 for each in first)
    assert first == await delays(1) != await delays(2)


async def test_latency_that_is_removed_leaves_what_is_under_way(virtual_clock: VirtualClock) -> None:
    """Bytes keep their order: what comes later waits behind what was delayed before."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            with proxy.toxic(Latency(30, direction="upstream")):
                await client.send(b"a")
                await clock.sleep(1)
            await client.send(b"b")
            assert await exactly(client, 2) == b"ab"
            assert virtual_clock.elapsed == pytest.approx(30)


@pytest.mark.slow("megabytes through real sockets")
async def test_bandwidth_as_measured(virtual_clock: VirtualClock) -> None:
    """Ten thousand bytes at a thousand a second take ten seconds, and half of them five."""
    async with serving(sending(bytes(10_000))) as server, ChaosProxy(server) as proxy:
        proxy.add(Bandwidth(1000))
        async with await anyio.connect_tcp(*proxy.address) as client:
            await exactly(client, 5000)
            assert virtual_clock.elapsed == pytest.approx(5, abs=0.05)
            assert len(await everything(client)) == 5000
            assert virtual_clock.elapsed == pytest.approx(10)


@pytest.mark.slow("megabytes through real sockets")
async def test_toxics_work_one_after_another(virtual_clock: VirtualClock) -> None:
    """Ten seconds on the narrow line, and then three on the long one."""
    async with serving(sending(bytes(10_000))) as server, ChaosProxy(server) as proxy:
        proxy.add(Bandwidth(1000), Latency(3))
        async with await anyio.connect_tcp(*proxy.address) as client:
            await everything(client)
            assert virtual_clock.elapsed == pytest.approx(13)


async def test_slices_arrive_one_by_one(virtual_clock: VirtualClock) -> None:
    """A reader sees each slice by itself, a second after the one before."""
    async with serving(sending(b"abcdefg")) as server, ChaosProxy(server) as proxy:
        proxy.add(Slicer(3, delay=1))
        async with await anyio.connect_tcp(*proxy.address) as client:
            seen = [(await client.receive(), round(virtual_clock.elapsed, 6)) for _ in range(3)]
            assert seen == [(b"abc", 0), (b"def", 1), (b"g", 2)]


async def test_slow_close(virtual_clock: VirtualClock) -> None:
    """The data comes at once, its end later."""
    async with serving(sending(b"abc")) as server, ChaosProxy(server) as proxy:
        proxy.add(SlowClose(7))
        async with await anyio.connect_tcp(*proxy.address) as client:
            assert await exactly(client, 3) == b"abc"
            assert virtual_clock.elapsed == pytest.approx(0)
            assert await ending_of(client) == "eof"
            assert virtual_clock.elapsed == pytest.approx(7)


async def test_a_black_hole_drops_until_it_is_removed(virtual_clock: VirtualClock) -> None:
    """The caller's timeout is what ends the wait; afterwards the connection works, without what was lost."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            with proxy.toxic(BlackHole()):
                await client.send(b"lost")
                with anyio.move_on_after(60) as scope:
                    await client.receive()
                assert scope.cancelled_caught
                assert virtual_clock.elapsed == pytest.approx(60)
            await client.send(b"found")
            assert await exactly(client, 5) == b"found"


async def test_a_black_hole_lets_go_of_the_end(virtual_clock: VirtualClock) -> None:
    """A server that hung up meanwhile has hung up."""
    async with serving(sending(b"lost")) as server, ChaosProxy(server) as proxy:
        hole = BlackHole()
        proxy.add(hole, SlowClose(3))
        async with await anyio.connect_tcp(*proxy.address) as client, anyio.create_task_group() as tasks:

            async def heal() -> None:
                await clock.sleep(20)
                proxy.remove(hole)

            tasks.start_soon(heal)
            with anyio.fail_after(100):
                assert await everything(client) == b""
            assert virtual_clock.elapsed == pytest.approx(23)


async def test_a_black_hole_may_close_in_the_end(virtual_clock: VirtualClock) -> None:
    """After its timeout the connection is closed, and the log says by what."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        proxy.add(BlackHole(timeout=5, direction="upstream"))
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"lost")
            assert await ending_of(client) == "eof"
            assert virtual_clock.elapsed == pytest.approx(5)
        (record,) = proxy.connections
        assert (record.outcome, record.upstream_bytes) == ("BlackHole(timeout=5, direction='upstream')", 0)


async def test_a_removed_toxic_does_not_end_the_connection(virtual_clock: VirtualClock) -> None:
    """Its timer leaves with it."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            with proxy.toxic(ResetPeer(after=5), BlackHole(timeout=5)):
                await clock.sleep(4)
            await clock.sleep(4)
            await client.send(b"a")
            assert await exactly(client, 1) == b"a"


async def test_reset_peer_at_once() -> None:
    """Client and server see a real RST as soon as the connection is made."""
    collector = Collector()
    async with serving(collector) as server, ChaosProxy(server) as proxy:
        proxy.add(ResetPeer())
        async with await anyio.connect_tcp(*proxy.address) as client:
            assert await ending_of(client) == "ConnectionResetError"
        await collector.ended.wait()
        assert collector.endings == ["ConnectionResetError"]
        assert proxy.connections[0].outcome == "ResetPeer()"


async def test_reset_peer_after_a_while(virtual_clock: VirtualClock) -> None:
    """Until then data passes, on a connection that was open already."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(b"a")
            await exactly(client, 1)
            await clock.sleep(100)
            proxy.add(ResetPeer(after=5))
            await client.send(b"b")
            assert await exactly(client, 1) == b"b"
            assert await ending_of(client) == "ConnectionResetError"
            assert virtual_clock.elapsed == pytest.approx(105)


@pytest.mark.parametrize(("then", "ending"), [("close", "eof"), ("reset", "ConnectionResetError")])
async def test_limit_data(then: Literal["close", "reset"], ending: str) -> None:
    """Exactly so many bytes arrive, and then the connection is closed or reset."""
    collector = Collector()
    async with serving(collector) as server, ChaosProxy(server) as proxy:
        proxy.add(LimitData(1000, then=then, direction="upstream"))
        async with await anyio.connect_tcp(*proxy.address) as client:
            await client.send(bytes(600))
            while not collector.received or len(collector.received[0]) < 600:
                await anyio.lowlevel.checkpoint()
            await client.send(bytes(600))
            assert await ending_of(client) == ending
        await collector.ended.wait()
        if then == "close":  # a reset may overtake the data
            assert collector.received == [bytes(1000)]
        assert collector.endings == [ending]
        assert proxy.connections[0].upstream_bytes == 1000


async def test_corruption_arrives_and_follows_the_seed() -> None:
    """Bits are flipped in one direction alone; the same seed flips the same ones."""
    data = bytes(range(256)) * 40

    async def answer(seed: int, connection: int) -> bytes:
        collector = Collector()
        async with serving(collector) as server, ChaosProxy(server, seed=seed) as proxy:
            proxy.add(Corrupt(0.01, direction="upstream"))
            for _ in range(connection):
                collector.ended = anyio.Event()
                async with await anyio.connect_tcp(*proxy.address) as client:
                    await client.send(data)
                    await client.send_eof()
                    await collector.ended.wait()
        return collector.received[-1]

    first = await answer(1, 1)
    assert len(first) == len(data)
    assert 50 < sum(was != now for was, now in zip(data, first, strict=True)) < 200
    assert first == await answer(1, 1)
    assert len({first, await answer(2, 1), await answer(1, 2)}) == 3


async def test_toxicity_strikes_the_same_connections_in_any_order() -> None:
    """Which connections suffer depends on the seed and their numbers, not on what the others did meanwhile."""

    async def struck(*, waiting: bool) -> set[int]:
        async with serving(echo) as server, ChaosProxy(server, seed=4) as proxy:
            proxy.add(LimitData(1, toxicity=0.3), Slicer(1, toxicity=0.5))
            clients: list[SocketStream] = []
            for _ in range(30):
                client = await anyio.connect_tcp(*proxy.address)
                clients.append(client)
                if not waiting:
                    await client.send(b"ab")
                    await client.send_eof()
                    await everything(client)
            for client in reversed(clients):
                if waiting:
                    await client.send(b"ab")
                    await client.send_eof()
                    await everything(client)
                await client.aclose()
            return {each.number for each in proxy.connections if "LimitData(1, toxicity=0.3)" in each.toxics}

    at_once = await struck(waiting=False)
    assert at_once == await struck(waiting=True)
    assert 3 <= len(at_once) <= 16


async def test_a_toxic_in_both_directions_strikes_both_or_neither() -> None:
    """Toxicity speaks of connections."""
    async with serving(echo) as server, ChaosProxy(server, seed=4) as proxy:
        proxy.add(Latency(0, direction="both", toxicity=0.5))
        for _ in range(20):
            async with await anyio.connect_tcp(*proxy.address) as client:
                await client.send(b"a")
                await exactly(client, 1)
                (live,) = proxy._live.values()
                assert len(live._upstream.stages) == len(live._downstream.stages)
            await proxy.cut()
        assert 0 < sum(bool(each.toxics) for each in proxy.connections) < 20


async def test_a_toxic_added_while_the_connection_is_made_counts() -> None:
    """Whatever is at work when the server takes the connection works on it, once."""
    async with serving(echo) as server, ChaosProxy(server) as proxy:
        client = await anyio.connect_tcp(*proxy.address)
        proxy.add(Slicer(1))
        async with client:
            await client.send(b"abc")
            await exactly(client, 3)
            assert proxy.connections[0].toxics == ("Slicer(1)",)
