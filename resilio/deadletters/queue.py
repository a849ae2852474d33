"""The dead letter queue: keeps messages that could not be handled until they can be."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from resilio import settings
from resilio._core import clock, durations, events
from resilio.deadletters.attempt import Reprocessor
from resilio.deadletters.encoding import Fallback, carry
from resilio.deadletters.error_info import describe
from resilio.deadletters.errors import DeadLetterQueueError, MessageNotFoundError
from resilio.deadletters.events import (
    LetterDeleted,
    LetterKept,
    LettersPurged,
    RemoteQueueUnavailable,
)
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterIds, LetterStatus, new_body
from resilio.deadletters.replay import Replayer, ReplaySummary
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from resilio._core.durations import Duration
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import DeadLetterStats, Store

__all__ = ("DeadLetterQueue",)

_DEFAULT_PATH: Final = "./local_dlq.json"
_LONGEST_CLAIM: Final = 43_200.0  # twelve hours, which is also the most that SQS allows
_DATABASES: Final = (".db", ".sqlite", ".sqlite3")


class DeadLetterQueue:
    """Keeps messages that could not be handled, safe on disk, until they can be replayed.

        dlq = DeadLetterQueue(local_file_path="./dead.jsonl", reprocessor=handle)
        message_id = await dlq.send_to_dlq(message, error)   # returns when the letter is on the disk
        ...
        await dlq.reprocess_message(message_id)              # handle(message); the letter is gone if that succeeds

    The letters lie in a file of JSON lines that any number of processes may share. Many senders at once share one
    fsync. A letter that is being replayed or was received is *claimed*: for ``visibility_timeout`` seconds nobody else
    gets it, in any process. Replay is at least once: a process that dies after handling a message and before its letter
    is removed leaves the letter for the next, so handling must bear being done twice.

    Claims are kept in UTC, because they must outlive the process. When the machine's clock is set forward, claims run
    out that much earlier, and a letter may be replayed by two at once; when it is set back, a letter stays claimed that
    much longer.

    Args:
        queue_url: The URL of an SQS queue; ``DLQ_QUEUE_URL`` by default. Not supported yet: with a ``local_file_path``
            the file is used and `RemoteQueueUnavailable` is emitted, without one it is an error.
        region: The region of that queue.
        local_file_path: The file; ``DLQ_LOCAL_FILE_PATH`` by default, else ``./local_dlq.json``. Its directory must be
            there. A file that holds a JSON array is taken over, and kept beside as ``<path>.imported``.
        reprocessor: What handles a message again when a letter is replayed: an async function, or a plain one, which
            is run in a worker thread. What it raises counts as a failed attempt.
        visibility_timeout: Seconds for which a letter is claimed, above 0 and at most 43 200. It must be longer than
            the reprocessor takes.
        max_attempts: After so many failed replays a letter is parked: it stays, but only a call with its id replays it.
            None for never.
        fallback: Makes a text for what JSON cannot carry in a message, such as ``repr``; the letter then says so. By
            default such a message is refused.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.
        DeadLetterQueueError: ``queue_url`` alone was given.

    Building one touches no disk; the file is opened, or made, on first use. Safe to use from several event loops,
    asyncio and trio, at once, and across a fork.
    """

    def __init__(
        self,
        *,
        queue_url: str | None = None,
        region: str | None = None,
        local_file_path: str | os.PathLike[str] | None = None,
        reprocessor: Callable[[Any], Any] | None = None,
        visibility_timeout: Duration = 30.0,
        max_attempts: int | None = 5,
        fallback: Fallback | None = None,
    ) -> None:
        self.queue_url: str | None = _text("queue_url", queue_url) or settings.DLQ_QUEUE_URL.read()
        self.region: str | None = _text("region", region)
        path = _path(local_file_path) or settings.DLQ_LOCAL_FILE_PATH.read()
        if self.queue_url and not path:
            msg = (
                f"queue_url={self.queue_url!r}: SQS is not supported yet; give local_file_path too, to keep the "
                "letters in a file for now"
            )
            raise DeadLetterQueueError(msg, location=self.queue_url)
        self.local_file_path: Path = Path(path or _DEFAULT_PATH).absolute()
        if self.local_file_path.suffix.lower() in _DATABASES:
            msg = f"local_file_path={path!r}: SQLite is not supported yet; give the file another ending, as in .jsonl"
            raise ValueError(msg)
        self.visibility_timeout: float = durations.seconds(
            "visibility_timeout", visibility_timeout, above=0, at_most=_LONGEST_CLAIM
        )
        self.max_attempts: int | None = durations.optional(durations.whole, "max_attempts", max_attempts, at_least=1)
        if fallback is not None and not callable(fallback):
            msg = f"fallback must be a function that returns text, not {fallback!r} ({type(fallback).__name__})"
            raise TypeError(msg)
        self._fallback = fallback
        self._reprocessor = None if reprocessor is None else Reprocessor(reprocessor)
        self._ids = LetterIds()
        self._held: dict[str, tuple[str, datetime]] = {}  # the claims that `receive_from_dlq` made: token and end
        self._opening = threading.Lock()
        self._opened: tuple[int, Store] | None = None

    def __repr__(self) -> str:
        return f"<DeadLetterQueue {self.location}>"

    @property
    def location(self) -> str:
        """Where the letters are."""
        return str(self.local_file_path)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send_to_dlq(self, message: Any, error_info: object) -> str:
        """Keep a message that could not be handled; return its id once it is safe on disk.

        Args:
            message: Any JSON value.
            error_info: Why it failed: a dict, an exception, or an error report.

        Raises:
            UnencodableMessageError: A ``TypeError``: JSON cannot carry part of it, which the message names.
            TypeError: ``error_info`` is none of these.
            LetterNotKeptError: The disk did not take it.
            DeadLetterQueueError: The file cannot be opened or is not ours.

        Cancelled, it may have kept the letter or not.
        """
        store = self._store()
        now = clock.utcnow()
        letter_id = self._ids.next(now)
        carried = carry(message, fallback=self._fallback)
        reason = describe(error_info, now)
        await store.add(letter_id, new_body(letter_id, carried, reason, now))
        if events.listeners:
            error_type = str(reason.get("error_type", ""))
            events.emit(LetterKept(location=self.location, message_id=letter_id, error_type=error_type))
        return letter_id

    # -- replaying -----------------------------------------------------------------------------------------------------

    async def receive_from_dlq(self, max_messages: int = 10) -> list[DeadLetter]:
        """Hand out waiting letters, those that have waited longest first, and claim them for ``visibility_timeout``.

        This queue can then `reprocess_message` or `delete` them; one that it does neither with comes again when the
        claim has run out. Parked letters are not handed out.

        Args:
            max_messages: How many at most, at least 1.

        Returns:
            The letters; none when none is waiting.

        Raises:
            DeadLetterQueueError: The file cannot be used.

        Cancelled, it gives the claims back.
        """
        limit = durations.whole("max_messages", max_messages, at_least=1)
        claims = await self._store().claim(limit, seconds=self.visibility_timeout)
        now = clock.utcnow()
        for letter_id in [each for each, (_, until) in self._held.items() if until <= now]:
            self._held.pop(letter_id, None)
        self._held.update((each.letter.id, (each.token, each.until)) for each in claims)
        return [each.letter for each in claims]

    async def reprocess_message(self, message_id: str) -> Any:
        """Give a letter's message to the reprocessor; delete the letter if that succeeds.

        Args:
            message_id: The letter's id; it may be parked.

        Returns:
            What the reprocessor returned.

        Raises:
            MessageNotFoundError: There is no such letter.
            MessageClaimedError: Somebody else has it just now.
            DeadLetterQueueError: There is no reprocessor, or the file cannot be used.
            Exception: What the reprocessor raised, after the failed attempt was booked. The letter is free again then,
                or parked.

        Cancelled, it gives the claim back at once; a plain reprocessor that runs already is waited for first.
        """
        replayer = self._replayer()
        # Taken, so that of two calls at once only one comes with the claim that `receive_from_dlq` made.
        held = self._held.pop(_id(message_id), None)
        try:
            claim = await self._store().claim_one(
                message_id, seconds=self.visibility_timeout, held=None if held is None else held[0]
            )
        except BaseException:
            if held is not None:
                self._held[message_id] = held
            raise
        attempt = await replayer.replay(claim)
        if attempt.error is not None:
            raise attempt.error
        return attempt.result

    async def reprocess_all(self, *, limit: int | None = None) -> ReplaySummary:
        """Replay the letters that are waiting, one after the other, each once.

        Letters that come meanwhile are left for the next run, as are those that are claimed elsewhere, and parked ones.

        Args:
            limit: How many at most; None for all.

        Returns:
            How many were replayed and how many failed. What a reprocessor raises does not end the run.

        Raises:
            DeadLetterQueueError: There is no reprocessor, or the file cannot be used.

        Cancelled, it gives the claim of the letter at hand back.
        """
        most = durations.optional(durations.whole, "limit", limit, at_least=1)
        return await self._replayer().replay_waiting(most, seconds=self.visibility_timeout)

    def _replayer(self) -> Replayer:
        if self._reprocessor is None:
            msg = f"{self!r} was built without a reprocessor, and cannot replay"
            raise DeadLetterQueueError(msg, location=self.location)
        return Replayer(
            self._store(), self._reprocessor, patience=self.visibility_timeout, max_attempts=self.max_attempts
        )

    # -- looking and tidying -------------------------------------------------------------------------------------------

    async def peek(
        self, limit: int = 10, *, after: str | None = None, status: LetterStatus | str | None = None
    ) -> list[DeadLetter]:
        """Look at letters in the order in which they came, without claiming them.

        Args:
            limit: How many at most, at least 1.
            after: Begin after the letter with this id: the last one of the page before.
            status: Only those that are ``"waiting"``, ``"claimed"`` or ``"parked"``.

        Raises:
            ValueError: ``status`` is none of these.
            DeadLetterQueueError: The file cannot be used.
        """
        limit = durations.whole("limit", limit, at_least=1)
        wanted = None if status is None else LetterStatus(status)
        return await self._store().peek(limit, after=after, status=wanted)

    async def get(self, message_id: str) -> DeadLetter:
        """A letter, without claiming it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The file cannot be used.
        """
        letter = await self._store().get(_id(message_id))
        if letter is None:
            raise self._not_found(message_id)
        return letter

    async def delete(self, message_id: str) -> None:
        """Delete a letter, whoever has claimed it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The file cannot be used.
        """
        if not await self._store().delete(_id(message_id)):
            raise self._not_found(message_id)
        self._held.pop(message_id, None)
        if events.listeners:
            events.emit(LetterDeleted(location=self.location, message_id=message_id))

    async def purge(self) -> int:
        """Delete every letter, claimed or parked, and return how many there were.

        Raises:
            DeadLetterQueueError: The file cannot be used.
        """
        count = await self._store().purge()
        self._held.clear()
        if events.listeners:
            events.emit(LettersPurged(location=self.location, count=count))
        return count

    async def stats(self) -> DeadLetterStats:
        """How many letters there are, by status, how old the oldest is, and what they take on disk.

        Raises:
            DeadLetterQueueError: The file cannot be used.
        """
        return await self._store().stats()

    def _not_found(self, message_id: str) -> MessageNotFoundError:
        msg = f"there is no letter {message_id} in {self.location}"
        return MessageNotFoundError(msg, message_id=message_id, location=self.location)

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.stats()  # whatever is wrong with the file is said here
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the file. The next use opens it again."""
        if self._opened is not None:
            await self._store().aclose()

    def _store(self) -> Store:
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened[1]
        with self._opening:
            # A fork copies ids, locks, and a buffer whose thread stayed behind: the child begins with its own.
            if self._opened is None or self._opened[0] != os.getpid():
                self._ids = LetterIds()
                self._opened = (os.getpid(), ThreadedStore(Journal(self.local_file_path)))
            store = self._opened[1]
        if self.queue_url and events.listeners:
            reason = "SQS is not supported yet"
            events.emit(RemoteQueueUnavailable(location=self.location, queue_url=self.queue_url, reason=reason))
        return store


def _id(message_id: object) -> str:
    if not isinstance(message_id, str):
        msg = f"message_id must be text, not {message_id!r} ({type(message_id).__name__})"
        raise TypeError(msg)
    return message_id


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        msg = f"{name} must be text, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    return value or None


def _path(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        msg = f"local_file_path must be a path, not {value!r} ({type(value).__name__})"
        raise TypeError(msg)
    path = os.fspath(value)
    if not path or "\0" in path:
        msg = f"local_file_path must be the path of a file, not {value!r}"
        raise ValueError(msg)
    return path
