from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard

from resilio.deadletters.errors import MessageNotFoundError, UnencodableMessageError
from resilio.deadletters.events import (
    DeadLetterEvent,
    LetterDeleted,
    LetterEdited,
    LetterParked,
    LetterRequeued,
    LettersPurged,
)
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from pathlib import Path

    from letter_kit import HandClock

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "api_error", "error_message": "boom"}


# -- looking -----------------------------------------------------------------------------------------------------------


async def test_letters_are_found_by_error_group_time_text_and_status(path: Path, time: HandClock) -> None:
    """One filter or several; all must hold."""
    dlq = DeadLetterQueue(local_file_path=path)
    began = time.now
    for number in range(6):
        error = {"error_type": "Odd" if number % 2 else "Even", "error_message": f"Said {number}"}
        await dlq.send_to_dlq({"n": number}, error, group=f"g{number // 3}", headers={"h": f"Kopf{number}"})
        time.advance(60)

    async def found(**filters: Any) -> list[int]:
        return [each.message["n"] for each in await dlq.peek(100, **filters)]

    assert await found(error="Odd") == [1, 3, 5]
    assert await found(group="g1") == [3, 4, 5]
    assert await found(error="Odd", group="g1") == [3, 5]
    assert await found(since=began + timedelta(seconds=120)) == [2, 3, 4, 5]
    assert await found(until=began + timedelta(seconds=120)) == [0, 1]
    assert await found(text="SAID 4") == [4]
    assert await found(text="kopf2") == [2]
    assert await found(where=LetterFilter(error="Even", text="kopf")) == [0, 2, 4]
    await dlq.receive_from_dlq(1)
    assert await found(status="claimed") == [0]
    assert await found(status=LetterStatus.WAITING, error="Even") == [2, 4]
    page = await dlq.peek(2, error="Odd")
    assert [each.message["n"] for each in await dlq.peek(2, error="Odd", after=page[-1].id)] == [5]


async def test_wrong_filters_are_refused(path: Path) -> None:
    """A time without an offset, a filter beside single ones, something that is no filter."""
    dlq = DeadLetterQueue(local_file_path=path)
    with pytest.raises(ValueError, match="since must have an offset from UTC"):
        await dlq.peek(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="peek takes either where or single filters, not both"):
        await dlq.peek(error="E", where=LetterFilter(text="x"))
    with pytest.raises(TypeError, match="where must be a LetterFilter, not 'E'"):
        await dlq.receive_from_dlq(where="E")  # type: ignore[arg-type]


async def test_letters_are_received_by_filter(path: Path) -> None:
    """The others stay free."""
    dlq = DeadLetterQueue(local_file_path=path)
    for number in range(4):
        await dlq.send_to_dlq(number, {"error_type": "Odd" if number % 2 else "Even"})
    assert [each.message for each in await dlq.receive_from_dlq(where=LetterFilter(error="Odd"))] == [1, 3]
    assert [each.message for each in await dlq.receive_from_dlq()] == [0, 2]


# -- one letter --------------------------------------------------------------------------------------------------------


async def test_an_edited_letter_is_replayed_with_its_new_message(path: Path) -> None:
    """Nothing else of it changes, for this process and for others."""
    seen: list[object] = []
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=seen.append)
    message_id = await dlq.send_to_dlq({"amount": "1O"}, ERROR, headers={"a": "b"}, group="g")
    before = await dlq.get(message_id)
    with heard(LetterEdited) as events:
        await dlq.edit(message_id, {"amount": 10})
    after = await DeadLetterQueue(local_file_path=path).get(message_id)
    assert dict(after) == {**dict(before), "message": {"amount": 10}}
    assert [each.message_id for each in events] == [message_id]
    with pytest.raises(UnencodableMessageError, match="message: object"):
        await dlq.edit(message_id, object())
    await dlq.reprocess_message(message_id)
    assert seen == [{"amount": 10}]


async def test_a_parked_letter_is_taken_up_again(path: Path) -> None:
    """Requeuing gives it all its attempts back and keeps its history; park sets one aside by hand."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: 1 / 0, max_attempts=1)
    message_id = await dlq.send_to_dlq("x", ERROR)
    await dlq.reprocess_all()
    assert (await dlq.get(message_id)).status is LetterStatus.PARKED
    with heard(LetterParked, LetterRequeued) as events:
        await dlq.requeue(message_id)
        letter = await DeadLetterQueue(local_file_path=path).get(message_id)
        assert (letter.status, letter.attempts, len(letter.history)) == (LetterStatus.WAITING, 0, 1)
        assert [each.id for each in await dlq.receive_from_dlq()] == [message_id]
        await dlq.park(message_id)
    assert [type(each) for each in events] == [LetterRequeued, LetterParked]
    other = await dlq.send_to_dlq("y", ERROR)
    await dlq.park(other)
    assert await dlq.receive_from_dlq() == []
    assert (await dlq.stats()).parked >= 1


async def test_a_resting_letter_can_be_made_due(path: Path) -> None:
    """Requeuing ends the rest after a failed replay."""
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: 1 / 0, replay_delay=3600)
    message_id = await dlq.send_to_dlq("x", ERROR)
    await dlq.reprocess_all()
    assert await dlq.receive_from_dlq() == []
    await dlq.requeue(message_id)
    assert [each.id for each in await dlq.receive_from_dlq()] == [message_id]


async def test_a_discarded_letter_is_told_of_with_the_reason(path: Path) -> None:
    """The reason is required; delete needs none."""
    dlq = DeadLetterQueue(local_file_path=path)
    first, second = await dlq.send_to_dlq(1, ERROR), await dlq.send_to_dlq(2, ERROR)
    with heard(LetterDeleted) as events:
        await dlq.discard(first, "a test order")
        await dlq.delete(second)
    assert [(each.message_id, each.reason) for each in events] == [(first, "a test order"), (second, "")]
    with pytest.raises(ValueError, match=r"reason must be text that says why; without one there is delete\(\)"):
        await dlq.discard(first, " ")
    with pytest.raises(TypeError, match="reason must be text, not None"):
        await dlq.discard(first, None)  # type: ignore[arg-type]


async def test_what_is_not_there_cannot_be_tidied(path: Path) -> None:
    """Every call names the id, and tells nobody of what did not happen."""
    dlq = DeadLetterQueue(local_file_path=path)
    calls: list[Any] = [
        lambda: dlq.edit("nope", "x"),
        lambda: dlq.park("nope"),
        lambda: dlq.requeue("nope"),
        lambda: dlq.discard("nope", "why"),
    ]
    with heard(DeadLetterEvent) as events:
        for call in calls:
            with pytest.raises(MessageNotFoundError, match="no letter nope"):
                await call()
    assert events == []
    with pytest.raises(TypeError, match="message_id must be text, not 7"):
        await dlq.requeue(7)  # type: ignore[arg-type]


async def test_purging_must_be_confirmed(path: Path) -> None:
    """A slip of the hand deletes nothing."""
    dlq = DeadLetterQueue(local_file_path=path)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    for confirm in (False, 1, "yes"):
        with pytest.raises(ValueError, match=r"purge deletes every letter in .*; call purge\(confirm=True\)"):
            await dlq.purge(confirm=confirm)  # type: ignore[arg-type]
    assert (await dlq.stats()).total == 3
    with heard(LettersPurged) as events:
        assert await dlq.purge(confirm=True) == 3
    assert [each.count for each in events] == [3]


async def test_stats_tell_the_largest_groups_first(path: Path) -> None:
    """So does what JSON gets of it."""
    dlq = DeadLetterQueue(local_file_path=path)
    for group in ("a", "b", "b", "c", "c", "c"):
        await dlq.send_to_dlq("x", ERROR, group=group)
    stats = await dlq.stats()
    assert list(stats.groups.items()) == [("c", 3), ("b", 2), ("a", 1)]
    assert stats.to_dict()["groups"] == {"c": 3, "b": 2, "a": 1}
    assert stats.oldest_failed_at is not None
    assert stats.oldest_failed_at <= datetime.now(UTC)
