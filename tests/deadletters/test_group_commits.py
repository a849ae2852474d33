from __future__ import annotations

import asyncio
import errno
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError
from resilio.deadletters.group_commit import GroupCommit
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Disk:
    """Takes batches; can be held, and can fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.at_work = 0

    def __call__(self, batch: list[int]) -> list[object]:
        self.at_work += 1
        assert self.at_work == 1, "two threads commit at once"
        self.batches.append(batch)
        self.entered.set()
        assert self.open.wait(10)
        self.at_work -= 1
        if self.error is not None:
            raise self.error
        return [each * 10 for each in batch]

    @property
    def items(self) -> list[int]:
        return [item for batch in self.batches for item in batch]

    @contextmanager
    def held(self) -> Iterator[None]:
        """A commit that comes in is held until the block ends."""
        self.entered.clear()
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()


async def entered(disk: Disk) -> None:
    """Wait, without a worker thread of our own, until a commit is under way."""
    while not disk.entered.is_set():
        await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_everyone_who_waits_shares_the_next_commit() -> None:
    """While one commit is under way the others gather, and are committed together."""
    disk = Disk()
    group = GroupCommit(disk)
    found: list[int] = []

    async def send(item: int) -> None:
        found.append(await group.submit(item))

    async with anyio.create_task_group() as tasks:
        with disk.held():
            tasks.start_soon(send, 0)
            await entered(disk)
            for item in range(1, 100):
                tasks.start_soon(send, item)
            await anyio.wait_all_tasks_blocked()
    assert [len(each) for each in disk.batches] == [1, 99]
    assert sorted(found) == [each * 10 for each in range(100)]


@pytest.mark.anyio
async def test_what_the_commit_raises_reaches_every_sender_of_its_batch() -> None:
    """Each gets an error of its own, with its own traceback and the cause; the next batch goes through."""
    disk = Disk()
    group = GroupCommit(disk)
    caught: list[Exception] = []

    async def send(item: int) -> None:
        try:
            await group.submit(item)
        except DeadLetterQueueError as error:
            caught.append(error)

    cause = OSError(errno.EIO, "broken")
    disk.error = LetterNotKeptError("no", location="here")
    disk.error.__cause__ = cause
    async with anyio.create_task_group() as tasks:
        with disk.held():
            for item in range(10):
                tasks.start_soon(send, item)
            await anyio.wait_all_tasks_blocked()
    assert len(caught) == 10
    assert len({id(each) for each in caught}) == 10
    assert all(each.__cause__ is cause and each.location == "here" for each in caught)  # type: ignore[attr-defined]
    disk.error = None
    assert await group.submit(7) == 70


@pytest.mark.anyio
async def test_one_item_may_fail_alone() -> None:
    """An exception among the outcomes goes to its sender only."""
    group: GroupCommit[int] = GroupCommit(lambda batch: [ValueError(each) if each == 2 else each for each in batch])
    assert await group.submit(1) == 1
    with pytest.raises(ValueError, match="2"):
        await group.submit(2)


@pytest.mark.anyio
async def test_a_commit_that_forgets_an_outcome_strands_nobody() -> None:
    """A wrong number of outcomes is an error for all, not a wait for ever."""
    group: GroupCommit[int] = GroupCommit(lambda _: [])
    with pytest.raises(RuntimeError, match="1 items, but 0 outcomes"):
        await group.submit(1)


@pytest.mark.anyio
async def test_a_cancelled_sender_strands_no_other() -> None:
    """The one that started the commit is cancelled in the middle of it: all others are committed and told."""
    disk = Disk()
    group = GroupCommit(disk)
    found: list[int] = []
    first = anyio.CancelScope()

    async def send_first() -> None:
        with first:
            await group.submit(0, withdraw=True)

    async def send(item: int) -> None:
        found.append(await group.submit(item))

    async with anyio.create_task_group() as tasks:
        with disk.held():
            tasks.start_soon(send_first)
            await entered(disk)
            for item in range(1, 10):
                tasks.start_soon(send, item)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
    assert sorted(found) == [each * 10 for each in range(1, 10)]
    assert sorted(disk.items) == list(range(10))


@pytest.mark.anyio
async def test_an_item_may_be_withdrawn_until_its_batch_begins() -> None:
    """A cancelled sender's item is not committed if it was still waiting, unless it must be."""
    disk = Disk()
    group = GroupCommit(disk)

    async def send_and_leave() -> None:
        async with anyio.create_task_group() as both:
            both.start_soon(lambda: group.submit(1, withdraw=True))
            both.start_soon(lambda: group.submit(2, withdraw=False))
            await leave.wait()
            both.cancel_scope.cancel()

    leave = anyio.Event()
    async with anyio.create_task_group() as tasks:
        with disk.held():
            tasks.start_soon(group.submit, 0)
            await entered(disk)
            tasks.start_soon(send_and_leave)
            tasks.start_soon(group.submit, 3)
            await anyio.wait_all_tasks_blocked()
            leave.set()
            await anyio.wait_all_tasks_blocked()
    assert sorted(disk.items) == [0, 2, 3]


@pytest.mark.slow("four event loops and two threads send at once")
def test_loops_of_both_kinds_and_threads_share_one_buffer() -> None:
    """asyncio, trio and plain threads send at once: everything is committed once and everybody is told."""
    disk = Disk()
    group = GroupCommit(disk)
    each = 200

    async def sends(base: int) -> None:
        async def send(item: int) -> None:
            assert await group.submit(item) == item * 10

        async with anyio.create_task_group() as tasks:
            for number in range(each):
                tasks.start_soon(send, base + number)

    def blocking(base: int) -> None:
        for number in range(each):
            assert group.submit_blocking(base + number) == (base + number) * 10

    runs = [("asyncio", 0), ("trio", 1), ("asyncio", 2), ("trio", 3)]
    threads = [threading.Thread(target=anyio.run, args=(sends, n * each), kwargs={"backend": b}) for b, n in runs]
    threads += [threading.Thread(target=blocking, args=(n * each,)) for n in (4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(disk.items) == list(range(6 * each))


def test_a_loop_that_ends_before_its_thread_comes_strands_nobody() -> None:
    """Whoever was to start the commit is gone at once; a thread that had joined the queue meanwhile is served."""
    disk = Disk()
    group = GroupCommit(disk)
    found: list[int] = []

    async def begin_and_leave() -> None:
        task = asyncio.ensure_future(group.submit(1, withdraw=True))
        await asyncio.sleep(0)  # it has asked for a thread, which has not been started yet
        waiter = threading.Thread(target=lambda: found.append(group.submit_blocking(2)))
        waiter.start()
        while len(group._pending) < 2 and not found:
            os.sched_yield()
        waiters.append(waiter)
        for hop in group._hops:
            hop.cancel()
        task.cancel()

    waiters: list[threading.Thread] = []
    asyncio.run(begin_and_leave())
    waiters[0].join(10)
    assert found == [20]


def test_the_thread_goes_away_when_nothing_comes() -> None:
    """An idle queue keeps no thread."""
    group = GroupCommit(Disk())
    before = set(threading.enumerate())
    asyncio.run(group.submit(1))
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    asyncio.run(group.submit(2))


@pytest.mark.anyio
async def test_a_system_without_threads_tells_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the send fails; it does not wait for ever, and later ones work."""

    def refuse(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    group = GroupCommit(Disk())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr("trio._threads.start_thread_soon", lambda *_args, **_named: refuse(threading.current_thread()))
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await group.submit(1)
    assert await group.submit(2) == 20


# -- with the real disk ------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_hundred_senders_share_their_fsyncs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first letter is being synced, 99 others gather: two fsyncs for a hundred letters."""
    dlq = DeadLetterQueue(local_file_path=path)
    await dlq.send_to_dlq("warm", {})
    synced: list[int] = []
    gathered = threading.Event()
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        synced.append(fd)
        assert gathered.wait(10)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dlq.send_to_dlq, 0, {})
        while not synced:
            await anyio.lowlevel.checkpoint()
        for number in range(1, 100):
            tasks.start_soon(dlq.send_to_dlq, number, {})
        await anyio.wait_all_tasks_blocked()
        gathered.set()
    assert len(synced) == 2
    assert (await dlq.stats()).total == 101


@pytest.mark.anyio
async def test_a_send_returns_only_after_its_fsync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged while the disk has it only in its cache."""
    dlq = DeadLetterQueue(local_file_path=path)
    await dlq.send_to_dlq("warm", {})
    order: list[str] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        real(fd)
        order.append("synced")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    for _ in range(3):
        await dlq.send_to_dlq("x", {})
        order.append("acknowledged")
    assert order == ["synced", "acknowledged"] * 3


def test_tidying_up_has_its_turn_after_each_batch_and_when_nothing_comes() -> None:
    """Once after a batch; then, when nothing has come for a while, for as long as there is more to do."""
    turns: list[bool] = []
    done = threading.Event()

    def tidy(*, is_idle: bool) -> bool:
        turns.append(is_idle)
        if len(turns) == 5:
            done.set()
        return len(turns) < 5

    group: GroupCommit[int] = GroupCommit(lambda items: items, tidy=tidy)
    assert anyio.run(group.submit, 7) == 7
    assert done.wait(10)
    assert turns == [False, True, True, True, True]


def test_an_item_comes_before_more_tidying_up() -> None:
    """Whoever sends while there is much to tidy up waits for a step of that, not for all of it."""
    steps: list[str] = []
    has_begun = threading.Event()
    is_over = threading.Event()

    def tidy(*, is_idle: bool) -> bool:
        if is_idle:
            steps.append("step")
            has_begun.set()
        return not is_over.is_set()

    def commit(items: list[int]) -> list[int]:
        steps.append("commit")
        return items

    group: GroupCommit[int] = GroupCommit(commit, tidy=tidy)
    anyio.run(group.submit, 1)
    assert has_begun.wait(10)
    assert anyio.run(group.submit, 2) == 2
    is_over.set()
    assert steps.count("commit") == 2


@pytest.mark.usefixtures("capfd")
def test_tidying_up_that_fails_is_given_up_and_no_sender_is_the_worse() -> None:
    """It is logged once, and items are committed as before."""
    turns: list[bool] = []

    def tidy(*, is_idle: bool) -> bool:
        turns.append(is_idle)
        msg = "broken"
        raise RuntimeError(msg)

    group: GroupCommit[int] = GroupCommit(lambda items: items, tidy=tidy)
    assert [anyio.run(group.submit, number) for number in range(3)] == [0, 1, 2]
    assert turns == [False]
