"""A whole day: the stand-ins, the service between them, the messages, and the replay of what was kept."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio
import httpx

from examples.dadacat.cat import BREAKER, CATNAP, CONFUSED, Cat
from examples.dadacat.check import Ledger
from examples.dadacat.driver import TWILIO_WAITS, Driver
from examples.dadacat.inbox import inbox
from examples.dadacat.messages import Message
from examples.dadacat.outbox import Outbox
from examples.dadacat.process import EndpointProcess, endpoint_process
from examples.dadacat.service import service
from examples.dadacat.serving import listen, serving, url_of
from resilio import DeadLetterQueue, DeadLetterQueueError, subscribe

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from examples.dadacat.story import Story

FALLBACKS = (CATNAP, CONFUSED)
MOST_ROUNDS = 4
"""How often the replay goes through the letters before it leaves the rest to another day."""

REPLAYERS = 4
"""How many replay at once."""

MOST_LETTERS = 1_000_000


class UnusableLettersError(Exception):
    """The file of dead letters is no such file, or holds the letters of another program."""


@dataclass(frozen=True, slots=True)
class Day:
    """What a day is made of.

    Attributes:
        messages: What comes in.
        seconds: How long it lasts.
        seed: Makes the endpoint's faults repeatable.
        letters: The file of dead letters.
        story: What happens is told to it.
        ledger: What is seen from outside is written into it.
        dashboard: Where the dashboard is served, and the letters are replayed by hand; None for neither.
    """

    messages: Sequence[Message]
    seconds: float
    seed: int
    letters: Path
    story: Story
    ledger: Ledger = field(default_factory=Ledger)
    dashboard: socket.socket | None = None


async def live_through(day: Day, listener: socket.socket) -> EndpointProcess:
    """Play a day and its replay, with the service on ``listener``.

    Raises:
        UnusableLettersError: The file of dead letters is not ours.
        RuntimeError: The stand-in endpoint ended early; inside an exception group.
    """
    story, ledger = day.story, day.ledger
    ledger.older = {each.sid for each in await _kept_in(DeadLetterQueue(local_file_path=day.letters))}
    account, token = f"AC{secrets.token_hex(16)}", secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        stack.enter_context(subscribe(story.hear))
        endpoint = await stack.enter_async_context(endpoint_process(day.seed, day.seconds, story.begin_phase))
        texts = listen()
        await stack.enter_async_context(serving(inbox(ledger, account, token), texts))
        openai = await stack.enter_async_context(httpx.AsyncClient(base_url=endpoint.url, timeout=None))  # noqa: S113 -- the cat has a `Timeout` of its own
        twilio = await stack.enter_async_context(httpx.AsyncClient(base_url=url_of(texts), auth=(account, token)))
        phones = await stack.enter_async_context(httpx.AsyncClient(timeout=TWILIO_WAITS))

        cat = Cat(openai, day.letters, Outbox(twilio, account).send)
        await stack.enter_async_context(cat.letters)
        await stack.enter_async_context(serving(service(cat.reply, token), listener))
        if day.dashboard is not None:
            from examples.dadacat.dashboard import dashboard  # noqa: PLC0415 -- what it needs is needed only here

            await stack.enter_async_context(dashboard(cat, BREAKER, day.dashboard))
        driver = Driver(phones, f"{url_of(listener)}/sms", account, token, ledger)
        driver.on_reply = partial(_tell_reply, story)

        ledger.forged = await driver.forge(day.messages[0])
        await driver.play(day.messages, day.seconds, day.seed)
        ledger.letters = await _kept_in(cat.letters)
        story.note(f"all {len(day.messages)} messages are answered, {len(ledger.letters)} dead letters wait", "magenta")
        await endpoint.is_back.wait()
        if day.dashboard is None:
            await replay(cat, story)
        else:
            from examples.dadacat.dashboard import replayed_by_hand  # noqa: PLC0415 -- likewise

            await replayed_by_hand(cat, story, day.dashboard)
        ledger.left = (await cat.letters.stats()).total
    return endpoint


async def replay(cat: Cat, story: Story) -> None:
    """Replay the letters, in a few rounds if the endpoint is not quite back."""
    for _ in range(MOST_ROUNDS):
        await anyio.sleep(story.tries_again_in)
        if not (letters := (await cat.letters.stats()).total):
            return
        story.note(f"replay of {letters} dead letters", "magenta")
        # One letter finds out whether it is any use; the failed attempts of the others would be counted in vain.
        if (await cat.letters.reprocess_all(limit=1)).replayed:
            # Each letter goes to one of them alone, as it would if they were processes on several machines.
            async with anyio.create_task_group() as tasks:
                for _ in range(REPLAYERS):
                    tasks.start_soon(cat.letters.reprocess_all)
        story.note(f"replay over, {(await cat.letters.stats()).total} dead letters left", "magenta")


def _tell_reply(story: Story, message: Message, reply: str) -> None:
    story.exchanges.append((message.body, reply))
    if reply not in FALLBACKS:
        story.count("live")


async def _kept_in(letters: DeadLetterQueue) -> list[Message]:
    try:
        async with letters:
            return [Message(**each.message) for each in await letters.peek(limit=MOST_LETTERS)]
    except (DeadLetterQueueError, TypeError) as error:
        msg = f"{letters.location} cannot keep this example's dead letters: {error}"
        raise UnusableLettersError(msg) from error
