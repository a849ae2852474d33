"""asyncio's own cancellation of runs, guards, moves and exports: it comes once, and does not wait for threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from resilio.deadletters.codec import FernetCodec
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from resilio.deadletters.replay_run import ReplayProgress

pytestmark = pytest.mark.asyncio

ERROR = {"error_type": "E"}


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and see that it is, with the very error of asyncio and not a group around it."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def statuses(dlq: DeadLetterQueue) -> list[tuple[Any, str, int]]:
    """What each letter says, where it stands, and how often it has failed."""
    return [(each.message, each.status.value, each.attempts) for each in await dlq.peek(1000)]


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_cancelled_run_gives_all_claims_back(path: Path, at_once: int) -> None:
    """Letters free, no attempt booked."""
    running = 0
    begun = asyncio.Event()

    async def handle(message: object) -> None:
        nonlocal running
        running += 1
        if running == at_once:
            begun.set()
        await asyncio.Event().wait()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    for number in range(4):
        await dlq.send_to_dlq(number, ERROR)
    task = asyncio.create_task(dlq.reprocess_all(max_concurrency=at_once))
    await begun.wait()
    await cancelled(task)
    assert await statuses(dlq) == [(number, "waiting", 0) for number in range(4)]


async def test_a_cancelled_run_waits_for_a_plain_reprocessor(path: Path) -> None:
    """What the thread did counts."""
    begun, finish = threading.Event(), threading.Event()

    def handle(message: object) -> None:
        begun.set()
        assert finish.wait(10)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    for number in range(2):
        await dlq.send_to_dlq(number, ERROR)
    task = asyncio.create_task(dlq.reprocess_all())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await statuses(dlq) == [(1, "waiting", 0)]


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_a_run_that_is_cancelled_at_any_step_holds_no_claim(path: Path, is_sealed: bool) -> None:  # noqa: FBT001
    """However far it came: a letter is handled and gone, or free; a filter that looks into sealed letters included."""
    handled: list[object] = []

    async def handle(message: object) -> None:
        handled.append(message)

    codec = FernetCodec(FernetCodec.new_key()) if is_sealed else None
    store = MemoryStore("x")
    dlq = DeadLetterQueue(store=store, reprocessor=handle, codec=codec)
    for number in range(6):
        await dlq.send_to_dlq(number, {"error_type": "Odd" if number % 2 else "Even"})
    for turns in range(60):
        run = dlq.reprocess_all(LetterFilter(error="Odd"), max_concurrency=2)
        task = asyncio.create_task(run)
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        await cancelled(task)
        assert {each.status.value for each in store.letters()} == {"waiting"}
    assert sorted(set(map(str, handled))) == ["1", "3", "5"]
    assert [each for each, _, _ in await statuses(dlq)] == [0, 2, 4]


async def test_a_cancelled_progress_function_ends_the_run(path: Path) -> None:
    """Its cancellation is not one of the errors that change nothing."""
    begun = asyncio.Event()

    async def tell(progress: ReplayProgress) -> None:
        begun.set()
        await asyncio.Event().wait()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=lambda message: None)
    for number in range(3):
        await dlq.send_to_dlq(number, ERROR)
    task = asyncio.create_task(dlq.reprocess_all(on_progress=tell))
    await begun.wait()
    await cancelled(task)
    assert await statuses(dlq) == [(1, "waiting", 0), (2, "waiting", 0)]


async def test_a_cancelled_move_loses_nothing_at_any_step(path: Path) -> None:
    """Each letter is here, there, or in both, and none is claimed."""
    for turns in range(0, 60, 3):
        here, there = MemoryStore("here"), MemoryStore("there")
        one, two = DeadLetterQueue(store=here), DeadLetterQueue(store=there)
        for number in range(3):
            await one.send_to_dlq(number, ERROR)
        task = asyncio.create_task(one.move(to=two))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        await cancelled(task)
        assert {each.message for each in (*here.letters(), *there.letters())} == {0, 1, 2}
        assert {each.status.value for each in here.letters()} <= {"waiting"}
    else:
        pytest.fail("the move did not come to its end")


async def test_a_guard_whose_task_is_cancelled_keeps_nothing(path: Path) -> None:
    """Also when the cancellation arrives as the block's own error is being kept."""

    class Slow(MemoryStore):
        async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
            keeping.set()
            await asyncio.Event().wait()
            return letter_id

    async def fail() -> None:
        async with dlq.guard("x", suppress=True):
            raise ValueError

    keeping = asyncio.Event()
    dlq = DeadLetterQueue(store=Slow("slow"))
    task = asyncio.create_task(fail())
    await keeping.wait()
    await cancelled(task)
