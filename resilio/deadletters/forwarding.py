"""Store and forward: letters go to a remote queue, and to a local file while the queue does not take them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from resilio._core import clock, durations, events
from resilio.deadletters.encoding import dump
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError
from resilio.deadletters.events import LetterSpilled, RemoteQueueUnavailable
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.spill_forwarder import Forwarder
from resilio.deadletters.sqs_errors import LetterRefusedError
from resilio.deadletters.store import GIVE_BACK_WITHIN, Claim, DeadLetterStats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from resilio._core.durations import Duration
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import Store

__all__ = ("ForwardingStore",)

_LOCAL: Final = "local:"
_REMOTE: Final = "remote:"
_GROUPS: Final = 100
_MOMENT: Final = 0.02


class ForwardingStore:
    """A remote store with a local one behind it, which takes what the remote one cannot take just now.

        store = ForwardingStore(SqsStore(queue_url), ThreadedStore(Journal("./spill.jsonl")))

    A letter that the remote store does not take within ``deadline`` seconds is kept in the local file, and so are those
    that come after it, so that their order stays. A task of this object hands them on, oldest first, when the remote
    store is back: the first use starts it, `aclose` ends it, and if its event loop ends before, the next use on another
    loop goes on. Each letter is sent once for each id: a send that was too late for the deadline, but arrived, is not
    repeated. A process that is killed loses nothing, and sends twice at most the ten letters that it was just handing
    on.

    A letter that the remote store never takes, because it is too large for one message, stays in the local file, whole;
    only this machine sees it. Letters in the file are letters of this store like the others: they are handed out,
    replayed and listed.

    Args:
        remote: Where letters belong, such as an `SqsStore`.
        local: What keeps them meanwhile.
        deadline: Seconds that the remote store has to take a letter, above 0.
        retry_every: Seconds between tries to hand letters on, above 0; while these fail it becomes longer, up to a
            minute.

    Raises:
        TypeError, ValueError: ``deadline`` or ``retry_every`` is not what it should be.

    Safe to use from several event loops at once, and several processes may share the local file.
    """

    def __init__(self, remote: Store, local: Store, *, deadline: Duration = 5.0, retry_every: Duration = 5.0) -> None:
        self.remote: Store = remote
        self.local: Store = local
        self.deadline: float = durations.seconds("deadline", deadline, above=0)
        self.retry_every: float = durations.seconds("retry_every", retry_every, above=0)
        self._forwarder = Forwarder(remote, local, deadline=self.deadline, retry_every=self.retry_every)
        self._is_down = False

    @property
    def location(self) -> str:
        """The remote queue, and the file."""
        return f"{self.remote.location} by way of {self.local.location}"

    def __repr__(self) -> str:
        return f"<ForwardingStore {self.location}>"

    # -- sending -------------------------------------------------------------------------------------------------------

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Return the id under which the letter is kept, once the remote store or the file has it.

        Raises:
            DeadLetterQueueError: Neither takes it; ``__cause__`` says why the remote store did not.
        """
        trouble: DeadLetterQueueError | None = None
        if self._forwarder.is_idle or not await self._is_backlog():
            try:
                with anyio.move_on_after(self.deadline) as scope:
                    kept = await self.remote.add(letter_id, body, deduplication_key=deduplication_key)
                if not scope.cancelled_caught:
                    self._is_down = False
                    return kept
                trouble = self._forwarder.too_late()
            except DeadLetterQueueError as error:
                trouble = error
        return await self._spill(letter_id, body, deduplication_key, trouble)

    async def _is_backlog(self) -> bool:
        """Tell whether letters wait in the file; the file is asked until the first time that none does."""
        if self._forwarder.is_at_work:
            return True
        if await self.local.peek(1, where=_WAITING):
            self._forwarder.start()
            return True
        self._forwarder.is_idle = True
        return False

    async def _spill(
        self, letter_id: str, body: bytes, deduplication_key: str | None, trouble: DeadLetterQueueError | None
    ) -> str:
        stays = isinstance(trouble, LetterRefusedError)
        try:
            kept = await self.local.add(letter_id, body, deduplication_key=deduplication_key)
        except DeadLetterQueueError as error:
            if trouble is None:
                raise
            raise error from trouble
        finally:  # cancelled, the file may have it all the same
            if not stays:
                self._forwarder.start()
        reason = "letters that came before it wait in the file" if trouble is None else str(trouble)
        if stays:
            self._forwarder.refuse(letter_id, reason)
            return kept
        if events.listeners:
            file, queue_url = self.local.location, self.remote.location
            if trouble is not None and not self._is_down:
                events.emit(RemoteQueueUnavailable(location=file, queue_url=queue_url, reason=reason))
            events.emit(LetterSpilled(location=file, message_id=kept, queue_url=queue_url, reason=reason))
        self._is_down = self._is_down or trouble is not None
        return kept

    async def forward(self) -> int:
        """Hand on what waits in the file now, and return how many letters that was; it also happens by itself.

        Raises:
            DeadLetterQueueError: The remote store does not take them, or the file cannot be used.
        """
        return await self._forwarder.forward()

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` letters, those in the file first.

        Raises:
            DeadLetterQueueError: The file cannot be used, or it has none and the remote store does not answer.
        """
        await self._look()
        claims = [_marked(_LOCAL, each) for each in await self.local.claim(limit, seconds=seconds, where=where)]
        if len(claims) < limit:
            try:
                others = await self.remote.claim(limit - len(claims), seconds=seconds, where=where)
            except DeadLetterQueueError as error:
                if not claims:
                    raise
                self._tell(error)
            except BaseException:
                with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    for token in {each.token for each in claims}:
                        await self.release(token)
                raise
            else:
                claims += [_marked(_REMOTE, each) for each in others]
        return claims

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter, from the file if it is there.

        Raises:
            MessageNotFoundError: There is none, as far as can be seen.
            MessageClaimedError: Somebody else has it.
            DeadLetterQueueError: The file cannot be used, or it does not have it and the remote store does not answer.
        """
        place, token = _unmarked(held)
        if place != _REMOTE:
            try:
                return _marked(_LOCAL, await self.local.claim_one(letter_id, seconds=seconds, held=token))
            except MessageNotFoundError:
                token = None  # it was handed on meanwhile
        return _marked(_REMOTE, await self.remote.claim_one(letter_id, seconds=seconds, held=token))

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""
        place, own = _unmarked(token)
        if own is not None:
            await self._at(place).release(own)

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now; None if it has passed to somebody else, or is gone."""
        place, own = _split(claim)
        longer = await self._at(place).extend(own, seconds=seconds)
        return None if longer is None else _marked(place, longer)

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there."""
        place, own = _split(claim)
        self._forwarder.refused.discard(claim.letter.id)
        return await self._at(place).settle(own)

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

        A letter that becomes too large for the remote store with that moves into the file.
        """
        place, own = _split(claim)
        try:
            return await self._at(place).book(
                own, error_info, failed_at=failed_at, park_at=park_at, not_before=not_before
            )
        except LetterRefusedError as error:
            letter_id, body = own.letter.id, _body(own.letter)
            await self.local.add(letter_id, body)
            self._forwarder.refuse(letter_id, str(error))
            await self.remote.settle(own)
            here = await self.local.claim_one(letter_id, seconds=self.deadline)
            return await self.local.book(here, error_info, failed_at=failed_at, park_at=park_at, not_before=not_before)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, from the file if it is there, or None.

        Raises:
            DeadLetterQueueError: It is not in the file, and the remote store does not answer.
        """
        found = await self.local.get(letter_id)
        return found if found is not None else await self.remote.get(letter_id)

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order of their ids, from both.

        While the remote store does not answer it shows those in the file; `RemoteQueueUnavailable` tells of it.
        """
        await self._look()
        found = {each.id: each for each in await self.local.peek(limit, after=after, where=where)}
        try:
            others = await self.remote.peek(limit, after=after, where=where)
        except DeadLetterQueueError as error:
            self._tell(error)
        else:
            found = {**{each.id: each for each in others}, **found}
        return [found[each] for each in sorted(found)][:limit]

    async def stats(self) -> DeadLetterStats:
        """What lies in both together; while the remote store does not answer within ``deadline``, in the file.

        Raises:
            DeadLetterQueueError: The file cannot be used.
        """
        await self._look()
        here = await self.local.stats()
        there: DeadLetterStats | None = None
        trouble = self._forwarder.too_late()
        try:
            with anyio.move_on_after(self.deadline):
                there = await self.remote.stats()
        except DeadLetterQueueError as error:
            trouble = error
        if there is None:
            self._tell(trouble)
            return replace(here, is_approximate=True)
        oldest = [each.oldest_failed_at for each in (here, there) if each.oldest_failed_at is not None]
        ages = [each.oldest_age for each in (here, there) if each.oldest_age is not None]
        groups = Counter(here.groups)
        groups.update(there.groups)
        return DeadLetterStats(
            total=here.total + there.total,
            waiting=here.waiting + there.waiting,
            claimed=here.claimed + there.claimed,
            parked=here.parked + there.parked,
            oldest_failed_at=min(oldest, default=None),
            oldest_age=max(ages, default=None),
            bytes=here.bytes + there.bytes,
            groups=dict(groups.most_common(_GROUPS)),
            is_approximate=there.is_approximate,
        )

    # -- tidying -------------------------------------------------------------------------------------------------------

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message into a letter, and tell whether it was there."""
        change = partial(self.local.edit, letter_id, message)
        return await self._unless_sent(letter_id, change) or await self.remote.edit(letter_id, message)

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again, and tell whether it was there."""
        change = partial(self.local.park, letter_id, parked=parked)
        return await self._unless_sent(letter_id, change) or await self.remote.park(letter_id, parked=parked)

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""
        self._forwarder.refused.discard(letter_id)
        change = partial(self.local.delete, letter_id)
        return await self._unless_sent(letter_id, change) or await self.remote.delete(letter_id)

    async def _unless_sent(self, letter_id: str, change: Callable[[], Awaitable[bool]]) -> bool:
        """Make a change to a letter in the file; one that is just being sent would not take it along.

        A claim keeps the letter from being sent meanwhile. Somebody else's does so as well.
        """
        looks = 0
        while True:
            try:
                claim = await self.local.claim_one(letter_id, seconds=GIVE_BACK_WITHIN)
            except MessageNotFoundError:
                return False
            except MessageClaimedError:
                looks += 1
                if looks > 1 and letter_id not in self._forwarder.in_hand:
                    return await change()
                await clock.sleep(_MOMENT)  # until it was sent, or came back
                continue
            try:
                return await change()
            finally:
                with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    await self.local.release(claim.token)

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time, in each of the two by itself, and return the ids."""
        there = await self.remote.prune(older_than=older_than, at_most=at_most)
        return [*there, *await self.local.prune(older_than=older_than, at_most=at_most)]

    async def purge(self) -> int:
        """Delete every letter in both, and tell how many there were."""
        return await self.remote.purge() + await self.local.purge()

    async def aclose(self) -> None:
        """End the forwarding, let what is on its way arrive, and let go of files and connections.

        The next call opens them again, and what is in the file is handed on then.
        """
        await self._forwarder.stop()
        try:
            await self.remote.aclose()
        finally:
            await self.local.aclose()

    # -- between the two -----------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See to it that what an earlier process left in the file is handed on."""
        if not self._forwarder.is_idle:
            await self._is_backlog()

    def _at(self, place: str) -> Store:
        return self.local if place == _LOCAL else self.remote

    def _tell(self, trouble: DeadLetterQueueError) -> None:
        if events.listeners:
            location, queue_url = self.local.location, self.remote.location
            events.emit(RemoteQueueUnavailable(location=location, queue_url=queue_url, reason=str(trouble)))


_WAITING: Final = LetterFilter(status=LetterStatus.WAITING)


def _marked(place: str, claim: Claim) -> Claim:
    """A claim whose token tells which of the two stores made it."""
    return replace(claim, token=place + claim.token)


def _split(claim: Claim) -> tuple[str, Claim]:
    place, token = _unmarked(claim.token)
    return place, replace(claim, token=token or "")


def _unmarked(token: str | None) -> tuple[str, str | None]:
    for place in (_LOCAL, _REMOTE):
        if token is not None and token.startswith(place):
            return place, token.removeprefix(place)
    return "", None


def _body(letter: DeadLetter) -> bytes:
    return dump(replace(letter, status=LetterStatus.WAITING).to_dict())
