from __future__ import annotations

import io
import json
import subprocess
import sys
import textwrap
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest
from letter_kit import hand_clock, heard, run_python, size_of

from resilio._core import clock
from resilio._core.clock import SystemClock
from resilio.deadletters.encoder import Encoder
from resilio.deadletters.errors import DeadLetterQueueError, LetterNotKeptError
from resilio.deadletters.events import LetterMoved
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.queue import DeadLetterQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ERROR = {"error_type": "E", "error_message": "boom"}


def queue_in(folder: Path, name: str, **how: Any) -> DeadLetterQueue:
    """A queue whose failed letters are free at once."""
    return DeadLetterQueue(local_file_path=folder / name, replay_delay=0, **how)


async def contents(dlq: DeadLetterQueue) -> list[dict[str, Any]]:
    """All that the letters say."""
    return [each.to_dict() for each in await dlq.peek(10_000)]


async def some_letters(dlq: DeadLetterQueue) -> None:
    """A waiting one, one that has failed once, a parked one, and one with what is hard to carry."""
    await dlq.send_to_dlq("waiting", ERROR, headers={"a": "b"}, group="g", operation="op", deduplication_key="k")
    failed = await dlq.send_to_dlq("failed", ERROR)
    with pytest.raises(ZeroDivisionError):
        await dlq.reprocess_message(failed)
    await dlq.park(await dlq.send_to_dlq("parked", ERROR))
    await dlq.send_to_dlq({"odd": "\x00\ud800🐈", "__json__": 1, "raw": b"\xff"}, {"error_type": "\ud800"})


def names_in(folder: Path) -> set[str]:
    """The files there."""
    return {each.name for each in folder.iterdir()}


def fails(message: object) -> None:
    """A reprocessor."""
    raise ZeroDivisionError


# -- out and in --------------------------------------------------------------------------------------------------------


async def test_what_is_exported_can_be_imported_as_it_was(folder: Path) -> None:
    """Ids, attempts, history, times, headers, status: the same letters, in the same order."""
    one = queue_in(folder, "one.jsonl", reprocessor=fails, encoder=Encoder())
    await some_letters(one)
    assert await one.export_to(folder / "out.jsonl") == 4
    two = queue_in(folder, "two.jsonl")
    assert await two.import_from(folder / "out.jsonl") == 4
    assert await contents(two) == await contents(one)
    assert [each.id for each in await two.peek(status="parked")] == [
        each.id for each in await one.peek(status="parked")
    ]
    assert (await two.peek(1))[0].deduplication_key == "k"


async def test_importing_twice_changes_nothing(folder: Path) -> None:
    """Not even a letter that was taken up again meanwhile."""
    one, two = queue_in(folder, "one.jsonl", reprocessor=fails, encoder=Encoder()), queue_in(folder, "two.jsonl")
    await some_letters(one)
    await one.export_to(folder / "out.jsonl")
    await two.import_from(folder / "out.jsonl")
    [parked] = await two.peek(status="parked")
    await two.requeue(parked.id)
    before = await contents(two)
    assert await two.import_from(folder / "out.jsonl") == 4
    assert await contents(two) == before


async def test_the_lines_are_json_that_every_reader_takes(folder: Path) -> None:
    """One letter a line, in a file that is readable by its owner only; nothing else is left behind."""
    dlq = queue_in(folder, "one.jsonl", reprocessor=fails, encoder=Encoder())
    await some_letters(dlq)
    before = names_in(folder)
    (folder / "out.jsonl").write_text("old\n")
    await dlq.export_to(str(folder / "out.jsonl"), LetterFilter(error="E"))
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(each)["message"] for each in lines] == ["waiting", "parked"]
    assert (folder / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert names_in(folder) - before == {"out.jsonl"}
    await DeadLetterQueue(store=MemoryStore("empty")).export_to(folder / "none.jsonl")
    assert (folder / "none.jsonl").read_bytes() == b""


@pytest.mark.parametrize("stream", [io.StringIO, io.BytesIO])
async def test_open_files_are_read_and_written_too(folder: Path, stream: type[IO[Any]]) -> None:
    """For text and for bytes."""
    dlq = queue_in(folder, "one.jsonl")
    await dlq.send_to_dlq("ünï", ERROR)
    file = stream()
    assert await dlq.export_to(file) == 1
    file.seek(0)
    other = queue_in(folder, "two.jsonl")
    assert await other.import_from(file) == 1
    assert [each.message for each in await other.peek()] == ["ünï"]


@pytest.mark.slow("carries twelve hundred letters")
async def test_many_letters_are_carried_over_in_pages(folder: Path) -> None:
    """More than one page, and none twice."""
    one, two = DeadLetterQueue(store=MemoryStore("one")), queue_in(folder, "two.jsonl")
    for number in range(1201):
        await one.send_to_dlq(number, ERROR)
    assert await one.export_to(folder / "out.jsonl") == 1201
    assert await two.import_from(folder / "out.jsonl") == 1201
    assert sorted(each.message for each in await two.peek(2000)) == list(range(1201))


@pytest.mark.parametrize("line", ["{", "[1]", '{"id": 7}', '"text"', b"\xff".decode("latin-1")])
async def test_a_line_that_is_no_letter_is_named(folder: Path, line: str) -> None:
    """With its number; once it is gone, importing again takes the rest."""
    one, two = queue_in(folder, "one.jsonl"), queue_in(folder, "two.jsonl")
    await one.send_to_dlq("a", ERROR)
    await one.export_to(folder / "out.jsonl")
    good = (folder / "out.jsonl").read_text()
    (folder / "out.jsonl").write_bytes(good.encode() + b"\n" + line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"line 3 of .*out\.jsonl is no letter"):
        await two.import_from(folder / "out.jsonl")
    (folder / "out.jsonl").write_text(good)
    assert await two.import_from(folder / "out.jsonl") == 1


async def test_a_place_that_cannot_be_used_is_a_clear_error(folder: Path) -> None:
    """A directory that is not there, a file that is not there."""
    dlq = queue_in(folder, "one.jsonl")
    await dlq.send_to_dlq("a", ERROR)
    with pytest.raises(LetterNotKeptError, match=r"cannot write .*: No such file or directory"):
        await dlq.export_to(folder / "nowhere" / "out.jsonl")
    with pytest.raises(DeadLetterQueueError, match=r"cannot read .*: No such file or directory"):
        await dlq.import_from(folder / "nowhere.jsonl")


async def test_a_cancelled_export_leaves_the_file_as_it_was(folder: Path) -> None:
    """And nothing beside it."""

    class Slow(MemoryStore):
        async def peek(self, limit: int, **how: Any) -> Any:
            if how["after"] is not None:
                reached.set()
                await anyio.sleep_forever()
            return await super().peek(limit, **how)

    reached = anyio.Event()
    dlq = DeadLetterQueue(store=Slow("slow"))
    for number in range(501):
        await dlq.send_to_dlq(number, ERROR)
    (folder / "out.jsonl").write_text("as it was")
    async with anyio.create_task_group() as group:
        group.start_soon(dlq.export_to, folder / "out.jsonl")
        await reached.wait()
        group.cancel_scope.cancel()
    assert sorted(names_in(folder)) == ["out.jsonl"]
    assert (folder / "out.jsonl").read_text() == "as it was"


# -- over --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "db"])
async def test_letters_move_with_all_that_they_say(folder: Path, ending: str) -> None:
    """Between stores of any kind; parked ones too, and each is told of."""
    one = queue_in(folder, "one.jsonl", reprocessor=fails, encoder=Encoder())
    two = queue_in(folder, f"two.{ending}")
    await some_letters(one)
    before = await contents(one)
    with heard(LetterMoved) as events:
        assert await one.move(to=two) == 4
    assert sorted(each["id"] for each in before) == sorted(each.message_id for each in events)
    assert {(each.location, each.to) for each in events} == {(one.location, two.location)}
    assert await contents(two) == before
    assert await contents(one) == []


async def test_only_letters_that_are_meant_and_free_move(folder: Path) -> None:
    """Somebody's claim is respected."""
    one, two = queue_in(folder, "one.jsonl"), queue_in(folder, "two.jsonl")
    for number in range(4):
        await one.send_to_dlq(number, {"error_type": "Odd" if number % 2 else "Even"})
    await one.receive_from_dlq(1, where=LetterFilter(error="Odd"))
    assert await one.move(LetterFilter(error="Odd"), to=two) == 1
    assert [each.message for each in await two.peek()] == [3]
    assert [each.message for each in await one.peek()] == [0, 1, 2]


async def test_moving_to_itself_or_to_nothing_is_refused(folder: Path) -> None:
    """The same file by another object is the same queue."""
    dlq = queue_in(folder, "one.jsonl")
    with pytest.raises(ValueError, match="to must be another queue than"):
        await dlq.move(to=queue_in(folder, "one.jsonl"))
    with pytest.raises(TypeError, match="to must be a DeadLetterQueue, not 'two'"):
        await dlq.move(to="two")  # type: ignore[arg-type]


class Refusing(MemoryStore):
    """A store that takes nothing."""

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        await anyio.lowlevel.checkpoint()
        raise LetterNotKeptError("full", location=self.location)


async def test_a_letter_that_the_other_queue_does_not_take_stays_and_is_free(folder: Path) -> None:
    """The first error ends the move."""
    one = queue_in(folder, "one.jsonl")
    for number in range(3):
        await one.send_to_dlq(number, ERROR)
    with pytest.raises(LetterNotKeptError, match="full"):
        await one.move(to=DeadLetterQueue(store=Refusing("full")))
    assert [each.status for each in await one.peek()] == [LetterStatus.WAITING] * 3


async def test_a_cancelled_move_gives_its_claims_back(folder: Path) -> None:
    """What has not arrived is free again where it was."""

    class Slow(MemoryStore):
        async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
            reached.set()
            await anyio.sleep_forever()
            return letter_id

    reached = anyio.Event()
    one = queue_in(folder, "one.jsonl")
    for number in range(3):
        await one.send_to_dlq(number, ERROR)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: one.move(to=DeadLetterQueue(store=Slow("slow"))))
        await reached.wait()
        group.cancel_scope.cancel()
    assert [each.status for each in await one.peek()] == [LetterStatus.WAITING] * 3


@pytest.mark.slow("kills processes in the middle of a move")
def test_a_process_that_is_killed_while_it_moves_loses_no_letter(folder: Path) -> None:
    """Each letter is in one of the queues, or in both; moving again makes one of them."""
    send = """
        import anyio, sys
        from resilio.deadletters.queue import DeadLetterQueue
        async def main():
            dlq = DeadLetterQueue(local_file_path=sys.argv[1])
            async with anyio.create_task_group() as group:
                for number in range(300):
                    group.start_soon(dlq.send_to_dlq, number, {})
        anyio.run(main)
    """
    move = """
        import anyio, sys
        from resilio.deadletters.queue import DeadLetterQueue
        one, two = (DeadLetterQueue(local_file_path=each) for each in sys.argv[1:3])
        anyio.run(lambda: one.move(to=two))
    """
    one, two = folder / "one.jsonl", folder / "two.jsonl"
    run_python(textwrap.dedent(send), one)
    for size in (1, 20_000, 60_000):
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(move), str(one), str(two)]) as process:  # noqa: S603
            while process.poll() is None and (size_of(two) or 0) < size:
                clock.sleep_blocking(0.0005)
            process.kill()

    async def found() -> tuple[list[Any], list[Any]]:
        queues = [DeadLetterQueue(local_file_path=each) for each in (one, two)]
        here, there = [[each.message for each in await dlq.peek(1000)] for dlq in queues]
        return here, there

    here, there = anyio.run(found)
    assert {*here, *there} == set(range(300))
    assert here
    assert there
    with hand_clock() as time:
        time.now = SystemClock().utcnow() + timedelta(minutes=2)  # the claims of the dead have run out
        source, target = DeadLetterQueue(local_file_path=one), DeadLetterQueue(local_file_path=two)
        assert anyio.run(lambda: source.move(to=target)) == len(here)
    here, there = anyio.run(found)
    assert (here, sorted(there)) == ([], list(range(300)))
