"""The dead letter queue: keeps messages that could not be handled until they can be."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from resilio._core import clock, durations, events
from resilio.deadletters.attempt import Reprocessor
from resilio.deadletters.encoder import Encoder
from resilio.deadletters.encoding import Representation, carry
from resilio.deadletters.error_info import describe
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LetterDeduplicated, LetterKept
from resilio.deadletters.guard import Labels, LetterGuard
from resilio.deadletters.labels import checked_headers, checked_label
from resilio.deadletters.letter import new_body, next_id
from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.opening import Place
from resilio.deadletters.queue_tidying import Tidying, checked_filter, checked_id
from resilio.deadletters.replay import Replayer
from resilio.deadletters.replay_heart import beating
from resilio.deadletters.replay_rules import ReplayDelay, StopWhenFailing
from resilio.deadletters.replay_run import ReplayProgress, ReplayRun, ReplaySummary
from resilio.deadletters.retention import Retention
from resilio.deadletters.sealed_store import SealedStore
from resilio.deadletters.source import group_of, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from resilio._core.durations import Duration
    from resilio.deadletters.codec import Codec
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.store import Store

__all__ = ("DeadLetterQueue",)

_LONGEST_CLAIM: Final = 43_200.0  # twelve hours, which is also the most that SQS allows
_STOP_WHEN_FAILING: Final = StopWhenFailing()


class DeadLetterQueue(Tidying):
    """Keeps messages that could not be handled, safe on disk or in SQS, until they can be replayed.

        dlq = DeadLetterQueue(local_file_path="./dead.jsonl", reprocessor=handle)
        message_id = await dlq.send_to_dlq(message, error)   # returns when the letter is on the disk
        ...
        await dlq.reprocess_message(message_id)              # handle(message); the letter is gone if that succeeds

    Where the letters lie:

    | arguments | the letters lie in |
    |---|---|
    | none, or ``local_file_path`` | a journal of JSON lines, good for about a million letters |
    | ``local_file_path`` ending in ``.db``, ``.sqlite`` or ``.sqlite3`` | an SQLite database, for millions |
    | ``queue_url`` | an SQS queue; needs the extra ``aws``, and asyncio |
    | both | SQS; the file takes what SQS cannot take just now, and hands it on later |

    Any number of processes may share a file or a queue. Many senders at once share one write. A letter that is being
    replayed or was received is *claimed*: for ``visibility_timeout`` seconds nobody else gets it, in any process; while
    a reprocessor runs, its claim is made longer again and again. Replay is at least once: a process that dies after
    handling a message and before its letter is removed leaves the letter for the next, so handling must bear being done
    twice; `ReplayContext.idempotency_key` helps with that.

    Claims are kept in UTC, because they must outlive the process. When the machine's clock is set forward, claims run
    out that much earlier, and a letter may be replayed by two at once; when it is set back, a letter stays claimed that
    much longer.

    Args:
        queue_url: The URL of an SQS queue; ``DLQ_QUEUE_URL`` by default.
        region: The region of that queue.
        local_file_path: The file; ``DLQ_LOCAL_FILE_PATH`` by default, and ``./local_dlq.json`` if there is no queue
            either. Its directory must be there. A file that holds a JSON array is taken over, and kept beside as
            ``<path>.imported``.
        reprocessor: What handles a message again when a letter is replayed: an async function, or a plain one, which
            is run in a worker thread. It is called with the message; if it has a second positional parameter without
            a default, also with a `ReplayContext`. What it raises counts as a failed attempt.
        visibility_timeout: Seconds for which a letter is claimed, above 0 and at most 43 200.
        max_attempts: After so many failed replays a letter is parked: it stays, but only a call with its id replays it.
            None for never.
        replay_delay: Seconds that a letter rests after its first failed replay, before it is handed out again other
            than by its id. Twice as long after each further one, half of it by chance; 0 for no rest.
        max_replay_delay: The most seconds of rest.
        retention: Seconds since it failed last after which a letter is deleted; None for never.
        max_letters: How many letters may lie here; beyond, the oldest are deleted, parked ones first. None for any
            number.
        fallback: Makes a text for what cannot be carried in a message, such as ``repr``; the letter then says so. By
            default such a message is refused.
        encoder: Carries more than JSON does: bytes, dates, decimals, dataclasses and the like, as its table says.
        codec: Encrypts messages, errors, headers and history at rest, such as a `FernetCodec`. Ids, times, status and
            group, which has the class of the error and the function that raised it, stay readable.
        store: A store that the caller has made, in place of the first three.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.

    Building one touches no disk; the file is opened, or made, on first use. Safe to use from several event loops,
    asyncio and trio, at once, and across a fork.
    """

    def __init__(
        self,
        *,
        queue_url: str | None = None,
        region: str | None = None,
        local_file_path: str | os.PathLike[str] | None = None,
        reprocessor: Callable[..., Any] | None = None,
        visibility_timeout: Duration = 30.0,
        max_attempts: int | None = 5,
        replay_delay: Duration = 1.0,
        max_replay_delay: Duration = 3600.0,
        retention: Duration | None = None,
        max_letters: int | None = None,
        fallback: Representation | None = None,
        encoder: Encoder | None = None,
        codec: Codec | None = None,
        store: Store | None = None,
    ) -> None:
        self._place = Place(queue_url, region, local_file_path, store)
        self.visibility_timeout: float = durations.seconds(
            "visibility_timeout", visibility_timeout, above=0, at_most=_LONGEST_CLAIM
        )
        self.max_attempts: int | None = durations.optional(durations.whole, "max_attempts", max_attempts, at_least=1)
        self._delay = ReplayDelay(
            durations.seconds("replay_delay", replay_delay), durations.seconds("max_replay_delay", max_replay_delay)
        )
        self._retention = Retention(
            durations.optional(durations.seconds, "retention", retention, above=0),
            durations.optional(durations.whole, "max_letters", max_letters, at_least=1),
        )
        if fallback is not None and not callable(fallback):
            msg = f"fallback must be a function that returns text, not {fallback!r} ({type(fallback).__name__})"
            raise TypeError(msg)
        if codec is not None and not (
            callable(getattr(codec, "seal", None)) and callable(getattr(codec, "open", None))
        ):
            msg = f"codec must have the methods seal and open, as FernetCodec has, not {codec!r}"
            raise TypeError(msg)
        if encoder is not None and not isinstance(encoder, Encoder):
            msg = f"encoder must be an Encoder, not {encoder!r} ({type(encoder).__name__})"
            raise TypeError(msg)
        self._fallback = fallback
        self._encoder = encoder
        self._codec = codec
        self._reprocessor = None if reprocessor is None else Reprocessor(reprocessor)
        self._held: dict[str, tuple[str, datetime]] = {}  # the claims that `receive_from_dlq` made: token and end
        self._opening = threading.Lock()
        self._opened: tuple[int, Store] | None = None
        self._sealed: SealedStore | None = None
        self._has_left = False

    def __repr__(self) -> str:
        return f"<DeadLetterQueue {self.location}>"

    @property
    def location(self) -> str:
        """Where the letters are."""
        return self._place.location

    @property
    def queue_url(self) -> str | None:
        """The URL of the SQS queue, None if there is none."""
        return self._place.queue_url

    @property
    def region(self) -> str | None:
        """The region that was given for that queue."""
        return self._place.region

    @property
    def local_file_path(self) -> Path | None:
        """The file, None if there is none."""
        return self._place.path

    @property
    def can_replay(self) -> bool:
        """Whether it was made with a reprocessor."""
        return self._reprocessor is not None

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send_to_dlq(
        self,
        message: Any,
        error_info: object,
        *,
        operation: str | None = None,
        headers: Mapping[str, str] | None = None,
        group: str | None = None,
        deduplication_key: str | None = None,
    ) -> str:
        """Keep a message that could not be handled; return its id once it is safe.

        Args:
            message: Any JSON value; with an ``encoder``, whatever that carries.
            error_info: Why it failed: a dict, an exception, or an error report.
            operation: What was being done; by default what ``error_info`` says of it.
            headers: Anything else, text by text, such as a content type or a trace's id.
            group: Letters with the same one failed for the same reason; by default the fingerprint of the error report,
                or the class of the error and the function that raised it.
            deduplication_key: While a letter with the same key is there, this one is not kept.

        Returns:
            The letter's id; if one with the same key is there already, the id of that one.

        Raises:
            UnencodableMessageError: A ``TypeError``: JSON cannot carry part of it, which the message names.
            TypeError, ValueError: Another argument is not what it should be; the message names it.
            LetterNotKeptError: The disk did not take it.
            DeadLetterQueueError: The store cannot be used.

        Cancelled, it may have kept the letter or not.
        """
        headers = None if headers is None else checked_headers(headers)
        if deduplication_key is not None:
            checked_label("deduplication_key", deduplication_key)
        store = self._store()
        now = clock.utcnow()
        letter_id = next_id(now)
        carried = carry(message, fallback=self._fallback, encoder=self._encoder)
        reason: Mapping[str, Any] = describe(error_info, now)
        error_type = str(reason.get("error_type", ""))
        group = group_of(error_info, reason) if group is None else checked_label("group", group)
        if operation is None:
            told = reason.get("operation")
            operation = told if isinstance(told, str) else None
        else:
            checked_label("operation", operation)
        if store.sealing is not None:
            carried = store.sealing.message(letter_id, carried)
            reason = store.sealing.error_info(letter_id, reason)
            headers = store.sealing.headers(letter_id, headers or {})
        body = new_body(
            letter_id,
            carried,
            reason,
            now,
            group=group or "",
            source=source_of(operation),
            headers=headers,
            deduplication_key=deduplication_key,
        )
        kept_id = await store.add(letter_id, body, deduplication_key=deduplication_key)
        if kept_id != letter_id and deduplication_key is not None:
            if events.listeners:
                events.emit(
                    LetterDeduplicated(location=self.location, message_id=kept_id, deduplication_key=deduplication_key)
                )
            return kept_id
        if events.listeners:
            events.emit(LetterKept(location=self.location, message_id=letter_id, error_type=error_type))
        await self._tidy_if_due()
        return letter_id

    def guard(
        self,
        message: Any,
        *,
        operation: str | None = None,
        headers: Mapping[str, str] | None = None,
        group: str | None = None,
        deduplication_key: str | None = None,
        suppress: bool = False,
    ) -> LetterGuard:
        """Keep the message of a block that fails.

            async with dlq.guard(order, operation="ship"):
                await ship(order)

        Args:
            message: The message; ``guard.message`` may be changed while the block runs.
            operation: What is being done.
            headers: What to write on the letter.
            group: The letter's group; by default that of the error.
            deduplication_key: While a letter with it is there, no other is kept.
            suppress: Whether the error ends here once the letter is safe. By default it is raised again.

        Returns:
            A context manager; after a failure its ``message_id`` is the letter's id.

        Raises:
            TypeError, ValueError: An argument is not what it should be; the message names it.

        If the letter cannot be kept, leaving the block raises why, as `send_to_dlq` does, in place of the block's own
        error, whatever ``suppress`` says: the message is nowhere safe then. Cancellation is no failure.
        """
        labels = Labels(operation=operation, headers=headers, group=group, deduplication_key=deduplication_key)
        return LetterGuard(self, message, labels, suppress=suppress)

    # -- replaying -----------------------------------------------------------------------------------------------------

    async def receive_from_dlq(self, max_messages: int = 10, *, where: LetterFilter | None = None) -> list[DeadLetter]:
        """Hand out waiting letters, those that have waited longest first, and claim them for ``visibility_timeout``.

        This queue can then `reprocess_message` or `delete` them; one that it does neither with comes again when the
        claim has run out. Parked letters are not handed out, nor are those that rest after a failed replay.

        Args:
            max_messages: How many at most, at least 1.
            where: Which letters; by default all.

        Returns:
            The letters; none when none is waiting.

        Raises:
            SealedLetterError: A letter does not open with the queue's codec; nothing is claimed then.
            DeadLetterQueueError: The store cannot be used.

        Cancelled, it gives the claims back.
        """
        limit = durations.whole("max_messages", max_messages, at_least=1)
        wanted = EVERY_LETTER if where is None else checked_filter(where)
        claims = await self._store().claim(limit, seconds=self.visibility_timeout, where=wanted)
        now = clock.utcnow()
        for letter_id in [each for each, (_, until) in self._held.items() if until <= now]:
            self._held.pop(letter_id, None)
        self._held.update((each.letter.id, (each.token, each.until)) for each in claims)
        return [each.letter for each in claims]

    async def reprocess_message(self, message_id: str) -> Any:
        """Give a letter's message to the reprocessor; delete the letter if that succeeds.

        The claim on it is made longer for as long as the reprocessor takes.

        Args:
            message_id: The letter's id; it may be parked, or rest after a failed replay.

        Returns:
            What the reprocessor returned.

        Raises:
            MessageNotFoundError: There is no such letter.
            MessageClaimedError: Somebody else has it just now.
            SealedLetterError: It does not open with the queue's codec.
            DeadLetterQueueError: There is no reprocessor, or the store cannot be used.
            Exception: What the reprocessor raised, after the failed attempt was booked. The letter waits again then,
                or is parked.

        Cancelled, it gives the claim back at once; a plain reprocessor that runs already is waited for first.
        """
        replayer = self._replayer()
        # Taken, so that of two calls at once only one comes with the claim that `receive_from_dlq` made.
        held = self._held.pop(checked_id(message_id), None)
        try:
            claim = await replayer.store.claim_one(
                message_id, seconds=self.visibility_timeout, held=None if held is None else held[0]
            )
        except BaseException:
            if held is not None:
                self._held[message_id] = held
            raise
        async with beating(replayer.store, self.visibility_timeout) as heart:
            attempt = await replayer.replay(claim, heart)
        if attempt.error is not None:
            raise attempt.error
        return attempt.result

    async def reprocess_all(
        self,
        where: LetterFilter | None = None,
        *,
        limit: int | None = None,
        max_concurrency: int = 1,
        rate: float | None = None,
        on_progress: Callable[[ReplayProgress], object] | None = None,
        stop_when_failing: StopWhenFailing | None = _STOP_WHEN_FAILING,
    ) -> ReplaySummary:
        """Replay the letters that are waiting, each once.

            summary = await dlq.reprocess_all(LetterFilter(error="ConnectTimeout"), max_concurrency=10, rate=50)
            if summary.ended == "failing":
                print("not yet:", summary.why)

        Letters that fail from now on are left for the next run, as are those that are claimed elsewhere, rest after a
        failed replay, or are parked. A process that dies in the middle leaves claims that run out by themselves; the
        next run goes on from there.

        Args:
            where: Which letters; by default all.
            limit: How many at most; None for all.
            max_concurrency: How many at the same time, at least 1.
            rate: How many a second at most, above 0; None for as fast as they come.
            on_progress: A function, async or plain, that is called after each letter. What it raises is logged and
                changes nothing. It must not block.
            stop_when_failing: When to stop by itself because what made the letters fail has not gone: by default after
                ten failures in a row, or when half of the last twenty failed. None for never.

        Returns:
            How many were replayed, how many failed, and why the run ended. What a reprocessor raises does not end it.

        Raises:
            TypeError, ValueError: An argument is not what it should be; the message names it.
            SealedLetterError: A letter does not open with the queue's codec.
            DeadLetterQueueError: There is no reprocessor, or the store cannot be used. What ran already came to its
                end first.

        Cancelled, it gives the claims of the letters at hand back; plain reprocessors that run already are waited for.
        """
        if on_progress is not None and not callable(on_progress):
            msg = f"on_progress must be a function, not {on_progress!r} ({type(on_progress).__name__})"
            raise TypeError(msg)
        if stop_when_failing is not None and not isinstance(stop_when_failing, StopWhenFailing):
            msg = f"stop_when_failing must be a StopWhenFailing or None, not {stop_when_failing!r}"
            raise TypeError(msg)
        began_at = clock.utcnow()
        run = ReplayRun(
            self._replayer(),
            EVERY_LETTER if where is None else checked_filter(where),
            began_at=began_at,
            fence=next_id(began_at),
            limit=durations.optional(durations.whole, "limit", limit, at_least=1),
            at_once=durations.whole("max_concurrency", max_concurrency, at_least=1),
            rate=durations.optional(durations.number, "rate", rate, above=0),
            on_progress=on_progress,
            rule=stop_when_failing,
        )
        return await run.run()

    def _replayer(self) -> Replayer:
        if self._reprocessor is None:
            msg = f"{self!r} was built without a reprocessor, and cannot replay"
            raise DeadLetterQueueError(msg, location=self.location)
        return Replayer(
            self._store(),
            self._reprocessor,
            seconds=self.visibility_timeout,
            max_attempts=self.max_attempts,
            delay=self._delay,
        )

    # -- opening and closing -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.stats()  # whatever is wrong with the store is said here
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the file and of connections. The next use opens them again.

        Connections to a remote queue stay for as long as another queue object of this process uses them.
        """
        if self._opened is not None:
            store = self._store()
            self._has_left = True
            if self._place.leave():
                await store.aclose()

    def _store(self) -> SealedStore:
        inner = self._inner_store()
        sealed = self._sealed
        if sealed is None or sealed.inner is not inner:
            self._sealed = sealed = SealedStore(inner, self._codec)
        return sealed

    def _inner_store(self) -> Store:
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            if self._has_left:
                self._has_left = False
                self._place.enter()
            return opened[1]
        with self._opening:
            # A fork copies locks, and a buffer whose thread stayed behind: the child begins with its own.
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = (os.getpid(), self._place.open())
            return self._opened[1]
