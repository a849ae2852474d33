"""asyncio's own cancellation, which unlike that of anyio and trio comes once and does not wait for threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from pathlib import Path

ERROR = {"error_type": "E"}


async def cancelled(task: asyncio.Task[object]) -> None:
    """Cancel a task and see that it is."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_cancelled_replay_gives_the_claim_back(path: Path) -> None:
    """Letter free, no attempt booked, and the cancellation goes on."""
    running = asyncio.Event()

    async def handle(message: object) -> None:
        running.set()
        await asyncio.Event().wait()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    task: asyncio.Task[object] = asyncio.create_task(dlq.reprocess_message(message_id))
    await running.wait()
    await cancelled(task)
    letter = await dlq.get(message_id)
    assert (letter.status, letter.attempts) == (LetterStatus.WAITING, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("outcome", ["success", "failure", "coroutine"])
async def test_a_plain_reprocessor_that_runs_already_is_waited_for_and_its_outcome_counts(
    path: Path, outcome: str
) -> None:
    """Its thread cannot be stopped: the letter is not free before it has ended, and what it did is booked."""
    running, finish = threading.Event(), threading.Event()

    async def never() -> None:
        raise AssertionError

    def handle(message: object) -> object:
        running.set()
        assert finish.wait(10)
        if outcome == "failure":
            raise ValueError(message)
        return never() if outcome == "coroutine" else None

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    task: asyncio.Task[object] = asyncio.create_task(dlq.reprocess_message(message_id))
    await asyncio.to_thread(running.wait, 10)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    assert (await dlq.get(message_id)).status is LetterStatus.CLAIMED
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = [(each.status, each.attempts) for each in await dlq.peek()]
    assert left == {"success": [], "failure": [("waiting", 1)], "coroutine": [("waiting", 0)]}[outcome]


@pytest.mark.asyncio
async def test_a_cancelled_receive_claims_nothing(path: Path) -> None:
    """However far it came, the letters are free when the cancellation is over."""
    dlq = DeadLetterQueue(local_file_path=path)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    for turns in range(8):
        task: asyncio.Task[object] = asyncio.create_task(dlq.receive_from_dlq())
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        await cancelled(task)
        assert {each.status for each in await dlq.peek()} == {LetterStatus.WAITING}


@pytest.mark.asyncio
async def test_a_cancelled_claim_by_id_leaves_the_received_claim_in_place(path: Path) -> None:
    """Who received a letter, and was cancelled while taking it up, can still take it up."""

    async def handle(message: object) -> object:
        return message

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", ERROR)
    await dlq.receive_from_dlq()
    task: asyncio.Task[object] = asyncio.create_task(dlq.reprocess_message(message_id))
    await asyncio.sleep(0)
    await cancelled(task)
    assert await dlq.reprocess_message(message_id) == "hello"


def test_a_run_that_is_cancelled_at_its_end_leaves_no_claim(path: Path) -> None:
    """asyncio.run cancels what still runs: the claim is given back on the way out, without a warning."""

    async def handle(message: object) -> None:
        running.set()
        await asyncio.Event().wait()

    async def main() -> str:
        message_id = await dlq.send_to_dlq("hello", ERROR)
        tasks.append(asyncio.create_task(dlq.reprocess_message(message_id)))
        await running.wait()
        return message_id

    running = asyncio.Event()
    tasks: list[asyncio.Task[object]] = []
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = asyncio.run(main())
    assert tasks[0].cancelled()
    assert asyncio.run(dlq.get(message_id)).status is LetterStatus.WAITING


def test_a_loop_that_is_closed_right_after_a_send_is_left_in_peace(path: Path) -> None:
    """The thread that lingers for the next letter needs nothing from the event loop that has gone."""
    dlq = DeadLetterQueue(local_file_path=path)
    for number in range(20):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(dlq.send_to_dlq(number, ERROR))
        loop.close()
    assert asyncio.run(dlq.stats()).total == 20
