"""Looking into a queue and tidying it up: the part of `DeadLetterQueue` that people work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from resilio._core import clock, durations, events
from resilio.deadletters.encoding import Representation, carry
from resilio.deadletters.errors import DeadLetterQueueError, MessageNotFoundError
from resilio.deadletters.events import (
    LetterDeleted,
    LetterEdited,
    LetterParked,
    LetterRequeued,
    LettersExpired,
    LettersPurged,
    RetentionFailed,
)
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.transfer import export_letters, import_letters, move_letters

if TYPE_CHECKING:
    from datetime import datetime

    from resilio.deadletters.encoder import Encoder
    from resilio.deadletters.letter import DeadLetter, LetterStatus
    from resilio.deadletters.retention import Retention
    from resilio.deadletters.sealed_store import SealedStore
    from resilio.deadletters.store import DeadLetterStats
    from resilio.deadletters.transfer import Place

__all__ = ("Tidying",)

_MOST_IDS = 1000


class Tidying(ABC):
    """What a queue offers to those who look after it."""

    _fallback: Representation | None
    _encoder: Encoder | None
    _held: dict[str, tuple[str, datetime]]
    _retention: Retention

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the letters are."""

    @abstractmethod
    def _store(self) -> SealedStore:
        """The store, ready for use."""

    # -- looking -------------------------------------------------------------------------------------------------------

    async def peek(
        self,
        limit: int = 10,
        *,
        after: str | None = None,
        status: LetterStatus | str | None = None,
        error: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        text: str | None = None,
        where: LetterFilter | None = None,
    ) -> list[DeadLetter]:
        """Look at letters in the order in which they came, without claiming them.

            page = await dlq.peek(50, error="ConnectTimeout")
            next_page = await dlq.peek(50, error="ConnectTimeout", after=page[-1].id)

        Args:
            limit: How many at most, at least 1.
            after: Begin after the letter with this id: the last one of the page before.
            status: Only those that are ``"waiting"``, ``"claimed"`` or ``"parked"``.
            error: Only those with this class of error.
            group: Only those of this group.
            since: Only those that failed last at this time or later; it must have an offset from UTC.
            until: Only those that failed last before this time; likewise.
            text: Only those with this text in their id, message, error or headers; upper and lower case are the same.
            where: A filter, in place of the six before.

        Raises:
            TypeError, ValueError: An argument is not what it should be, or ``where`` comes with one of the others.
            SealedLetterError: A letter does not open with the queue's codec.
            DeadLetterQueueError: The store cannot be used.
        """
        limit = durations.whole("limit", limit, at_least=1)
        single = LetterFilter(status=status, error=error, group=group, since=since, until=until, text=text)
        if where is not None and not single.is_empty:
            msg = "peek takes either where or single filters, not both"
            raise TypeError(msg)
        return await self._store().peek(limit, after=after, where=single if where is None else checked_filter(where))

    async def get(self, message_id: str) -> DeadLetter:
        """A letter, without claiming it.

        Raises:
            MessageNotFoundError: There is no such letter.
            SealedLetterError: It does not open with the queue's codec.
            DeadLetterQueueError: The store cannot be used.
        """
        letter = await self._store().get(checked_id(message_id))
        if letter is None:
            raise self._not_found(message_id)
        return letter

    async def stats(self) -> DeadLetterStats:
        """How many letters there are, by status and by group, how old the oldest is, and what they take on disk.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        return await self._store().stats()

    # -- one letter ----------------------------------------------------------------------------------------------------

    async def edit(self, message_id: str, message: Any) -> None:
        """Put another message into a letter, for a replay that can succeed; nothing else of it changes.

        A reprocessor that runs on the letter just now has the message from before.

        Args:
            message_id: The letter's id.
            message: The message from now on.

        Raises:
            UnencodableMessageError: A ``TypeError``: JSON cannot carry part of it, which the message names.
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        carried = carry(message, fallback=self._fallback, encoder=self._encoder)
        if not await self._store().edit(checked_id(message_id), carried):
            raise self._not_found(message_id)
        if events.listeners:
            events.emit(LetterEdited(location=self.location, message_id=message_id))

    async def park(self, message_id: str) -> None:
        """Set a letter aside: from now on only its id replays it. `requeue` takes it up again.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        if not await self._store().park(checked_id(message_id), parked=True):
            raise self._not_found(message_id)
        if events.listeners:
            events.emit(LetterParked(location=self.location, message_id=message_id))

    async def requeue(self, message_id: str) -> None:
        """Make a parked or resting letter wait again: due at once, with all its attempts before it.

        Its history stays.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        if not await self._store().park(checked_id(message_id), parked=False):
            raise self._not_found(message_id)
        if events.listeners:
            events.emit(LetterRequeued(location=self.location, message_id=message_id))

    async def delete(self, message_id: str) -> None:
        """Delete a letter, whoever has claimed it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        await self._delete(message_id, "")

    async def discard(self, message_id: str, reason: str) -> None:
        """Delete a letter that is not worth a replay; the event `LetterDeleted` has the reason.

        Args:
            message_id: The letter's id.
            reason: Why, for whoever reads the log.

        Raises:
            ValueError: ``reason`` is empty.
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        if not isinstance(reason, str):
            msg = f"reason must be text, not {reason!r} ({type(reason).__name__})"
            raise TypeError(msg)
        if not reason.strip():
            msg = "reason must be text that says why; without one there is delete()"
            raise ValueError(msg)
        await self._delete(message_id, reason)

    async def _delete(self, message_id: str, reason: str) -> None:
        if not await self._store().delete(checked_id(message_id)):
            raise self._not_found(message_id)
        self._held.pop(message_id, None)
        if events.listeners:
            events.emit(LetterDeleted(location=self.location, message_id=message_id, reason=reason))

    # -- many ----------------------------------------------------------------------------------------------------------

    async def tidy(self) -> list[str]:
        """Delete what is past its time now, as ``retention`` and ``max_letters`` say; return the ids.

        The oldest go first, parked ones before others; claimed ones stay. This happens by itself when letters are sent,
        once a minute or when a hundredth more than ``max_letters`` have come.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        if not self._retention.is_on:
            return []
        older_than = self._retention.older_than(clock.utcnow())
        gone = await self._store().prune(older_than=older_than, at_most=self._retention.count)
        if gone and events.listeners:
            events.emit(LettersExpired(location=self.location, count=len(gone), message_ids=tuple(gone[:_MOST_IDS])))
        return gone

    async def _tidy_if_due(self) -> None:
        """After a letter was kept. Whatever happens here, that letter is safe."""
        if not self._retention.is_on or not self._retention.is_due():
            return
        try:
            await self.tidy()
        except DeadLetterQueueError as error:
            if events.listeners:
                events.emit(RetentionFailed(location=self.location, error=str(error)))

    async def purge(self, *, confirm: bool = False) -> int:
        """Delete every letter, claimed or parked, and return how many there were.

        Args:
            confirm: True, to say that it is meant.

        Raises:
            ValueError: ``confirm`` is not True; nothing was deleted.
            DeadLetterQueueError: The store cannot be used.
        """
        if confirm is not True:
            msg = f"purge deletes every letter in {self.location} for good; call purge(confirm=True) if that is meant"
            raise ValueError(msg)
        count = await self._store().purge()
        self._held.clear()
        if events.listeners:
            events.emit(LettersPurged(location=self.location, count=count))
        return count

    async def export_to(self, target: Place, where: LetterFilter | None = None, *, opened: bool = False) -> int:
        """Write letters as JSON lines, one a line, as `DeadLetter.to_dict` gives them. The letters stay.

            await dlq.export_to("timeouts.jsonl", LetterFilter(error="ConnectTimeout"))

        Letters that come or go meanwhile are in it or not.

        Args:
            target: A path, where a file appears once it is whole, readable by its owner only; or a file that is open
                for text or for bytes.
            where: Which letters; by default all.
            opened: Whether the letters of a queue with a codec are written readable. Otherwise they are sealed, and
                only a queue that has the key can import them.

        Returns:
            How many letters were written.

        Raises:
            LetterNotKeptError: The disk did not take it; ``__cause__`` is the ``OSError``.
            SealedLetterError: A letter does not open with the queue's codec.
            DeadLetterQueueError: The store cannot be used.

        Cancelled, it leaves what is at the path as it was.
        """
        wanted = EVERY_LETTER if where is None else checked_filter(where)
        return await export_letters(self._store(), target, wanted, opened=durations.flag("opened", opened))

    async def import_from(self, source: Place) -> int:
        """Keep letters that `export_to` wrote, with their ids, attempts and history; sealed with this queue's codec.

        A letter whose id is there already is left as it is, so importing twice does no harm. Parked letters are parked
        here, too; letters that were claimed wait.

        Args:
            source: A path, or a file that is open for text or for bytes.

        Returns:
            How many letters were read.

        Raises:
            ValueError: A line is no letter; the message has its number. Those before it may have been kept.
            SealedLetterError: A letter is sealed with a key that this queue has not.
            DeadLetterQueueError: The file cannot be read, or the store cannot be used.

        Cancelled, it has kept some; importing again adds the rest.
        """
        return await import_letters(self._store(), source)

    async def move(self, where: LetterFilter | None = None, *, to: Tidying) -> int:
        """Move letters to another queue, with their ids, attempts and history; parked ones, too.

            await dlq.move(LetterFilter(status="parked"), to=DeadLetterQueue(local_file_path="hopeless.jsonl"))

        Each letter is claimed, kept there, and only then deleted here: killed in between, it lies in both queues, and
        moving again makes one of it. Claimed letters stay, as do those that fail from now on.

        Args:
            where: Which letters; by default all.
            to: The other queue. If it has a codec, the letters are sealed with that.

        Returns:
            How many letters were moved.

        Raises:
            TypeError, ValueError: ``to`` is no queue, or this one.
            SealedLetterError: A letter does not open with this queue's codec.
            DeadLetterQueueError: A store cannot be used.

        Cancelled, it gives back the claims of the letters on their way.
        """
        if not isinstance(to, Tidying):
            msg = f"to must be a DeadLetterQueue, not {to!r} ({type(to).__name__})"
            raise TypeError(msg)
        if to.location == self.location:
            msg = f"to must be another queue than {self.location}"
            raise ValueError(msg)
        wanted = EVERY_LETTER if where is None else checked_filter(where)
        return await move_letters(self._store(), to._store(), wanted)

    def _not_found(self, message_id: str) -> MessageNotFoundError:
        msg = f"there is no letter {message_id} in {self.location}"
        return MessageNotFoundError(msg, message_id=message_id, location=self.location)


def checked_id(message_id: object) -> str:
    """Return an id.

    Raises:
        TypeError: It is no text.
    """
    if not isinstance(message_id, str):
        msg = f"message_id must be text, not {message_id!r} ({type(message_id).__name__})"
        raise TypeError(msg)
    return message_id


def checked_filter(where: object) -> LetterFilter:
    """Return a filter.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(where, LetterFilter):
        msg = f"where must be a LetterFilter, not {where!r} ({type(where).__name__})"
        raise TypeError(msg)
    return where
