"""A blocking store behind worker threads: what a queue on the local disk talks to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anyio

from resilio._core import dice
from resilio._core.cancellation import is_interruption
from resilio.deadletters.group_commit import GroupCommit
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.store import (
    GIVE_BACK_WITHIN,
    Add,
    BlockingStore,
    Book,
    Claim,
    ClaimNext,
    ClaimOne,
    DeadLetterStats,
    Edit,
    Extend,
    Operation,
    Park,
    Prune,
    Purge,
    Release,
    Remove,
)
from resilio.deadletters.worker import in_worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter

__all__ = ("ThreadedStore",)


class ThreadedStore:
    """A `Store` over a `BlockingStore`: changes go through one group commit, reading goes straight to a thread.

    Args:
        blocking: The store on disk.
    """

    def __init__(self, blocking: BlockingStore) -> None:
        self._blocking = blocking
        self._group: GroupCommit[Operation] = GroupCommit(blocking.commit, tidy=getattr(blocking, "tidy", None))

    @property
    def location(self) -> str:
        """The file."""
        return self._blocking.location

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Return the id under which the letter is kept, once it is on the disk.

        Cancelled before its batch has begun, it is not kept.
        """
        return cast("str", await self._group.submit(Add(letter_id, body, deduplication_key), withdraw=True))

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters that ``where`` means for ``seconds``."""
        if where.error is not None or where.text is not None:
            # The store has to read letters to tell, and remembers what it found. Nobody waits while it does so here;
            # within a commit everybody would.
            await self.peek(limit, where=replace(where, status=LetterStatus.WAITING))
        token = _token()
        return cast("list[Claim]", await self._claiming(ClaimNext(limit, seconds, token, where), token))

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter; ``held`` is the token under which the caller has it already."""
        token = _token()
        return cast("Claim", await self._claiming(ClaimOne(letter_id, seconds, token, held), token))

    async def _claiming(self, operation: ClaimNext | ClaimOne, token: str) -> object:
        try:
            return await self._group.submit(operation, withdraw=True)
        except BaseException as error:
            if is_interruption(error) and not isinstance(error, GeneratorExit):
                # It may be done already. Operations keep their order, so this comes after it.
                with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    await self.release(token)
            raise

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""
        await self._group.submit(Release(token))

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now; None if it has passed to somebody else, or is gone."""
        until = cast("datetime | None", await self._group.submit(Extend(claim.token, seconds)))
        return None if until is None else replace(claim, until=until)

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there."""
        return await self.delete(claim.letter.id)

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
        booked = Book(claim.letter.id, claim.token, error_info, failed_at, park_at, not_before)
        return cast("int | None", await self._group.submit(booked))

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message, which JSON carries, into a letter, and tell whether it was there."""
        return cast("bool", await self._group.submit(Edit(letter_id, message)))

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again, and tell whether it was there."""
        return cast("bool", await self._group.submit(Park(letter_id, parked)))

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""
        return cast("bool", await self._group.submit(Remove(letter_id)))

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time, as `Prune` says, and return the ids."""
        return cast("list[str]", await self._group.submit(Prune(older_than, at_most)))

    async def purge(self) -> int:
        """Delete every letter, and tell how many there were."""
        return cast("int", await self._group.submit(Purge()))

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        return await in_worker(self._blocking.get, letter_id)

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""

        def peek() -> list[DeadLetter]:
            return self._blocking.peek(limit, after=after, where=where)

        return await in_worker(peek)

    async def stats(self) -> DeadLetterStats:
        """What lies here."""
        return await in_worker(self._blocking.stats)

    async def aclose(self) -> None:
        """Let go of the files. The next call opens them again."""
        await in_worker(self._blocking.close)


def _token() -> str:
    return dice.randbytes(12).hex()
