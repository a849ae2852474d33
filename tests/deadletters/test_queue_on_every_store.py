"""The queue's whole life, on each of the stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from store_kit import KINDS, StoreKind, needs

from resilio.deadletters.codec import FernetCodec
from resilio.deadletters.errors import MessageNotFoundError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.replay_rules import StopWhenFailing
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.deadletters.replay_context import ReplayContext

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name),
    pytest.mark.slow("one of the stores is a server"),
]

KEY = FernetCodec.new_key()


@pytest.fixture
def codec(request: pytest.FixtureRequest) -> FernetCodec | None:
    """With and without encryption."""
    return FernetCodec(KEY) if request.param else None


def on_backend(kind: StoreKind, backend: tuple[str, dict[str, object]]) -> None:
    """Skip what the store cannot do."""
    if backend[0] == "trio":
        needs(kind, "on_trio")


@pytest.mark.parametrize("codec", [False, True], indirect=True, ids=["open", "sealed"])
async def test_letters_go_through_their_life(
    kind: StoreKind, codec: FernetCodec | None, folder: Path, anyio_backend: tuple[str, dict[str, object]]
) -> None:
    """Sent, replayed in vain, parked, edited, taken up again, replayed with success, discarded."""
    on_backend(kind, anyio_backend)
    seen: list[ReplayContext] = []

    def handle(message: dict[str, Any], context: ReplayContext) -> str:
        seen.append(context)
        if message["card"] == "bad":
            raise ValueError("declined")
        return "charged"

    async with kind.opened(folder) as store:
        dlq = DeadLetterQueue(store=store, reprocessor=handle, codec=codec, max_attempts=2, replay_delay=0)
        message_id = await dlq.send_to_dlq(
            {"card": "bad"}, {"error_type": "CardError"}, operation="charge", headers={"trace": "t"}, group="payments"
        )
        for _ in range(2):
            with pytest.raises(ValueError, match="declined"):
                await dlq.reprocess_message(message_id)
        letter = await dlq.get(message_id)
        assert (letter.status, letter.attempts, letter.group) == (LetterStatus.PARKED, 2, "payments")
        assert (letter.headers, letter.source["operation"]) == ({"trace": "t"}, "charge")
        assert [(each["attempt"], each["error_type"], each["error_message"]) for each in letter.history] == [
            (1, "ValueError", "declined"),
            (2, "ValueError", "declined"),
        ]
        assert (await dlq.reprocess_all()).replayed == 0
        await dlq.edit(message_id, {"card": "good"})
        await dlq.requeue(message_id)
        again = await dlq.get(message_id)
        assert (again.status, again.attempts, again.message) == (LetterStatus.WAITING, 0, {"card": "good"})
        assert again.first_failed_at == letter.first_failed_at
        assert (await dlq.reprocess_all(LetterFilter(group="payments"))).replayed == 1
        assert [each.letter.id for each in seen] == [message_id] * 3
        with pytest.raises(MessageNotFoundError):
            await dlq.get(message_id)
        other = await dlq.send_to_dlq({"card": "none"}, {})
        await dlq.discard(other, "a test")
        assert await dlq.peek() == []


async def test_many_are_replayed_at_once_and_the_run_stops_when_they_fail(
    kind: StoreKind, folder: Path, anyio_backend: tuple[str, dict[str, object]]
) -> None:
    """Each letter once; what failed stays with one attempt more."""
    on_backend(kind, anyio_backend)
    handled: list[int] = []

    async def handle(message: int) -> None:
        handled.append(message)
        if message >= 20:
            raise ValueError(message)

    async with kind.opened(folder) as store:
        dlq = DeadLetterQueue(store=store, reprocessor=handle)
        for number in range(20):
            await dlq.send_to_dlq(number, {"error_type": "Fine"})
        summary = await dlq.reprocess_all(max_concurrency=5)
        assert (summary.replayed, summary.ended, sorted(handled)) == (20, "done", list(range(20)))
        for number in range(20, 30):
            await dlq.send_to_dlq(number, {"error_type": "Bad"})
        summary = await dlq.reprocess_all(LetterFilter(error="Bad"), stop_when_failing=StopWhenFailing(consecutive=4))
        assert (summary.failed, summary.ended) == (4, "failing")
        assert sorted(each.attempts for each in await dlq.peek(100)) == [0] * 6 + [1] * 4


async def test_letters_move_out_and_in(
    kind: StoreKind, folder: Path, anyio_backend: tuple[str, dict[str, object]]
) -> None:
    """To a queue in memory and back, with the parked ones, and through a file."""
    on_backend(kind, anyio_backend)
    shelf = DeadLetterQueue(store=MemoryStore("shelf"))
    async with kind.opened(folder) as store:
        dlq = DeadLetterQueue(store=store, reprocessor=lambda message: 1 / 0, max_attempts=1)
        for number in range(12):
            await dlq.send_to_dlq(number, {"error_type": "E"}, group=f"g{number % 2}")
        await dlq.reprocess_all(LetterFilter(group="g1"), limit=2)

        async def contents(queue: DeadLetterQueue) -> list[tuple[Any, ...]]:
            letters = await queue.peek(100)
            return sorted((each.id, each.message, each.status.value, each.attempts, each.group) for each in letters)

        before = await contents(dlq)
        assert await dlq.move(to=shelf) == 12
        assert (await contents(shelf), await contents(dlq)) == (before, [])
        assert [each.status for each in await shelf.peek(status="parked")] == [LetterStatus.PARKED] * 2
        assert await shelf.move(to=dlq) == 12
        assert await contents(dlq) == before
        assert await dlq.export_to(folder / "out.jsonl") == 12
        assert await shelf.import_from(folder / "out.jsonl") == 12
        assert await contents(shelf) == before
