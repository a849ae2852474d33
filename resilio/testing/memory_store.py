"""A store of dead letters in memory: the journal's semantics without its disk, threads and locks between processes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from anyio.lowlevel import checkpoint

from resilio._core import clock, dice
from resilio.deadletters.encoding import carry, dump, safe_repr, unwrapped
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.letter import DeadLetter, LetterStatus, attempt_line, longer
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.store import Claim, DeadLetterStats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ("MemoryStore",)

_MOST_GROUPS: Final = 100


@dataclass(slots=True)
class _Entry:
    """A letter, and what is known of it; `available` is the time from which it may be handed out."""

    body: bytes
    order: int
    key: str | None = None
    attempts: int = 0
    parked: bool = False
    token: str | None = None
    available: float = 0.0
    failure: Mapping[str, Any] = field(default_factory=dict)
    failed_at: datetime | None = None
    history: Sequence[Mapping[str, Any]] = ()

    def letter(self, now: datetime) -> DeadLetter:
        letter = DeadLetter.from_dict(json.loads(self.body))
        if self.failed_at is not None:
            letter = replace(letter, error_info=dict(self.failure), last_failed_at=self.failed_at)
        return replace(letter, attempts=self.attempts, history=tuple(self.history), status=self.status(now))

    def status(self, now: datetime) -> LetterStatus:
        if self.token is not None and self.available > now.timestamp():
            return LetterStatus.CLAIMED
        return LetterStatus.PARKED if self.parked else LetterStatus.WAITING


class MemoryStore:
    """A `Store` in memory. Letters pass through the same JSON as on the disk. Safe from any thread and event loop.

    Args:
        location: What stands for the file.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._orders = 0

    def letters(self) -> list[DeadLetter]:
        """Every letter, in the order in which they came."""
        with self._lock:
            now = clock.utcnow()
            return [entry.letter(now) for entry in self._entries.values()]

    def clear(self) -> int:
        """Forget every letter, and tell how many there were."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            return count

    # -- what the queue asks -------------------------------------------------------------------------------------------

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        """Keep a letter, and return the id under which it is kept."""
        await checkpoint()
        with self._lock:
            if letter_id in self._entries:
                return letter_id
            if deduplication_key is not None:
                for known_id, entry in self._entries.items():
                    if entry.key == deduplication_key:
                        return known_id
            letter = DeadLetter.from_dict(json.loads(body))
            self._entries[letter_id] = _Entry(
                body, self._next_order(), deduplication_key, attempts=letter.attempts, history=letter.history
            )
            return letter_id

    async def claim(self, limit: int, *, seconds: float, where: LetterFilter = EVERY_LETTER) -> list[Claim]:
        """Hand out up to ``limit`` waiting letters that ``where`` means for ``seconds``."""
        await checkpoint()
        token = dice.randbytes(12).hex()
        with self._lock:
            now = clock.utcnow()
            free = [
                (entry.available, entry.order, letter_id)
                for letter_id, entry in self._entries.items()
                if entry.status(now) is LetterStatus.WAITING
                and entry.available <= now.timestamp()
                and where.matches(entry.letter(now))
            ]
            return [self._claimed(letter_id, seconds, token, now) for _, _, letter_id in sorted(free)[:limit]]

    async def claim_one(self, letter_id: str, *, seconds: float, held: str | None = None) -> Claim:
        """Hand out one letter, parked or not."""
        await checkpoint()
        token = dice.randbytes(12).hex()
        with self._lock:
            entry = self._entries.get(letter_id)
            if entry is None:
                msg = f"there is no letter {letter_id} in {self.location}"
                raise MessageNotFoundError(msg, message_id=letter_id, location=self.location)
            now = clock.utcnow()
            left = entry.available - now.timestamp()
            if entry.token not in (None, held) and left > 0:
                until = datetime.fromtimestamp(entry.available, UTC)
                msg = f"the letter {letter_id} is claimed until {until.isoformat()}"
                raise MessageClaimedError(
                    msg, message_id=letter_id, until=until, retry_after=left, location=self.location
                )
            return self._claimed(letter_id, seconds, token, now)

    async def release(self, token: str) -> None:
        """Give back what is claimed under ``token``."""
        await checkpoint()
        with self._lock:
            for entry in self._entries.values():
                if entry.token == token:
                    entry.token, entry.available = None, 0.0

    async def extend(self, claim: Claim, *, seconds: float) -> Claim | None:
        """Claim it for ``seconds`` from now; None if it has passed to somebody else, or is gone."""
        await checkpoint()
        with self._lock:
            entry = self._entries.get(claim.letter.id)
            if entry is None or entry.token != claim.token:
                return None
            until = clock.utcnow() + timedelta(seconds=seconds)
            entry.available = until.timestamp()
            return replace(claim, until=until)

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
        await checkpoint()
        with self._lock:
            entry = self._entries.get(claim.letter.id)
            if entry is None:
                return None
            entry.attempts += 1
            entry.failure = carry(error_info, fallback=safe_repr)
            entry.failed_at = failed_at
            entry.history = longer(entry.history, attempt_line(entry.attempts, failed_at, entry.failure))
            entry.parked = park_at is not None and entry.attempts >= park_at
            if entry.token in (None, claim.token):
                due = failed_at if not_before is None else not_before
                entry.token, entry.available, entry.order = None, due.timestamp(), self._next_order()
            return entry.attempts

    async def edit(self, letter_id: str, message: object) -> bool:
        """Put another message into a letter, and tell whether it was there."""
        await checkpoint()
        with self._lock:
            entry = self._entries.get(letter_id)
            if entry is None:
                return False
            fields = {name: unwrapped(each) for name, each in json.loads(entry.body).items()}
            entry.body = dump({**fields, "message": message})
            return True

    async def park(self, letter_id: str, *, parked: bool) -> bool:
        """Park a letter, or take it up again, and tell whether it was there."""
        await checkpoint()
        with self._lock:
            entry = self._entries.get(letter_id)
            if entry is None:
                return False
            entry.parked = parked
            if not parked:
                entry.attempts = 0
                if entry.token is None:
                    entry.available = 0.0
            return True

    async def get(self, letter_id: str) -> DeadLetter | None:
        """A letter, or None."""
        await checkpoint()
        with self._lock:
            entry = self._entries.get(letter_id)
            return None if entry is None else entry.letter(clock.utcnow())

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        """Letters that ``where`` means, in the order in which they came, without claiming them."""
        await checkpoint()
        letters = self.letters()
        places = {letter.id: place for place, letter in enumerate(letters)}
        if after in places:
            letters = letters[places[after] + 1 :]
        elif after is not None:  # it is gone meanwhile; ids sort by time
            letters = [each for each in letters if each.id > after]
        return [each for each in letters if where.matches(each)][:limit]

    async def delete(self, letter_id: str) -> bool:
        """Delete a letter, claimed or not, and tell whether it was there."""
        await checkpoint()
        with self._lock:
            return self._entries.pop(letter_id, None) is not None

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        """Delete what is past its time: oldest first, parked before others, claimed ones never."""
        await checkpoint()
        with self._lock:
            now = clock.utcnow()
            letters = [entry.letter(now) for entry in self._entries.values()]
            free = [each for each in letters if each.status is not LetterStatus.CLAIMED]
            free.sort(key=lambda each: each.status is not LetterStatus.PARKED)
            past = [each.id for each in free if older_than is not None and each.last_failed_at < older_than]
            if at_most is not None:
                beyond = max(len(letters) - len(past) - at_most, 0)
                past += [each.id for each in free if each.id not in set(past)][:beyond]
            for each in past:
                del self._entries[each]
            return past

    async def purge(self) -> int:
        """Delete every letter, and tell how many there were."""
        await checkpoint()
        return self.clear()

    async def stats(self) -> DeadLetterStats:
        """What lies here; `bytes` is what the letters take as JSON."""
        await checkpoint()
        letters = self.letters()
        statuses = [each.status for each in letters]
        since = letters[0].first_failed_at if letters else None
        return DeadLetterStats(
            total=len(letters),
            waiting=statuses.count(LetterStatus.WAITING),
            claimed=statuses.count(LetterStatus.CLAIMED),
            parked=statuses.count(LetterStatus.PARKED),
            oldest_failed_at=since,
            oldest_age=None if since is None else (clock.utcnow() - since).total_seconds(),
            bytes=sum(len(entry.body) for entry in self._entries.values()),
            groups=dict(Counter(each.group for each in letters if each.group).most_common(_MOST_GROUPS)),
        )

    async def aclose(self) -> None:
        """Nothing to let go of: the letters stay for as long as the store does."""
        await checkpoint()

    # -- under the lock ------------------------------------------------------------------------------------------------

    def _claimed(self, letter_id: str, seconds: float, token: str, now: datetime) -> Claim:
        entry = self._entries[letter_id]
        until = now + timedelta(seconds=seconds)
        letter = replace(entry.letter(now), status=LetterStatus.CLAIMED)
        entry.token, entry.available = token, until.timestamp()
        return Claim(letter, token, until)

    def _next_order(self) -> int:
        self._orders += 1
        return self._orders
