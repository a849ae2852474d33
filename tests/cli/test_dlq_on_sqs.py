"""The same commands on an SQS queue, over a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from command_kit import TOLD
from sqs_kit import remote_queue
from sqs_kit import settings as aws_settings

from resilio import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A queue on moto's server, with three letters in it."""
    for name, value in aws_settings().items():
        monkeypatch.setenv(name, value)

    async def send(queue_url: str) -> None:
        letters = DeadLetterQueue(queue_url=queue_url)
        for number, error in enumerate(TOLD):
            await letters.send_to_dlq({"n": number}, error)
        await letters.aclose()

    with remote_queue("moto") as made:
        anyio.run(send, made.url)
        yield made.url


@pytest.mark.slow("waits for a server that speaks SQS")
def test_letters_of_a_remote_queue_are_counted_replayed_and_moved(run: Run, shop: Path, url: str) -> None:
    """stats, replay, move and doctor, with the URL in place of a path."""
    assert run("dlq", "stats", "-q", url, "--json").json["total"] == 3
    found = {each["name"]: each for each in run("doctor", "-q", url, "--json").json["findings"]}
    assert found["opens"]["verdict"] == "ok"
    ran = run("dlq", "replay", "-q", url, "-r", "shop:handle", "--limit", "1", "--json")
    assert (ran.code, ran.json["replayed"]) == (0, 1), ran.err
    moved = run("dlq", "move", "-q", url, "--to", "here.jsonl", "--yes", "--json")
    assert (moved.code, moved.json["moved"]) == (0, 2), moved.err
    assert len(run("dlq", "list", "-q", "here.jsonl", "--json").objects) == 2


@pytest.mark.slow("waits for a server that speaks SQS")
def test_a_queue_that_is_not_there_is_one_line(run: Run, url: str) -> None:
    """What AWS says of it, without a traceback; the check-up says what to do."""
    ran = run("dlq", "stats", "-q", f"{url}-missing")
    assert ran.code == 3
    assert len(ran.err.splitlines()) == 1
    told = run("doctor", "-q", f"{url}-missing", "--json")
    assert told.code == 1
    (opens,) = (each for each in told.json["findings"] if each["name"] == "opens")
    assert opens["advice"]
