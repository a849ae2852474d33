"""Looking at what lies in an SQS queue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.letter import LetterStatus, moment
from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.store import DeadLetterStats
from resilio.deadletters.worker import in_worker

if TYPE_CHECKING:
    from resilio.deadletters.errors import MessageNotFoundError
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.sqs_queue import SqsQueue
    from resilio.deadletters.sqs_receipts import Receipt

__all__ = ("SqsView", "is_certain")


class SqsView:
    """The part of a store that changes nothing, but for hiding letters while it looks.

    Args:
        queue: The queue.
    """

    def __init__(self, queue: SqsQueue) -> None:
        self._queue = queue

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.location}>"

    @property
    def location(self) -> str:
        """The queue's URL."""
        return self._queue.location

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None. With an index or a receipt it costs no request; otherwise a scan.

        Raises:
            MessageNotFoundError: A scan did not find it, and could not look everywhere.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        receipt = queue.receipts.get(letter_id, clock.monotonic())
        if receipt is not None:
            return _as_seen(receipt)
        if queue.index is not None:
            known = await in_worker(queue.index.get, letter_id)
            if known is not None:
                return known
        async with queue.scan(lane) as scan:
            found = await scan.until(lambda each: each.letter.id == letter_id)
        await queue.note(scan.found)
        if found is not None:
            return found.letter
        is_certain(await queue.missing(lane, letter_id, scan))
        return None

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order of their ids.

        With an index it costs no request, and shows what this machine knows. Without one it is a scan, which shows what
        it saw, and letters that this object has a claim on.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        ours = {each.letter.id: _as_seen(each) for each in queue.receipts.all(clock.monotonic())}
        index = queue.index
        if index is not None:
            return await in_worker(lambda: index.peek(limit, after=after, where=where, ours=ours))
        letters = dict(ours)
        is_first_page = after is None and where.is_empty
        async with queue.scan(lane) as scan:
            await scan.until(lambda _: is_first_page and scan.seen >= limit)
        letters.update((each.letter.id, each.letter) for each in scan.found)
        wanted = [
            letters[each]
            for each in sorted(letters)
            if (after is None or each > after) and where.matches(letters[each])
        ]
        return wanted[:limit]

    async def refresh_index(self) -> int:
        """Look through the queue once, as far as ``max_scan`` and ``scan_timeout`` go, and put it into the index.

        Returns:
            How many letters were seen.

        Raises:
            DeadLetterQueueError: There is no index.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        if queue.index is None:
            msg = f"{self!r} was built without an index"
            raise DeadLetterQueueError(msg, location=self.location)
        async with queue.scan(lane) as scan:
            await scan.until()
        await queue.note(scan.found)
        return scan.seen

    async def stats(self) -> DeadLetterStats:
        """What SQS says of the queue, one request; and what the index knows: bytes, groups, the oldest letter.

        Letters that are parked or not due count as waiting until this object has met them.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        names = ("", "NotVisible", "Delayed")
        told = await lane.attributes(*(f"ApproximateNumberOfMessages{each}" for each in names))
        visible, hidden, delayed = (int(told.get(f"ApproximateNumberOfMessages{each}", 0)) for each in names)
        parked, not_due = queue.receipts.count(clock.monotonic())
        oldest, size, groups = (None, 0, {}) if queue.index is None else await in_worker(queue.index.summary)
        since = None if oldest is None else moment(oldest)
        return DeadLetterStats(
            total=visible + hidden + delayed,
            waiting=visible + delayed + min(not_due, hidden),
            claimed=max(0, hidden - parked - not_due),
            parked=min(parked, hidden),
            oldest_failed_at=since,
            oldest_age=None if since is None else (clock.utcnow() - since).total_seconds(),
            bytes=size,
            groups=groups,
            is_approximate=True,
        )


def _as_seen(receipt: Receipt) -> DeadLetter:
    """A letter as it is for others: claimed if somebody has it."""
    return receipt.letter if receipt.token is None else replace(receipt.letter, status=LetterStatus.CLAIMED)


def is_certain(missing: MessageNotFoundError) -> bool:
    """False, if the letter is gone for sure.

    Raises:
        MessageNotFoundError: It may be where nobody could look.
    """
    if not missing.context["is_certain"]:
        raise missing
    return False
