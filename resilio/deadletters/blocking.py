"""The dead letter queue for code without an event loop. `resilio.sync` is where it is imported from.

Nothing is decided here: each method sends its call to the background event loop and waits for the result.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple

from resilio._core import portal
from resilio._core.colour import innermost
from resilio._core.drive import refuse_in_event_loop
from resilio.deadletters import queue as _queue
from resilio.deadletters.guard import is_failure
from resilio.deadletters.replay_rules import StopWhenFailing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio.deadletters.codec import Codec
    from resilio.deadletters.encoder import Encoder
    from resilio.deadletters.encoding import Representation
    from resilio.deadletters.guard import LetterGuard
    from resilio.deadletters.letter import DeadLetter, LetterStatus
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.replay_run import ReplayProgress, ReplaySummary
    from resilio.deadletters.store import DeadLetterStats, Store
    from resilio.deadletters.transfer import Place

__all__ = ("BlockingLetterGuard", "DeadLetterQueue")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_STOP_WHEN_FAILING = StopWhenFailing()


def _wait(fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    refuse_in_event_loop(f"DeadLetterQueue.{innermost(fn).__name__}()")  # not under the name of a base class
    return portal.call(fn, *args)


class BlockingLetterGuard:
    """A block whose message becomes a dead letter if it fails; the blocking twin of `resilio.LetterGuard`."""

    __slots__ = ("_guard",)

    def __init__(self, guard: LetterGuard) -> None:
        self._guard = guard

    @property
    def message(self) -> Any:
        """The message. It is kept as it is when the block fails, so it may be completed on the way."""
        return self._guard.message

    @message.setter
    def message(self, message: Any) -> None:
        self._guard.message = message

    @property
    def message_id(self) -> str | None:
        """The letter's id once the block has failed, else None."""
        return self._guard.message_id

    def __enter__(self) -> Self:
        self._guard.message_id = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return is_failure(error) and _wait(self._guard.__aexit__, kind, error, traceback)


class DeadLetterQueue:
    """Keeps messages that could not be handled, safe on disk; the blocking twin of `resilio.DeadLetterQueue`.

        with DeadLetterQueue(local_file_path="./dead.jsonl", reprocessor=handle) as dlq:
            message_id = dlq.send_to_dlq(message, error)    # returns when the letter is on the disk
            dlq.reprocess_message(message_id)               # handle(message); the letter is gone if that succeeds

    Takes the same arguments. A plain reprocessor runs in a worker thread, where it may use all of ``resilio.sync``;
    an async one runs on the background event loop. ``with`` opens the store at once and lets go of it at the end;
    without it, the store is opened on first use.

    Safe to share between threads, whose letters share one write, and across a fork. Every method raises
    ``RuntimeError`` on a thread that runs an event loop.
    """

    __slots__ = ("__weakref__", "_queue")

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
        self._queue = _queue.DeadLetterQueue(
            queue_url=queue_url,
            region=region,
            local_file_path=local_file_path,
            reprocessor=reprocessor,
            visibility_timeout=visibility_timeout,
            max_attempts=max_attempts,
            replay_delay=replay_delay,
            max_replay_delay=max_replay_delay,
            retention=retention,
            max_letters=max_letters,
            fallback=fallback,
            encoder=encoder,
            codec=codec,
            store=store,
        )

    @property
    def location(self) -> str:
        """Where the letters are."""
        return self._queue.location

    @property
    def queue_url(self) -> str | None:
        """The URL of the SQS queue, None if there is none."""
        return self._queue.queue_url

    @property
    def region(self) -> str | None:
        """The region that was given for that queue."""
        return self._queue.region

    @property
    def local_file_path(self) -> Path | None:
        """The file, None if there is none."""
        return self._queue.local_file_path

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_to_dlq(
        self,
        message: Any,
        error_info: object,
        *,
        operation: str | None = None,
        headers: Mapping[str, str] | None = None,
        group: str | None = None,
        deduplication_key: str | None = None,
    ) -> str:
        """Keep a message that could not be handled; return its id once it is safe. Arguments as of the async method.

        Raises:
            UnencodableMessageError: A ``TypeError``: JSON cannot carry part of it, which the message names.
            TypeError, ValueError: Another argument is not what it should be; the message names it.
            LetterNotKeptError: The disk did not take it.
            DeadLetterQueueError: The store cannot be used.

        Interrupted, it may have kept the letter or not.
        """
        return _wait(
            functools.partial(
                self._queue.send_to_dlq,
                message,
                error_info,
                operation=operation,
                headers=headers,
                group=group,
                deduplication_key=deduplication_key,
            )
        )

    def guard(
        self,
        message: Any,
        *,
        operation: str | None = None,
        headers: Mapping[str, str] | None = None,
        group: str | None = None,
        deduplication_key: str | None = None,
        suppress: bool = False,
    ) -> BlockingLetterGuard:
        """Keep the message of a block that fails: ``with dlq.guard(order): ...``. Arguments as of the async method.

        Raises:
            TypeError, ValueError: An argument is not what it should be; the message names it.
        """
        guard = self._queue.guard(
            message,
            operation=operation,
            headers=headers,
            group=group,
            deduplication_key=deduplication_key,
            suppress=suppress,
        )
        return BlockingLetterGuard(guard)

    # -- replaying -----------------------------------------------------------------------------------------------------

    def receive_from_dlq(self, max_messages: int = 10, *, where: LetterFilter | None = None) -> list[DeadLetter]:
        """Hand out waiting letters, those that have waited longest first, and claim them.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(functools.partial(self._queue.receive_from_dlq, max_messages, where=where))

    def reprocess_message(self, message_id: str) -> Any:
        """Give a letter's message to the reprocessor, and return what it returned; delete the letter if that succeeds.

        Raises:
            MessageNotFoundError: There is no such letter.
            MessageClaimedError: Somebody else has it just now.
            DeadLetterQueueError: There is no reprocessor, or the store cannot be used.
            Exception: What the reprocessor raised, after the failed attempt was booked.
        """
        return _wait(self._queue.reprocess_message, message_id)

    def reprocess_all(
        self,
        where: LetterFilter | None = None,
        *,
        limit: int | None = None,
        max_concurrency: int = 1,
        rate: float | None = None,
        on_progress: Callable[[ReplayProgress], object] | None = None,
        stop_when_failing: StopWhenFailing | None = _STOP_WHEN_FAILING,
    ) -> ReplaySummary:
        """Replay the letters that are waiting, each once. Arguments as of the async method.

        ``on_progress`` is called on the background event loop, where it must not use the names of ``resilio.sync``.

        Raises:
            DeadLetterQueueError: There is no reprocessor, or the store cannot be used.
        """
        return _wait(
            functools.partial(
                self._queue.reprocess_all,
                where,
                limit=limit,
                max_concurrency=max_concurrency,
                rate=rate,
                on_progress=on_progress,
                stop_when_failing=stop_when_failing,
            )
        )

    # -- looking -------------------------------------------------------------------------------------------------------

    def peek(
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
        """Look at letters in the order in which they came, without claiming them. Arguments as of the async method.

        Raises:
            TypeError, ValueError: An argument is not what it should be.
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(
            functools.partial(
                self._queue.peek,
                limit,
                after=after,
                status=status,
                error=error,
                group=group,
                since=since,
                until=until,
                text=text,
                where=where,
            )
        )

    def get(self, message_id: str) -> DeadLetter:
        """A letter, without claiming it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(self._queue.get, message_id)

    def stats(self) -> DeadLetterStats:
        """How many letters there are, by status and group, how old the oldest is, and what they take on disk.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(self._queue.stats)

    # -- tidying -------------------------------------------------------------------------------------------------------

    def edit(self, message_id: str, message: Any) -> None:
        """Put another message into a letter; nothing else of it changes.

        Raises:
            UnencodableMessageError: A ``TypeError``: JSON cannot carry part of it, which the message names.
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        _wait(self._queue.edit, message_id, message)

    def park(self, message_id: str) -> None:
        """Set a letter aside: from now on only its id replays it. `requeue` takes it up again.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        _wait(self._queue.park, message_id)

    def requeue(self, message_id: str) -> None:
        """Make a parked or resting letter wait again: due at once, with all its attempts before it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        _wait(self._queue.requeue, message_id)

    def delete(self, message_id: str) -> None:
        """Delete a letter, whoever has claimed it.

        Raises:
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        _wait(self._queue.delete, message_id)

    def discard(self, message_id: str, reason: str) -> None:
        """Delete a letter that is not worth a replay; the event `LetterDeleted` has the reason.

        Raises:
            ValueError: ``reason`` is empty.
            MessageNotFoundError: There is no such letter.
            DeadLetterQueueError: The store cannot be used.
        """
        _wait(self._queue.discard, message_id, reason)

    def tidy(self) -> list[str]:
        """Delete what is past its time now, as ``retention`` and ``max_letters`` say; return the ids.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(self._queue.tidy)

    def purge(self, *, confirm: bool = False) -> int:
        """Delete every letter, claimed or parked, and return how many there were; ``confirm=True`` says it is meant.

        Raises:
            ValueError: ``confirm`` is not True; nothing was deleted.
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(functools.partial(self._queue.purge, confirm=confirm))

    def export_to(self, target: Place, where: LetterFilter | None = None, *, opened: bool = False) -> int:
        """Write letters as JSON lines to a path or an open file, and return how many. Arguments as of the async method.

        Raises:
            LetterNotKeptError: The disk did not take it; ``__cause__`` is the ``OSError``.
            DeadLetterQueueError: The store cannot be used.
        """
        return _wait(functools.partial(self._queue.export_to, target, where, opened=opened))

    def import_from(self, source: Place) -> int:
        """Keep letters that `export_to` wrote, and return how many were read; importing twice does no harm.

        Raises:
            ValueError: A line is no letter; the message has its number.
            DeadLetterQueueError: The file cannot be read, or the store cannot be used.
        """
        return _wait(self._queue.import_from, source)

    def move(self, where: LetterFilter | None = None, *, to: DeadLetterQueue) -> int:
        """Move letters to another queue, and return how many. Arguments as of the async method.

        Raises:
            TypeError, ValueError: ``to`` is no queue, or this one.
            DeadLetterQueueError: A store cannot be used.
        """
        other = to._queue if isinstance(to, DeadLetterQueue) else to
        return _wait(functools.partial(self._queue.move, where, to=other))

    # -- opening and closing -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file and of connections. The next use opens them again."""
        _wait(self._queue.aclose)

    def __enter__(self) -> Self:
        _wait(self._queue.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        _wait(self._queue.aclose)

    def __repr__(self) -> str:
        return repr(self._queue)
