from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow("kills a process dozens of times")

ROUNDS = 25

# Forks a child for each round, so that Python starts but once. The child acknowledges over a pipe, one short line for
# each send or replay that has returned; the parent kills it at a random moment.
KILLER = """
import os, random, signal, sys, time
import anyio
from resilio.deadletters import journal_chores, journal_compaction, journal_log
from resilio.deadletters.queue import DeadLetterQueue

# Compactions and snapshots are under way nearly always, and all that is read is read from a snapshot if there is one.
journal_chores.FEW_LINES, journal_chores.SMALL, journal_chores.LARGE, journal_chores.MANY_LINES = 50, 0, 0, 20
journal_compaction._BLOCK, journal_log._MUCH = 5, 0
path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
kept, gone, maybe_gone, edited = set(), set(), set(), set()

async def work(out, number):
    def tell(*words):
        os.write(out, (" ".join(words) + "\\n").encode())
    async def handle(message):
        tell("begin", message["id"])
    dlq = DeadLetterQueue(local_file_path=path, reprocessor=handle, visibility_timeout=0.05)
    async def send(sender):
        count = 0
        while True:
            letter = await dlq.send_to_dlq({"n": count, "text": "x" * random.choice([10, 900])}, {})
            tell("kept", letter)
            count += 1
    async def replay():
        while True:
            for letter in await dlq.receive_from_dlq(3):
                await dlq.edit(letter.id, "edited")
                tell("edited", letter.id)
                if rng.random() < 0.3:
                    continue
                tell("begin", letter.id)
                await dlq.delete(letter.id)
                tell("gone", letter.id)
    async with anyio.create_task_group() as tasks:
        for sender in range(1 + number % 9):
            tasks.start_soon(send, sender)
        if number % 3 == 0:
            tasks.start_soon(replay)

for number in range(rounds):
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(r)
        random.seed(rng.random())
        anyio.run(work, w, number, backend="trio" if number % 2 else "asyncio")
        os._exit(1)
    os.close(w)
    told = os.read(r, 1)  # it is at work
    end = time.monotonic() + rng.uniform(0, 0.1)
    os.set_blocking(r, False)
    while time.monotonic() < end:
        try:
            told += os.read(r, 1 << 20)
        except BlockingIOError:
            time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.set_blocking(r, True)
    while more := os.read(r, 1 << 20):
        told += more
    os.close(r)
    for line in told.decode().split("\\n")[:-1]:
        what, letter = line.split()
        told_of = {"kept": kept, "begin": maybe_gone, "gone": gone, "edited": edited}
        told_of[what].add(letter)

async def check():
    dlq = DeadLetterQueue(local_file_path=path)
    letters = await dlq.peek(10_000_000)
    there = {each.id for each in letters}
    stale = [each.id for each in letters if each.id in edited and each.message != "edited"]
    lost = kept - maybe_gone - there
    back = gone & there
    import json
    found = {"kept": len(kept), "gone": len(gone), "lost": sorted(lost), "back": sorted(back), "stale": stale}
    print(json.dumps(found))
anyio.run(check)
"""


def test_no_acknowledged_letter_is_lost_when_writers_are_killed(
    path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Writers are killed at random moments, by the dozen: what they had acknowledged is there, and stays removed."""
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")  # noqa: T201 -- shown when the test fails
    record_property("seed", seed)
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", KILLER, str(path), str(seed), str(ROUNDS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["lost"] == []
    assert found["back"] == []
    assert found["stale"] == []
    assert found["kept"] > ROUNDS  # hundreds, on a machine that has nothing else to do
    assert found["gone"]
