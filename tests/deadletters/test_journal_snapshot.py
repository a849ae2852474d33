from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, size_of

from resilio.deadletters import journal_chores, journal_log, journal_snapshot
from resilio.deadletters.events import SnapshotFailed
from resilio.deadletters.journal import Journal
from resilio.deadletters.journal_file import JournalFile
from resilio.deadletters.letter import new_body
from resilio.deadletters.lines import seal
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.store import Add, Book, ClaimNext, ClaimOne, Edit, Park, Release, Remove

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letter_kit import HandClock


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots are worth it from the first line on, and are written in many small steps."""
    monkeypatch.setattr(journal_chores, "LARGE", 0)
    monkeypatch.setattr(journal_chores, "MANY_LINES", 1)
    monkeypatch.setattr(journal_snapshot, "_BLOCK", 3)
    monkeypatch.setattr(journal_log, "_MUCH", 0)


def put(time: HandClock, letter_id: str, key: str | None = None) -> Add:
    """Keep a letter."""
    body = new_body(letter_id, {"of": letter_id}, {"error_type": "E"}, time.now, group=f"group {letter_id[:1]}")
    return Add(letter_id, body, key)


def everything(path: Path) -> dict[str, Any]:
    """All that a fresh opening knows of the letters, and whom it would hand out next."""
    journal = Journal(path)
    index = journal._log.index
    letters = [each.to_dict() for each in journal.peek(10_000)]
    index = journal._log.index
    found = {
        "letters": letters,
        "groups": journal.stats().groups,
        "keys": dict(index.keys),
        "held": {token: sorted(held) for token, held in index.held.items()},
        "needed": index.needed,
        "next": index.next_free(10_000, 4e9),
    }
    journal._log.file.close()
    return found


def save(journal: Journal) -> None:
    """Have the snapshot written."""
    while journal.tidy(is_idle=True):
        pass


@pytest.fixture
def busy(path: Path, time: HandClock) -> Journal:
    """A journal with letters of every kind, its snapshot beside it, and a few lines since."""
    journal = Journal(path)
    journal.commit([put(time, f"a{n}") for n in range(8)])
    journal.commit([put(time, "keyed", "key"), put(time, "ü 🐈")])
    journal.commit([Book("a1", "t", {"error_type": "Again"}, time.now, None, time.now + timedelta(seconds=9))])
    journal.commit([Book("a2", "t", {"error_type": "Last"}, time.now, 1), ClaimOne("a3", 30.0, "mine")])
    journal.commit([Edit("a4", "new"), Park("a5", is_parked=True), Book("a6", "t", {}, time.now, 1)])
    journal.commit([Park("a6", is_parked=False), ClaimNext(2, 30.0, "two"), Release("two"), Remove("a7")])
    save(journal)
    journal.commit([put(time, "b1"), Remove("a1"), Edit("a2", "since"), Book("a3", "mine", {}, time.now, None)])
    return journal


def index_file(path: Path) -> Path:
    """The snapshot."""
    return path.with_name(path.name + ".index")


@pytest.fixture
def expected(path: Path, busy: Journal) -> dict[str, Any]:
    """What a full reading gives."""
    kept = index_file(path).rename(path.with_name("kept"))
    found = everything(path)
    kept.rename(index_file(path))
    return found


@pytest.fixture
def lines_read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The lines of journals that are read."""
    read: list[bytes] = []
    real = JournalFile.new_lines

    def noted(file: JournalFile) -> Iterator[tuple[int, bytes]]:
        for place, found in real(file):
            read.append(found)
            yield place, found

    monkeypatch.setattr(JournalFile, "new_lines", noted)
    return read


def test_opening_reads_only_what_came_since_the_snapshot(
    path: Path, expected: dict[str, Any], lines_read: list[bytes]
) -> None:
    """And comes to the same as reading all of it."""
    assert everything(path) == expected
    assert len(lines_read) == 4
    assert [each["id"] for each in expected["letters"]][-1] == "b1"


def test_a_snapshot_that_is_torn_anywhere_is_not_trusted(path: Path, expected: dict[str, Any]) -> None:
    """The journal is read instead, and nobody is told of an error."""
    whole = index_file(path).read_bytes()
    for length in range(0, len(whole), 37):
        index_file(path).write_bytes(whole[:length])
        assert everything(path) == expected, length


def test_a_snapshot_that_is_damaged_anywhere_is_not_trusted(path: Path, expected: dict[str, Any]) -> None:
    """One wrong byte is enough."""
    whole = index_file(path).read_bytes()
    for at in range(0, len(whole), 23):
        index_file(path).write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert everything(path) == expected, at


@pytest.mark.parametrize(
    ("was", "now"),
    [(b'"layout":1', b'"layout":2'), (b'"order":"little"', b'"order":"middle"'), (b'"op":"index"', b'"op":"other"')],
)
def test_a_snapshot_of_another_layout_is_not_trusted(
    path: Path, expected: dict[str, Any], was: bytes, now: bytes
) -> None:
    """A later release's, or another machine's: sealed and whole, and not for us."""
    first, rest = index_file(path).read_bytes().split(b"\n", 1)
    assert was in first
    index_file(path).write_bytes(seal(first.replace(was, now)[: -len(',"crc":"00000000"}')]) + rest)
    assert everything(path) == expected


def test_a_snapshot_of_another_journal_is_not_trusted(path: Path, folder: Path, time: HandClock, busy: Journal) -> None:
    """Also when that journal lies at the path now: restored from a backup, or moved there."""
    other = folder / "other.jsonl"
    Journal(other).commit([put(time, f"z{n}") for n in range(300)])
    assert (size_of(other) or 0) > (size_of(path) or 0)
    other.replace(path)
    assert [each["id"] for each in everything(path)["letters"]] == [f"z{n}" for n in range(300)]


def test_a_snapshot_of_a_journal_that_was_changed_is_not_trusted(path: Path, time: HandClock, busy: Journal) -> None:
    """The same file with other contents: cut short, or cut and grown again."""
    whole = path.read_bytes()
    short = whole[: whole.index(b'{"op":"attempt"')]
    with path.open("r+b") as file:
        file.truncate(len(short))
    cut = everything(path)
    assert [each["id"] for each in cut["letters"]][:3] == ["a0", "a1", "a2"]
    assert cut["letters"][1]["attempts"] == 0
    Journal(path).commit([put(time, f"c{n}") for n in range(50)])
    assert (size_of(path) or 0) > len(whole)
    assert len(everything(path)["letters"]) == len(cut["letters"]) + 50


def test_what_is_no_file_does_not_matter(path: Path, expected: dict[str, Any]) -> None:
    """A directory in the snapshot's place."""
    index_file(path).unlink()
    index_file(path).mkdir()
    assert everything(path) == expected


def test_the_journal_may_go_on_while_the_snapshot_is_written(path: Path, time: HandClock) -> None:
    """Between any two steps letters come, go, change and are handed out: what is read comes to the same."""
    journal = Journal(path)
    journal.commit([put(time, f"a{n:02}", f"key {n}") for n in range(40)])
    count = 0
    while journal.tidy(is_idle=True):
        count += 1
        one = f"a{count % 40:02}"
        Journal(path).commit([Book(one, "t", {"error_type": "E"}, time.now, 2), ClaimOne(one, 30.0, f"t{count}")])
        journal.commit([put(time, f"b{count:02}"), Remove(f"a{39 - count:02}"), Edit(f"a{count + 5:02}", count)])
        journal.commit([Remove("a00"), put(time, "a00", "key 0"), Release(f"t{count - 1}"), ClaimNext(1, 30.0, "next")])
        if count == 12:
            break
    assert count == 12
    save(journal)
    found = everything(path)
    index_file(path).unlink()
    full = everything(path)
    assert sorted(found.pop("next")) == sorted(full.pop("next"))  # in which order is a matter of who saw what when
    assert found == full


def test_a_disk_that_refuses_the_snapshot_is_told_of_and_nothing_else_happens(
    path: Path, time: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again only when there is much more to save."""
    journal = Journal(path)
    journal.commit([put(time, f"a{n}") for n in range(8)])

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with heard(SnapshotFailed) as events, monkeypatch.context() as patch:
        patch.setattr("resilio.deadletters.journal_aside.write_all", refuse)
        save(journal)
        save(journal)
        journal.commit([put(time, "b")])
        save(journal)
    assert ["No space left" in each.error for each in events] == [True]
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    assert len(everything(path)["letters"]) == 9


def test_only_one_process_writes_it_at_a_time(path: Path, time: HandClock) -> None:
    """The other one leaves it, and what it finds later is good enough."""
    one, other = Journal(path), Journal(path)
    one.commit([put(time, f"a{n}") for n in range(20)])
    assert other.stats().total == 20
    assert one.tidy(is_idle=True)
    assert not other.tidy(is_idle=True)
    save(one)
    written = index_file(path).stat().st_ino
    other.commit([put(time, "b")])
    other._chores._save_from = 0
    save(other)
    assert index_file(path).stat().st_ino == written


def test_a_snapshot_is_written_when_the_journal_is_closed(path: Path, time: HandClock) -> None:
    """A process that does one thing and ends leaves the next one less to read; only the owner may read it."""
    journal = Journal(path)
    journal.commit([put(time, "a")])
    journal.close()
    assert index_file(path).stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_a_queue_that_is_closed_leaves_one(path: Path) -> None:
    """Nobody has to ask for it."""
    dlq = DeadLetterQueue(local_file_path=path)
    await dlq.send_to_dlq("hello", {})
    await dlq.aclose()
    assert size_of(index_file(path))
    assert [each.message for each in await DeadLetterQueue(local_file_path=path).peek()] == ["hello"]
