"""What the queue asks of a store, and what a blocking store that works in batches has to offer.

`Store` is what the queue speaks: asynchronous, because a remote store is. A store on the local disk implements the much
smaller `BlockingStore` instead and is put behind worker threads by `ThreadedStore`: everything that changes something
is an *operation*, and operations come in batches that share one write and one fsync.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter

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
        bytes: What the store takes on disk; for a remote queue, of what is known of it.
        groups: How many letters each group has, the largest first; of many, the hundred largest.
        is_approximate: Whether the numbers are a remote queue's own estimate.
    """

    total: int
    waiting: int
    claimed: int
    parked: int
    oldest_failed_at: datetime | None
    oldest_age: float | None
    bytes: int
    groups: Mapping[str, int] = field(default_factory=dict)
    is_approximate: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can carry."""
        oldest = self.oldest_failed_at
        return {**asdict(self), "oldest_failed_at": None if oldest is None else oldest.isoformat()}


# -- what changes a store ----------------------------------------------------------------------------------------------


class Add(NamedTuple):
    """Keep a letter: its id, and its JSON with ``"id"`` first. Gives the id under which it is kept.

    An id that is there already changes nothing. Nor does a letter whose deduplication key another one has that is
    still there: then that one's id is given. A letter may come from another queue: the attempts, times and history in
    its body count; it is waiting, whatever its body says.
    """

    letter_id: str
    body: bytes
    deduplication_key: str | None = None


class ClaimNext(NamedTuple):
    """Hand out up to ``limit`` free letters that ``where`` means, first come first served. Gives a list of `Claim`."""

    limit: int
    seconds: float
    token: str
    where: LetterFilter = EVERY_LETTER


class ClaimOne(NamedTuple):
    """Hand out one letter, parked or not, unless it is claimed by another token than ``held``. Gives a `Claim`."""

    letter_id: str
    seconds: float
    token: str
    held: str | None = None


class Release(NamedTuple):
    """Give back every letter that is claimed by ``token``."""

    token: str


class Extend(NamedTuple):
    """Claim for ``seconds`` from now what ``token`` has claimed. Gives until when; None if nothing is any more."""

    token: str
    seconds: float


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
    not_before: datetime | None = None
    """Until then it is not handed out again, but to a call with its id."""


class Edit(NamedTuple):
    """Put another message into a letter; nothing else of it changes. Gives whether it was there."""

    letter_id: str
    message: object


class Park(NamedTuple):
    """Park a letter, or take it up again: waiting, due at once, no attempt counted. Gives whether it was there.

    A claim on it is left as it is, and so is its history.
    """

    letter_id: str
    is_parked: bool


class Prune(NamedTuple):
    """Delete what is past its time: oldest first, parked before others, claimed ones never. Gives the ids.

    That is letters that failed last before ``older_than``, and those beyond the newest ``at_most``.
    """

    older_than: datetime | None
    at_most: int | None


class Purge(NamedTuple):
    """Delete every letter. Gives how many there were."""


Operation: TypeAlias = Add | ClaimNext | ClaimOne | Release | Extend | Remove | Book | Edit | Park | Prune | Purge

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

    def peek(self, limit: int, *, after: str | None, where: LetterFilter) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""

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

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Return the id under which the letter is kept, once it is safe; ``body`` is its JSON, with ``"id"`` first.

        Adding an id twice keeps it once; of two letters with one key only the first is kept.
        """

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters that ``where`` means for ``seconds``."""

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter; ``held`` is the token under which the caller has it already.

        Raises:
            MessageNotFoundError: There is none.
            MessageClaimedError: Somebody else has it.
        """

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now, under the same token; None if it has passed to somebody else, or is gone.

        A remote store may know a longer claim only under another token: go on with the claim that is returned.
        """

    async def settle(self, claim: Claim) -> bool:
        """Delete a letter that was dealt with, and tell whether it was still there.

        That holds even when the claim has run out meanwhile: what was done need not be done again.
        """

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

        The letter's history gets a line. It is not handed out again before ``not_before``, but to a call with its id.
        """

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message, which JSON carries, into a letter, and tell whether it was there."""

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again as `Park` says, and tell whether it was there."""

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time, as `Prune` says, and return the ids."""

    async def purge(self) -> int:
        """Delete every letter, and tell how many there were."""

    async def stats(self) -> DeadLetterStats:
        """What lies here."""

    async def aclose(self) -> None:
        """Let go of files and connections. The next call opens them again."""
