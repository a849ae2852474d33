"""``python -m benchmarks.letters_sqlite``: letters in SQLite beside a bare probe, and as the backlog grows.

A hundred senders keep messages of 1 KiB, each waiting until its own is on the disk. The probe is a thread that puts
whatever has gathered into a table of ids and bodies, one transaction for all: no indexes, no checksums, no claims. Both
take turns in one process on one event loop, and what counts is the ratio of their times, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from resilio._core import clock
from resilio.deadletters.letter import LetterIds, new_body
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import Add, ClaimNext, Remove
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[str, bytes], Awaitable[object]]

SENDERS: Final = (1, 10, 100)
GOAL: Final = 0.8  # of the probe's messages a second, with a hundred senders
OPENING_GOALS: Final = (20.0, 8.0)  # milliseconds, megabytes
_IDS = LetterIds()


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals are reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.letters_sqlite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="how often both take their turn")
    parser.add_argument("--each", type=int, default=40, help="messages that each of a hundred senders sends in a turn")
    parser.add_argument("--letters", type=int, nargs="*", default=[1000, 100_000], help="backlogs, such as 1000000")
    parser.add_argument("--in", dest="folder", type=Path, help="a folder on the disk to be measured")
    asked = parser.parse_args()
    is_reached = True
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for senders in SENDERS:
            ratio = asyncio.run(compare(Path(folder), senders, asked.rounds, asked.each * 100 // senders // 4 + 1))
            is_reached &= senders != SENDERS[-1] or ratio >= GOAL
        for letters in asked.letters:
            is_reached &= grown(Path(folder) / f"{letters}.db", letters)
    return 0 if is_reached else 1


# -- sending -----------------------------------------------------------------------------------------------------------


class Probe:
    """A thread, a list, and one transaction for whatever is in it."""

    def __init__(self, path: Path) -> None:
        self._waiting: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._arrived = threading.Event()
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(path,))
        self._thread.start()

    async def send(self, letter_id: str, body: bytes) -> None:
        """Return when it is on the disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((letter_id, bytes(body), done))
        self._arrived.set()
        await done

    def close(self) -> None:
        """End the thread."""
        self._is_over = True
        self._arrived.set()
        self._thread.join()

    def _run(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE letters (id TEXT PRIMARY KEY, body BLOB)")
        while not self._is_over:
            self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO letters VALUES (?, ?)", [each[:2] for each in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._wake, batch)
        connection.close()

    def _wake(self, batch: list[tuple[str, bytes, asyncio.Future[None]]]) -> None:
        for _, _, done in batch:
            done.set_result(None)


async def compare(folder: Path, senders: int, rounds: int, each: int) -> float:
    """Let both send in turn, and return the median of how their rates compare."""
    probe = Probe(folder / f"probe{senders}.db")
    store = ThreadedStore(SqliteStore(folder / f"letters{senders}.db"))
    await turn_of(probe.send, senders, 2)
    await turn_of(store.add, senders, 2)
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        first, second = (probe.send, store.add) if number % 2 else (store.add, probe.send)
        one, other = await turn_of(first, senders, each), await turn_of(second, senders, each)
        times.append((one, other) if number % 2 else (other, one))
    probe.close()
    await store.aclose()
    count = senders * each
    bare, own = (count / statistics.median(pair[at] for pair in times) for at in (0, 1))
    ratio = statistics.median(bare_time / own_time for bare_time, own_time in times)
    goal = f"; the goal is {GOAL}" if senders == SENDERS[-1] else ""
    print(f"{senders:4} senders: probe {bare:7.0f}/s, resilio {own:7.0f}/s, {ratio:.2f} × the probe{goal}")  # noqa: T201
    return ratio


async def turn_of(send: Send, senders: int, each: int) -> float:
    async def sender() -> None:
        for _ in range(each):
            await send(*letter())

    start = perf_counter()
    await asyncio.gather(*(sender() for _ in range(senders)))
    return perf_counter() - start


def letter(group: str = "g", error: str = "ValueError") -> tuple[str, bytes]:
    now = clock.utcnow()
    letter_id = _IDS.next(now)
    info = {"error_type": error, "error_message": "boom"}
    return letter_id, new_body(letter_id, {"text": "x" * 1000}, info, now, group=group)


# -- growing -----------------------------------------------------------------------------------------------------------

OPEN = """
import json, sqlite3, sys
import psutil
from time import perf_counter
from resilio.deadletters.sqlite_store import SqliteStore
process = psutil.Process()
before = process.memory_info().rss
start = perf_counter()
store = SqliteStore(sys.argv[1])
store.stats()
took = perf_counter() - start
print(json.dumps([took * 1000, (process.memory_info().rss - before) / 2**20]))
"""


def grown(path: Path, letters: int) -> bool:
    """Measure with so many letters waiting, and tell whether opening reaches its goals."""
    store = SqliteStore(path)
    for start in range(0, letters, 1000):
        batch = [letter(f"g{number % 50}", f"E{number % 7}") for number in range(start, min(start + 1000, letters))]
        store.commit([Add(*each) for each in batch])
    store.close()
    opened = [in_new_process(OPEN, path) for _ in range(5)]
    took, room = (statistics.median(each[at] for each in opened) for at in (0, 1))
    print(f"{letters:8} letters: opened in {took:.1f} ms, {room:.1f} MB; the goals are 20 ms and 8 MB")  # noqa: T201

    def claim_and_acknowledge(where: LetterFilter, turn: int) -> None:
        [claims] = store.commit([ClaimNext(10, 30.0, f"{where.group}{where.error}{turn}", where)])
        store.commit([Remove(each.letter.id) for each in claims])  # type: ignore[attr-defined]

    wheres = {"any": EVERY_LETTER, "of a group": LetterFilter(group="g7"), "of an error": LetterFilter(error="E3")}
    for name, where in wheres.items():
        milliseconds = median_of(lambda turn, where=where: claim_and_acknowledge(where, turn))  # type: ignore[misc]
        print(f"{'':17} claim 10 {name} and acknowledge: {milliseconds:.2f} ms")  # noqa: T201
    for name, where in list(wheres.items())[1:]:
        milliseconds = median_of(lambda _, where=where: store.peek(10, after=None, where=where))  # type: ignore[misc]
        print(f"{'':17} look at 10 {name}: {milliseconds:.2f} ms")  # noqa: T201
    start_at = perf_counter()
    store.peek(10, after=None, where=LetterFilter(text="nowhere"))
    print(f"{'':17} look for a text that is nowhere: {(perf_counter() - start_at) * 1000:.0f} ms")  # noqa: T201
    store.close()
    return bool(took <= OPENING_GOALS[0] and room <= OPENING_GOALS[1])


def in_new_process(code: str, path: Path) -> list[float]:
    told = subprocess.check_output([sys.executable, "-c", code, str(path)])  # noqa: S603 -- our own code
    found: list[float] = json.loads(told)
    return found


def median_of(work: Callable[[int], object]) -> float:
    times = []
    for turn in range(30):
        start = perf_counter()
        work(turn)
        times.append(perf_counter() - start)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    sys.exit(main())
