from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from letter_kit import heard, run_python, size_of

from resilio.deadletters.events import JournalVanished
from resilio.deadletters.file_lock import FileLock
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ERROR = {"error_type": "E"}


@pytest.mark.anyio
async def test_two_queues_see_each_others_letters(path: Path) -> None:
    """What one keeps, claims, fails or removes the other sees at once."""

    async def handle(message: object) -> None:
        if message == "bad":
            raise ValueError(message)

    one = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    other = DeadLetterQueue(local_file_path=path, reprocessor=handle)
    good, bad = await one.send_to_dlq("good", ERROR), await other.send_to_dlq("bad", ERROR)
    assert [each.id for each in await one.peek()] == [each.id for each in await other.peek()] == [good, bad]
    with pytest.raises(ValueError, match="bad"):
        await one.reprocess_message(bad)
    assert (await other.get(bad)).attempts == 1
    await other.reprocess_message(good)
    assert [each.id for each in await one.peek()] == [bad]


WORKER = """
import json, sys, anyio
from resilio.deadletters.file_lock import FileLock
from resilio.deadletters.queue import DeadLetterQueue
path, name, backend = sys.argv[1:]
done = []
async def handle(message):
    await anyio.lowlevel.checkpoint()
    if hash((name, message)) % 3 == 0:
        raise ValueError("not now")
    done.append(message)
async def main():
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, max_attempts=None)
    async with anyio.create_task_group() as tasks:
        async def send(start):
            for number in range(start, start + 25):
                await dlq.send_to_dlq(f"{name}-{number}", {"error_type": "E"})
        for start in range(0, 100, 25):
            tasks.start_soon(send, start)
        for _ in range(4):
            await dlq.reprocess_all(limit=20)
    print(json.dumps(done))
anyio.run(main, backend=backend)
"""


@pytest.mark.slow("three processes send, claim and replay at once")
def test_several_processes_share_the_work(path: Path) -> None:
    """Each letter is handled in exactly one process, and none is lost."""
    workers = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "error", "-c", WORKER, str(path), name, backend], stdout=subprocess.PIPE, text=True
        )
        for name, backend in (("a", "asyncio"), ("b", "trio"), ("c", "asyncio"))
    ]
    done: list[str] = []
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        done += json.loads(out)
    assert len(done) == len(set(done))
    assert len(done) > 20
    left: list[str] = []

    async def rest() -> None:
        dlq = DeadLetterQueue(local_file_path=path)
        left.extend([each.message for each in await dlq.peek(1000)])
        assert {each.status for each in await dlq.peek(1000)} == {"waiting"}

    anyio.run(rest)
    assert sorted([*done, *left]) == sorted(f"{name}-{number}" for name in "abc" for number in range(100))


CROWD = """
import json, random, sys, time, anyio
from resilio._core import events
from resilio.deadletters import journal_chores, journal_compaction, journal_log
from resilio.deadletters.events import JournalCompacted
from resilio.deadletters.queue import DeadLetterQueue
journal_chores.FEW_LINES, journal_chores.SMALL, journal_chores.LARGE, journal_chores.MANY_LINES = 100, 10, 0, 50
journal_compaction._BLOCK, journal_log._MUCH = 10, 1 << 14
path, name, backend, seconds = sys.argv[1:]
end = time.monotonic() + float(seconds)
sent, claims, handled, compacted = [], [], [], []
async def main():
    dlq = DeadLetterQueue(local_file_path=path, visibility_timeout=1.0)
    async def send(sender):
        while time.monotonic() < end:
            sent.append(await dlq.send_to_dlq({"from": name, "text": "x" * random.choice([10, 900])}, {}))
            await anyio.sleep(random.random() * 0.01)
    async def handle():
        while True:
            before = time.monotonic()
            letters = await dlq.receive_from_dlq(random.randint(1, 8))
            claims.extend((each.id, before, time.monotonic()) for each in letters)
            for each in letters:
                if random.random() < 0.9 or time.monotonic() > end:  # else it is left to come again
                    await dlq.delete(each.id)
                    handled.append(each.id)
            if time.monotonic() > end and not (await dlq.stats()).total:
                return
            await anyio.sleep(0.001 if letters else 0.05)
    with events.subscribe(compacted.append, JournalCompacted):
        async with anyio.create_task_group() as tasks:
            for sender in range(4):
                tasks.start_soon(send, sender)
            tasks.start_soon(handle)
            tasks.start_soon(handle)
    print(json.dumps([sent, claims, handled, len(compacted)]))
anyio.run(main, backend=backend)
"""


@pytest.mark.slow("four processes are at one file for a while")
def test_a_crowd_of_processes_handles_every_letter_and_none_twice_at_a_time(path: Path) -> None:
    """They send, claim, delete and compact at once: no letter is lost, none is handed out while somebody has it."""
    workers = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "error", "-c", CROWD, str(path), name, backend, "10"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, backend in (("a", "asyncio"), ("b", "trio"), ("c", "asyncio"), ("d", "asyncio"))
    ]
    sent: list[str] = []
    handled: list[str] = []
    claims: dict[str, list[tuple[float, float]]] = {}
    compacted = 0
    for worker in workers:
        out, _ = worker.communicate(timeout=100)
        assert worker.returncode == 0
        its_sent, its_claims, its_handled, count = json.loads(out)
        sent += its_sent
        handled += its_handled
        compacted += count
        for letter_id, before, after in its_claims:
            claims.setdefault(letter_id, []).append((before, after))
    assert sorted(handled) == sorted(sent)
    assert compacted > 3
    assert any(len(times) > 1 for times in claims.values())
    for letter_id, times in claims.items():
        times.sort(key=lambda each: each[1])
        for (before, _), (_, after) in itertools.pairwise(times):
            assert after - before > 0.99, letter_id


FORK = """
import os, sys, warnings
from datetime import UTC, datetime
import anyio
warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of a fork while the writer's thread lingers
from resilio._core import clock
from resilio.deadletters.queue import DeadLetterQueue
class Stopped(clock.SystemClock):
    def utcnow(self):
        return datetime(2026, 1, 1, tzinfo=UTC)
clock._installed.append(Stopped())  # parent and child send in one and the same millisecond
dlq = DeadLetterQueue(local_file_path=sys.argv[1])
async def send(*messages):
    async with anyio.create_task_group() as tasks:
        for each in messages:
            tasks.start_soon(dlq.send_to_dlq, each, {})
anyio.run(send, "before")
pid = os.fork()
anyio.run(send, *[f"{'child' if pid == 0 else 'parent'}-{n}" for n in range(50)])
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
async def check():
    letters = await dlq.peek(1000)
    print(len(letters), len({each.id for each in letters}), len({each.message for each in letters}))
anyio.run(check)
"""


@pytest.mark.slow("starts an interpreter")
def test_a_queue_works_on_both_sides_of_a_fork(path: Path) -> None:
    """Servers fork with their queue already in use: parent and child send at once, and no id is made twice."""
    assert run_python(FORK, path).stdout.split() == ["101", "101", "101"]


@pytest.mark.parametrize("run", [anyio.run, lambda fn: anyio.run(fn, backend="trio")])
def test_one_queue_serves_loop_after_loop(path: Path, run: Callable[..., None]) -> None:
    """Built outside any loop, used in several, one after the other."""
    dlq = DeadLetterQueue(local_file_path=path)
    ids: list[str] = []

    async def use() -> None:
        ids.append(await dlq.send_to_dlq(len(ids), ERROR))
        assert [each.id for each in await dlq.peek()] == ids

    for _ in range(5):
        run(use)


@pytest.mark.slow("three event loops send at once")
def test_one_queue_serves_loops_at_once(path: Path) -> None:
    """Two asyncio loops and a trio loop, each in a thread of its own, use one queue object."""
    dlq = DeadLetterQueue(local_file_path=path)

    async def send(name: str) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(dlq.send_to_dlq, f"{name}{number}", ERROR)

    threads = [
        threading.Thread(target=anyio.run, args=(send, name), kwargs={"backend": backend})
        for name, backend in (("a", "asyncio"), ("b", "trio"), ("c", "asyncio"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stats = anyio.run(dlq.stats)
    assert stats.total == 300


@pytest.mark.anyio
async def test_building_a_queue_touches_no_disk(folder: Path) -> None:
    """Nothing is there before the first use."""
    dlq = DeadLetterQueue(local_file_path=folder / "letters.jsonl")
    assert os.listdir(folder) == []  # noqa: PTH208 -- names are all that is asked for
    await dlq.stats()
    assert sorted(os.listdir(folder)) == ["letters.jsonl", "letters.jsonl.lock"]  # noqa: PTH208


@pytest.mark.anyio
async def test_a_file_that_vanishes_is_told_of_and_begun_anew(path: Path) -> None:
    """Letters sent after somebody deleted the file are in a file that has a name."""
    dlq = DeadLetterQueue(local_file_path=path)
    await dlq.send_to_dlq("old", ERROR)
    os.unlink(path)  # noqa: PTH108 -- a Path would block, says the linter
    with heard(JournalVanished) as events:
        message_id = await dlq.send_to_dlq("new", ERROR)
    assert [each.letters for each in events] == [1]
    assert size_of(path)
    assert [each.id for each in await DeadLetterQueue(local_file_path=path).peek()] == [message_id]


def test_a_lock_file_that_vanishes_still_keeps_others_out(path: Path) -> None:
    """A lock on a file without a name would keep nobody out: it is noticed, and the new lock file is used."""
    one, other = FileLock(str(path)), FileLock(str(path))
    one.acquire()
    one.release()
    path.unlink()
    other.acquire()
    entered = threading.Event()

    def enter() -> None:
        one.acquire()
        entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(0.05)
    other.release()
    assert entered.wait(10)
    thread.join()
    one.release()
    one.close()
    other.close()
