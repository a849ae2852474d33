"""A store behind a codec: what goes in is sealed, what comes out is open, and the store itself need not know.

A store that filters by what is sealed would find nothing. So it filters by what is readable, and the rest is looked at
here, once it is open.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from resilio.deadletters.codec import Sealing, is_sealed
from resilio.deadletters.errors import DeadLetterQueueError, SealedLetterError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.store import GIVE_BACK_WITHIN, Claim

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from resilio.deadletters.codec import Codec
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import DeadLetterStats, Store

__all__ = ("SealedStore",)

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class _OpenClaim(Claim):
    """A claim whose letter is open.

    Attributes:
        sealed: The claim as the store made it; a store that writes the letter anew must not get the open one.
    """

    sealed: Claim


class SealedStore:
    """A `Store` whose letters are sealed with a codec; without one it only refuses to hand out sealed letters.

    Args:
        inner: Where the letters are.
        codec: What seals and opens them, if anything.
    """

    def __init__(self, inner: Store, codec: Codec | None) -> None:
        self.inner: Store = inner
        self.sealing: Sealing | None = None if codec is None else Sealing(codec, inner.location)

    @property
    def location(self) -> str:
        """The file or queue, for people."""
        return self.inner.location

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Keep a letter; who makes its body seals it."""
        return await self.inner.add(letter_id, body, deduplication_key=deduplication_key)

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters that ``where`` means for ``seconds``.

        With a codec, a search by ``error`` or ``text`` claims what lies in its way for as long as it looks. Cancelled,
        it gives back whatever it has claimed.
        """
        readable = self._readable(where)
        if readable is where:
            claims = await self.inner.claim(limit, seconds=seconds, where=where)
            return await self._all_open(claims)
        found: list[Claim] = []
        others: list[Claim] = []
        try:
            while len(found) < limit:
                claims = await self._all_open(await self.inner.claim(1, seconds=seconds, where=readable))
                if not claims:
                    break
                (found if where.matches(_as_waiting(claims[0].letter)) else others).append(claims[0])
        except BaseException:
            others += found
            raise
        finally:
            await self._give_back(others)
        return found

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter; ``held`` is the token under which the caller has it already."""
        claim = await self.inner.claim_one(letter_id, seconds=seconds, held=held)
        return (await self._all_open([claim]))[0]

    async def _all_open(self, claims: list[Claim]) -> list[Claim]:
        try:
            return [self._open_claim(each) for each in claims]
        except SealedLetterError:
            await self._give_back(claims)
            raise

    async def _give_back(self, claims: list[Claim]) -> None:
        # If the store refuses now, or takes too long, they run out by themselves.
        with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True), suppress(DeadLetterQueueError):
            for token in {each.token for each in claims}:
                await self.inner.release(token)

    def _open_claim(self, claim: Claim) -> Claim:
        if self.sealing is not None:
            return _OpenClaim(self.sealing.opened(claim.letter), claim.token, claim.until, claim)
        if is_sealed(claim.letter.error_info):
            letter_id = claim.letter.id
            msg = (
                f"the letter {letter_id} in {self.location} is sealed, and the queue was built without a codec; it is "
                "left as it is"
            )
            raise SealedLetterError(msg, message_id=letter_id, location=self.location)
        return claim

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""
        await self.inner.release(token)

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now; None if it has passed to somebody else, or is gone."""
        longer = await self.inner.extend(_inner_of(claim), seconds=seconds)
        if longer is None or not isinstance(claim, _OpenClaim):
            return longer
        return _OpenClaim(claim.letter, longer.token, longer.until, longer)

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there."""
        return await self.inner.settle(_inner_of(claim))

    async def book(
        self,
        claim: Claim,
        error_info: Mapping[str, Any],
        *,
        failed_at: datetime,
        park_at: int | None,
        not_before: datetime | None = None,
    ) -> int | None:
        """Write down a failed attempt, give the claim back, and return how many there are now; None if it is gone."""
        if self.sealing is not None:
            error_info = self.sealing.error_info(claim.letter.id, error_info)
        return await self.inner.book(
            _inner_of(claim), error_info, failed_at=failed_at, park_at=park_at, not_before=not_before
        )

    # -- looking -------------------------------------------------------------------------------------------------------

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        letter = await self.inner.get(letter_id)
        return letter if letter is None or self.sealing is None else self.sealing.opened(letter)

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""
        readable = self._readable(where)
        if self.sealing is None:
            return await self.inner.peek(limit, after=after, where=where)
        if readable is where:
            return [self.sealing.opened(each) for each in await self.inner.peek(limit, after=after, where=where)]
        found: list[DeadLetter] = []
        while len(found) < limit:
            page = await self.inner.peek(_PAGE, after=after, where=readable)
            opened = map(self.sealing.opened, page)
            found += [each for each in opened if where.matches(each)]
            if len(page) < _PAGE:
                break
            after = page[-1].id
        return found[:limit]

    def _readable(self, where: LetterFilter) -> LetterFilter:
        if self.sealing is None or (where.error is None and where.text is None):
            return where
        return replace(where, error=None, text=None)

    # -- the rest ------------------------------------------------------------------------------------------------------

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message into a letter, and tell whether it was there."""
        if self.sealing is not None:
            message = self.sealing.message(letter_id, message)
        return await self.inner.edit(letter_id, message)

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again, and tell whether it was there."""
        return await self.inner.park(letter_id, parked=parked)

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""
        return await self.inner.delete(letter_id)

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time, and return the ids."""
        return await self.inner.prune(older_than=older_than, at_most=at_most)

    async def purge(self) -> int:
        """Delete every letter, and tell how many there were."""
        return await self.inner.purge()

    async def stats(self) -> DeadLetterStats:
        """What lies here."""
        return await self.inner.stats()

    async def aclose(self) -> None:
        """Let go of files and connections. The next call opens them again."""
        await self.inner.aclose()


def _inner_of(claim: Claim) -> Claim:
    return claim.sealed if isinstance(claim, _OpenClaim) else claim


def _as_waiting(letter: DeadLetter) -> DeadLetter:
    """A claimed letter as the filter saw it before it was claimed."""
    return replace(letter, status=LetterStatus.WAITING)
