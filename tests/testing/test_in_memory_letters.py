from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from resilio import (
    DeadLetterQueue,
    LetterKept,
    LetterReplayed,
    LetterStatus,
    MessageClaimedError,
    MessageNotFoundError,
    UnencodableMessageError,
    sync,
)
from resilio.testing import DeadLetters, EventRecorder, match

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.testing import VirtualClock

MADE_AT_IMPORT = DeadLetterQueue(local_file_path="made-at-import.jsonl")


@pytest.mark.anyio
async def test_the_queue_to_inject_keeps_what_it_is_sent(dead_letters: DeadLetters) -> None:
    """Messages pass through JSON, and errors are described, as on the disk."""
    message_id = await dead_letters.queue.send_to_dlq({"text": "Hi", "to": ("a", "b")}, ConnectionError("down"))
    assert dead_letters.messages == [{"text": "Hi", "to": ["a", "b"]}]
    [letter] = dead_letters
    assert letter.id == message_id
    assert letter.error_info["error_message"] == "down"
    assert len(dead_letters) == 1
    with pytest.raises(UnencodableMessageError):
        await dead_letters.queue.send_to_dlq(object(), {})


@pytest.mark.anyio
async def test_queues_of_the_code_under_test_are_caught_whenever_they_were_made(
    dead_letters: DeadLetters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At import time, in the test, with a path, without one: no file is made."""
    monkeypatch.chdir(tmp_path)
    await MADE_AT_IMPORT.send_to_dlq("one", {})
    await DeadLetterQueue().send_to_dlq("two", {})
    await DeadLetterQueue(local_file_path=tmp_path / "no" / "such" / "folder.jsonl").send_to_dlq("three", {})
    assert dead_letters.messages == ["one", "two", "three"]
    assert os.listdir(tmp_path) == []  # noqa: PTH208 -- nothing here waits


def test_blocking_queues_are_caught_too(dead_letters: DeadLetters, tmp_path: Path) -> None:
    """They are the same queues, behind the portal."""
    with sync.DeadLetterQueue(local_file_path=tmp_path / "letters.jsonl") as queue:
        queue.send_to_dlq("blocking", ValueError("no"))
    dead_letters.assert_kept("blocking", error=ValueError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_queues_of_one_path_share_their_letters(dead_letters: DeadLetters) -> None:
    """As they would on the disk; those of another path do not."""
    message_id = await DeadLetterQueue(local_file_path="a.jsonl").send_to_dlq("hello", {})
    assert (await DeadLetterQueue(local_file_path="a.jsonl").get(message_id)).message == "hello"
    with pytest.raises(MessageNotFoundError):
        await DeadLetterQueue(local_file_path="b.jsonl").get(message_id)


@pytest.mark.anyio
async def test_a_letter_that_was_replayed_is_not_lost(dead_letters: DeadLetters, resilio_events: EventRecorder) -> None:
    """Replay runs as ever: attempts are counted, a success removes the letter, events are told."""
    answers: list[Any] = [ConnectionError("still down"), "done"]

    async def handle(_message: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    queue = DeadLetterQueue(reprocessor=handle)
    message_id = await queue.send_to_dlq("hello", TimeoutError())
    with pytest.raises(ConnectionError):
        await queue.reprocess_message(message_id)
    letter = dead_letters.assert_kept("hello", error=ConnectionError)
    assert letter.attempts == 1
    assert await queue.reprocess_message(message_id) == "done"
    dead_letters.assert_empty()
    resilio_events.assert_sequence(LetterKept, match(LetterReplayed, attempts=1))


@pytest.mark.anyio
async def test_claims_run_out_in_virtual_time(virtual_clock: VirtualClock, dead_letters: DeadLetters) -> None:
    """A claimed letter is nobody else's for as long as the visibility timeout says."""
    queue = DeadLetterQueue(visibility_timeout=30, reprocessor=str)
    message_id = await queue.send_to_dlq("hello", {})
    await queue.receive_from_dlq()
    assert dead_letters.letters[0].status is LetterStatus.CLAIMED
    with pytest.raises(MessageClaimedError):
        await DeadLetterQueue(reprocessor=str).reprocess_message(message_id)
    await anyio.sleep(31)
    assert await DeadLetterQueue(reprocessor=str).reprocess_message(message_id) == "hello"


@pytest.mark.anyio
async def test_a_cancelled_send_keeps_nothing(dead_letters: DeadLetters) -> None:
    """Sending is a place where cancellation arrives, as it is on the disk."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await dead_letters.queue.send_to_dlq("hello", {})
    assert scope.cancelled_caught
    dead_letters.assert_empty()


@pytest.mark.anyio
async def test_after_the_block_queues_use_their_files_again(tmp_path: Path) -> None:
    """A queue that was caught goes back to the disk; the one to inject stays in memory."""
    path = tmp_path / "letters.jsonl"
    queue = DeadLetterQueue(local_file_path=path)
    with DeadLetters() as dead_letters:
        await queue.send_to_dlq("in memory", {})
    await queue.send_to_dlq("on disk", {})
    await dead_letters.queue.send_to_dlq("in memory, too", {})
    assert dead_letters.messages == ["in memory", "in memory, too"]
    assert [letter.message for letter in await queue.peek()] == ["on disk"]
    await queue.aclose()


@pytest.mark.anyio
async def test_kept_finds_a_message_by_value_by_predicate_and_by_its_error(dead_letters: DeadLetters) -> None:
    """It returns the letter, to look at the rest."""
    await dead_letters.queue.send_to_dlq({"n": 1}, ConnectionError("one"))
    await dead_letters.queue.send_to_dlq({"n": 1}, TimeoutError("two"))
    await dead_letters.queue.send_to_dlq({"n": 3}, {"error_type": "Odd"})
    assert dead_letters.assert_kept({"n": 1}, times=2).error_info["error_message"] == "one"
    assert dead_letters.assert_kept({"n": 1}, error=TimeoutError).error_info["error_message"] == "two"
    assert dead_letters.assert_kept(lambda message: message["n"] > 2, error="Odd").message == {"n": 3}


@pytest.mark.anyio
async def test_an_assertion_that_fails_shows_every_letter(dead_letters: DeadLetters) -> None:
    """What was expected, how often it is there, and all that is there."""
    await dead_letters.queue.send_to_dlq("one", ConnectionError("down"))
    for wrong in ({"message": "two"}, {"message": "one", "error": ValueError}, {"message": "one", "times": 2}):
        with pytest.raises(AssertionError, match="error: 'ConnectionError', message: 'one'"):
            dead_letters.assert_kept(**wrong)
    with pytest.raises(
        AssertionError, match=re.escape("'one' should be kept once because of ValueError, and is never")
    ):
        dead_letters.assert_kept("one", error=ValueError)
    with pytest.raises(AssertionError, match="no message should be kept"):
        dead_letters.assert_empty()


def test_it_is_something_even_when_it_is_empty(dead_letters: DeadLetters) -> None:
    """`if dead_letters:` tells whether there is one."""
    assert dead_letters
    assert dead_letters.messages == []
    dead_letters.assert_empty()
