"""What a request holds while its answer's body is under way, and when it is given back."""

from __future__ import annotations

import gc
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from http_libraries import each_library, host_of
from scripted_server import Reply, Script, serving

from resilio import CircuitState, ConsecutiveFailures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from http_libraries import HttpLibrary

    from resilio.testing import EventRecorder, VirtualClock

lib = each_library

pytestmark = [
    pytest.mark.anyio,
    # Streams that are left early leave generators of httpx's to the garbage collector, of which trio tells.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

LONG = Reply(pieces=[b"meow "] * 100, pause=1)
BROKEN = Reply(pieces=[b"meow "] * 3, breaks=True)


@asynccontextmanager
async def streaming(lib: HttpLibrary, reply: Reply, **settings: Any) -> AsyncGenerator[tuple[Any, Any, Any]]:
    """A response whose headers are here, and what its transport keeps for the host."""
    settings = {"trip": ConsecutiveFailures(1), **settings}
    async with serving(Script(reply)) as script, lib.client(**settings) as client:
        host = host_of(client._transport, script.url)
        request = client.build_request("GET", script.url, timeout=90)
        response = await client.send(request, stream=True)
        try:
            yield response, host, client
        finally:
            await response.aclose()


async def test_a_place_is_held_until_the_body_has_been_read(lib: HttpLibrary) -> None:
    """The limiter counts streams that are under way, not only their headers."""
    async with streaming(lib, Reply(pieces=[b"a", b"b"])) as (response, host, _):
        assert host.limiter.running == 1
        assert await response.aread() == b"ab"
        assert host.limiter.running == 0
        assert host.breaker.snapshot().counts["consecutive_failures"] == 0


async def test_a_body_outlives_the_times_of_attempt_and_request(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """Both end with the headers."""
    async with streaming(lib, LONG, attempt_timeout=3, total_timeout=5) as (response, host, _):
        assert len(await response.aread()) == 500
        assert virtual_clock.elapsed == pytest.approx(100, abs=1)
        assert host.limiter.running == 0


async def test_a_body_that_breaks_is_a_failure(lib: HttpLibrary) -> None:
    """The error reaches the reader as the library raised it; nothing is sent again."""
    async with streaming(lib, BROKEN) as (response, host, _):
        with pytest.raises((lib.itself.ReadError, lib.itself.RemoteProtocolError)):
            await response.aread()
        assert host.limiter.running == 0
        assert host.breaker.state is CircuitState.OPEN


async def test_a_body_that_is_closed_early_is_a_success(
    lib: HttpLibrary, resilio_events: EventRecorder, virtual_clock: VirtualClock
) -> None:
    """The server had answered; the reader had enough."""
    async with streaming(lib, LONG) as (response, host, _):
        async with aclosing(response.aiter_raw()) as pieces:
            assert await anext(pieces) == b"meow "
        await response.aclose()
        assert host.limiter.running == 0
        assert [type(each).__name__ for each in resilio_events] == ["CallSucceeded"]


async def test_a_cancelled_reader_gives_everything_back(
    lib: HttpLibrary, resilio_events: EventRecorder, virtual_clock: VirtualClock
) -> None:
    """It says nothing about the server, neither good nor bad."""
    async with streaming(lib, LONG) as (response, host, _):
        with anyio.move_on_after(2.5):
            await response.aread()
        assert host.limiter.running == 0
        assert not list(resilio_events)


async def test_a_cancelled_request_gives_everything_back(
    lib: HttpLibrary, resilio_events: EventRecorder, virtual_clock: VirtualClock
) -> None:
    """Before its headers as well."""
    async with serving(Script(otherwise=Reply(wait=60))) as script, lib.client() as client:
        with anyio.move_on_after(2.5) as scope:
            await client.get(script.url)
        assert scope.cancelled_caught
        assert host_of(client._transport, script.url).limiter.running == 0
        assert not list(resilio_events)


async def test_a_response_that_nobody_closes_is_given_back_by_the_garbage_collector(lib: HttpLibrary) -> None:
    """A leak of the caller's does not fill the limiter for ever."""
    transport = lib.transport()
    async with serving(Script(Reply(pieces=[b"a", b"b"]))) as script, lib.client(transport) as client:
        host = host_of(transport, script.url)
        response = await transport.handle_async_request(client.build_request("GET", script.url))
        assert host.limiter.running == 1
        stream = response.stream._stream
        del response
        gc.collect()
        assert host.limiter.running == 0
        await stream.aclose()


async def test_a_probe_closes_the_circuit_when_its_body_has_come(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """Half-open, headers alone are no proof."""
    async with streaming(lib, Reply(503), max_retries=0, recovery_timeout=5) as (first, host, client):
        await first.aclose()
        assert host.breaker.snapshot().state is CircuitState.OPEN
        await anyio.sleep(5)
        async with client.stream("GET", first.url) as second:
            assert host.breaker.snapshot().state is CircuitState.HALF_OPEN
            await second.aread()
        assert host.breaker.state is CircuitState.CLOSED


async def test_a_long_stream_does_not_keep_a_circuit_half_open(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """Once it has flowed for as long as an attempt may take, it counts; a break after that is a failure of its own."""
    chat = Reply(pieces=[b"meow "] * 30, pause=1, breaks=True)
    async with serving(Script(Reply(503), chat)) as script:
        settings = {"max_retries": 0, "recovery_timeout": 5, "attempt_timeout": 10, "trip": ConsecutiveFailures(1)}
        async with lib.client(**settings) as client:
            breaker = client._transport.breaker(script.url)
            await client.get(script.url)
            await anyio.sleep(5)
            states: list[tuple[float, CircuitState]] = []

            async def listen() -> None:
                async with client.stream("GET", script.url, timeout=90) as response:
                    async for _ in response.aiter_raw():
                        states.append((virtual_clock.elapsed, breaker.state))  # noqa: PERF401 -- the stream breaks

            with pytest.raises((lib.itself.ReadError, lib.itself.RemoteProtocolError)):
                await listen()
            closed_at = next(at for at, state in states if state is CircuitState.CLOSED)
            assert closed_at == pytest.approx(15, abs=1.5)
            assert states[0][1] is CircuitState.HALF_OPEN
            assert breaker.state is CircuitState.OPEN


async def test_discarded_answers_are_closed(lib: HttpLibrary) -> None:
    """An answer that is asked for again gives its connection back: one connection is enough for all attempts."""
    limits = lib.itself.Limits(max_connections=1)
    transport = lib.transport(lib.itself.AsyncHTTPTransport(limits=limits))
    async with serving(Script(Reply(503), Reply(503))) as script, lib.client(transport) as client:
        assert (await client.get(script.url, timeout=5)).status_code == 200
        assert len(script.asked) == 3


async def test_a_transport_that_answers_from_memory_holds_nothing(lib: HttpLibrary) -> None:
    """Such as a mock: its body has been read before anybody asks."""
    mock = lib.itself.MockTransport(lambda _: lib.itself.Response(200, text="meow"))
    transport = lib.transport(mock)
    async with lib.client(transport) as client:
        assert (await client.get("https://cats.example")).text == "meow"
        host = host_of(transport, "https://cats.example")
        assert host.limiter.running == 0
