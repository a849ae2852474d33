"""``python -m benchmarks.letters_journal``: letters in a journal beside bare probes and persist-queue.

Senders keep messages of 1 KiB, each waiting until its own is on the disk. One sender is compared with a write and an
fsync for each message, many with a thread that writes whatever has gathered and syncs it once: no checksums, no index,
no lock. All take turns in one process on one event loop, and what counts is the ratio of their times, round by round.
persist-queue, where it is installed, commits each message to SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.letters_sqlite import in_new_process, letter, median_of, turn_of
from resilio.deadletters.durable import sync
from resilio.deadletters.journal import Journal
from resilio.deadletters.store import Add, ClaimNext, Remove
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[str, bytes], Awaitable[object]]

GOALS: Final = {1: 0.8, 10: None, 100: 0.7}  # of the probe's messages a second
PEER_GOAL: Final = 20.0  # times persist-queue's, with a hundred senders
OPENING_GOALS: Final = {100_000: (0.3, 60.0, 3.0), 1_000_000: (2.0, 250.0, 15.0)}  # seconds, MB, seconds unaided


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals are reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.letters_journal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="how often all take their turn")
    parser.add_argument("--each", type=int, default=40, help="messages that each of a hundred senders sends in a turn")
    parser.add_argument("--letters", type=int, nargs="*", default=[1000, 100_000], help="backlogs, such as 1000000")
    parser.add_argument("--in", dest="folder", type=Path, help="a folder on the disk to be measured")
    asked = parser.parse_args()
    is_reached = True
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for senders in GOALS:
            each = asked.each * 100 // senders // 4 + 1
            is_reached &= asyncio.run(compare(Path(folder), senders, asked.rounds, each))
        for letters in asked.letters:
            is_reached &= grown(Path(folder) / f"{letters}.jsonl", letters)
    return 0 if is_reached else 1


# -- sending -----------------------------------------------------------------------------------------------------------


class OneByOne:
    """A write and an fsync for each message, while the event loop waits."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def send(self, _: str, body: bytes) -> None:
        """Return when it is on the disk."""
        os.write(self._fd, body + b"\n")
        sync(self._fd)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class Shared:
    """A thread, a list, and one write and fsync for whatever is in it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._arrived = threading.Event()
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def send(self, _: str, body: bytes) -> None:
        """Return when it is on the disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((body + b"\n", done))
        self._arrived.set()
        await done

    def close(self) -> None:
        """End the thread."""
        self._is_over = True
        self._arrived.set()
        self._thread.join()
        os.close(self._fd)

    def _run(self) -> None:
        while not self._is_over:
            self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            if batch:
                os.write(self._fd, b"".join([body for body, _ in batch]))
                sync(self._fd)
                self._loop.call_soon_threadsafe(self._wake, batch)

    def _wake(self, batch: list[tuple[bytes, asyncio.Future[None]]]) -> None:
        for _, done in batch:
            done.set_result(None)


class PersistQueue:
    """persist-queue, which knows no event loop: it blocks this one, which costs it no thread."""

    def __init__(self, path: Path) -> None:
        import persistqueue  # noqa: PLC0415 -- only where it is installed

        self._queue = persistqueue.SQLiteQueue(str(path), auto_commit=True, multithreading=True)

    async def send(self, _: str, body: bytes) -> None:
        """Return when it is on the disk."""
        self._queue.put(bytes(body))

    def close(self) -> None:
        """Let go of the file."""
        self._queue.close()


async def compare(folder: Path, senders: int, rounds: int, each: int) -> bool:
    """Let all send in turn, print how their rates compare, and tell whether that reaches the goals."""
    probe = (OneByOne if senders == 1 else Shared)(folder / f"probe{senders}")
    store = ThreadedStore(Journal(folder / f"letters{senders}.jsonl"))
    contestants: dict[str, Send] = {"probe": probe.send, "resilio": store.add}
    peer = None
    try:
        peer = PersistQueue(folder / f"peer{senders}")
    except ImportError:
        print("persist-queue is not installed")  # noqa: T201
    else:
        contestants["persist-queue"] = peer.send
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(-1, rounds):  # the first one warms up
        for name in sorted(contestants, reverse=bool(number % 2)):
            count = max(each // 20, 1) if name == "persist-queue" else each
            took = await turn_of(contestants[name], senders, count) / count
            if number >= 0:
                times[name].append(took)
    probe.close()
    if peer is not None:
        peer.close()
    await store.aclose()
    rates = {name: senders / statistics.median(found) for name, found in times.items()}
    ratio = _median_ratio(times["probe"], times["resilio"])
    goal = GOALS[senders]
    print(f"{senders:4} senders:", ", ".join(f"{name} {rate:.0f}/s" for name, rate in rates.items()))  # noqa: T201
    print(f"{'':13} {ratio:.2f} × the probe" + ("" if goal is None else f"; the goal is {goal}"))  # noqa: T201
    is_reached = goal is None or ratio >= goal
    if peer is not None:
        ahead = _median_ratio(times["persist-queue"], times["resilio"])
        wanted = f"; the goal is {PEER_GOAL}" if senders == max(GOALS) else ""
        print(f"{'':13} {ahead:.1f} × persist-queue{wanted}")  # noqa: T201
        is_reached &= senders != max(GOALS) or ahead >= PEER_GOAL
    return is_reached


def _median_ratio(theirs: list[float], ours: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


# -- growing -----------------------------------------------------------------------------------------------------------

OPEN = """
import json, sys
import psutil
from time import perf_counter
from resilio.deadletters.journal import Journal
process = psutil.Process()
start = perf_counter()
Journal(sys.argv[1]).stats()
print(json.dumps([perf_counter() - start, process.memory_info().rss / 2**20]))
"""


def grown(path: Path, letters: int) -> bool:
    """Measure with so many letters waiting, and tell whether opening reaches its goals."""
    journal = Journal(path)
    for start in range(0, letters, 1000):
        batch = [letter(f"g{number % 50}", f"E{number % 7}") for number in range(start, min(start + 1000, letters))]
        journal.commit([Add(*each) for each in batch])
    slow = in_new_process(OPEN, path)
    journal.close()  # which leaves the snapshot, if that is worth it
    opened = [in_new_process(OPEN, path) for _ in range(3)]
    took, room = (statistics.median(each[at] for each in opened) for at in (0, 1))
    goals = OPENING_GOALS.get(letters, (0.3, 60.0, 3.0))
    print(f"{letters:8} letters: opened in {took:.2f} s, the process has {room:.0f} MB; goals {goals[:2]}")  # noqa: T201
    print(f"{'':17} without a snapshot in {slow[0]:.2f} s, {slow[1]:.0f} MB; goal {goals[2]}")  # noqa: T201

    def claim_and_acknowledge(turn: int) -> None:
        [claims] = journal.commit([ClaimNext(10, 30.0, f"turn {turn}")])
        journal.commit([Remove(each.letter.id) for each in claims])  # type: ignore[attr-defined]

    journal.stats()
    print(f"{'':17} claim 10 and acknowledge: {median_of(claim_and_acknowledge):.2f} ms")  # noqa: T201
    journal.close()
    return bool(took <= goals[0] and room <= goals[1] and slow[0] <= goals[2])


if __name__ == "__main__":
    sys.exit(main())
