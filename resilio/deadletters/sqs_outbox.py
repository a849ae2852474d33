"""Many senders, few requests: what is sent within a few milliseconds goes to SQS in batches of ten."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqs_client import pause_before
from resilio.deadletters.sqs_envelope import LARGEST
from resilio.deadletters.sqs_errors import RemoteQueueError, RemoteQueueUnreachableError, entry_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resilio.deadletters.sqs_client import SqsClient
    from resilio.deadletters.sqs_envelope import Parcel

__all__ = ("Outbox",)

_GATHER: Final = 0.002  # seconds for which the first one waits for others
_MOST: Final = 10  # entries that SQS takes in one request
_TRIES: Final = 4
# A whole batch is refused for one of its entries: each is then tried by itself.
_BATCH_FAULTS: Final = frozenset({"BatchRequestTooLong", "InvalidMessageContents", "InvalidParameterValue"})


class _Sending:
    """One parcel, and who waits for it."""

    __slots__ = ("parcel", "senders")

    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.senders: list[asyncio.Future[str]] = []

    def succeed(self, sqs_id: str) -> None:
        for each in self.senders:
            if not each.done():  # else it was cancelled
                each.set_result(sqs_id)

    def fail(self, error: Exception) -> None:
        for each in self.senders:
            if not each.done():
                each.set_exception(_copy_of(error))


class Outbox:
    """Gathers parcels and sends them in batches. Use it on one event loop.

    Args:
        client: What sends them; the tasks belong to it.
        sent: Is told of every parcel that SQS has taken, also when its sender has gone meanwhile.
    """

    def __init__(self, client: SqsClient, sent: Callable[[Parcel], None]) -> None:
        self._client = client
        self._sent = sent
        self._pending: list[_Sending] = []
        self._under_way: dict[tuple[str, int], _Sending] = {}
        self._is_gathering = False

    async def send(self, parcel: Parcel) -> str:
        """Return SQS's id for the message once it has the parcel.

        Cancelled before its batch is on its way, it is not sent. One that is on its way already is not sent twice.

        Raises:
            RemoteQueueError: SQS does not take it.
        """
        key = parcel.letter_id, parcel.revision
        sending = self._under_way.get(key)
        if sending is None:
            sending = self._under_way[key] = _Sending(parcel)
            self._enqueue(sending)
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        sending.senders.append(done)
        try:
            return await done
        except asyncio.CancelledError:
            sending.senders.remove(done)
            if not sending.senders and sending in self._pending:
                self._pending.remove(sending)
                del self._under_way[key]
            raise

    def _enqueue(self, sending: _Sending) -> None:
        self._pending.append(sending)
        if len(self._pending) >= _MOST:
            self._post(self._pending[:_MOST])
            del self._pending[:_MOST]
        elif not self._is_gathering:
            self._is_gathering = True
            self._client.start(self._gather())

    async def _gather(self) -> None:
        try:
            await clock.sleep(_GATHER)
            pending, self._pending = self._pending, []
            self._post(pending)
        finally:
            self._is_gathering = False
            self._give_up(self._pending)  # only if this was cancelled

    def _post(self, sendings: list[_Sending]) -> None:
        for batch in _batches(sendings):
            self._client.start(self._deliver(batch))

    async def _deliver(self, batch: list[_Sending]) -> None:
        """Send a batch, and those of it that failed again, by themselves, until all are sent or refused."""
        left = batch
        try:
            for tries in range(1, _TRIES + 1):
                left = await self._send(left, is_last=tries == _TRIES)
                if not left:
                    return
                await pause_before(tries)
        finally:
            self._give_up(left)

    def _give_up(self, sendings: list[_Sending]) -> None:
        queue_url = self._client.address.queue_url
        for each in sendings:
            msg = f"{queue_url} was closed while the letter was on its way"
            self._end(each, RemoteQueueUnreachableError(msg, location=queue_url))
        sendings.clear()

    async def _send(self, batch: list[_Sending], *, is_last: bool) -> list[_Sending]:
        """Send a batch once, tell those whose fate is known, and return the others."""
        address = self._client.address
        entries = [each.parcel.entry(str(at), is_fifo=address.is_fifo) for at, each in enumerate(batch)]
        try:
            answer = await self._client.call(
                "send_message_batch", doing="send to", QueueUrl=address.queue_url, Entries=entries
            )
        except DeadLetterQueueError as error:
            code = error.aws_code if isinstance(error, RemoteQueueError) else ""
            if code not in _BATCH_FAULTS:
                for each in batch:
                    self._end(each, error)
            elif len(batch) == 1:
                self._end(batch[0], entry_error(code, error.message, is_ours=True, location=address.queue_url))
            else:
                for each in batch:
                    self._client.start(self._deliver([each]))
            return []
        again: list[_Sending] = []
        failed: dict[str, dict[str, Any]] = {each["Id"]: each for each in answer.get("Failed", ())}
        sent = {each["Id"]: each["MessageId"] for each in answer.get("Successful", ())}
        for at, each in enumerate(batch):
            if str(at) in sent:
                self._end(each, sent[str(at)])
                continue
            told = failed.get(str(at), {"Code": "InternalError", "Message": "the answer does not mention it"})
            refusal = entry_error(
                told.get("Code", ""),
                told.get("Message", ""),
                is_ours=bool(told.get("SenderFault")),
                location=address.queue_url,
            )
            if refusal.retryable and not is_last:
                again.append(each)
            else:
                self._end(each, refusal)
        return again

    def _end(self, sending: _Sending, outcome: str | Exception) -> None:
        """A parcel was taken, and this is SQS's id for it; or it was not, and this is why."""
        self._under_way.pop((sending.parcel.letter_id, sending.parcel.revision), None)
        if isinstance(outcome, str):
            self._sent(sending.parcel)
            sending.succeed(outcome)
        else:
            sending.fail(outcome)


def _batches(sendings: Iterable[_Sending]) -> list[list[_Sending]]:
    """In their order, as many together as SQS takes in one request."""
    batches: list[list[_Sending]] = []
    size = LARGEST
    for each in sendings:
        size += each.parcel.size
        if size > LARGEST or len(batches[-1]) == _MOST:
            batches.append([])
            size = each.parcel.size
        batches[-1].append(each)
    return batches


def _copy_of(error: Exception) -> Exception:
    """One error raised in many tasks would gather all their tracebacks: each gets its own."""
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
