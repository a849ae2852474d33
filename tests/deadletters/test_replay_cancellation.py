"""A replay that is cancelled, or left by an exit: what was claimed is free again, and what was done is booked."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from letter_kit import filled, statuses

from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def cancelled_when_begun(dlq: DeadLetterQueue, begun: anyio.Event, **how: Any) -> AsyncIterator[None]:
    """A run over all letters that is cancelled as soon as ``begun`` is set."""
    async with anyio.create_task_group() as group:

        async def run() -> None:
            with scope:
                await dlq.reprocess_all(**how)

        scope = anyio.CancelScope()
        group.start_soon(run)
        await begun.wait()
        scope.cancel()
        yield
    assert scope.cancelled_caught


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_cancelled_run_gives_all_claims_back(path: Path, at_once: int) -> None:
    """No attempt is booked for a reprocessor that was cut off, and every letter is free at once."""
    begun = anyio.Event()
    running = 0

    async def handle(message: object) -> None:
        nonlocal running
        running += 1
        if running == at_once:
            begun.set()
        await anyio.sleep_forever()

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    await filled(dlq, 5)
    async with cancelled_when_begun(dlq, begun, max_concurrency=at_once):
        pass
    assert await statuses(dlq) == [(number, "waiting", 0) for number in range(5)]


async def test_a_cancelled_run_waits_for_plain_reprocessors_and_books_what_they_did(path: Path) -> None:
    """Two threads cannot be stopped: one succeeds, one fails, and both count."""
    begun, finish = anyio.Event(), threading.Event()
    count = 0

    def handle(message: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            anyio.from_thread.run_sync(begun.set)
        assert finish.wait(10)
        if message:
            raise ValueError

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    await filled(dlq, 3)
    async with cancelled_when_begun(dlq, begun, max_concurrency=2):
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert [each for _, each, _ in await statuses(dlq)] == ["claimed", "claimed", "waiting"]
        finish.set()
    assert await statuses(dlq) == [(1, "waiting", 1), (2, "waiting", 0)]


async def test_a_run_that_is_cancelled_while_it_waits_for_its_pace_holds_nothing(virtual_clock: VirtualClock) -> None:
    """The wait comes before the claim."""
    dlq = DeadLetterQueue(store=MemoryStore("x"), reprocessor=lambda message: None)
    await filled(dlq, 3)
    with anyio.move_on_after(5) as scope:
        await dlq.reprocess_all(rate=0.1)
    assert scope.cancelled_caught
    assert await statuses(dlq) == [(1, "waiting", 0), (2, "waiting", 0)]


async def test_an_exit_from_within_a_reprocessor_comes_out_as_it_is(path: Path) -> None:
    """SystemExit is neither a failure nor wrapped in a group; the claims are given back."""

    async def handle(message: object) -> None:
        await anyio.lowlevel.checkpoint()
        raise SystemExit(3)

    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    [message_id] = await filled(dlq, 1)
    with pytest.raises(SystemExit) as caught:
        await dlq.reprocess_all(max_concurrency=1)
    assert caught.value.code == 3
    with pytest.raises(SystemExit):
        await dlq.reprocess_message(message_id)
    letter = await dlq.get(message_id)
    assert (letter.status, letter.attempts) == (LetterStatus.WAITING, 0)
