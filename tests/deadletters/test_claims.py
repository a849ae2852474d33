from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from letter_kit import lines_of

from resilio._core import clock
from resilio.deadletters.errors import MessageClaimedError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from pathlib import Path

    from letter_kit import HandClock

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "api_error"}


async def test_a_received_letter_is_handed_out_once_until_its_timeout(path: Path, time: HandClock) -> None:
    """For visibility_timeout seconds nobody else gets it, in no queue object; then it comes again."""
    one = DeadLetterQueue(local_file_path=path, visibility_timeout=30)
    other = DeadLetterQueue(local_file_path=path)
    message_id = await one.send_to_dlq("hello", ERROR)
    [letter] = await one.receive_from_dlq()
    assert (letter.id, letter.status) == (message_id, LetterStatus.CLAIMED)
    assert await one.receive_from_dlq() == []
    assert await other.receive_from_dlq() == []
    assert (await other.get(message_id)).status is LetterStatus.CLAIMED
    time.advance(29.9)
    assert await other.receive_from_dlq() == []
    time.advance(0.2)
    assert (await one.get(message_id)).status is LetterStatus.WAITING
    assert [each.id for each in await other.receive_from_dlq()] == [message_id]


async def test_two_receivers_share_the_letters_between_them(path: Path) -> None:
    """Each letter goes to one of them, first come first served."""
    one, other = DeadLetterQueue(local_file_path=path), DeadLetterQueue(local_file_path=path)
    ids = [await one.send_to_dlq(number, ERROR) for number in range(6)]
    assert [each.id for each in await one.receive_from_dlq(2)] == ids[:2]
    assert [each.id for each in await other.receive_from_dlq(3)] == ids[2:5]
    assert [each.id for each in await one.receive_from_dlq(10)] == ids[5:]


async def test_who_received_a_letter_may_replay_it_and_nobody_else(path: Path, time: HandClock) -> None:
    """The claim of a receive counts for the queue object that received; another is told how long to wait."""

    async def handle(message: object) -> object:
        return message

    one = DeadLetterQueue(local_file_path=path, reprocessor=handle, visibility_timeout=30)
    other = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await one.send_to_dlq("hello", ERROR)
    await one.receive_from_dlq()
    time.advance(10)
    with pytest.raises(MessageClaimedError, match=f"{message_id} is claimed until 2026-01-01T00:00:30") as caught:
        await other.reprocess_message(message_id)
    assert caught.value.retry_after == 20
    assert caught.value.retryable
    assert await one.reprocess_message(message_id) == "hello"


async def test_a_claim_that_ran_out_does_not_stop_anybody(path: Path, time: HandClock) -> None:
    """A process that died with a claim holds a letter back for visibility_timeout, no longer."""

    async def handle(message: object) -> object:
        return message

    one = DeadLetterQueue(local_file_path=path, visibility_timeout=30)
    message_id = await one.send_to_dlq("hello", ERROR)
    await one.receive_from_dlq()
    time.advance(30.1)
    assert await DeadLetterQueue(local_file_path=path, reprocessor=handle).reprocess_message(message_id) == "hello"


async def test_two_replays_of_one_letter_at_once_run_once(path: Path) -> None:
    """Of two tasks with the same id, one runs the reprocessor and the other is told that the letter is claimed."""
    running, finish = anyio.Event(), anyio.Event()
    handled: list[object] = []

    async def handle(message: object) -> None:
        handled.append(message)
        running.set()
        await finish.wait()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    await dlq.receive_from_dlq()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dlq.reprocess_message, message_id)
        await running.wait()
        with pytest.raises(MessageClaimedError):
            await dlq.reprocess_message(message_id)
        finish.set()
    assert handled == ["hello"]
    assert (await dlq.stats()).total == 0


async def test_replaying_all_passes_over_what_others_have_claimed(path: Path) -> None:
    """A run takes what is free and leaves the rest."""
    handled: list[object] = []

    async def handle(message: object) -> None:
        handled.append(message)

    other = DeadLetterQueue(local_file_path=path)
    for number in range(4):
        await other.send_to_dlq(number, ERROR)
    await other.receive_from_dlq(2)
    assert (await DeadLetterQueue(local_file_path=path, reprocessor=handle).reprocess_all()).replayed == 2
    assert handled == [2, 3]


async def test_what_was_handled_is_removed_even_if_the_claim_ran_out_meanwhile(path: Path, time: HandClock) -> None:
    """The work is done; leaving the letter would only have it done again."""

    async def handle(message: object) -> None:
        time.advance(31)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, visibility_timeout=30)
    await dlq.reprocess_message(await dlq.send_to_dlq("hello", ERROR))
    assert (await dlq.stats()).total == 0


async def test_a_late_failure_counts_but_leaves_the_next_owners_claim_alone(path: Path, time: HandClock) -> None:
    """An attempt that failed after its claim had passed to somebody else does not free the letter under their hands."""
    other = DeadLetterQueue(local_file_path=path, visibility_timeout=30)

    async def handle(message: object) -> None:
        time.advance(31)
        assert len(await other.receive_from_dlq()) == 1
        msg = "late"
        raise ValueError(msg)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, visibility_timeout=30)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    with pytest.raises(ValueError, match="late"):
        await dlq.reprocess_message(message_id)
    letter = await dlq.get(message_id)
    assert letter.attempts == 1
    assert letter.status is LetterStatus.CLAIMED
    time.advance(30)
    assert (await dlq.get(message_id)).status is LetterStatus.WAITING


async def test_a_letter_deleted_during_its_replay_stays_deleted(path: Path) -> None:
    """Neither success nor failure brings it back."""

    async def handle(message: str) -> None:
        await dlq.delete(ids[message])
        if message == "bad":
            raise ValueError(message)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    ids = {each: await dlq.send_to_dlq(each, ERROR) for each in ("good", "bad")}
    await dlq.reprocess_message(ids["good"])
    with pytest.raises(ValueError, match="bad"):
        await dlq.reprocess_message(ids["bad"])
    assert (await dlq.stats()).total == 0


# -- cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_replay_gives_the_claim_back(path: Path) -> None:
    """When the cancellation is over the letter is free, and no attempt is booked."""
    running = anyio.Event()

    async def handle(message: object) -> None:
        running.set()
        await anyio.sleep_forever()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dlq.reprocess_message, message_id)
        await running.wait()
        assert (await dlq.get(message_id)).status is LetterStatus.CLAIMED
        tasks.cancel_scope.cancel()
    letter = await dlq.get(message_id)
    assert letter.status is LetterStatus.WAITING
    assert letter.attempts == 0


async def test_a_cancelled_run_over_all_letters_gives_its_claim_back(path: Path) -> None:
    """What was replayed before stays replayed; the letter at hand is free again."""
    running = anyio.Event()

    async def handle(message: object) -> None:
        if message == 1:
            running.set()
            await anyio.sleep_forever()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dlq.reprocess_all)
        await running.wait()
        tasks.cancel_scope.cancel()
    assert [(each.message, each.status) for each in await dlq.peek()] == [
        (1, LetterStatus.WAITING),
        (2, LetterStatus.WAITING),
    ]


async def test_a_cancelled_receive_claims_nothing(path: Path) -> None:
    """However far it came, the letters are free when the cancellation is over."""
    dlq = DeadLetterQueue(local_file_path=path)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    for turns in range(12):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_after, turns, scope)
                await dlq.receive_from_dlq()
                tasks.cancel_scope.cancel()
                break  # it was too fast for us
        assert {each.status for each in await dlq.peek()} == {LetterStatus.WAITING}


async def _cancel_after(turns: int, scope: anyio.CancelScope) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_plain_reprocessor_that_runs_already_is_waited_for(path: Path) -> None:
    """A thread cannot be stopped: its letter stays claimed until it ends, and what it did counts."""
    running, finish = threading.Event(), threading.Event()

    def handle(message: object) -> None:
        running.set()
        assert finish.wait(10)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    scope = anyio.CancelScope()
    seen: list[LetterStatus] = []

    async def replay() -> None:
        with scope:
            await dlq.reprocess_message(message_id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replay)
        await anyio.to_thread.run_sync(running.wait)
        scope.cancel()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        seen.append((await dlq.get(message_id)).status)
        finish.set()
    assert seen == [LetterStatus.CLAIMED]
    assert (await dlq.stats()).total == 0


async def test_a_claim_outlives_the_object_that_made_it(path: Path) -> None:
    """Claims are lines in the file, so that other processes obey them."""
    dlq = DeadLetterQueue(local_file_path=path)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    await dlq.receive_from_dlq()
    await dlq.aclose()
    [claim] = [each for each in lines_of(path) if each["op"] == "claim"]
    assert claim["ids"] == [message_id]
    assert claim["token"]
    again: Any = DeadLetterQueue(local_file_path=path)
    assert await again.receive_from_dlq() == []


async def test_claims_obey_a_clock_that_jumps_over_sleeps(path: Path, virtual_clock: VirtualClock) -> None:
    """Virtual time runs claims out, and does not run on while the disk works."""
    dlq = DeadLetterQueue(local_file_path=path, visibility_timeout=3600)
    await dlq.send_to_dlq("hello", ERROR)
    for _ in range(3):
        with anyio.fail_after(1):
            assert len(await dlq.receive_from_dlq()) == 1
            assert await dlq.receive_from_dlq() == []
        await clock.sleep(3601)
    assert virtual_clock.elapsed == 3 * 3601
