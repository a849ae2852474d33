from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from letter_kit import size_of

from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterIds, new_body
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.store import Add, Book, ClaimNext, ClaimOne, Remove

if TYPE_CHECKING:
    from collections.abc import Callable

    from letter_kit import HandClock

pytestmark = pytest.mark.anyio

REAL = {name: getattr(os, name) for name in ("write", "fdatasync", "ftruncate")}


class Trouble:
    """A disk whose calls on one file fail while it is told so. A failing write still writes part of it."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.failing: dict[str, int] = {}
        for name in REAL:
            patch.setattr(os, name, self._make(name))

    def _make(self, name: str) -> Callable[..., Any]:
        def call(fd: int, *args: Any) -> Any:
            number = self.failing.get(name)
            if number is None or Path(f"/proc/self/fd/{fd}").readlink() != self.path:
                return REAL[name](fd, *args)
            if name == "write" and len(args[0]) > 1:
                half = len(args[0]) // 2
                if half > 40:
                    return REAL["write"](fd, args[0][:half])
            raise OSError(number, os.strerror(number))

        return call


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch, path: Path) -> Trouble:
    """The disk."""
    return Trouble(monkeypatch, path)


async def failures(dlq: DeadLetterQueue, count: int) -> list[LetterNotKeptError]:
    """Send so many letters at once, all of which must be refused."""
    found: list[LetterNotKeptError] = []

    async def send(number: int) -> None:
        with pytest.raises(LetterNotKeptError) as caught:
            await dlq.send_to_dlq({"number": number, "text": "x" * 500}, {})
        found.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(send, number)
    return found


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
async def test_a_failed_write_reaches_every_sender_and_leaves_no_trace(
    path: Path, trouble: Trouble, number: int
) -> None:
    """Nobody is acknowledged, the half-written batch is cut off, and the next letter goes where it belongs."""
    dlq = DeadLetterQueue(local_file_path=path)
    kept = await dlq.send_to_dlq("before", {})
    size = size_of(path)
    trouble.failing["write"] = number
    errors = await failures(dlq, 10)
    assert len(errors) == 10
    for error in errors:
        assert isinstance(error.__cause__, OSError)
        assert error.__cause__.errno == number
        assert os.strerror(number) in str(error)
        assert "nothing of it was kept" in str(error)
    assert size_of(path) == size
    trouble.failing.clear()
    after = await dlq.send_to_dlq("after", {})
    assert [each.id for each in await dlq.peek()] == [kept, after]
    assert [each.id for each in await DeadLetterQueue(local_file_path=path).peek()] == [kept, after]


async def test_a_failed_fsync_acknowledges_nobody_and_the_file_is_read_anew(path: Path, trouble: Trouble) -> None:
    """What a failed fsync has left is unknown: the batch is cut off, and the next one trusts nothing in memory."""
    dlq = DeadLetterQueue(local_file_path=path)
    kept = await dlq.send_to_dlq("before", {})
    size = size_of(path)
    trouble.failing["fdatasync"] = errno.EIO
    assert len(await failures(dlq, 3)) == 3
    trouble.failing.clear()
    assert size_of(path) == size
    after = await dlq.send_to_dlq("after", {})
    assert [each.id for each in await dlq.peek()] == [kept, after]


async def test_a_batch_that_could_not_be_cut_off_is_cut_off_later(path: Path, trouble: Trouble) -> None:
    """Where even the cutting fails, it is done before the next append."""
    dlq = DeadLetterQueue(local_file_path=path)
    kept = await dlq.send_to_dlq("before", {})
    size = size_of(path)
    assert size is not None
    trouble.failing.update(write=errno.ENOSPC, ftruncate=errno.EROFS)
    await failures(dlq, 1)
    left = size_of(path)
    assert left is not None
    assert left > size
    with pytest.raises(DeadLetterQueueError):
        await dlq.send_to_dlq("still broken", {})
    trouble.failing.clear()
    after = await dlq.send_to_dlq("after", {})
    assert [each.id for each in await dlq.peek()] == [kept, after]
    assert [each.id for each in await DeadLetterQueue(local_file_path=path).peek()] == [kept, after]


async def test_what_others_appended_after_an_uncut_batch_stays(path: Path, trouble: Trouble) -> None:
    """The late cut never takes another process's acknowledged letter with it."""
    dlq = DeadLetterQueue(local_file_path=path)
    kept = await dlq.send_to_dlq("before", {})
    trouble.failing.update(write=errno.ENOSPC, ftruncate=errno.EROFS)
    await failures(dlq, 1)
    trouble.failing.clear()
    other = await DeadLetterQueue(local_file_path=path).send_to_dlq("other", {})
    after = await dlq.send_to_dlq("after", {})
    assert [each.id for each in await dlq.peek()] == [kept, other, after]


async def test_a_claim_that_cannot_be_written_is_not_made(path: Path, trouble: Trouble) -> None:
    """receive_from_dlq fails, and the letters are there for the next call."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids = [await dlq.send_to_dlq(number, {}) for number in range(3)]
    trouble.failing["write"] = errno.ENOSPC
    with pytest.raises(LetterNotKeptError):
        await dlq.receive_from_dlq()
    trouble.failing.clear()
    assert [each.id for each in await dlq.receive_from_dlq()] == ids


async def test_a_letter_that_was_handled_but_cannot_be_removed_says_so(path: Path, trouble: Trouble) -> None:
    """The caller learns that it will come again."""

    async def handle(message: object) -> None:
        trouble.failing["write"] = errno.ENOSPC

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", {})
    with pytest.raises(DeadLetterQueueError, match="was reprocessed but could not be removed, and will come again"):
        await dlq.reprocess_message(message_id)
    trouble.failing.clear()
    assert (await dlq.get(message_id)).message == "hello"


async def test_an_attempt_that_cannot_be_booked_still_raises_the_reprocessors_error(
    path: Path, trouble: Trouble
) -> None:
    """The error comes out with a note that the attempt was not written down."""

    async def handle(message: object) -> None:
        trouble.failing["write"] = errno.ENOSPC
        msg = "handler"
        raise ValueError(msg)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    message_id = await dlq.send_to_dlq("hello", {})
    with pytest.raises(ValueError, match="handler") as caught:
        await dlq.reprocess_message(message_id)
    assert any("could not be written down" in note for note in caught.value.__notes__)


async def test_a_disk_that_is_full_from_the_start_is_a_clear_error(path: Path, trouble: Trouble) -> None:
    """No file can be begun: the send says so, and the next one begins it."""
    dlq = DeadLetterQueue(local_file_path=path)
    trouble.failing["write"] = errno.ENOSPC
    with pytest.raises(DeadLetterQueueError, match="No space left on device"):
        await dlq.send_to_dlq("x" * 500, {})
    trouble.failing.clear()
    await dlq.send_to_dlq("after", {})
    assert (await DeadLetterQueue(local_file_path=path).stats()).total == 1


def test_a_system_that_cannot_lock_files_is_told_of_before_anything_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows: a journal that several processes could write into at once would lose letters. SQLite is named."""
    monkeypatch.setattr("resilio.deadletters.file_lock.fcntl", None)
    with pytest.raises(DeadLetterQueueError, match=r"needs flock\(2\), which this system lacks; give the file .*\.db"):
        Journal(path)
    assert list(path.parent.iterdir()) == []


def test_a_clock_that_is_set_back_loses_no_letter_and_gives_none_twice(path: Path, time: HandClock) -> None:
    """A claim lasts longer by as much, ids stay apart, and the order is that in which letters came."""
    journal = Journal(path)
    ids = LetterIds()
    kept = []
    for seconds in (0, -3600, 60):
        time.advance(seconds)
        kept.append(ids.next(time.now))
        journal.commit([Add(kept[-1], new_body(kept[-1], seconds, {}, time.now))])
    [claims] = journal.commit([ClaimNext(2, 30.0, "mine")])
    assert isinstance(claims, list)
    assert [each.letter.id for each in claims] == kept[:2]
    time.advance(-7200)
    assert [each.letter.id for each in journal.commit([ClaimNext(5, 30.0, "next")])[0]] == kept[2:]  # type: ignore[attr-defined]
    journal.commit([Book(kept[0], "mine", {}, time.now, None)])
    time.advance(7200 + 31)
    assert {each.letter.id for each in journal.commit([ClaimNext(5, 30.0, "all")])[0]} == set(kept)  # type: ignore[attr-defined]
    assert [each.id for each in Journal(path).peek(10)] == kept


def test_a_clock_that_is_set_forward_frees_claims_early_and_no_more(path: Path, time: HandClock) -> None:
    """Whoever still holds such a claim may settle it; a letter that failed waits for its turn as ever."""
    journal = Journal(path)
    journal.commit([Add(each, new_body(each, each, {}, time.now)) for each in "ab"])
    journal.commit([ClaimOne("a", 30.0, "mine")])
    time.advance(10 * 365 * 86_400)
    [claims] = journal.commit([ClaimNext(5, 30.0, "next")])
    assert isinstance(claims, list)
    assert [each.letter.id for each in claims] == ["b", "a"]
    assert journal.commit([Remove("a"), Remove("b")]) == [True, True]
