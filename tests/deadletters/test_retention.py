from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from letter_kit import heard

from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LettersExpired, RetentionFailed
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from letter_kit import HandClock

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "E"}


async def messages(dlq: DeadLetterQueue) -> list[object]:
    """What is there."""
    return [each.message for each in await dlq.peek(1000)]


async def test_letters_go_when_they_are_too_old(path: Path, time: HandClock) -> None:
    """Since they failed last; an event has their ids."""
    dlq = DeadLetterQueue(local_file_path=path, retention=3600)
    old = await dlq.send_to_dlq("old", ERROR)
    time.advance(1800)
    await dlq.send_to_dlq("young", ERROR)
    assert await dlq.tidy() == []
    time.advance(1801)
    with heard(LettersExpired) as events:
        assert await dlq.tidy() == [old]
    assert [(each.count, each.message_ids) for each in events] == [(1, (old,))]
    assert await messages(dlq) == ["young"]


async def test_beyond_the_limit_parked_letters_go_first_then_the_oldest(path: Path, time: HandClock) -> None:
    """Claimed ones stay, whatever their age."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids = []
    for number in range(8):
        ids.append(await dlq.send_to_dlq(number, ERROR))
        time.advance(1)
    await dlq.park(ids[5])
    await dlq.receive_from_dlq(1)
    small = DeadLetterQueue(local_file_path=path, max_letters=4)
    assert await small.tidy() == [ids[5], ids[1], ids[2], ids[3]]
    assert await messages(dlq) == [0, 4, 6, 7]


async def test_a_queue_keeps_its_limit_by_itself(path: Path) -> None:
    """A small one with every letter."""
    dlq = DeadLetterQueue(local_file_path=path, max_letters=3)
    with heard(LettersExpired) as events:
        for number in range(6):
            await dlq.send_to_dlq(number, ERROR)
    assert await messages(dlq) == [3, 4, 5]
    assert sum(each.count for each in events) == 3


async def test_age_is_looked_at_once_a_minute_when_letters_are_sent(path: Path, time: HandClock) -> None:
    """No send pays for it more often than that."""
    dlq = DeadLetterQueue(local_file_path=path, retention=10)
    await dlq.send_to_dlq(1, ERROR)
    time.advance(30)
    await dlq.send_to_dlq(2, ERROR)
    assert await messages(dlq) == [1, 2]
    time.advance(31)
    await dlq.send_to_dlq(3, ERROR)
    assert await messages(dlq) == [3]


async def test_without_limits_nothing_goes(path: Path, time: HandClock) -> None:
    """Tidying up is no reason to lose a letter that nobody said to lose."""
    dlq = DeadLetterQueue(local_file_path=path)
    await dlq.send_to_dlq(1, ERROR)
    time.advance(10**9)
    assert await dlq.tidy() == []
    assert await messages(dlq) == [1]


class Stuck(MemoryStore):
    """A store that can delete nothing."""

    async def prune(self, *, older_than: datetime | None, at_most: int | None) -> list[str]:
        await anyio.lowlevel.checkpoint()
        raise DeadLetterQueueError("disk gone", location=self.location)


async def test_a_letter_that_is_safe_is_acknowledged_though_tidying_fails() -> None:
    """What went wrong is told by an event; a call of tidy itself raises it."""
    dlq = DeadLetterQueue(store=Stuck("stuck"), max_letters=1)
    with heard(RetentionFailed) as events:
        ids = [await dlq.send_to_dlq(number, ERROR) for number in range(2)]
    assert [each.id for each in await dlq.peek()] == ids
    assert [each.error for each in events] == ["disk gone", "disk gone"]
    with pytest.raises(DeadLetterQueueError, match="disk gone"):
        await dlq.tidy()
