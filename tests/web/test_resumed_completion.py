"""A streamed chat completion that breaks off after some words is asked for again, with the text so far."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import openai
import pytest
from http_libraries import each_library
from scripted_server import RESET, Reply, Script, serving
from test_transport_openai import SSE, chunk

from resilio import BackoffStrategy, ErrorHandler, InterruptedStream, RetryExhaustedError, StreamInterrupted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from http_libraries import HttpLibrary

    from resilio.testing import EventRecorder

lib = each_library

pytestmark = [
    pytest.mark.anyio,
    # Streams that break off leave generators of httpx's to the garbage collector, of which trio tells.
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
]

WORDS = ["Dada ", "is ", "the ", "sun, ", "Dada ", "is ", "the ", "egg."]
DONE = b"data: [DONE]\n\n"


def said(*words: str, breaks: bool = False) -> Reply:
    """A stream of these words."""
    return Reply(headers=SSE, pieces=[*map(chunk, words), *(() if breaks else (DONE,))], breaks=breaks)


class Model:
    """What an application writes around the provider's client."""

    def __init__(self, client: openai.AsyncOpenAI, **settings: Any) -> None:
        self._client = client
        retry = BackoffStrategy(base_delay=0, retry_exceptions=_is_passing, resume=self._go_on, **settings)
        self.complete = retry(self._complete)

    async def _complete(self, prompt: str, so_far: str = "") -> AsyncGenerator[str]:
        messages: Any = [{"role": "user", "content": prompt}]
        if so_far:
            messages.append({"role": "assistant", "content": so_far})
        stream = await self._client.chat.completions.create(model="dada", messages=messages, stream=True)
        async with stream:
            async for each in stream:
                yield each.choices[0].delta.content or ""

    @staticmethod
    def _go_on(broken: InterruptedStream) -> AsyncGenerator[str]:
        rest: AsyncGenerator[str] = broken.again(*broken.args, so_far="".join(broken.items))
        return rest


def _is_passing(error: Exception) -> bool:
    return isinstance(error, openai.APIConnectionError) or "httpx" in type(error).__module__


async def listen(model: Model, heard: list[str]) -> None:
    """Take what comes."""
    async with aclosing(model.complete("What is Dada?")) as words:
        async for word in words:
            heard.append(word)  # noqa: PERF401 -- it may break off


async def test_a_completion_goes_on_with_the_text_so_far(lib: HttpLibrary, resilio_events: EventRecorder) -> None:
    """The reader hears each word once; the model is told what it has said."""
    script = Script(RESET, said(*WORDS[:3], breaks=True), said(*WORDS[3:5], breaks=True), said(*WORDS[5:]))
    async with serving(script), lib.client(max_retries=0) as http_client:
        client = openai.AsyncOpenAI(api_key="none", base_url=script.url, http_client=http_client, max_retries=0)
        heard: list[str] = []
        await listen(Model(client, max_retries=3), heard)
    assert heard == WORDS
    spoken = [json.loads(each.body)["messages"][1:] for each in script.asked]
    assert [each[0]["content"] if each else "" for each in spoken] == ["", "", "Dada is the ", "Dada is the sun, Dada "]
    assert [each.items for each in resilio_events.of(StreamInterrupted)] == [3, 5]


async def test_a_completion_that_cannot_be_had_to_its_end_is_reported(lib: HttpLibrary) -> None:
    """The reader has the words that came, and the report says what happened."""
    script = Script(otherwise=said("meow ", breaks=True))
    async with serving(script), lib.client(max_retries=0) as http_client:
        client = openai.AsyncOpenAI(api_key="none", base_url=script.url, http_client=http_client, max_retries=0)
        heard: list[str] = []
        handler = ErrorHandler(log=False)
        with pytest.raises(RetryExhaustedError):
            async with handler.guard("completion") as guard:
                await listen(Model(client, max_retries=2), heard)
    assert heard == ["meow "] * 3
    assert guard.report is not None
    assert guard.report.code == "retries_exhausted"
