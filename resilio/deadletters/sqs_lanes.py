"""What a store has on each event loop that uses it: a client with its connections, an outbox, and the turn to scan."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import anyio

from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqs_client import SqsClient, refuse_trio
from resilio.deadletters.sqs_envelope import LARGEST
from resilio.deadletters.sqs_errors import RemoteQueueDeniedError, RemoteQueueError, is_stale_receipt
from resilio.deadletters.sqs_outbox import Outbox
from resilio.deadletters.store import GIVE_BACK_WITHIN
from resilio.deadletters.worker import in_trio, in_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilio.deadletters.sqs_client import Address
    from resilio.deadletters.sqs_envelope import Parcel, Received

__all__ = ("Lane", "Lanes")

_MOST: Final = 10  # entries that SQS takes in one request


class Lane:
    """What one event loop has of a queue. Use it there only.

    Attributes:
        client: Its client.
        outbox: What it sends.
        scanning: Held by whoever looks through the queue: two at once would hide letters from each other.
    """

    def __init__(self, address: Address, sent: Callable[[Parcel], None]) -> None:
        self.client: SqsClient = SqsClient(address)
        self.outbox: Outbox = Outbox(self.client, sent)
        self.scanning: asyncio.Lock = asyncio.Lock()
        self._url = address.queue_url
        self._limit: asyncio.Task[int] | None = None

    async def limit(self) -> int:
        """The most that the queue takes in one message, in bytes; asked for once."""
        asking = self._limit
        if asking is None or (asking.done() and (asking.cancelled() or asking.exception() is not None)):
            asking = self._limit = self.client.start(self._ask_for_limit())
        if not asking.done():
            await asyncio.wait([asking])
        return asking.result()

    async def _ask_for_limit(self) -> int:
        try:
            attributes = await self.attributes("MaximumMessageSize")
        except RemoteQueueDeniedError:  # a sender need not be allowed to ask
            return LARGEST
        return min(int(attributes.get("MaximumMessageSize", LARGEST)), LARGEST)

    async def attributes(self, *names: str) -> dict[str, str]:
        """What SQS says of the queue."""
        answer = await self.client.call(
            "get_queue_attributes", doing="ask about", QueueUrl=self._url, AttributeNames=list(names)
        )
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    async def receive(self, most: int, *, seconds: float, wait: int) -> list[dict[str, Any]]:
        """Up to ten messages, hidden from others for ``seconds``.

        Cancelled, it waits for the answer, a few seconds at most, and gives back what came.
        """
        task = self.client.start(self._receive(most, seconds, wait))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True), suppress(DeadLetterQueueError):
                await asyncio.wait([task])
                if task.done() and not task.cancelled():
                    await self.give_back([each["ReceiptHandle"] for each in task.result()])
            raise
        return task.result()

    async def _receive(self, most: int, seconds: float, wait: int) -> list[dict[str, Any]]:
        answer = await self.client.call(
            "receive_message",
            doing="receive from",
            QueueUrl=self._url,
            MaxNumberOfMessages=min(most, _MOST),
            VisibilityTimeout=math.ceil(seconds),
            WaitTimeSeconds=wait,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    async def hide(self, handle: str, seconds: float) -> bool:
        """Hide a letter from others for ``seconds`` from now; False if the receipt does not hold any more."""
        try:
            await self.client.call(
                "change_message_visibility",
                doing="claim a letter in",
                QueueUrl=self._url,
                ReceiptHandle=handle,
                VisibilityTimeout=math.ceil(seconds),
            )
        except RemoteQueueError as error:
            if is_stale_receipt(error):
                return False
            raise
        return True

    async def hide_all(self, handles: Sequence[str], seconds: float) -> set[str]:
        """The same for many; returns those receipts that held."""
        held: set[str] = set()
        for start in range(0, len(handles), _MOST):
            some = handles[start : start + _MOST]
            entries = [
                {"Id": str(at), "ReceiptHandle": each, "VisibilityTimeout": math.ceil(seconds)}
                for at, each in enumerate(some)
            ]
            answer = await self.client.call(
                "change_message_visibility_batch", doing="claim letters in", QueueUrl=self._url, Entries=entries
            )
            held.update(some[int(each["Id"])] for each in answer.get("Successful", ()))
        return held

    async def give_back(self, handles: Sequence[str]) -> None:
        """Show letters to everybody again; where a receipt does not hold, they are so already, or gone."""
        await self.hide_all(handles, 0.0)

    async def delete(self, found: Received) -> bool:
        """Delete a message; False if the receipt does not hold any more."""
        try:
            await self.client.call(
                "delete_message", doing="delete from", QueueUrl=self._url, ReceiptHandle=found.handle
            )
        except RemoteQueueError as error:
            if is_stale_receipt(error):
                return False
            raise
        return True

    async def delete_all(self, handles: Sequence[str]) -> set[str]:
        """Delete many; returns those receipts that held."""
        held: set[str] = set()
        for start in range(0, len(handles), _MOST):
            some = handles[start : start + _MOST]
            entries = [{"Id": str(at), "ReceiptHandle": each} for at, each in enumerate(some)]
            answer = await self.client.call(
                "delete_message_batch", doing="delete from", QueueUrl=self._url, Entries=entries
            )
            held.update(some[int(each["Id"])] for each in answer.get("Successful", ()))
        return held


class Lanes:
    """The lanes of one store, by event loop. Safe from any thread, and across a fork."""

    def __init__(self, address: Address, sent: Callable[[Parcel], None]) -> None:
        self._address = address
        self._sent = sent
        self._lock = threading.Lock()
        self._lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lane] = WeakKeyDictionary()
        self._pid = os.getpid()

    def here(self) -> Lane:
        """The lane of the event loop that runs this.

        Raises:
            DeadLetterQueueError: That is trio's.
        """
        refuse_trio(self._address.queue_url)
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None or self._pid != os.getpid():
            if self._pid != os.getpid():  # the connections are the parent's
                self._lock = threading.Lock()
                self._lanes = WeakKeyDictionary()
                self._pid = os.getpid()
            with self._lock:
                lane = self._lanes.get(loop)
                if lane is None:
                    lane = self._lanes[loop] = Lane(self._address, self._sent)
        return lane

    async def aclose(self) -> None:
        """Close every lane on its own event loop; those whose loop has ended are only forgotten."""
        if self._pid != os.getpid():
            return
        with self._lock:
            lanes = dict(self._lanes)
            self._lanes = WeakKeyDictionary()
        here = None if in_trio() else asyncio.get_running_loop()
        for loop, lane in lanes.items():
            if loop is here:
                await lane.client.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(lane.client.aclose(), loop)
                with suppress(TimeoutError), anyio.fail_after(GIVE_BACK_WITHIN):
                    await in_worker(closing.result, GIVE_BACK_WITHIN)
