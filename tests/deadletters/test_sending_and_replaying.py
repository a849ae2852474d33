from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from letter_kit import heard, lines_of, size_of

from resilio.deadletters.errors import DeadLetterQueueError, MessageNotFoundError
from resilio.deadletters.events import LetterDeleted, LetterKept, LetterReplayed, LettersPurged, ReplayFailed
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from pathlib import Path

    from letter_kit import HandClock

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "api_error", "error_message": "boom"}


class Handler:
    """A reprocessor that fails for the messages it is told to fail for."""

    def __init__(self, *bad: object) -> None:
        self.bad = list(bad)
        self.handled: list[object] = []

    async def __call__(self, message: object) -> str:
        await anyio.lowlevel.checkpoint()
        if message in self.bad:
            msg = f"cannot handle {message}"
            raise ValueError(msg)
        self.handled.append(message)
        return f"handled {message}"


async def test_a_sent_letter_is_on_disk_and_can_be_read(path: Path, time: HandClock) -> None:
    """When send_to_dlq returns, the file holds the letter, and get gives it as it was."""
    dlq = DeadLetterQueue(local_file_path=path)
    message_id = await dlq.send_to_dlq({"text": "mïau 🐈"}, ERROR)
    [put] = [each for each in lines_of(path) if each["op"] == "put"]
    assert put["letter"]["message"] == {"text": "mïau 🐈"}
    letter = await dlq.get(message_id)
    assert letter.id == message_id
    assert letter.message == {"text": "mïau 🐈"}
    assert letter.error_info == ERROR
    assert letter.attempts == 0
    assert letter.status is LetterStatus.WAITING
    assert letter.first_failed_at == letter.last_failed_at == time.now


async def test_an_exception_may_be_the_reason(path: Path) -> None:
    """error_info may be the exception itself."""
    dlq = DeadLetterQueue(local_file_path=path)
    letter = await dlq.get(await dlq.send_to_dlq("hello", ConnectionError("refused")))
    assert letter.error_info["error_type"] == "ConnectionError"
    assert letter.error_info["error_message"] == "refused"


async def test_letters_are_still_there_after_closing(path: Path) -> None:
    """Another queue object finds what the first one kept, in the order in which it came."""
    async with DeadLetterQueue(local_file_path=path) as dlq:
        ids = [await dlq.send_to_dlq(number, ERROR) for number in range(20)]
    async with DeadLetterQueue(local_file_path=path) as again:
        assert [each.id for each in await again.peek(100)] == ids == sorted(ids)


async def test_a_closed_queue_opens_again_when_it_is_used(path: Path) -> None:
    """Leaving the block of one task does not break the queue for another."""
    dlq = DeadLetterQueue(local_file_path=path)
    async with dlq:
        await dlq.send_to_dlq(1, ERROR)
    await dlq.send_to_dlq(2, ERROR)
    await dlq.aclose()
    await dlq.aclose()
    assert (await dlq.stats()).total == 2


async def test_reprocessing_hands_the_message_to_the_reprocessor_and_deletes_the_letter(path: Path) -> None:
    """The result is the reprocessor's, and the letter is gone for good."""
    handler = Handler()
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    with heard(LetterReplayed) as events:
        assert await dlq.reprocess_message(message_id) == "handled hello"
    assert handler.handled == ["hello"]
    assert [(each.message_id, each.attempts) for each in events] == [(message_id, 0)]
    with pytest.raises(MessageNotFoundError):
        await DeadLetterQueue(local_file_path=path).get(message_id)


async def test_a_failed_replay_is_booked_and_raised(path: Path, time: HandClock) -> None:
    """The reprocessor's own error comes out; the letter stays, with the new error and one attempt more."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=Handler("hello"))
    sent_at = time.now
    message_id = await dlq.send_to_dlq("hello", ERROR)
    time.advance(60)
    with heard(ReplayFailed) as events, pytest.raises(ValueError, match="cannot handle hello"):
        await dlq.reprocess_message(message_id)
    letter = await DeadLetterQueue(local_file_path=path).get(message_id)
    assert letter.attempts == 1
    assert letter.error_info["error_message"] == "cannot handle hello"
    assert letter.first_failed_at == sent_at
    assert letter.last_failed_at == time.now
    assert letter.status is LetterStatus.WAITING
    assert [(each.attempts, each.error, each.parked) for each in events] == [
        (1, "ValueError: cannot handle hello", False)
    ]


async def test_a_letter_can_be_replayed_again_at_once_after_it_failed(path: Path) -> None:
    """A failure gives the claim back: whoever has mended the cause need not wait."""
    handler = Handler("hello")
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    with pytest.raises(ValueError, match="cannot handle"):
        await dlq.reprocess_message(message_id)
    handler.bad.clear()
    assert await dlq.reprocess_message(message_id) == "handled hello"


async def test_after_max_attempts_a_letter_is_parked_not_lost(path: Path) -> None:
    """A parked letter is handed out no more, but its id still replays it."""
    handler = Handler("hello")
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handler, max_attempts=2)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    with heard(ReplayFailed) as events:
        for _ in range(2):
            with pytest.raises(ValueError, match="cannot handle"):
                await dlq.reprocess_message(message_id)
    assert [each.parked for each in events] == [False, True]
    assert (await dlq.get(message_id)).status is LetterStatus.PARKED
    assert await dlq.receive_from_dlq() == []
    assert (await dlq.reprocess_all()).replayed == 0
    assert [each.id for each in await dlq.peek(status="parked")] == [message_id]
    stats = await dlq.stats()
    assert (stats.total, stats.parked, stats.waiting) == (1, 1, 0)
    handler.bad.clear()
    again = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    assert await again.reprocess_message(message_id) == "handled hello"


async def test_replaying_all_tries_each_waiting_letter_once(path: Path, time: HandClock) -> None:
    """What fails is counted and told, does not stop the run, and is not tried twice in it."""
    handler = Handler(1, 3)
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    ids = [await dlq.send_to_dlq(number, ERROR) for number in range(5)]
    summary = await dlq.reprocess_all()
    assert (summary.replayed, summary.failed, summary.parked) == (3, 2, 0)
    assert summary.errors == {ids[1]: "ValueError: cannot handle 1", ids[3]: "ValueError: cannot handle 3"}
    assert handler.handled == [0, 2, 4]
    assert [(each.id, each.attempts) for each in await dlq.peek()] == [(ids[1], 1), (ids[3], 1)]
    handler.bad.clear()
    assert (await dlq.reprocess_all()).replayed == 0  # they rest for a while
    time.advance(2)
    assert (await dlq.reprocess_all()).replayed == 2
    assert (await dlq.stats()).total == 0
    assert (await dlq.reprocess_all()).replayed == 0


async def test_replaying_all_stops_at_its_limit(path: Path) -> None:
    """The oldest letters go first."""
    handler = Handler()
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handler)
    for number in range(5):
        await dlq.send_to_dlq(number, ERROR)
    assert (await dlq.reprocess_all(limit=2)).replayed == 2
    assert handler.handled == [0, 1]


async def test_a_reprocessor_that_sends_new_letters_does_not_keep_the_run_going(path: Path) -> None:
    """The reference's own handler keeps a new letter when it fails, and returns: the run still ends."""

    async def handle(message: object) -> None:
        await dlq.send_to_dlq(message, ERROR)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    assert (await dlq.reprocess_all()).replayed == 3
    assert (await dlq.stats()).total == 3


async def test_failed_letters_go_to_the_end_of_the_line(path: Path, time: HandClock) -> None:
    """A letter that fails does not keep those behind it from their turn."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=Handler(0))
    ids = [await dlq.send_to_dlq(number, ERROR) for number in range(3)]
    with pytest.raises(ValueError, match="cannot handle"):
        await dlq.reprocess_message(ids[0])
    time.advance(2)
    assert [each.id for each in await dlq.receive_from_dlq()] == [ids[1], ids[2], ids[0]]


async def test_a_queue_without_a_reprocessor_says_so(path: Path) -> None:
    """It keeps and shows letters; only replaying needs one."""
    dlq = DeadLetterQueue(local_file_path=path)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    with pytest.raises(DeadLetterQueueError, match="without a reprocessor"):
        await dlq.reprocess_message(message_id)
    with pytest.raises(DeadLetterQueueError, match="without a reprocessor"):
        await dlq.reprocess_all()
    assert (await dlq.get(message_id)).status is LetterStatus.WAITING


async def test_unknown_ids_are_not_found(path: Path) -> None:
    """get, delete and reprocess_message name the id; the error is a LookupError too."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=Handler())
    for call in (dlq.get, dlq.delete, dlq.reprocess_message):
        with pytest.raises(LookupError, match="no letter nope") as caught:
            await call("nope")
        assert isinstance(caught.value, MessageNotFoundError)
        assert caught.value.message_id == "nope"
        with pytest.raises(TypeError, match="message_id must be text, not 7"):
            await call(7)  # type: ignore[arg-type]


async def test_deleting_and_purging(path: Path) -> None:
    """Delete removes one letter, purge all, claimed and parked ones too; both survive a new opening."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids = [await dlq.send_to_dlq(number, ERROR) for number in range(4)]
    await dlq.receive_from_dlq(2)
    with heard(LetterDeleted, LettersPurged) as events:
        await dlq.delete(ids[0])
        with pytest.raises(MessageNotFoundError):
            await dlq.delete(ids[0])
        assert await dlq.purge(confirm=True) == 3
        assert await dlq.purge(confirm=True) == 0
    assert [type(each).__name__ for each in events] == ["LetterDeleted", "LettersPurged", "LettersPurged"]
    assert (await DeadLetterQueue(local_file_path=path).stats()).total == 0


async def test_peeking_pages_through_the_letters_and_claims_none(path: Path) -> None:
    """Each page begins after the last letter of the page before, deleted or not."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids = [await dlq.send_to_dlq(number, ERROR) for number in range(7)]
    assert [each.id for each in await dlq.peek(3)] == ids[:3]
    assert [each.id for each in await dlq.peek(3, after=ids[2])] == ids[3:6]
    await dlq.delete(ids[2])
    assert [each.id for each in await dlq.peek(3, after=ids[2])] == ids[3:6]
    assert [each.id for each in await dlq.peek(3, after=ids[5])] == ids[6:]
    assert len(await dlq.receive_from_dlq()) == 6
    assert {each.status for each in await dlq.peek()} == {LetterStatus.CLAIMED}
    assert await dlq.peek(status=LetterStatus.WAITING) == []
    with pytest.raises(ValueError, match="'lost' is not a valid LetterStatus"):
        await dlq.peek(status="lost")


async def test_stats_count_by_status_and_tell_the_oldest(path: Path, time: HandClock) -> None:
    """Depth by status, the age of the oldest letter, and the size on disk."""
    dlq = DeadLetterQueue(local_file_path=path)
    empty = await dlq.stats()
    assert (empty.total, empty.oldest_failed_at, empty.oldest_age) == (0, None, None)
    first = time.now
    await dlq.send_to_dlq(1, ERROR)
    time.advance(90)
    await dlq.send_to_dlq(2, ERROR)
    await dlq.receive_from_dlq(1)
    stats = await dlq.stats()
    assert (stats.total, stats.waiting, stats.claimed, stats.parked) == (2, 1, 1, 0)
    assert stats.oldest_failed_at == first
    assert stats.oldest_age == 90
    assert stats.bytes == size_of(path)
    assert stats.to_dict()["oldest_failed_at"] == first.isoformat()


async def test_a_kept_letter_is_told_of(path: Path) -> None:
    """The event has the letter's id and the class of its error, and no message."""
    dlq = DeadLetterQueue(local_file_path=path)
    with heard(LetterKept) as events:
        message_id = await dlq.send_to_dlq("secret", ValueError("x"))
    assert [(each.location, each.message_id, each.error_type) for each in events] == [
        (str(path), message_id, "ValueError")
    ]
    assert "secret" not in repr(events)


# -- plain reprocessors ------------------------------------------------------------------------------------------------


async def test_a_plain_reprocessor_runs_outside_the_event_loop(path: Path) -> None:
    """A blocking function does not hold up the other tasks, and its error is booked like any other."""
    import threading  # noqa: PLC0415

    here = threading.get_ident()
    ran: list[int] = []

    def handle(message: Any) -> str:
        ran.append(threading.get_ident())
        if message == "bad":
            raise StopIteration
        return "done"

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    assert await dlq.reprocess_message(await dlq.send_to_dlq("good", ERROR)) == "done"
    message_id = await dlq.send_to_dlq("bad", ERROR)
    with pytest.raises(RuntimeError, match="StopIteration"):  # as Python makes of one that leaves a coroutine
        await dlq.reprocess_message(message_id)
    assert here not in ran
    assert (await dlq.get(message_id)).error_info["error_type"] == "StopIteration"


async def test_a_plain_function_that_returns_a_coroutine_is_awaited(path: Path) -> None:
    """A lambda around an async function replays as the async function would."""
    handler = Handler("bad")
    plain = lambda message: handler(message)  # noqa: E731, PLW0108 -- its colour shows only when it is called
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=plain)
    assert await dlq.reprocess_message(await dlq.send_to_dlq("good", ERROR)) == "handled good"
    message_id = await dlq.send_to_dlq("bad", ERROR)
    with pytest.raises(ValueError, match="cannot handle bad"):
        await dlq.reprocess_message(message_id)
    assert (await dlq.get(message_id)).attempts == 1


async def test_a_reprocessor_that_returns_a_generator_has_done_nothing(path: Path) -> None:
    """A function whose work would only begin when iterated is a failed attempt, not a success."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: (each for each in message))
    message_id = await dlq.send_to_dlq([1], ERROR)
    with pytest.raises(TypeError, match="returned a generator"):
        await dlq.reprocess_message(message_id)
    assert (await dlq.get(message_id)).attempts == 1
