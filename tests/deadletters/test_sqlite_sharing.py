"""One SQLite database, and many who use it: threads, event loops, processes, forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from letter_kit import run_python
from store_kit import body

from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, ClaimNext, Remove
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the letters of the test lie."""
    return folder / "letters.db"


def messages(store: SqliteStore) -> list[object]:
    """What lies there."""
    return [each.message for each in store.peek(100_000, after=None, where=EVERY_LETTER)]


WORKER = """
import json, sys
sys.path.insert(0, sys.argv[3])
from store_kit import body
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, ClaimNext, Remove
path, name = sys.argv[1:3]
done = []
for turn in range(40):
    store = SqliteStore(path) if turn % 20 == 0 else store
    store.commit([Add(f"{name}{turn}-{n}", body(f"{name}{turn}-{n}")) for n in range(5)])
    [claims] = store.commit([ClaimNext(4, 600.0, f"{name}{turn}")])
    mine = [claim.letter.id for claim in claims]
    assert all(store.commit([Remove(each) for each in mine]))
    done += mine
    if turn % 20 == 19:
        store.close()
print(json.dumps(done))
"""


@pytest.mark.slow("three processes send, claim and remove at once")
def test_several_processes_share_the_work(path: Path) -> None:
    """Each letter is handled in exactly one of them, and none is lost, while the file is opened and closed."""
    here = os.path.dirname(__file__)  # noqa: PTH120 -- a folder's name
    workers = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "error", "-c", WORKER, str(path), name, here], stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    done: list[str] = []
    for worker in workers:
        out, _ = worker.communicate(timeout=100)
        assert worker.returncode == 0
        done += json.loads(out)
    left = [each.id for each in SqliteStore(path).peek(1000, after=None, where=EVERY_LETTER)]
    assert len(done) == len(set(done)) == 3 * 40 * 4
    assert sorted(done + left) == sorted(f"{name}{turn}-{n}" for name in "abc" for turn in range(40) for n in range(5))


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of a fork beside threads
sys.path.insert(0, sys.argv[2])
from store_kit import body
from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add
store = SqliteStore(sys.argv[1])
def send(name, count):
    for number in range(count):
        store.commit([Add(f"{name}{number}", body(f"{name}{number}"))])
store.stats()
writer = threading.Thread(target=send, args=("thread", 60))
writer.start()
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        send(f"child{child}-", 20)
        store.get("thread0")
        os._exit(0)
    children.append(pid)
    send(f"parent{child}-", 5)
writer.join()
store.close()
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
print(len(store.peek(1000, after=None, where=EVERY_LETTER)))
"""


@pytest.mark.slow("starts an interpreter")
def test_a_store_works_on_both_sides_of_a_fork(path: Path) -> None:
    """Forked in the midst of another thread's commits: parent and children write on, and nothing is lost."""
    told = run_python(FORK, path, os.path.dirname(__file__)).stdout  # noqa: PTH120 -- a folder's name
    assert told.split() == [str(60 + 4 * 20 + 4 * 5)]


@pytest.mark.slow("four threads at once")
def test_one_store_serves_threads_at_once(path: Path) -> None:
    """Plain threads write and read through one object; each sees what it has written."""
    store = SqliteStore(path)
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(30):
                letter_id = f"{name}{number}"
                store.commit([Add(letter_id, body(letter_id))])
                assert store.get(letter_id) is not None
                store.stats()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert len(messages(store)) == 120


def test_two_stores_in_one_process_see_each_others_letters(path: Path) -> None:
    """What one keeps, claims or removes the other sees at once; closing one takes no lock from the other."""
    one, other = SqliteStore(path), SqliteStore(path)
    one.commit([Add("a", body("a")), Add("b", body("b"))])
    [claims] = other.commit([ClaimNext(1, 30, "t")])
    assert len(claims) == 1  # type: ignore[arg-type]
    assert [each.status for each in one.peek(9, after=None, where=EVERY_LETTER)] == ["claimed", "waiting"]
    other.close()
    assert one.commit([Remove("a"), Remove("a")]) == [True, False]
    assert [each.id for each in other.peek(9, after=None, where=EVERY_LETTER)] == ["b"]


@pytest.mark.anyio
async def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    """While one batch is being written, letters can be looked at."""
    blocking = SqliteStore(path)
    store = ThreadedStore(blocking)
    await store.add("a", body("a"))
    with blocking._database.writing() as connection:
        connection.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(10):
            assert [each.id for each in await store.peek(9)] == ["a"]
            assert (await store.stats()).total == 1
        connection.execute("ROLLBACK")
    await store.aclose()


@pytest.mark.anyio
async def test_the_queue_keeps_its_letters_in_sqlite_where_the_path_says_so(path: Path) -> None:
    """All the way through: sent, failed, replayed."""
    seen: list[object] = []

    async def handle(message: object) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise ValueError(message)

    async with DeadLetterQueue(local_file_path=path, reprocessor=handle) as dlq:
        message_id = await dlq.send_to_dlq({"text": "hello"}, ValueError("boom"))
        with pytest.raises(ValueError, match="hello"):
            await dlq.reprocess_message(message_id)
        assert (await dlq.get(message_id)).attempts == 1
        await dlq.reprocess_message(message_id)
        assert (await dlq.stats()).total == 0
    assert seen == [{"text": "hello"}] * 2
