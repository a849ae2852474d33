"""Starting the stand-in endpoint in its own process, and hearing what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.dadacat.script import DAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_CHECKOUT = Path(__file__).parents[2]
_SECONDS_TO_END = 3.0
_LONGEST_LINE = 65_536


class EndpointProcess:
    """The running stand-in.

    Attributes:
        url: Its base URL.
        is_back: Set when the last phase of the day begins.
        served: How many requests met what; empty until it has ended.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_back = anyio.Event()
        self.served: Counter[str] = Counter()


@asynccontextmanager
async def endpoint_process(
    seed: int, seconds: float, on_phase: Callable[[str], object]
) -> AsyncIterator[EndpointProcess]:
    """Run the stand-in while the block runs.

    Args:
        seed: Repeats the faults of an earlier day.
        seconds: How long the day lasts.
        on_phase: Called with the name of each phase as it begins.
    """
    command = [sys.executable, "-m", "examples.dadacat.endpoint", "--seed", str(seed), "--seconds", str(seconds)]
    # A session of its own, so that Ctrl-C in the terminal reaches us alone; it ends when its standard input does.
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, cwd=_CHECKOUT, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 -- as asked for
    assert process.stdout is not None  # noqa: S101
    lines = BufferedByteReceiveStream(process.stdout)

    async def told() -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(await lines.receive_until(b"\n", _LONGEST_LINE))
        except (anyio.EndOfStream, anyio.IncompleteRead):
            msg = "the stand-in endpoint ended before its day did"
            raise RuntimeError(msg) from None
        return event

    async def listen() -> None:
        while "served" not in (event := await told()):
            on_phase(event["phase"])
            if event["phase"] == DAY[-1].name:
                running.is_back.set()
        running.served.update(event["served"])

    async with process:
        running = EndpointProcess(f"http://127.0.0.1:{(await told())['port']}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            try:
                yield running
            finally:
                with anyio.move_on_after(_SECONDS_TO_END, shield=True):
                    await process.stdin.aclose()
                    await process.wait()
