"""The client of a model provider, as it is, above a resilient transport: its endpoint is slow, busy and broken."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
from http_libraries import each_library
from scripted_server import RESET, Reply, Script, serving

from resilio import CircuitBreakerOpenError, ConsecutiveFailures, OperationTimeoutError
from resilio.testing import ChaosProxy, LimitData

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from http_libraries import HttpLibrary

    from resilio.testing import VirtualClock

lib = each_library

pytestmark = [
    pytest.mark.anyio,
    # Streams that are left early leave generators of httpx's to the garbage collector, of which trio tells.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

QUESTION: Any = {"model": "dada", "messages": [{"role": "user", "content": "Meow?"}]}


def completion(text: str) -> bytes:
    """What the endpoint answers."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "dada", "choices": [choice]}
    ).encode()


def chunk(text: str) -> bytes:
    """One event of a streamed answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "dada", "choices": [choice]}
    return f"data: {json.dumps(event)}\n\n".encode()


ANSWER = Reply(headers={"Content-Type": "application/json"}, pieces=(completion("Dada!"),))
STREAM = [chunk("Da"), chunk("da"), chunk("!"), b"data: [DONE]\n\n"]
SSE = {"Content-Type": "text/event-stream"}


@asynccontextmanager
async def model(
    lib: HttpLibrary, *replies: Reply, port: int | None = None, **settings: Any
) -> AsyncGenerator[tuple[Script, openai.AsyncOpenAI]]:
    """The stand-in endpoint, and the provider's client above our transport."""
    settings = {"retry_methods": {"POST"}, "attempt_timeout": 60, "total_timeout": 180, **settings}
    async with serving(Script(*replies, otherwise=ANSWER)) as script, lib.client(**settings) as http_client:
        yield (
            script,
            openai.AsyncOpenAI(
                api_key="none",
                base_url=f"http://127.0.0.1:{port or script.port}/v1",
                http_client=http_client,
                max_retries=0,
            ),
        )


async def ask(client: openai.AsyncOpenAI) -> str | None:
    """One question, one answer."""
    answer = await client.chat.completions.create(**QUESTION)
    text: str | None = answer.choices[0].message.content
    return text


async def test_a_busy_provider_is_waited_for_as_long_as_it_asks(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """429 with Retry-After, twice."""
    busy = Reply(429, headers={"Retry-After": "20"}, pieces=(b"{}",))
    async with model(lib, busy, busy) as (script, client):
        assert await ask(client) == "Dada!"
        assert virtual_clock.elapsed == pytest.approx(40, abs=1)
        assert [each.target for each in script.asked] == ["/v1/chat/completions"] * 3
        assert len({each.body for each in script.asked}) == 1


async def test_a_provider_that_stays_busy_is_the_clients_own_error(lib: HttpLibrary) -> None:
    """The last answer reaches the client, which makes of it what it always does."""
    busy = Reply(429, headers={"Retry-After": "600"}, pieces=(b'{"error": {"message": "slow down"}}',))
    async with model(lib, busy) as (script, client):
        with pytest.raises(openai.RateLimitError, match="slow down") as caught:
            await ask(client)
        assert caught.value.response.headers["Retry-After"] == "600"
        assert len(script.asked) == 1


async def test_resets_are_survived(lib: HttpLibrary) -> None:
    """Connections that break before an answer is made again."""
    async with model(lib, RESET, RESET, RESET) as (script, client):
        assert await ask(client) == "Dada!"
        assert len(script.asked) == 4


async def test_an_open_circuit_and_a_timeout_are_errors_that_the_client_knows(
    lib: HttpLibrary, virtual_clock: VirtualClock
) -> None:
    """As a connection that could not be made, and as one that took too long; the cause says more."""
    async with model(lib, Reply(wait=300), trip=ConsecutiveFailures(1), max_retries=0) as (script, client):
        with pytest.raises(openai.APITimeoutError) as late:
            await ask(client)
        assert isinstance(late.value.__cause__, OperationTimeoutError)
        assert virtual_clock.elapsed == pytest.approx(60, abs=1)
        with pytest.raises(openai.APIConnectionError) as refused:
            await ask(client)
        assert isinstance(refused.value.__cause__, CircuitBreakerOpenError)
        assert len(script.asked) == 1


async def test_a_slow_stream_takes_as_long_as_it_does(lib: HttpLibrary, virtual_clock: VirtualClock) -> None:
    """Longer than all attempts may take together."""
    async with model(lib, Reply(headers=SSE, pieces=STREAM, pause=70)) as (_, client):
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        assert [each.choices[0].delta.content async for each in stream] == ["Da", "da", "!"]
        assert virtual_clock.elapsed > 200


async def test_a_stream_that_breaks_off_tells_its_reader(lib: HttpLibrary) -> None:
    """What came until then has come; nothing is asked twice behind the reader's back."""
    async with serving(Script(otherwise=Reply(headers=SSE, pieces=STREAM[:3] * 200))) as upstream:
        async with ChaosProxy(("127.0.0.1", upstream.port)) as proxy:
            async with model(lib, port=proxy.port) as (_, client):
                stream = await client.chat.completions.create(**QUESTION, stream=True)
                said: list[str | None] = []

                async def listen() -> None:
                    async for each in stream:
                        said.append(each.choices[0].delta.content)  # noqa: PERF401 -- it breaks off

                with (
                    proxy.toxic(LimitData(2000)),
                    pytest.raises((openai.APIConnectionError, lib.itself.TransportError)),
                ):
                    await listen()
                assert said[:3] == ["Da", "da", "!"]
                assert len(upstream.asked) == 1
