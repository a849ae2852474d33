"""``python -m benchmarks.letters_sqs``: sending to SQS beside a batch sender written by hand, on the same local server.

A hundred senders keep messages of 1 KiB, each waiting until SQS has its own. Both contestants take turns in one process
on one event loop, each with a client and a queue of its own; the server runs in another process. What counts is the
ratio of their times, round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import asynccontextmanager, contextmanager, suppress
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from resilio._core import clock
from resilio.deadletters.letter import LetterIds, new_body
from resilio.deadletters.sqs_store import SqsStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Send = Callable[[dict[str, Any]], Awaitable[object]]

SENDERS: Final = 100
GOAL: Final = 1.3
_STARTS_WITHIN: Final = 30.0
_WORKERS: Final = 10
_BATCH: Final = 10
_SETTINGS: Final = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main() -> int:
    """Measure, print, and tell by the exit code whether the goal is reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.letters_sqs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often both take their turn")
    parser.add_argument("--each", type=int, default=5, help="messages that each sender sends in a turn")
    asked = parser.parse_args()
    os.environ.update(_SETTINGS)
    with local_server() as url:
        ratio = asyncio.run(compare(url, asked.rounds, asked.each))
    return 0 if ratio <= GOAL else 1


async def compare(url: str, rounds: int, each: int) -> float:
    """Let both send in turn, and return the median of the ratios."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415 -- not for --help
    from aiobotocore.session import get_session  # noqa: PLC0415

    config = AioConfig(max_pool_connections=50)
    async with get_session().create_client("sqs", region_name="us-east-1", endpoint_url=url, config=config) as client:
        async with by_hand(client, await _queue(client)) as hand, ours(await _queue(client)) as own:
            await _turn(hand, 1)
            await _turn(own, 1)
            times: list[tuple[float, float]] = []
            for number in range(rounds):
                first, second = (hand, own) if number % 2 else (own, hand)
                one, other = await _turn(first, each), await _turn(second, each)
                times.append((one, other) if number % 2 else (other, one))
    ratio = statistics.median(own / hand for hand, own in times)
    count = SENDERS * each
    for name, at in (("by hand", 0), ("resilio", 1)):
        print(f"{name:10} {count / statistics.median(pair[at] for pair in times):8.0f} messages/s")  # noqa: T201
    verdict = "reached" if ratio <= GOAL else "missed"
    print(f"resilio takes {ratio:.2f} × the time of the sender by hand; the goal, {GOAL} ×, is {verdict}")  # noqa: T201
    return ratio


async def _turn(send: Send, each: int) -> float:
    async def sender(number: int) -> None:
        for turn in range(each):
            await send({"sender": number, "turn": turn, "text": "x" * 1000})

    start = perf_counter()
    await asyncio.gather(*map(sender, range(SENDERS)))
    return perf_counter() - start


async def _queue(client: Any) -> str:
    url: str = (await client.create_queue(QueueName=f"bench-{uuid4().hex[:8]}"))["QueueUrl"]
    return url


@asynccontextmanager
async def ours(queue_url: str) -> AsyncIterator[Send]:
    """A store, as the queue uses it."""
    store, ids = SqsStore(queue_url), LetterIds()

    async def send(message: dict[str, Any]) -> object:
        now = clock.utcnow()
        letter_id = ids.next(now)
        return await store.add(letter_id, new_body(letter_id, message, {"error_type": "E"}, now))

    try:
        yield send
    finally:
        await store.aclose()


@asynccontextmanager
async def by_hand(client: Any, queue_url: str) -> AsyncIterator[Send]:
    """What one would write for oneself: workers that send what has gathered, ten at a time."""
    waiting: deque[tuple[str, str, asyncio.Future[None]]] = deque()
    arrived = asyncio.Event()

    async def worker() -> None:
        while True:
            while not waiting:
                arrived.clear()
                await arrived.wait()
            batch = [waiting.popleft() for _ in range(min(_BATCH, len(waiting)))]
            entries = [
                {
                    "Id": str(at),
                    "MessageBody": body,
                    "MessageAttributes": {"id": {"DataType": "String", "StringValue": message_id}},
                }
                for at, (message_id, body, _) in enumerate(batch)
            ]
            answer = await client.send_message_batch(QueueUrl=queue_url, Entries=entries)
            failed = {int(each["Id"]) for each in answer.get("Failed", ())}
            for at, (_, _, done) in enumerate(batch):
                if at in failed:
                    done.set_exception(RuntimeError("refused"))
                else:
                    done.set_result(None)

    async def send(message: dict[str, Any]) -> object:
        message_id = uuid4().hex
        body = json.dumps({"id": message_id, "message": message, "error": {"type": "E"}})
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append((message_id, body, done))
        arrived.set()
        await done
        return message_id

    workers = [asyncio.create_task(worker()) for _ in range(_WORKERS)]
    try:
        yield send
    finally:
        for each in workers:
            each.cancel()
        await asyncio.wait(workers)


@contextmanager
def local_server() -> Iterator[str]:
    """A server that speaks SQS, in a process of its own on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    own = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "SERVICES": "sqs",
        "IOT_MTLS_ENABLED": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ministack"],
        env={**os.environ, **own},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = perf_counter() + _STARTS_WITHIN
        while perf_counter() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
