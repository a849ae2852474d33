"""How many letters lie in a queue, told to somebody who must not wait."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from resilio import DeadLetterQueue, sync
from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.store import DeadLetterStats
from resilio.telemetry import instrument
from resilio.telemetry.queue_probe import QueueProbe

if TYPE_CHECKING:
    from collections.abc import Callable

    from metrics_kit import Collected
    from opentelemetry.sdk.metrics import MeterProvider

    Collect = Callable[[], Collected]

PATIENT = 30.0  # seconds that a reading may take on a busy machine before the test fails


def a_reading(total: int) -> DeadLetterStats:
    """The numbers of a queue in which all letters wait."""
    return DeadLetterStats(
        total=total, waiting=total, claimed=0, parked=0, oldest_failed_at=None, oldest_age=None, bytes=0
    )


class Slow:
    """A queue whose store answers when it is told to."""

    location = "slow.jsonl"

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.was_asked = threading.Event()
        self.asked = 0

    def stats(self) -> DeadLetterStats:
        self.asked += 1
        self.was_asked.set()
        assert self.may_answer.wait(PATIENT)
        return a_reading(7)


@pytest.mark.anyio
async def test_depth_and_oldest_letter_are_read_on_real_queues(provider: MeterProvider, collect: Collect) -> None:
    """An async queue in a journal and a blocking one in SQLite, each under its own name."""
    letters = DeadLetterQueue(local_file_path="letters.jsonl")
    await letters.send_to_dlq({"order": 1}, ValueError("x"))
    parked = await letters.send_to_dlq({"order": 2}, ValueError("x"))
    await letters.park(parked)
    with instrument(meter_provider=provider, queues=[letters]):
        found = _collected(collect, "letters.jsonl")
    named = {"messaging_destination_name": "letters.jsonl"}
    assert found.value("resilio.dead_letters", dead_letter_status="waiting", **named) == 1
    assert found.value("resilio.dead_letters", dead_letter_status="parked", **named) == 1
    assert found.value("resilio.dead_letters.oldest.age", **named) > 0
    await letters.aclose()


def test_a_blocking_queue_can_be_read(provider: MeterProvider, collect: Collect) -> None:
    """The facade's queue serves as well as the async one."""
    letters = sync.DeadLetterQueue(local_file_path="letters.db")
    letters.send_to_dlq({"order": 1}, ValueError("x"))
    with instrument(meter_provider=provider, queues={"orders": letters}):
        found = _collected(collect, "orders")
    assert found.value("resilio.dead_letters", dead_letter_status="waiting") == 1
    letters.close()


def _collected(collect: Collect, queue: str) -> Collected:
    end = clock.monotonic() + PATIENT
    while clock.monotonic() < end:
        found = collect()
        if any(told["messaging.destination.name"] == queue for told, _ in found.points("resilio.dead_letters")):
            return found
    raise AssertionError(f"{queue} was not read within {PATIENT} s")


def test_whoever_collects_does_not_wait_for_a_queue_that_hangs() -> None:
    """The reader gets nothing for now; the reading goes on by itself, once, and serves the next one."""
    slow = Slow()
    probe = QueueProbe("slow", slow, patience=0.01)
    assert probe.read() is None
    assert slow.was_asked.wait(PATIENT)
    assert probe.read() is None
    assert slow.asked == 1
    slow.may_answer.set()
    patient = QueueProbe("slow", slow, patience=PATIENT)
    assert patient.read() == a_reading(7)


def test_a_queue_that_fails_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The numbers stay away, and the log says why, not with every scrape."""

    class Broken:
        location = "broken.jsonl"

        def stats(self) -> DeadLetterStats:
            raise DeadLetterQueueError("the disk is gone", location=self.location)

    broken = Broken()
    probe = QueueProbe("broken", broken, patience=PATIENT)
    with caplog.at_level(logging.WARNING, logger="resilio"):
        for _ in range(3):
            assert probe.read() is None
            probe._read_at = float("-inf")
    assert [record.getMessage() for record in caplog.records] == [
        "the letters in broken.jsonl cannot be counted: the disk is gone"
    ]


def test_a_queue_is_not_kept_alive(provider: MeterProvider) -> None:
    """Measuring a queue does not hold it; with it, its numbers go."""
    letters = Slow()
    letters.may_answer.set()
    probe = QueueProbe("slow", letters, patience=PATIENT)
    assert probe.read() is not None
    del letters
    gc.collect()
    assert not probe.is_alive
    probe._read_at = float("-inf")
    assert probe.read() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.slow("starts an interpreter")
def test_a_child_reads_for_itself() -> None:
    """A reading that was under way when the process forked does not keep the child from its own."""
    code = (
        "import os, threading\n"
        "from resilio.deadletters.store import DeadLetterStats\n"
        "from resilio.telemetry.queue_probe import QueueProbe\n"
        "hangs = threading.Event()\n"
        "class Queue:\n"
        "    location = 'letters.jsonl'\n"
        "    def stats(self):\n"
        "        if os.getpid() == parent: hangs.wait()\n"
        "        return DeadLetterStats(total=1, waiting=1, claimed=0, parked=0,\n"
        "            oldest_failed_at=None, oldest_age=None, bytes=0)\n"
        "parent, queue = os.getpid(), Queue()\n"
        "probe = QueueProbe('letters', queue, patience=0.05)\n"
        "assert probe.read() is None\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    probe._patience = 30\n"
        "    os._exit(0 if probe.read() is not None else 1)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "hangs.set()\n"
        "raise SystemExit(status)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert ran.returncode == 0, ran.stderr
