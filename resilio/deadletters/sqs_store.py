"""Letters in an SQS queue."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from resilio._core import clock, dice, durations
from resilio.deadletters.errors import DeadLetterQueueError, MessageNotFoundError
from resilio.deadletters.letter import LetterStatus, attempt_line, longer
from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.sqs_client import Address, refuse_trio
from resilio.deadletters.sqs_envelope import opened
from resilio.deadletters.sqs_index import SqsIndex
from resilio.deadletters.sqs_queue import SqsQueue
from resilio.deadletters.sqs_receipts import Receipt
from resilio.deadletters.sqs_scan import Bounds
from resilio.deadletters.sqs_view import SqsView, is_certain
from resilio.deadletters.store import GIVE_BACK_WITHIN, Claim
from resilio.deadletters.worker import in_worker

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from resilio._core.durations import Duration
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.sqs_envelope import Received
    from resilio.deadletters.sqs_lanes import Lane

__all__ = ("SqsStore",)

_LONGEST: Final = 43_200.0  # SQS hides a letter for no longer than twelve hours, counted from when it was received
_LONGEST_WAIT: Final = 20
_BATCH: Final = 10
_FASTEST_MOVE: Final = 500


class SqsStore(SqsView):
    """A `Store` in an SQS queue; every consumer of the queue sees its letters.

        store = SqsStore("https://sqs.eu-central-1.amazonaws.com/123456789012/dead-letters")

    What SQS does differently from a file:

    - It cannot look a letter up. `get`, `delete`, `edit`, `park` and `claim_one` use the receipt of a letter that this
      object has received; for any other letter they *scan*: receive up to ``max_scan`` letters, ten a request, for at
      most ``scan_timeout`` seconds, and give back those that are not meant. Meanwhile nobody else gets those. With
      1 000 letters waiting, one at 75 % of the way took 76 requests, and hid 759 others for as long.
    - A letter that another consumer has at the moment cannot be seen at all. Where a scan could not look everywhere,
      `MessageNotFoundError` says how many letters it saw; None or False mean that there is no such letter.
    - A message cannot be changed. An edited letter, and one whose replay failed, is sent anew with the same id, and
      the old message is deleted afterwards; in between, a crash leaves both.
    - It hands a letter out at least once, sometimes again after it was deleted. This object deletes it again then.
    - A request whose answer was lost is made again, which may leave a letter twice, both with its id. While this object
      has a claim on one, it deletes the other.
    - Letters that are parked, and those that are not due yet, lie in the queue like others. `claim` passes them over
      and hides them for ``hide_for`` seconds, so as not to meet them each time; this object can still take them by
      their id, others only when that time is over.
    - A deduplication key is honoured only against letters that this object is sending or has a claim on: of others it
      cannot be known whether they are still there.

    Args:
        queue_url: The queue's URL. If it is not one of Amazon's, as with a local server, its host is asked.
        region: The queue's region; by default the one in its URL, else what AWS's settings say.
        endpoint_url: The server to ask, if it is another than the URL's.
        index: A file that remembers the letters which this machine has sent and seen, or ``":memory:"``; then `peek`,
            `get` and the groups in `stats` ask SQS nothing. It knows nothing of what other machines send until it is
            received here, or until `refresh_index`. None: they scan.
        max_scan: How many letters a scan looks at, at least 1.
        scan_timeout: Seconds that it takes at most, above 0.
        wait: Whole seconds for which SQS waits for a letter before it says that there is none, at most 20. With 0 it
            asks only some of its servers, and may overlook letters.
        hide_for: Seconds for which letters that are parked or not due are hidden when `claim` meets them, above 0 and
            at most 43 200.
        message_group: In a FIFO queue, what must stay in order: ``"letter"``, each letter by itself; or ``"group"``,
            the letters that failed for the same reason, and then one that is claimed holds up those behind it.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.
        DeadLetterQueueError: trio runs this; SQS needs asyncio.

    Credentials are found as by every AWS client: environment, profile, role. Building one asks nobody. Safe to use from
    several event loops of asyncio at once: each has its own client, and `aclose` closes them all. A loop that ends
    without it leaves its connections to the garbage collector.
    """

    def __init__(
        self,
        queue_url: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        index: str | os.PathLike[str] | None = None,
        max_scan: int = 1000,
        scan_timeout: Duration = 10.0,
        wait: int = 1,
        hide_for: Duration = 300.0,
        message_group: Literal["letter", "group"] = "letter",
    ) -> None:
        address = Address(queue_url, region, endpoint_url)
        self.max_scan: int = durations.whole("max_scan", max_scan, at_least=1)
        self.scan_timeout: float = durations.seconds("scan_timeout", scan_timeout, above=0)
        self.wait: int = durations.whole("wait", wait, at_most=_LONGEST_WAIT)
        self.hide_for: float = durations.seconds("hide_for", hide_for, above=0, at_most=_LONGEST)
        if message_group not in ("letter", "group"):
            msg = f'message_group must be "letter" or "group", not {message_group!r}'
            raise ValueError(msg)
        refuse_trio(queue_url)
        bounds = Bounds(self.max_scan, self.scan_timeout, self.wait)
        kept = None if index is None else SqsIndex(index)
        by_group = message_group == "group"
        super().__init__(SqsQueue(address, bounds, hide_for=self.hide_for, by_group=by_group, index=kept))
        self._keys: dict[str, str] = {}  # deduplication keys of letters that are being sent, and their ids

    # -- sending -------------------------------------------------------------------------------------------------------

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Return the id under which the letter is kept, once SQS has it.

        Those who send within the same few milliseconds share requests. An id that was sent within the last minute is
        not sent again: a caller who gave up waiting may ask again.

        Raises:
            LetterTooLargeError: It does not fit into one message, even compressed.
            RemoteQueueError: SQS does not take it.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        if queue.is_sent(letter_id):
            return letter_id
        if deduplication_key is None:
            await queue.send(lane, letter_id, body)
            return letter_id
        other = queue.holder_of(deduplication_key) or self._keys.setdefault(deduplication_key, letter_id)
        if other != letter_id:
            return other
        try:
            await queue.send(lane, letter_id, body)
        finally:
            self._keys.pop(deduplication_key, None)
        return letter_id

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters that ``where`` means for ``seconds``.

        Takes a request for ten letters. With a filter it looks at up to ``max_scan`` letters for ``scan_timeout``, and
        gives back the others when it is done.

        Raises:
            RemoteQueueError: SQS does not answer, or not so.
        """
        lane = self._queue.lanes.here()
        token = _token()
        claims: list[Claim] = []
        back: set[str] = set()
        seen = 0
        end = clock.monotonic() + self.scan_timeout
        try:
            while len(claims) < limit and seen < max(limit, self.max_scan) and clock.monotonic() < end:
                since, at = clock.monotonic(), clock.utcnow()
                messages = await lane.receive(limit - len(claims), seconds=seconds, wait=0 if seen else self.wait)
                if not messages:
                    break
                seen += len(messages)
                for found in await self._queue.sort(lane, messages, back):
                    if where.matches(found.letter):
                        claims.append(self._held(found, token, since, at, seconds))
                    else:
                        back.add(found.handle)
        except BaseException:
            back |= self._given_up(token)
            raise
        finally:
            await self._give_back(lane, back)
        return claims

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter, parked or not; ``held`` is the token under which the caller has it already.

        One request with its receipt; without, a scan, which costs what the class says.

        Raises:
            MessageNotFoundError: There is none among the letters that were seen, which the message counts.
            MessageClaimedError: Somebody else has it, through this object. Whom other consumers gave it is not known.
            RemoteQueueError: SQS does not answer, or not so.
        """
        lane, queue = self._queue.lanes.here(), self._queue
        receipt = queue.receipt(letter_id, held)
        since, at = clock.monotonic(), clock.utcnow()
        if receipt is not None:
            token = _token()
            queue.receipts.put(replace(receipt, token=token))  # before the request, or two at once would have it
            try:
                is_held = await lane.hide(receipt.found.handle, seconds)
            except BaseException:
                await self._give_back(lane, self._given_up(token))
                raise
            if is_held:
                return self._held(receipt.found, token, since, at, seconds)
            self._given_up(token)
            since, at = clock.monotonic(), clock.utcnow()
        found = await queue.look_for(lane, letter_id, seconds)
        if isinstance(found, MessageNotFoundError):
            raise found
        return self._held(found, _token(), since, at, seconds)

    def _held(self, found: Received, token: str, since: float, at: datetime, seconds: float) -> Claim:
        until = at + timedelta(seconds=seconds)
        self._queue.receipts.put(Receipt(found, token, since, since + seconds, until))
        return Claim(replace(found.letter, status=LetterStatus.CLAIMED), token, until)

    def _given_up(self, token: str) -> set[str]:
        """Forget a claim; returns SQS's receipts for what it had."""
        receipts = self._queue.receipts.under(token, clock.monotonic())
        for each in receipts:
            self._queue.receipts.forget(each)
        return {each.found.handle for each in receipts}

    async def _give_back(self, lane: Lane, handles: set[str]) -> None:
        """Show letters to others again; if SQS does not answer, they come back by themselves when their time is up."""
        if handles:
            with suppress(DeadLetterQueueError), anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                await lane.give_back(sorted(handles))

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""
        handles = self._given_up(token)
        if handles:
            await self._queue.lanes.here().give_back(sorted(handles))

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now, under the same token; None if SQS does not know the claim any more.

        SQS lets nobody have a letter for more than twelve hours in all; near the end, this claims what is left.
        """
        since, at = clock.monotonic(), clock.utcnow()
        receipts = self._queue.receipts
        receipt = receipts.get(claim.letter.id, since)
        if receipt is None or receipt.token != claim.token:
            return None
        seconds = min(seconds, receipt.received + _LONGEST - since - 1)
        if seconds <= 0:
            return None
        if not await self._queue.lanes.here().hide(receipt.found.handle, seconds):
            receipts.forget(receipt)
            return None
        until = at + timedelta(seconds=seconds)
        receipts.put(replace(receipt, ends=since + seconds, until=until))
        return replace(claim, until=until)

    # -- concluding ----------------------------------------------------------------------------------------------------

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there.

        When the claim has run out, its receipt is not trusted, for SQS says yes to one that is too old and keeps the
        letter: it is looked for, and deleted by the receipt that it has now. If it cannot be seen, because somebody
        else has it, this object deletes it when it meets it again.
        """
        lane, queue = self._queue.lanes.here(), self._queue

        async def settle() -> bool:
            letter_id = claim.letter.id
            receipt = queue.receipts.last(letter_id, claim.token)
            is_held = receipt is not None and receipt.holds(clock.monotonic())
            if receipt is not None and is_held and await queue.delete(lane, receipt.found):
                return True
            found = await queue.look_for(lane, letter_id, self.hide_for)
            if not isinstance(found, MessageNotFoundError):
                return await queue.delete(lane, found)
            if receipt is None:
                return False
            is_deleted = await queue.delete(lane, receipt.found)
            queue.receipts.mark_gone(receipt.found)
            return is_deleted

        return await lane.client.to_its_end(settle())

    async def book(
        self,
        claim: Claim,
        error_info: Mapping[str, Any],
        *,
        failed_at: datetime,
        park_at: int | None,
        not_before: datetime | None = None,
    ) -> int | None:
        """Write down a failed attempt, give the claim back, and return how many there are now; None if it is gone.

        The letter is sent anew, and then deleted as it was. A letter whose claim has run out is looked for first; one
        that somebody else has by now counts as gone: this attempt is not written down.

        Raises:
            LetterTooLargeError: With this attempt in its history it does not fit any more. It stays as it was.
        """
        lane, queue = self._queue.lanes.here(), self._queue

        async def book() -> int | None:
            receipt = queue.receipts.get(claim.letter.id, clock.monotonic())
            if receipt is None:
                found = await queue.look_for(lane, claim.letter.id, self.hide_for)
                if isinstance(found, MessageNotFoundError):
                    return None
            elif receipt.token == claim.token:
                found = receipt.found
            else:
                return None
            letter = found.letter
            attempts = letter.attempts + 1
            failed = replace(
                letter,
                attempts=attempts,
                error_info=dict(error_info),
                last_failed_at=failed_at,
                history=longer(letter.history, attempt_line(attempts, failed_at, error_info)),
            )
            parked = park_at is not None and attempts >= park_at
            await queue.replace(lane, found, failed, parked=parked, not_before=not_before)
            return attempts

        return await lane.client.to_its_end(book())

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message into a letter, and tell whether it was there: it is sent anew and deleted as it was.

        Raises:
            MessageNotFoundError: A scan did not find it, and could not look everywhere.
            MessageClaimedError: Somebody has it, through this object.
        """
        return await self._change(letter_id, lambda letter: replace(letter, message=message))

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again with no attempt counted, and tell whether it was there.

        It is sent anew and deleted as it was.

        Raises:
            MessageNotFoundError: A scan did not find it, and could not look everywhere.
            MessageClaimedError: Somebody has it, through this object.
        """
        return await self._change(
            letter_id, lambda letter: letter if parked else replace(letter, attempts=0), parked=parked
        )

    async def _change(
        self, letter_id: str, change: Callable[[DeadLetter], DeadLetter], *, parked: bool | None = None
    ) -> bool:
        lane, queue = self._queue.lanes.here(), self._queue

        async def run() -> bool:
            found = await queue.take(lane, letter_id)
            if isinstance(found, MessageNotFoundError):
                return is_certain(found)
            is_parked = found.letter.status is LetterStatus.PARKED if parked is None else parked
            not_before = found.not_before if parked is None else None
            await queue.replace(lane, found, change(found.letter), parked=is_parked, not_before=not_before)
            return True

        return await lane.client.to_its_end(run())

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there.

        One request with its receipt; without, a scan.

        Raises:
            MessageNotFoundError: A scan did not find it, and could not look everywhere.
        """
        lane, queue = self._queue.lanes.here(), self._queue

        async def delete() -> bool:
            receipt = queue.receipts.get(letter_id, clock.monotonic())
            if receipt is not None and await queue.delete(lane, receipt.found):
                return True
            found = await queue.look_for(lane, letter_id, self.hide_for)
            if isinstance(found, MessageNotFoundError):
                await queue.forget(letter_id)
                return is_certain(found)
            return await queue.delete(lane, found)

        return await lane.client.to_its_end(delete())

    # -- tidying -------------------------------------------------------------------------------------------------------

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time, of what one scan sees, and return the ids.

        Of letters beyond ``max_scan`` it knows nothing: run it again. SQS deletes by itself what is older than the
        queue's own retention period, fourteen days at most, and tells nobody.
        """
        lane, queue = self._queue.lanes.here(), self._queue

        async def prune() -> list[str]:
            async with queue.scan(lane) as scan:
                await scan.until()
                # Parked ones first, then the oldest.
                line = sorted(
                    scan.found, key=lambda each: (each.letter.status is not LetterStatus.PARKED, each.letter.id)
                )
                old = [each for each in line if older_than is not None and each.letter.last_failed_at < older_than]
                left = [each for each in line if each not in old]
                beyond = 0 if at_most is None else max(0, len(left) - at_most)
                past = [*old, *left[:beyond]]
                scan.keep(*await queue.delete_all(lane, past))
            return [each.letter.id for each in past]

        return await lane.client.to_its_end(prune())

    async def purge(self) -> int:
        """Delete every letter that nobody else has at the moment, and tell how many there were.

        Takes two requests for ten letters. SQS's own purge would also delete letters that are sent within the minute
        after it, though their senders were told that they are safe.
        """
        lane, queue = self._queue.lanes.here(), self._queue

        async def purge() -> int:
            ours = [each.found for each in queue.receipts.all(clock.monotonic())]
            count = len(await queue.delete_all(lane, ours))
            while True:
                messages = await lane.receive(_BATCH, seconds=self.hide_for, wait=self.wait)
                if not messages:
                    return count
                count += len(await queue.delete_all(lane, [opened(each) for each in messages]))

        return await lane.client.to_its_end(purge())

    async def redrive(self, destination_arn: str | None = None, *, per_second: int | None = None) -> str:
        """Have SQS move the messages of this queue to where they came from: a thin call of ``StartMessageMoveTask``.

        It moves messages as they are: no reprocessor, no filter, no attempts counted, no events, and an index hears
        nothing of it. To replay letters, use ``reprocess_all``. SQS sets limits:

        - this queue must be the dead letter queue of another one, by that one's redrive policy;
        - messages that were not moved here by SQS itself, such as all that this package sends, have no source: they
          need ``destination_arn``;
        - one task for each queue at a time, a hundred for each account, thirty-six hours for each;
        - a moved message has another SQS id, a new age, and to SQS was never received; our own id stays.

        Args:
            destination_arn: The queue to move to; None for those that the messages came from.
            per_second: How many messages a second, 1 to 500; None leaves it to SQS.

        Returns:
            The task's handle, for AWS's own tools.

        Raises:
            ValueError: ``per_second`` is out of range.
            RemoteQueueError: SQS refuses.
        """
        lane = self._queue.lanes.here()
        parameters: dict[str, Any] = {}
        if destination_arn is not None:
            parameters["DestinationArn"] = destination_arn
        if per_second is not None:
            most = durations.whole("per_second", per_second, at_least=1, at_most=_FASTEST_MOVE)
            parameters["MaxNumberOfMessagesPerSecond"] = most
        told = await lane.attributes("QueueArn")
        answer = await lane.client.call(
            "start_message_move_task", doing="move the letters of", SourceArn=told["QueueArn"], **parameters
        )
        return str(answer["TaskHandle"])

    async def aclose(self) -> None:
        """Let what is on its way arrive, a few seconds, and close all connections. The next call opens new ones."""
        await self._queue.lanes.aclose()
        if self._queue.index is not None:
            await in_worker(self._queue.index.close)


def _token() -> str:
    return dice.randbytes(12).hex()
