"""What a resilient transport sends again, when, and what it hands over in the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from http_libraries import each_library, host_of
from scripted_server import RESET, Reply, Script, serving

from resilio import OperationTimeoutError, RetryBudget, RetryScheduled, is_transient
from resilio._core import dice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from http_libraries import HttpLibrary

    from resilio.testing import EventRecorder, VirtualClock

lib = each_library

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def asking(lib: HttpLibrary, *replies: Reply, **settings: Any) -> AsyncGenerator[tuple[Script, Any]]:
    """A server with a script, and a client above our transport."""
    async with serving(Script(*replies)) as script, lib.client(**settings) as client:
        yield script, client


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_failed_answer_is_asked_for_again(lib: HttpLibrary, status: int) -> None:
    """Each status that stands for a passing trouble."""
    async with asking(lib, Reply(status), Reply(status)) as (script, client):
        response = await client.get(script.url)
        assert (response.status_code, response.text) == (200, "ok")
        assert len(script.asked) == 3


@pytest.mark.parametrize("status", [204, 301, 400, 401, 404, 409, 422])
async def test_an_answer_that_stays_what_it_is_is_handed_over_at_once(lib: HttpLibrary, status: int) -> None:
    """The user's mistakes are no failures of the server."""
    async with asking(lib, Reply(status, pieces=())) as (script, client):
        assert (await client.get(script.url)).status_code == status
        assert len(script.asked) == 1


async def test_the_last_failed_answer_is_handed_over_as_it_is(lib: HttpLibrary) -> None:
    """With its status, headers and body; it is no exception until the caller makes one of it."""
    failed = Reply(503, headers={"X-Why": "tired"}, pieces=(b"come ", b"back"))
    async with asking(lib, *[failed] * 3, max_retries=2) as (script, client):
        response = await client.get(script.url)
        assert (response.status_code, response.text, response.headers["X-Why"]) == (503, "come back", "tired")
        assert len(script.asked) == 3
        with pytest.raises(lib.itself.HTTPStatusError):
            response.raise_for_status()
        assert host_of(client._transport, script.url).limiter.running == 0


async def test_a_reset_connection_is_made_again(lib: HttpLibrary) -> None:
    """A network's error is worth another attempt; the last one is raised as the library raised it."""
    async with asking(lib, RESET, RESET, max_retries=2) as (script, client):
        assert (await client.get(script.url)).text == "ok"
        assert len(script.asked) == 3
        script.replies = [RESET] * 3
        with pytest.raises((lib.itself.ReadError, lib.itself.RemoteProtocolError)) as caught:
            await client.get(script.url)
        assert is_transient(caught.value)
        assert len(script.asked) == 6


@pytest.mark.parametrize(
    ("method", "times"),
    [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("PUT", 2), ("DELETE", 2), ("TRACE", 2), ("POST", 1), ("PATCH", 1)],
)
async def test_only_what_may_be_repeated_is_sent_again(lib: HttpLibrary, method: str, times: int) -> None:
    """By RFC 9110, methods are idempotent or not."""
    async with asking(lib, Reply(503, pieces=())) as (script, client):
        await client.request(method, script.url)
        assert len(script.asked) == times


async def test_an_idempotency_key_lets_any_method_be_sent_again(lib: HttpLibrary) -> None:
    """With the same key and the same body."""
    async with asking(lib, Reply(503), RESET) as (script, client):
        response = await client.post(script.url, json={"cat": "Tzara"}, headers={"Idempotency-Key": "k1"})
        assert response.status_code == 200
        assert [each.headers["idempotency-key"] for each in script.asked] == ["k1"] * 3
        assert len({each.body for each in script.asked}) == 1
        assert b"Tzara" in script.asked[0].body


async def test_other_methods_may_be_allowed(lib: HttpLibrary) -> None:
    """In either case; those that are left out are not sent again."""
    async with asking(lib, Reply(503), Reply(200), Reply(503), retry_methods=["post"]) as (script, client):
        assert (await client.post(script.url, content=b"meow")).status_code == 200
        assert (await client.get(script.url)).status_code == 503


async def test_a_body_that_can_be_sent_once_only_is(lib: HttpLibrary) -> None:
    """A stream of one's own is used up by the first attempt, whatever the method."""

    async def cats() -> AsyncGenerator[bytes]:
        yield b"Tzara "
        yield b"Hannah"

    async with asking(lib, Reply(503)) as (script, client):
        response = await client.put(script.url, content=cats(), headers={"Idempotency-Key": "k1"})
        assert response.status_code == 503
        assert [each.body for each in script.asked] == [b"Tzara Hannah"]


async def test_an_upload_of_files_is_sent_once(lib: HttpLibrary) -> None:
    """Nobody can tell whether a file can be read twice."""
    async with asking(lib, Reply(503)) as (script, client):
        assert (await client.put(script.url, files={"cat": b"meow"})).status_code == 503
        assert len(script.asked) == 1


async def test_retry_after_is_waited_for(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """The server's wish lengthens the wait."""
    refused = Reply(429, headers={"Retry-After": "7"})
    async with asking(lib, refused, refused) as (script, client):
        assert (await client.get(script.url)).status_code == 200
        assert virtual_clock.elapsed == pytest.approx(14, abs=0.5)


async def test_a_wait_beyond_the_time_that_is_left_is_the_callers(
    lib: HttpLibrary, virtual_clock: VirtualClock
) -> None:
    """The answer is handed over at once, with what it asks for."""
    refused = Reply(429, headers={"Retry-After": "60"})
    async with asking(lib, refused, total_timeout=30) as (script, client):
        response = await client.get(script.url)
        assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
        assert virtual_clock.elapsed < 1
        assert len(script.asked) == 1


async def test_an_attempt_that_takes_too_long_is_given_up_and_made_again(
    lib: HttpLibrary, virtual_clock: VirtualClock
) -> None:
    """Each has the time of an attempt; the last one's error is ours and the library's."""
    slow = Reply(wait=60)
    async with asking(lib, slow, attempt_timeout=4) as (script, client):
        assert (await client.get(script.url)).status_code == 200
        assert virtual_clock.elapsed == pytest.approx(4, abs=0.5)
        script.replies = [slow, slow]
        with pytest.raises(OperationTimeoutError) as caught:
            await client.post(script.url)
        assert isinstance(caught.value, lib.ours.TransportTimeoutError)
        assert isinstance(caught.value, lib.itself.TimeoutException)
        assert (caught.value.seconds, caught.value.operation) == (4, script.url)
        assert caught.value.request.method == "POST"
        assert is_transient(caught.value)


async def test_all_attempts_together_have_a_time(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """However many retries there are."""
    async with asking(lib, *[Reply(wait=60)] * 9, attempt_timeout=4, total_timeout=10, max_retries=9) as (
        script,
        client,
    ):
        with pytest.raises(lib.itself.TimeoutException):
            await client.get(script.url)
        assert virtual_clock.elapsed == pytest.approx(10, abs=0.5)


async def test_a_wait_that_uses_the_time_up_is_followed_by_no_attempt(
    lib: HttpLibrary, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent when the time is over."""
    monkeypatch.setattr(dice, "random", lambda: 0.99)
    async with asking(lib, RESET, attempt_timeout=4, total_timeout=10, base_delay=50) as (script, client):
        with pytest.raises(lib.ours.TransportTimeoutError, match="longer than 10 s"):
            await client.get(script.url)
        assert virtual_clock.elapsed == pytest.approx(10, abs=0.5)
        assert len(script.asked) == 1


async def test_the_clients_own_timeouts_still_work(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """A shorter patience of the caller's is kept in each attempt."""
    async with asking(lib, Reply(wait=60), Reply(wait=60), max_retries=1) as (script, client):
        with pytest.raises(lib.itself.ReadTimeout):
            await client.get(script.url, timeout=2)
        assert virtual_clock.elapsed == pytest.approx(4, abs=0.5)


async def test_a_budget_ends_retries(lib: HttpLibrary) -> None:
    """What it refuses is handed over as the last answer."""
    budget = RetryBudget(percent=0.0, min_per_second=0)
    async with asking(lib, Reply(503), budget=budget) as (script, client):
        assert (await client.get(script.url)).status_code == 503
        assert len(script.asked) == 1


async def test_events_name_the_host(lib: HttpLibrary, resilio_events: EventRecorder) -> None:
    """Whoever listens learns which dependency it is."""
    async with asking(lib, Reply(503)) as (script, client):
        await client.get(script.url)
        told = resilio_events.of(RetryScheduled)
        assert [each.operation for each in told] == [script.url]
        assert "503" in told[0].error
