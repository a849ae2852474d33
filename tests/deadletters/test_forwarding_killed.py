"""A process that forwards is killed: nothing is lost, and only what was just being sent may arrive twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from sqs_kit import RemoteQueue, remote_queue, settings

pytest_plugins = ["sqs_fixtures"]
ID = 36  # characters
pytestmark = [pytest.mark.slow("processes are killed")]

# Sends letters by a store that forwards, and writes down the id of each that was acknowledged: once to the end, or in
# child processes that are killed.
WORKER = """
import asyncio, os, random, signal, sys, time
import aiobotocore.config, aiobotocore.session
from sqs_kit import keep
from resilio.deadletters.forwarding import ForwardingStore
from resilio.deadletters.journal import Journal
from resilio.deadletters.sqs_store import SqsStore
from resilio.deadletters.threaded_store import ThreadedStore

url, path, count, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

async def main(count):
    store = ForwardingStore(SqsStore(url, wait=0), ThreadedStore(Journal(path)), deadline=0.15, retry_every=0.02)
    for each in range(count):
        print(await keep(store, each), flush=True)
        await asyncio.sleep(0.005)
    await store.peek(1)
    while (await store.local.stats()).total:
        await asyncio.sleep(0.02)
    await store.aclose()

for _ in range(kills):
    child = os.fork()
    if not child:
        asyncio.run(main(1000))
    time.sleep(random.uniform(0.2, 1.0))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print("calm", flush=True)
asyncio.run(main(count))
print("done", flush=True)
"""


def start(queue: RemoteQueue, path: Path, count: int, *, kills: int = 0) -> subprocess.Popen[str]:
    """Run the worker."""
    kit = Path(__file__).parent
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", WORKER, queue.url, str(path), str(count), str(kills)],
        env={**os.environ, **settings(), "PYTHONPATH": str(kit)},
        stdout=subprocess.PIPE,
        text=True,
    )


def output(worker: subprocess.Popen[str]) -> list[str]:
    """What it printed, to its end."""
    assert worker.stdout is not None
    with worker.stdout as lines:
        found = [each.strip() for each in lines]
    worker.wait(30)
    return found


def test_killed_while_it_spills_and_forwards_a_process_loses_nothing(path: Path) -> None:
    """Whatever it had acknowledged is in the queue when the next process has handed on what was left."""
    kills = int(os.environ.get("RESILIO_KILLS", "5"))
    with remote_queue("ministack") as queue:
        worker = start(queue, path, 1, kills=kills)
        dice = random.Random(kills)
        ended = threading.Event()

        def come_and_go() -> None:
            while not ended.wait(dice.uniform(0.02, 0.5)):
                queue.wire.is_down = not queue.wire.is_down
            queue.wire.is_down = False

        weather = threading.Thread(target=come_and_go)
        weather.start()
        try:
            assert worker.stdout is not None
            acknowledged = []
            while "calm" not in acknowledged:
                acknowledged.append(worker.stdout.readline().strip())
            ended.set()
            acknowledged += output(worker)
        finally:
            ended.set()
            weather.join()
        arrived = Counter(each["id"] for each in queue.bodies())
    assert acknowledged.pop() == "done"
    whole = {each for each in acknowledged if len(each) == ID}
    assert len(whole) > kills
    assert whole <= set(arrived)
    assert sum(arrived.values()) - len(arrived) <= 10 * kills


def test_killed_between_sending_and_deleting_a_letter_arrives_twice_at_most(path: Path) -> None:
    """SQS has the letters and the process is killed before it hears of it: only these come again."""
    with remote_queue("moto") as queue:
        queue.wire.is_down = True
        worker = start(queue, path, 30)
        assert worker.stdout is not None
        ids = [worker.stdout.readline().strip() for _ in range(31)][1:]

        def arrive_and_kill(payload, forward):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            answer = forward(payload)
            if queue.wire.calls["SendMessageBatch"] == 2:
                worker.send_signal(signal.SIGKILL)
                worker.wait(10)
            return answer

        queue.wire.calls.clear()
        queue.wire.rules["SendMessageBatch"] = arrive_and_kill
        queue.wire.is_down = False
        output(worker)
        queue.wire.rules.clear()
        assert output(start(queue, path, 0)) == ["calm", "done"]
        arrived = [each["id"] for each in queue.bodies()]
    assert list(dict.fromkeys(arrived)) == ids
    assert Counter(Counter(arrived).values()) == {1: 20, 2: 10}
