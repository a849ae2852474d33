"""What the queue asks of a store, and what a blocking store that works in batches has to offer.

`Store` is what the queue speaks: asynchronous, because a remote store is. A store on the local disk implements the much
smaller `BlockingStore` instead and is put behind worker threads by `ThreadedStore`: everything that changes something
is an *operation*, and operations come in batches that share one write and one fsync.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter, LetterStatus

__all__ = ("BlockingStore", "Claim", "DeadLetterStats", "Operation", "Outcome", "Store")

GIVE_BACK_WITHIN: Final = 5.0
"""Seconds that giving back a claim may hold up a cancellation; after that the claim runs out by itself."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A letter that is handed to one caller for a while.

    Attributes:
        letter: The letter.
        token: Names this claim; whoever claims the letter next gets another one.
        until: When the claim runs out, UTC.
    """

    letter: DeadLetter
    token: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterStats:
    """What lies in a queue.

    Attributes:
        total: All letters.
        waiting: Those that are free for whoever asks first.
        claimed: Those that are handed to somebody.
        parked: Those that have used up their attempts.
        oldest_failed_at: When the letter that has lain here longest failed first, UTC; None when there is none.
        oldest_age: Seconds since then, by the wall clock.
        bytes: What the store takes on disk.
    """

    total: int
    waiting: int
    claimed: int
    parked: int
    oldest_failed_at: datetime | None
    oldest_age: float | None
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can carry."""
        oldest = self.oldest_failed_at
        return {**asdict(self), "oldest_failed_at": None if oldest is None else oldest.isoformat()}


# -- what changes a store ----------------------------------------------------------------------------------------------


class Add(NamedTuple):
    """Keep a letter: its id, and its JSON with ``"id"`` first. An id that is there already changes nothing."""

    letter_id: str
    body: bytes


class ClaimNext(NamedTuple):
    """Hand out up to ``limit`` free letters, first come first served. Gives a list of `Claim`."""

    limit: int
    seconds: float
    token: str


class ClaimOne(NamedTuple):
    """Hand out one letter, parked or not, unless it is claimed by another token than ``held``. Gives a `Claim`."""

    letter_id: str
    seconds: float
    token: str
    held: str | None = None


class Release(NamedTuple):
    """Give back every letter that is claimed by ``token``."""

    token: str


class Remove(NamedTuple):
    """Delete a letter. Gives whether it was there."""

    letter_id: str


class Book(NamedTuple):
    """Write down a failed attempt, and give the claim back. Gives how many there are now; None if the letter is gone.

    A claim that has passed to somebody else is left alone, the attempt counts all the same.
    """

    letter_id: str
    token: str
    error_info: Mapping[str, Any]
    failed_at: datetime
    park_at: int | None


class Purge(NamedTuple):
    """Delete every letter. Gives how many there were."""


Operation: TypeAlias = Add | ClaimNext | ClaimOne | Release | Remove | Book | Purge

Outcome: TypeAlias = object
"""What an operation gives, or the exception that its caller gets."""


class BlockingStore(Protocol):
    """A store on this machine. Its methods block, may be called from any thread, and open the store when needed.

    Several of them, in this process and in others, may have the same place open.
    """

    @property
    def location(self) -> str:
        """The file."""

    def commit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Do ``operations`` in order, and return their outcomes once all that was promised is safe on disk.

        Raises:
            DeadLetterQueueError: None of them counts as done.
        """

    def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""

    def peek(self, limit: int, *, after: str | None, status: LetterStatus | None) -> list[DeadLetter]:
        """Letters in the order in which they came, without claiming them."""

    def stats(self) -> DeadLetterStats:
        """What lies here."""

    def close(self) -> None:
        """Let go of files. The next call opens them again."""


class Store(Protocol):
    """Where a queue keeps its letters. Safe to use from several event loops at once.

    Cancelling a call that claims gives the claim back. Cancelling one that removes or books does not undo it: the next
    call of the same task still takes effect after it.
    """

    @property
    def location(self) -> str:
        """The file or queue, for people."""

    async def add(self, letter_id: str, body: bytes) -> None:
        """Return when the letter is safe: its JSON, with ``"id"`` first. Adding an id twice keeps it once."""

    async def claim(self, limit: int, *, seconds: float) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters for ``seconds``."""

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter; ``held`` is the token under which the caller has it already.

        Raises:
            MessageNotFoundError: There is none.
            MessageClaimedError: Somebody else has it.
        """

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there.

        That holds even when the claim has run out meanwhile: what was done need not be done again.
        """

    async def book(
        self, claim: Claim, error_info: Mapping[str, Any], *, failed_at: datetime, park_at: int | None
    ) -> int | None:
        """Write down a failed attempt, give the claim back, and return how many there are now; None if it is gone."""

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""

    async def peek(
        self, limit: int, *, after: str | None = None, status: LetterStatus | None = None
    ) -> list[DeadLetter]:
        """Letters in the order in which they came, without claiming them."""

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""

    async def purge(self) -> int:
        """Delete every letter, and tell how many there were."""

    async def stats(self) -> DeadLetterStats:
        """What lies here."""

    async def aclose(self) -> None:
        """Let go of files and connections. The next call opens them again."""
