"""What the tests of this room share: a clock moved by hand, lines as they lie on disk, processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio

from resilio._core import clock, events

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from resilio._core.events import Event
    from resilio.deadletters.queue import DeadLetterQueue


class HandClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def utcnow(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """A short one is over at once; a long one, such as a heart's pause, when the hand has moved far enough."""
        until = self.now + timedelta(seconds=seconds)
        if seconds < 1:
            self.advance(seconds)
        while self.now < until:  # noqa: ASYNC110 -- whoever moves the hand may do so from any thread
            await anyio.sleep(0.001)
        await anyio.lowlevel.checkpoint()

    def sleep_blocking(self, seconds: float) -> None:
        self.advance(seconds)

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(timeout)


@contextmanager
def hand_clock() -> Iterator[HandClock]:
    """A clock moved by hand, in force while the block runs."""
    hand = HandClock()
    with clock.installed(hand):
        yield hand


@contextmanager
def heard(*kinds: type[Event]) -> Iterator[list[Any]]:
    """The events of these kinds that are emitted while the block runs."""
    found: list[Event] = []
    with events.subscribe(found.append, *kinds):
        yield found


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Every line of a journal that holds something, parsed."""
    return [json.loads(each) for each in path.read_bytes().split(b"\n") if each.strip()]


def size_of(path: Path) -> int | None:
    """How many bytes a file has, None if it is not there."""
    return path.stat().st_size if path.exists() else None


def jq(program: str, path: Path) -> str:
    """What jq makes of a file."""
    ran = subprocess.run(  # noqa: S603
        ["jq", "-r", program, str(path)],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def run_python(code: str, *args: object, measured: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own; one that gives up its rights cannot write down what coverage measured."""
    env = {name: each for name, each in os.environ.items() if measured or not name.startswith("COVERAGE_")}
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=env,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ran


async def filled(dlq: DeadLetterQueue, count: int) -> list[str]:
    """Letters with the messages 0, 1, 2, ..."""
    return [
        await dlq.send_to_dlq(number, {"error_type": "api_error", "error_message": "boom"}) for number in range(count)
    ]


async def statuses(dlq: DeadLetterQueue) -> list[tuple[Any, str, int]]:
    """What each letter says, where it stands, and how often it has failed."""
    return [(each.message, each.status.value, each.attempts) for each in await dlq.peek(1000)]
