"""The blocking transport decides as the async one does; its times are kept through the client's own."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import pytest
from http_libraries import each_library, host_of
from scripted_server import RESET, Reply, Script, serving

from resilio import CircuitState, ConsecutiveFailures

if TYPE_CHECKING:
    from collections.abc import Generator

    from http_libraries import HttpLibrary

    from resilio.testing import EventRecorder


lib = each_library


@contextmanager
def server(*replies: Reply, otherwise: Reply | None = None) -> Generator[Script]:
    """The scripted server, in a thread of its own."""
    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(serving(Script(*replies, otherwise=otherwise))) as script:
            yield script


def test_failed_answers_and_reset_connections_are_asked_for_again(lib: HttpLibrary) -> None:
    """As the async transport does; the last answer is handed over."""
    with server(Reply(503), RESET) as script, lib.blocking(max_retries=2) as client:
        assert client.get(script.url).text == "ok"
        assert len(script.asked) == 3
        script.replies = [Reply(503, pieces=(b"tired",))] * 3
        assert client.get(script.url).text == "tired"
        assert client.post(script.url).status_code == 200
        assert host_of(client._transport, script.url).limiter.running == 0


def test_the_last_error_is_raised_as_it_is(lib: HttpLibrary) -> None:
    """What the library raised."""
    with server(otherwise=RESET) as script, lib.blocking(max_retries=1) as client:
        with pytest.raises((lib.itself.ReadError, lib.itself.RemoteProtocolError)):
            client.get(script.url)
        assert len(script.asked) == 2


def test_an_open_circuit_refuses(lib: HttpLibrary) -> None:
    """With the same error as the async transport, and the same circuit where the name is the same."""
    with server(otherwise=Reply(503)) as script:
        with lib.blocking(trip=ConsecutiveFailures(1), max_retries=0) as client:
            assert client.get(script.url).status_code == 503
            with pytest.raises(lib.ours.TransportCircuitOpenError) as caught:
                client.get(script.url)
            assert str(caught.value.__cause__) == f"{script.url} answered 503"
            assert len(script.asked) == 1


@pytest.mark.slow("sockets wait for real: an attempt takes two seconds")
def test_an_attempt_has_its_time(lib: HttpLibrary) -> None:
    """The library's own timeout ends it, however patient the client is, and the next one is made."""
    with server(Reply(wait=60)) as script, lib.blocking(attempt_timeout=2, max_retries=1) as client:
        assert client.get(script.url, timeout=60).status_code == 200
        assert len(script.asked) == 2


def test_an_attempt_that_takes_too_long_is_the_librarys_timeout(lib: HttpLibrary) -> None:
    """There is no other way to end it."""
    with server(otherwise=Reply(wait=60)) as script, lib.blocking(attempt_timeout=0.2, max_retries=0) as client:
        with pytest.raises(lib.itself.TimeoutException):
            client.get(script.url, timeout=60)


@pytest.mark.slow("a body that comes slower than an attempt may last")
def test_a_body_is_read_under_the_clients_own_timeouts(lib: HttpLibrary) -> None:
    """Which are restored as soon as the headers are here."""
    with server(Reply(pieces=(b"meow",), pause=2.5)) as script:
        with lib.blocking(attempt_timeout=2) as client:
            with client.stream("GET", script.url, timeout=60) as response:
                assert host_of(client._transport, script.url).limiter.running == 1
                assert response.read() == b"meow"
            assert host_of(client._transport, script.url).limiter.running == 0


def test_a_body_that_breaks_is_a_failure_and_one_closed_early_is_none(
    lib: HttpLibrary, resilio_events: EventRecorder
) -> None:
    """Both give everything back."""
    long = Reply(pieces=[b"meow"] * 50, pause=0.01)
    with server(long, Reply(breaks=True)) as script, lib.blocking(trip=ConsecutiveFailures(1)) as client:
        host = host_of(client._transport, script.url)
        with client.stream("GET", script.url) as response:
            assert next(response.iter_raw())
        assert (host.limiter.running, host.breaker.state) == (0, CircuitState.CLOSED)
        with pytest.raises((lib.itself.ReadError, lib.itself.RemoteProtocolError)):
            client.get(script.url)
        assert (host.limiter.running, host.breaker.state) == (0, CircuitState.OPEN)
    assert [type(each).__name__ for each in resilio_events][:2] == ["CallSucceeded", "CallFailed"]


def test_threads_share_one_transport(lib: HttpLibrary) -> None:
    """Counts stay exact."""
    with server() as script, lib.blocking() as client:

        def ask() -> None:
            for _ in range(10):
                assert client.get(script.url).status_code == 200

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        host = host_of(client._transport, script.url)
        assert host.limiter.running == 0
        assert host.breaker.snapshot().counts["calls"] == 80
