"""A stand-in for Twilio: plays inbound messages as signed webhooks and writes down what comes back."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import anyio
import httpx
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from examples.dadacat.outbox import DADACAT_NUMBER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.dadacat.check import Ledger
    from examples.dadacat.messages import Message

TWILIO_WAITS = 15.0
"""Seconds that Twilio gives a webhook."""

_AT_ONCE = 200


class Driver:
    """Sends webhooks and notes every reply.

    Args:
        http: A client that waits no longer than Twilio does.
        url: Where the webhooks go.
        account: The account's SID.
        auth_token: What they are signed with.
        ledger: What comes back is written into it.

    Attributes:
        on_reply: Called with each message and the text of its reply.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, account: str, auth_token: str, ledger: Ledger) -> None:
        self.on_reply: Callable[[Message, str], object] = lambda *_: None
        self._http = http
        self._url = url
        self._account = account
        self._validator = RequestValidator(auth_token)
        self._ledger = ledger
        self._lines = anyio.Semaphore(_AT_ONCE)

    async def play(self, messages: Sequence[Message], seconds: float, seed: int) -> None:
        """Send all ``messages``, spread over ``seconds``, and wait for their replies."""
        rng = random.Random(seed)
        gap = seconds / max(len(messages), 1)
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for number, message in enumerate(messages):
                await anyio.sleep_until(start + (number + rng.random()) * gap)
                await self._lines.acquire()
                tasks.start_soon(self._deliver, message)

    async def forge(self, message: Message) -> int:
        """Send a webhook that somebody else signed; return the status of the answer."""
        form = self._form(message)
        signature = RequestValidator("somebody else's token").compute_signature(self._url, form)
        return (await self._post(form, signature)).status_code

    async def _deliver(self, message: Message) -> None:
        self._ledger.inbound[message.sid] = message
        form = self._form(message)
        try:
            response = await self._post(form, self._validator.compute_signature(self._url, form))
            response.raise_for_status()
            replies = [each.text or "" for each in ET.fromstring(response.text).iter("Message")]  # noqa: S314 -- ours
            self._ledger.replies.setdefault(message.sid, []).extend(replies)
            for reply in replies:
                self.on_reply(message, reply)
        except (httpx.HTTPError, ET.ParseError) as error:
            self._ledger.trouble.append(f"{message.sid}: {type(error).__name__}: {error}")
        finally:
            self._lines.release()

    async def _post(self, form: dict[str, str], signature: str) -> httpx.Response:
        return await self._http.post(self._url, data=form, headers={"X-Twilio-Signature": signature})

    def _form(self, message: Message) -> dict[str, str]:
        return {
            "MessageSid": message.sid,
            "AccountSid": self._account,
            "From": message.sender,
            "To": DADACAT_NUMBER,
            "Body": message.body,
            "NumMedia": "0",
        }
