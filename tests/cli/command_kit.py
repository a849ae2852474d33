"""Running the command: in this process, which is fast, or as whoever types it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from resilio import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMAND = (sys.executable, "-m", "resilio.cli")

TOLD = [
    ConnectionError("no route to host"),
    TimeoutError("10 s have passed"),
    KeyError("zip"),
]


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """Stdout as one JSON value."""
        return json.loads(self.out)

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines."""
        return [json.loads(line) for line in self.lines]


Run = "Callable[..., Ran]"


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process, without colours and settings of this machine."""
    left_out = {"DLQ_QUEUE_URL", "DLQ_LOCAL_FILE_PATH", "SNS_TOPIC_ARN", "COLUMNS", "FORCE_COLOR", "RESILIO_DEBUG"}
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **more}


def spawn(*arguments: str, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    """Start the real command."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    env = pipes.pop("env", environment())
    return subprocess.Popen([*COMMAND, *arguments], cwd=cwd, env=env, text=True, **pipes)  # noqa: S603


def keep(path: Path | str, messages: Sequence[object], *, error: BaseException | None = None) -> list[str]:
    """Keep letters in a file, with errors of three kinds in turn; returns their ids."""

    async def send() -> list[str]:
        letters = DeadLetterQueue(local_file_path=path)
        ids = [
            await letters.send_to_dlq(message, error or TOLD[number % len(TOLD)], operation="ship")
            for number, message in enumerate(messages)
        ]
        await letters.aclose()
        return ids

    return anyio.run(send)
