"""The local index of an SQS queue: looking costs no request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from letter_kit import heard
from sqs_kit import RemoteQueue, keep, opened_store

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LetterIndexFailed
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["sqs_fixtures"]
pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.usefixtures("credentials"),
    pytest.mark.slow("a real server is started"),
]


async def test_listing_and_searching_ask_sqs_nothing(mini_queue: RemoteQueue) -> None:
    """Pages, filters, groups and single letters come from the index."""
    async with opened_store(mini_queue, index=":memory:") as store:
        ids = await asyncio.gather(
            *(keep(store, {"n": n}, error="KeyError" if n % 2 else "OSError", group=f"g{n % 3}") for n in range(9))
        )
        before = mini_queue.wire.calls.total()
        page = await store.peek(4)
        rest = await store.peek(10, after=page[-1].id)
        found = await store.peek(10, where=LetterFilter(error="KeyError", text='"n": 3'))
        letter = await store.get(ids[4])
        assert mini_queue.wire.calls.total() == before
        stats = await store.stats()
    assert [each.message["n"] for each in (*page, *rest)] == list(range(9))
    assert [each.message for each in found] == [{"n": 3}]
    assert letter is not None
    assert letter.message == {"n": 4}
    assert stats.groups == {"g0": 3, "g1": 3, "g2": 3}
    assert stats.oldest_failed_at == page[0].first_failed_at
    assert stats.bytes > 1000


async def test_the_index_follows_what_happens_to_a_letter(mini_queue: RemoteQueue) -> None:
    """Claims, failures, edits and deletions show in it."""
    async with opened_store(mini_queue, index=":memory:") as store:
        ids = [await keep(store, each) for each in range(4)]
        claims = await store.claim(4, seconds=30)
        (claimed,) = await store.peek(1)
        assert claimed.status is LetterStatus.CLAIMED
        await store.settle(claims[0])
        await store.book(claims[1], {"error_type": "E"}, failed_at=clock.utcnow(), park_at=1)
        await store.release(claims[2].token)
        await store.edit(ids[2], "edited")
        await store.delete(ids[3])
        letters = await store.peek(10)
    seen = [(each.id, each.status, each.message) for each in letters]
    assert seen == [(ids[1], LetterStatus.PARKED, 1), (ids[2], LetterStatus.WAITING, "edited")]


async def test_an_index_file_outlives_the_process_that_wrote_it(mini_queue: RemoteQueue, folder: Path) -> None:
    """Another store on the same file knows the letters, and takes one by scanning for it."""
    path = folder / "index.db"
    async with opened_store(mini_queue, index=path) as store:
        letter_id = await keep(store, "remember")
    async with opened_store(mini_queue, index=path) as store:
        (letter,) = await store.peek(10)
        assert letter.message == "remember"
        assert (await store.claim_one(letter_id, seconds=30)).letter.message == "remember"


async def test_letters_of_others_are_known_once_they_are_seen(mini_queue: RemoteQueue) -> None:
    """`refresh_index` looks through the queue and gives everything back."""
    async with opened_store(mini_queue) as other, opened_store(mini_queue, index=":memory:") as store:
        for each in range(3):
            await keep(other, each)
        assert await store.peek(10) == []
        assert await store.refresh_index() == 3
        assert [each.message for each in await store.peek(10)] == [0, 1, 2]
        assert mini_queue.counts() == (3, 0)
        with pytest.raises(DeadLetterQueueError, match="without an index"):
            await other.refresh_index()


async def test_an_index_that_fails_fails_no_sender(mini_queue: RemoteQueue, folder: Path) -> None:
    """The letter is in the queue: an event tells that the list misses it, and listing itself says what is wrong."""
    with heard(LetterIndexFailed) as events:
        async with opened_store(mini_queue, index=folder / "missing" / "index.db") as store:
            await keep(store)
            with pytest.raises(DeadLetterQueueError, match="cannot use the index"):
                await store.peek(10)
    assert len(events) == len(mini_queue.bodies()) == 1


async def test_a_file_of_something_else_is_no_index(mini_queue: RemoteQueue, folder: Path) -> None:
    """It is left as it is."""
    path = folder / "notes.txt"
    path.write_text("not a database\n" * 100)
    async with opened_store(mini_queue, index=path) as store:
        with pytest.raises(DeadLetterQueueError, match="cannot use the index"):
            await store.peek(10)
    assert path.read_text() == "not a database\n" * 100
