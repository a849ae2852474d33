"""An SQS queue with a memory: what its messages mean, which receipts hold, where a letter can be found."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, dice, events
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError
from resilio.deadletters.events import LetterIndexFailed
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.sqs_envelope import opened, revised, sealed
from resilio.deadletters.sqs_errors import RemoteQueueDeniedError
from resilio.deadletters.sqs_lanes import Lanes
from resilio.deadletters.sqs_receipts import Receipt, Receipts, Verdict
from resilio.deadletters.sqs_scan import Scan
from resilio.deadletters.worker import in_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.sqs_client import Address
    from resilio.deadletters.sqs_envelope import Parcel, Received
    from resilio.deadletters.sqs_index import SqsIndex
    from resilio.deadletters.sqs_lanes import Lane
    from resilio.deadletters.sqs_scan import Bounds

__all__ = ("SqsQueue",)

_REMEMBERED: Final = 10_000
_REMEMBERED_FOR: Final = 60.0  # seconds
_ANY_REVISION: Final = 1 << 62


class SqsQueue:
    """What all event loops that use a store have in common. Safe from several of them at once.

    Args:
        address: Where the queue is.
        bounds: How far to look for a letter.
        hide_for: Seconds for which a letter that must not be handed out is hidden when it comes.
        by_group: Whether a FIFO queue keeps the letters of one group in order.
        index: What remembers letters beyond this process.

    Attributes:
        receipts: Those of the letters that SQS has handed to us.
    """

    def __init__(
        self, address: Address, bounds: Bounds, *, hide_for: float, by_group: bool, index: SqsIndex | None
    ) -> None:
        self.location: str = address.queue_url
        self.receipts: Receipts = Receipts()
        self.lanes: Lanes = Lanes(address, self._remember)
        self.bounds = bounds
        self.hide_for = hide_for
        self.index = index
        self._by_group = by_group
        self._lock = threading.Lock()
        self._sent: OrderedDict[str, float] = OrderedDict()  # ids that SQS has, and until when we rely on that

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, lane: Lane, letter_id: str, body: bytes) -> None:
        """Return once SQS has the letter.

        Raises:
            LetterTooLargeError: It does not fit into one message, even compressed.
            RemoteQueueError: SQS does not take it.
        """
        limit = await lane.limit()

        def seal() -> Parcel:
            return sealed(letter_id, body, limit=limit, location=self.location, by_group=self._by_group)

        parcel = seal() if len(body) < limit // 2 else await in_worker(seal)  # compressing takes its time
        while self.receipts.is_gone(await lane.outbox.send(parcel)):
            # A FIFO queue took it for a message which it had minutes ago, and which was deleted since.
            parcel = replace(parcel, salt=f".{dice.randbytes(4).hex()}")
        if self.index is not None:
            await self.note([opened({"Body": parcel.body, "ReceiptHandle": "", "MessageId": letter_id})])

    def _remember(self, parcel: Parcel) -> None:
        """Called for each letter that SQS has taken, even if its sender has gone."""
        with self._lock:
            self._sent[parcel.letter_id] = clock.monotonic() + _REMEMBERED_FOR
            self._sent.move_to_end(parcel.letter_id)
            if len(self._sent) > _REMEMBERED:
                self._sent.popitem(last=False)

    def is_sent(self, letter_id: str) -> bool:
        """Tell whether SQS took the letter within the last minute, and we did not delete it since."""
        with self._lock:
            return self._sent.get(letter_id, 0.0) > clock.monotonic()

    async def replace(
        self, lane: Lane, found: Received, letter: DeadLetter, *, parked: bool, not_before: datetime | None
    ) -> None:
        """Send another version of a letter, then delete the one that was."""
        await self.send(lane, letter.id, revised(letter, found.revision + 1, parked=parked, not_before=not_before))
        if not await self.delete(lane, found):
            self.receipts.mark_gone(found)  # somebody else may have it by now, but nobody gets it from us

    async def delete(self, lane: Lane, found: Received) -> bool:
        """Delete a message, and see to it that it is not handed out again should it still be there.

        Returns:
            False if SQS did not know the receipt any more.
        """
        is_deleted = await lane.delete(found)
        if is_deleted:
            self.receipts.mark_gone(found)
        await self.forget(found.letter.id, found.revision)
        return is_deleted

    async def delete_all(self, lane: Lane, found: Sequence[Received]) -> list[Received]:
        """Delete many messages; returns those whose receipts held."""
        held = await lane.delete_all([each.handle for each in found])
        for each in found:
            self.receipts.mark_gone(each)
            await self.forget(each.letter.id, each.revision)
        return [each for each in found if each.handle in held]

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def sort(self, lane: Lane, messages: Sequence[Mapping[str, Any]], back: set[str]) -> list[Received]:
        """Of what was received, the letters that may be handed out.

        Copies of what is gone are deleted; what is parked or not due is hidden. The receipts of what must be given back
        if this does not come to its end are in ``back`` meanwhile.
        """
        received = [opened(each) for each in messages]
        handles = {each.handle for each in received}
        back |= handles
        now = clock.utcnow()
        free: list[Received] = []
        gone: list[str] = []
        hidden: dict[float, list[Received]] = {}
        for each in received:
            verdict = self.receipts.judge(each, clock.monotonic())
            if verdict is Verdict.GONE:
                gone.append(each.handle)
            elif verdict is Verdict.OURS:
                back.discard(each.handle)
            elif each.letter.status is LetterStatus.PARKED:
                hidden.setdefault(self.hide_for, []).append(each)
            elif each.not_before is not None and each.not_before > now:
                left = (each.not_before - now).total_seconds()
                hidden.setdefault(min(left, self.hide_for), []).append(each)
            else:
                free.append(each)
        if gone:
            await lane.delete_all(gone)
        for seconds, some in hidden.items():
            since = clock.monotonic()
            await lane.hide_all([each.handle for each in some], seconds)
            for each in some:
                self.receipts.put(Receipt(each, None, since, since + seconds, now + timedelta(seconds=seconds)))
        await self.note([*free, *(each for some in hidden.values() for each in some)])
        back -= handles
        return free

    def receipt(self, letter_id: str, held: str | None = None) -> Receipt | None:
        """The receipt of a letter, None if there is none that holds.

        Raises:
            MessageClaimedError: It is under another claim than ``held``.
        """
        receipt = self.receipts.get(letter_id, clock.monotonic())
        if receipt is not None and receipt.token not in (None, held):
            msg = f"the letter {letter_id} is claimed until {receipt.until.isoformat()}"
            raise MessageClaimedError(
                msg,
                message_id=letter_id,
                until=receipt.until,
                retry_after=receipt.ends - clock.monotonic(),
                location=self.location,
            )
        return receipt

    def holder_of(self, key: str) -> str | None:
        """The id of a letter with that deduplication key that we have a claim on: it is there for sure."""
        for each in self.receipts.all(clock.monotonic()):
            if each.letter.deduplication_key == key:
                return each.letter.id
        return None

    def scan(self, lane: Lane) -> Scan:
        """A look through the queue."""
        return Scan(lane, self.receipts, self.bounds)

    async def look_for(self, lane: Lane, letter_id: str, seconds: float) -> Received | MessageNotFoundError:
        """Look for a letter and hide it from others for ``seconds``; otherwise, what can be said of its absence."""
        found = None
        async with self.scan(lane) as scan:
            found = await scan.until(lambda each: each.letter.id == letter_id)
            if found is not None:
                if await lane.hide(found.handle, seconds):
                    scan.keep(found)
                else:  # it took so long that somebody else has it
                    found = None
        await self.note(scan.found)
        return found if found is not None else await self.missing(lane, letter_id, scan)

    async def take(self, lane: Lane, letter_id: str) -> Received | MessageNotFoundError:
        """A letter that nobody has through us, hidden from others.

        Raises:
            MessageClaimedError: Somebody has it, through this object.
        """
        receipt = self.receipt(letter_id)
        if receipt is not None and await lane.hide(receipt.found.handle, self.hide_for):
            return receipt.found
        return await self.look_for(lane, letter_id, self.hide_for)

    async def missing(self, lane: Lane, letter_id: str, scan: Scan) -> MessageNotFoundError:
        """What can be said of a letter that a scan did not find; ``context`` has ``seen`` and ``is_certain``."""
        hidden = await self.in_flight(lane)
        ours = len(self.receipts.all(clock.monotonic()))
        elsewhere = None if hidden is None else max(0, hidden - ours)
        more = "" if scan.is_complete else f"; there are more, max_scan is {self.bounds.letters}"
        other = "an unknown number" if elsewhere is None else str(elsewhere)
        msg = (
            f"there is no letter {letter_id} among the {scan.seen} letters that were seen in {self.location}{more}; "
            f"{other} could not be seen, because somebody has claimed them or they are not due"
        )
        error = MessageNotFoundError(
            msg, message_id=letter_id, location=self.location, seen=scan.seen, in_flight=elsewhere
        )
        error.context["is_certain"] = scan.is_complete and elsewhere == 0
        return error

    async def in_flight(self, lane: Lane) -> int | None:
        """How many letters SQS hides from us at the moment; None if we may not ask."""
        try:
            told = await lane.attributes("ApproximateNumberOfMessagesNotVisible")
        except RemoteQueueDeniedError:
            return None
        return int(told.get("ApproximateNumberOfMessagesNotVisible", 0))

    # -- the index -----------------------------------------------------------------------------------------------------

    async def note(self, found: Sequence[Received]) -> None:
        """Remember letters beyond this process."""
        index = self.index
        if index is not None and found:
            letters = [(each.letter, each.revision) for each in found]
            await self._indexed(lambda: index.put(letters))

    async def forget(self, letter_id: str, revision: int = _ANY_REVISION) -> None:
        """The letter is not in the queue any more, up to that revision."""
        with self._lock:
            self._sent.pop(letter_id, None)
        index = self.index
        if index is not None:
            await self._indexed(lambda: index.remove([(letter_id, revision)]))

    async def _indexed(self, change: Callable[[], None]) -> None:
        """An index that fails is told, but fails nobody: the letters are in the queue."""
        try:
            await in_worker(change)
        except DeadLetterQueueError as error:
            if events.listeners:
                events.emit(LetterIndexFailed(location=self.location, error=str(error)))
