"""Each host has a circuit and a limiter of its own; what they refuse is the library's error and ours at once."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from http_libraries import each_library, host_of
from scripted_server import Reply, Script, serving

from resilio import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    CircuitState,
    ConsecutiveFailures,
    FailureRate,
    HealthCheck,
    RetryExhaustedError,
    is_transient,
)
from resilio.policies import registry

if TYPE_CHECKING:
    from http_libraries import HttpLibrary

    from resilio.testing import VirtualClock

lib = each_library

pytestmark = pytest.mark.anyio


async def test_an_open_circuit_refuses_before_anything_is_sent(lib: HttpLibrary) -> None:
    """With an error that code which knows only the client handles, and the last failure as its cause."""
    async with serving(Script(otherwise=Reply(503))) as script:
        async with lib.client(trip=ConsecutiveFailures(2), max_retries=1) as client:
            assert (await client.get(script.url)).status_code == 503
            with pytest.raises(lib.itself.TransportError) as caught:
                await client.get(script.url)
            assert len(script.asked) == 2
    error = caught.value
    assert isinstance(error, CircuitBreakerOpenError)
    assert isinstance(error, lib.ours.TransportCircuitOpenError)
    assert error.breaker == script.url
    assert error.retry_after == pytest.approx(5, abs=1)
    assert str(error.__cause__) == f"{script.url} answered 503"
    assert error.request.url == script.url
    assert is_transient(error)


async def test_a_circuit_that_opens_ends_the_retries(lib: HttpLibrary) -> None:
    """Nobody waits through a back-off for an answer that cannot come."""
    async with serving(Script(otherwise=Reply(503))) as script:
        async with lib.client(trip=ConsecutiveFailures(2), max_retries=5) as client:
            with pytest.raises(lib.ours.TransportCircuitOpenError):
                await client.get(script.url)
            assert len(script.asked) == 2


async def test_hosts_do_not_share_their_fate(lib: HttpLibrary) -> None:
    """The circuit of one is open, the other's is not."""
    async with serving(Script(otherwise=Reply(503))) as sick, serving(Script()) as healthy:
        async with lib.client(trip=ConsecutiveFailures(1), max_retries=0) as client:
            await client.get(sick.url)
            with pytest.raises(lib.ours.TransportCircuitOpenError):
                await client.get(sick.url)
            assert (await client.get(healthy.url)).status_code == 200


async def test_mistakes_of_the_caller_are_no_failures_of_a_host(lib: HttpLibrary) -> None:
    """A scheme that nobody speaks opens no circuit."""
    transport = lib.transport(trip=ConsecutiveFailures(1))
    async with lib.client(transport) as client:
        for _ in range(3):
            with pytest.raises(lib.itself.UnsupportedProtocol):
                await transport.handle_async_request(client.build_request("GET", "gopher://cats.example"))
    assert transport.breaker("gopher://cats.example").state is CircuitState.CLOSED


async def test_a_full_limiter_refuses(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """As many requests as are allowed run; the next one fails at once."""
    refused: list[Any] = []
    async with serving(Script(otherwise=Reply(wait=2))) as script, lib.client(max_concurrent=2) as client:

        async def ask() -> None:
            try:
                await client.get(script.url)
            except lib.itself.TransportError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert len(script.asked) == 2
        assert host_of(client._transport, script.url).limiter.running == 0
    assert len(refused) == 3
    assert all(isinstance(each, BulkheadFullError) for each in refused)
    assert refused[0].request.url == script.url


async def test_hosts_are_told_apart_by_scheme_name_and_port(lib: HttpLibrary) -> None:
    """And named as people write them."""
    transport = lib.transport()
    urls = ["https://cats.example/a?b=c", "http://cats.example", "https://cats.example:8443", "https://[::1]:80"]
    names = [transport.breaker(url).name for url in urls]
    assert names == ["https://cats.example", "http://cats.example", "https://cats.example:8443", "https://[::1]:80"]
    assert transport.breaker("https://cats.example:443/x").name == "https://cats.example"
    with pytest.raises(ValueError, match="url must be absolute"):
        transport.breaker("/cats")


async def test_the_number_of_hosts_is_bounded(lib: HttpLibrary) -> None:
    """The idle one that was used longest ago is forgotten first; an open circuit is not forgotten before it."""
    transport = lib.transport(max_hosts=3)
    open_one = transport.breaker("https://sick.example")
    open_one.force_open()
    for number in range(50):
        transport.breaker(f"https://{number}.example")
    assert len(transport._hosts) == 3
    assert transport.breaker("https://sick.example").state is CircuitState.FORCED_OPEN
    for number in range(3):
        transport.breaker(f"https://{number}.example").force_open()
    assert len(transport._hosts) == 3


async def test_transports_of_one_name_share_circuits(lib: HttpLibrary) -> None:
    """And those without a name share nothing."""
    with registry.fresh():
        first, second, other = lib.transport(name="crm"), lib.transport(name="crm"), lib.transport()
        first.breaker("https://cats.example").force_open()
        assert first.breaker("https://cats.example").name == "crm https://cats.example"
        assert second.breaker("https://cats.example").state is CircuitState.FORCED_OPEN
        assert second.breaker("https://dogs.example").state is CircuitState.CLOSED
        assert other.breaker("https://cats.example").state is CircuitState.CLOSED
        assert [each.name for each in registry.circuits.all()] == [
            "crm https://cats.example",
            "crm https://dogs.example",
        ]


async def test_a_host_can_be_watched(lib: HttpLibrary) -> None:
    """Its breaker is one as any other."""
    transport = lib.transport()
    check = HealthCheck.of_circuit(transport.breaker("https://cats.example"))
    assert check.component == "https://cats.example"
    assert (await check.look())[0]
    with transport.breaker("https://cats.example").isolate():
        assert not (await check.look())[0]


async def test_a_transport_may_stand_before_another_one(lib: HttpLibrary) -> None:
    """Errors of the inner one pass as they are; those of a retry that somebody else made, too."""
    inner = lib.transport(name="inner", max_retries=0)
    with registry.fresh():
        outer = lib.transport(inner)
        async with serving(Script()) as script, lib.client(outer) as client:
            assert (await client.get(script.url)).status_code == 200
            inner.breaker(script.url).force_open()
            with pytest.raises(lib.ours.TransportCircuitOpenError, match="inner"):
                await client.get(script.url)
            assert host_of(outer, script.url).limiter.running == 0

    class Exhausted(lib.itself.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: object) -> None:
            raise RetryExhaustedError("no", attempts=9)

    transport = lib.transport(Exhausted())
    async with lib.client(transport) as client:
        with pytest.raises(RetryExhaustedError):
            await client.get("https://cats.example")
        assert host_of(transport, "https://cats.example").limiter.running == 0


async def test_errors_pickle_and_copy(lib: HttpLibrary) -> None:
    """They may cross processes, as those that they derive from."""
    for error in (
        lib.ours.TransportCircuitOpenError("shut", breaker="b", retry_after=3.0),
        lib.ours.TransportBulkheadFullError("full"),
        lib.ours.TransportTimeoutError("late", seconds=4.0, operation="b"),
    ):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 -- our own
            assert type(twin) is type(error)
            assert (str(twin), twin.context) == (str(error), error.context)
        with pytest.raises(RuntimeError, match="request"):
            _ = error.request


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"name": ""}, TypeError, "name must be a non-empty string"),
        ({"max_concurrent": 0}, ValueError, "max_concurrent"),
        ({"max_retries": -1}, ValueError, "max_retries"),
        ({"attempt_timeout": 40}, ValueError, "the inner timeout of 40 s never fires"),
        ({"attempt_timeout": 0}, ValueError, "attempt_timeout"),
        ({"trip": FailureRate(0.5), "attempt_timeout": 31, "total_timeout": 60}, ValueError, "looks back 30 s"),
        ({"retry_methods": "POST"}, TypeError, "retry_methods must be several methods"),
        ({"max_hosts": 0}, ValueError, "max_hosts"),
        ({"trip": 5}, TypeError, "trip"),
        ({"budget": 5}, TypeError, "budget"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
async def test_bad_settings_are_refused(
    lib: HttpLibrary, settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """When the transport is made, under the name of what is wrong."""
    with pytest.raises(kind, match=message):
        lib.ours.ResilientTransport(**settings)
    with pytest.raises(kind, match=message):
        lib.ours.ResilientSyncTransport(**settings)
