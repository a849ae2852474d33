"""What the dead letter queue tells: one frozen value per thing that happened.

Listen with ``resilio.subscribe(listener, LetterKept, ...)``. Events hold no messages and no exception objects, only
ids, class names and texts, so that keeping them keeps nothing else alive and logging them gives no user's data away.
"""

from __future__ import annotations

from dataclasses import dataclass

from resilio._core.events import Event

__all__ = (
    "ClaimNotExtended",
    "CompactionFailed",
    "DamagedLineSetAside",
    "DeadLetterEvent",
    "JournalCompacted",
    "JournalVanished",
    "LetterDeduplicated",
    "LetterDeleted",
    "LetterEdited",
    "LetterKept",
    "LetterMoved",
    "LetterParked",
    "LetterReplayed",
    "LetterRequeued",
    "LettersExpired",
    "LettersImported",
    "LettersPurged",
    "RemoteQueueUnavailable",
    "ReplayFailed",
    "RetentionFailed",
    "TornTailRepaired",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterEvent(Event):
    """Anything a dead letter queue tells.

    Attributes:
        location: The file or queue.
    """

    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterKept(DeadLetterEvent):
    """A letter is safe.

    Attributes:
        message_id: The letter's id.
        error_type: The class of the error that made it a dead letter, empty if nobody said.
    """

    message_id: str
    error_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterDeduplicated(DeadLetterEvent):
    """A letter was not kept, because one with the same deduplication key is there already.

    Attributes:
        message_id: The id of the letter that is there.
        deduplication_key: The key.
    """

    message_id: str
    deduplication_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterReplayed(DeadLetterEvent):
    """The reprocessor succeeded and the letter is gone.

    Attributes:
        message_id: The letter's id.
        attempts: How many replays had failed before.
    """

    message_id: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFailed(DeadLetterEvent):
    """The reprocessor raised; the letter stays.

    Attributes:
        message_id: The letter's id.
        attempts: How many replays have failed, with this one.
        error: What the reprocessor raised, as text.
        parked: Whether the letter has used up its attempts and waits for a person.
        booked: Whether the attempt could be written down.
    """

    message_id: str
    attempts: int
    error: str
    parked: bool
    booked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNotExtended(DeadLetterEvent):
    """The claim on a letter that is being replayed could not be made longer: somebody else may get the letter too.

    Attributes:
        message_id: The letter's id.
        error: Why, as text; empty if the claim has passed to somebody else, or the letter is gone.
    """

    message_id: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterDeleted(DeadLetterEvent):
    """A letter was deleted without being replayed.

    Attributes:
        message_id: The letter's id.
        reason: Why it was discarded; empty if it was deleted without one.
    """

    message_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterEdited(DeadLetterEvent):
    """Somebody put another message into a letter.

    Attributes:
        message_id: The letter's id.
    """

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterParked(DeadLetterEvent):
    """Somebody set a letter aside, until its id is called or it is requeued.

    Attributes:
        message_id: The letter's id.
    """

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRequeued(DeadLetterEvent):
    """A letter is waiting again, with all its attempts before it.

    Attributes:
        message_id: The letter's id.
    """

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterMoved(DeadLetterEvent):
    """A letter lies in another queue now.

    Attributes:
        message_id: The letter's id.
        to: The other queue's location.
    """

    message_id: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersExpired(DeadLetterEvent):
    """Letters were deleted because they were too old, or too many.

    Attributes:
        count: How many.
        message_ids: Their ids; of many, the first thousand.
    """

    count: int
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionFailed(DeadLetterEvent):
    """Letters that are too old or too many could not be deleted; it will be tried again.

    Attributes:
        error: Why, as text.
    """

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersPurged(DeadLetterEvent):
    """All letters were deleted.

    Attributes:
        count: How many there were.
    """

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersImported(DeadLetterEvent):
    """A file that held a JSON array became a journal.

    Attributes:
        count: How many letters it held.
        original: Where the file as it was lies now.
    """

    count: int
    original: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedLineSetAside(DeadLetterEvent):
    """A line in the middle of the journal failed its checksum: a damaged disk, or an editor.

    Attributes:
        offset: Where in the file it began, in bytes.
        length: How long it was, in bytes.
        kept_in: The file that has it now; empty if it could not be written, and the line lies where it was.
    """

    offset: int
    length: int
    kept_in: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TornTailRepaired(DeadLetterEvent):
    """The journal ended in the middle of a line: a writer died while writing. Nobody was told that line was safe.

    Attributes:
        length: How many bytes were cut off; 0 when only the end of the line was missing and the line was completed.
    """

    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalVanished(DeadLetterEvent):
    """The journal's file was deleted or replaced by somebody else while it was in use; a new one was begun.

    Attributes:
        letters: How many letters it held when last seen.
    """

    letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCompacted(DeadLetterEvent):
    """The journal was written anew without the lines that no longer matter.

    Attributes:
        before: Its size in bytes before.
        after: Its size in bytes now.
    """

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionFailed(DeadLetterEvent):
    """The journal could not be written anew; it goes on as it is, and it will be tried again later.

    Attributes:
        error: Why, as text.
    """

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFailed(DeadLetterEvent):
    """The journal's index could not be saved beside it: opening the journal takes longer; no letter is concerned.

    Attributes:
        error: Why, as text.
    """

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteQueueUnavailable(DeadLetterEvent):
    """The queue has a ``queue_url`` that it cannot use, and keeps its letters in the local file.

    Attributes:
        queue_url: The remote queue.
        reason: Why it cannot be used.
    """

    queue_url: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterIndexFailed(DeadLetterEvent):
    """What is remembered locally of a remote queue could not be written; listing may miss letters or show too many.

    Attributes:
        error: Why, as text.
    """

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterSpilled(DeadLetterEvent):
    """The remote queue did not take a letter; it is safe in the local file, which is the event's location.

    Attributes:
        message_id: The letter's id.
        queue_url: The remote queue.
        reason: Why it was not taken.
        stays: Whether it stays in the file because the remote queue never takes such a letter.
    """

    message_id: str
    queue_url: str
    reason: str
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LettersForwarded(DeadLetterEvent):
    """Letters that had been kept in the local file, which is the event's location, are in the remote queue now.

    Attributes:
        count: How many.
        queue_url: The remote queue.
    """

    count: int
    queue_url: str
