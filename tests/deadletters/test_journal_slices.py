from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, lines_of

from resilio.deadletters import journal_chores, journal_compaction
from resilio.deadletters.errors import LetterNotKeptError
from resilio.deadletters.events import CompactionFailed, DamagedLineSetAside, JournalCompacted
from resilio.deadletters.journal import Journal
from resilio.deadletters.journal_file import JournalFile
from resilio.deadletters.letter import new_body
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.lines import seal
from resilio.deadletters.store import Add, Book, ClaimNext, ClaimOne, Edit, Park, Purge, Release, Remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    from letter_kit import HandClock


@pytest.fixture(autouse=True)
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compactions are worth it early, and take many steps."""
    monkeypatch.setattr(journal_chores, "FEW_LINES", 20)
    monkeypatch.setattr(journal_chores, "SMALL", 0)
    monkeypatch.setattr(journal_compaction, "_BLOCK", 2)
    monkeypatch.setattr(journal_compaction, "_PIECE", 300)


def put(time: HandClock, number: int, message: object = "hello") -> Add:
    """Keep a letter."""
    letter_id = f"{number:04}"
    return Add(letter_id, new_body(letter_id, message, {"error_type": "E"}, time.now, group=f"g{number % 3}"))


def seen(journal: Journal) -> list[dict[str, Any]]:
    """All letters."""
    return [each.to_dict() for each in journal.peek(10_000)]


def finish(journal: Journal) -> None:
    """Do all that is due."""
    while journal.tidy(is_idle=True):
        pass


@pytest.fixture
def ready(path: Path, time: HandClock) -> Journal:
    """A journal that is to be written anew: letters of every kind, and more dead lines than live ones."""
    journal = Journal(path)
    journal.commit([put(time, n) for n in range(20)])
    journal.commit([Book("0001", "t", {"error_type": "Again"}, time.now, None), Edit("0002", "edited")])
    journal.commit([Book("0003", "t", {"error_type": "Last"}, time.now, 1), Park("0004", is_parked=True)])
    journal.commit([Book("0005", "t", {}, time.now, 1), Park("0005", is_parked=False), ClaimOne("0006", 90.0, "mine")])
    for number in range(30):
        journal.commit([ClaimNext(1, 1.0, f"t{number}"), Release(f"t{number}")])
    return journal


def test_letters_of_every_kind_are_as_before(path: Path, ready: Journal) -> None:
    """For the one who wrote the journal anew, for one who had it open, and for one who opens it."""
    other = Journal(path)
    before = seen(other)
    inode = path.stat().st_ino
    with heard(JournalCompacted) as events:
        finish(ready)
    assert len(events) == 1
    assert path.stat().st_ino != inode
    assert events[0].before > events[0].after == path.stat().st_size
    assert seen(ready) == seen(other) == seen(Journal(path)) == before
    for journal in (ready, other):
        finish(journal)
        assert not journal._log.file.has_former
        assert seen(journal) == before
        assert journal._log.index.lines == journal._log.index.needed + 1  # the claim


@pytest.mark.slow("each step is looked at from three sides")
def test_senders_go_on_between_the_steps(path: Path, time: HandClock, ready: Journal) -> None:
    """All that happens meanwhile, here and in another process, is in the new file."""
    other = Journal(path)
    steps = 0
    with heard(JournalCompacted) as events:
        while ready.tidy(is_idle=True):
            steps += 1
            if steps > 60:
                continue
            one = f"{steps % 20:04}"
            other.commit([put(time, 100 + steps), Edit(one, steps), Remove(f"{19 - steps:04}")])
            ready.commit([put(time, 200 + steps), ClaimOne(one, 90.0, f"s{steps}"), Release(f"s{steps - 1}")])
            ready.commit([Book(one, f"s{steps}", {"n": steps}, time.now, steps % 4), put(time, 19 - steps, "again")])
            assert seen(ready) == seen(other)
    assert events
    assert steps > 60
    finish(other)
    assert seen(ready) == seen(other) == seen(Journal(path))
    assert [each["id"] for each in seen(ready)].count("0101") == 1


def test_nobody_who_knows_the_old_file_reads_the_new_one_first(
    path: Path, time: HandClock, ready: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go on where it ended: a million letters would take seconds, and all would wait."""
    other = Journal(path)
    before = seen(other)
    finish(ready)
    read: list[bytes] = []
    real = JournalFile.new_lines

    def noted(file: JournalFile) -> Iterator[tuple[int, bytes]]:
        for place, found in real(file):
            read.append(found)
            yield place, found

    monkeypatch.setattr(JournalFile, "new_lines", noted)
    ready.commit([put(time, 300)])
    assert seen(other)[:-1] == before
    assert len(read) == 1


def test_a_process_that_slept_through_two_compactions_reads_anew(path: Path, time: HandClock, ready: Journal) -> None:
    """The file that it knows is not the one that the present one came from."""
    other = Journal(path)
    before = seen(other)
    for _ in range(2):
        finish(ready)
        for number in range(40):
            ready.commit([ClaimNext(1, 1.0, f"t{number}"), Release(f"t{number}")])
    assert seen(other) == before
    assert not other._log.file.has_former


@pytest.mark.slow("opens a journal for each step")
def test_a_crash_at_any_step_loses_nothing(path: Path, folder: Path, time: HandClock, ready: Journal) -> None:
    """What lies in the folder after each step is a whole journal, whatever else lies there."""
    places: list[Path] = []
    while ready.tidy(is_idle=True):
        place = folder / f"step {len(places)}"
        place.mkdir()
        for each in folder.glob(f"{path.name}*"):
            shutil.copy(each, place)
        places.append(place)
        ready.commit([put(time, 400 + len(places))])
    assert sum((place / f"{path.name}.compact").exists() for place in places) > 5
    for number, place in enumerate(places):
        journal = Journal(place / path.name)
        ids = [each["id"] for each in seen(journal)]
        assert ids == [*(f"{n:04}" for n in range(20)), *(f"{400 + n:04}" for n in range(1, number + 1))]
        finish(journal)
        assert [each["id"] for each in seen(journal)] == ids
        assert not (place / f"{path.name}.compact").exists()


def test_of_two_processes_only_one_does_it(path: Path, ready: Journal) -> None:
    """The other one goes about its business and follows."""
    other = Journal(path)
    assert other.stats().total == 20
    with heard(JournalCompacted) as events:
        assert ready.tidy(is_idle=True)
        assert not other.tidy(is_idle=True)
        finish(ready)
        other.stats()
        finish(other)
    assert len(events) == 1


@pytest.mark.slow("opens a journal for each step")
def test_a_letter_deleted_and_sent_again_meanwhile_is_the_new_one(path: Path, time: HandClock, ready: Journal) -> None:
    """Its id was written aside already, with the old message of the same length."""
    for _ in range(10):
        assert ready.tidy(is_idle=True)
    ready.commit([Remove("0010"), put(time, 10, "HELLO")])
    for _ in range(200):
        ready.tidy(is_idle=True)
        for journal in (ready, Journal(path)):
            letter = journal.get("0010")
            assert letter is not None
            assert letter.message == "HELLO"


def test_everything_deleted_meanwhile_stays_deleted(path: Path, time: HandClock, ready: Journal) -> None:
    """Also letters that are written aside already."""
    for _ in range(8):
        assert ready.tidy(is_idle=True)
    ready.commit([Purge(), put(time, 500)])
    finish(ready)
    assert [each["id"] for each in seen(ready)] == [each["id"] for each in seen(Journal(path))] == ["0500"]


def test_a_line_damaged_meanwhile_is_set_aside(path: Path, ready: Journal) -> None:
    """The others go into the new file, and the damaged one's bytes are kept."""
    before = [each["id"] for each in seen(ready)]
    whole = path.read_bytes()
    at = whole.index(b'"id":"0015"')
    with path.open("r+b") as file:
        file.seek(at + 30)
        file.write(b"#")
    with heard(DamagedLineSetAside) as events:
        finish(ready)
    assert len(events) == 1
    assert b'"id":"0015"' in path.with_name(f"{path.name}.damaged").read_bytes()
    before.remove("0015")
    assert [each["id"] for each in seen(ready)] == [each["id"] for each in seen(Journal(path))] == before


def test_a_journal_replaced_by_somebody_else_meanwhile_is_left_alone(
    path: Path, folder: Path, time: HandClock, ready: Journal
) -> None:
    """A backup that was put in its place is not overwritten with what was there before."""
    for _ in range(5):
        assert ready.tidy(is_idle=True)
    backup = folder / "backup.jsonl"
    Journal(backup).commit([put(time, 600)])
    backup.replace(path)
    finish(ready)
    assert [each["id"] for each in seen(ready)] == ["0600"]


def test_a_failed_write_meanwhile_leaves_it(
    path: Path, time: HandClock, ready: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known then is read from the disk again; the next compaction begins from the beginning."""
    before = seen(ready)
    for _ in range(5):
        assert ready.tidy(is_idle=True)

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("resilio.deadletters.journal_file.sync", refuse)
        with pytest.raises(LetterNotKeptError):
            ready.commit([put(time, 700)])
    finish(ready)
    assert seen(ready) == seen(Journal(path)) == before


@pytest.mark.parametrize("step", [1, 4, 8, 10])
def test_a_disk_that_is_full_in_the_middle_of_it_is_told_of(
    path: Path, time: HandClock, ready: Journal, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """What was written aside is deleted, and the journal goes on as it is."""
    before = seen(ready)
    for _ in range(step):
        assert ready.tidy(is_idle=True)
    real = os.write

    def full(fd: int, data: Any) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink().name.endswith(".compact"):
            raise OSError(28, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patch, heard(CompactionFailed) as events:
        patch.setattr(os, "write", full)
        finish(ready)
        ready.commit([put(time, 800)])
        finish(ready)
    assert len(events) == 1
    assert not path.with_name(f"{path.name}.compact").exists()
    assert seen(ready)[:-1] == seen(Journal(path))[:-1] == before


def test_files_of_the_first_release_open_as_they_are(path: Path, time: HandClock) -> None:
    """Their lines know no group, key, history, edits and origin; they can be used, and written anew."""
    at = '"2025-01-01T00:00:00.000000+00:00"'
    letter_then = (
        f'{{"id":"1","message":{{"a":1}},"error_info":{{"error_type":"E"}},"attempts":0,"first_failed_at":{at},'
    )
    letter_then += f'"last_failed_at":{at},"status":"waiting"}}'
    old = [
        '{"op":"journal","format":"resilio dead letters","version":1',
        f'{{"op":"put","letter":{letter_then}',
        f'{{"op":"claim","ids":["1"],"token":"t","until":{at}',
        f'{{"op":"attempt","id":"1","attempts":1,"last_failed_at":{at},"parked":false,"token":"t","error_info":{{"a":1}}',
    ]
    path.write_bytes(b"".join(seal(each.encode()) for each in old))
    journal = Journal(path)
    letter = journal.get("1")
    assert letter is not None
    assert (letter.message, letter.attempts, letter.error_info) == ({"a": 1}, 1, {"a": 1})
    assert (letter.schema, letter.group, letter.history) == (1, "", ())
    journal.commit([Book("1", "u", {"error_type": "Now"}, time.now, None)])
    for number in range(30):
        journal.commit([ClaimNext(1, 1.0, f"t{number}"), Release(f"t{number}")])
    finish(journal)
    assert [each["op"] for each in lines_of(path)][:4] == ["journal", "origin", "put", "attempt"]
    letter = Journal(path).get("1")
    assert letter is not None
    assert (letter.attempts, [each["error_type"] for each in letter.history]) == (2, ["Now"])


def test_a_filter_that_had_to_read_letters_remembers_which_it_does_not_mean(
    path: Path, time: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until they change; and those that it passed over keep their places."""
    journal = Journal(path)
    journal.commit([put(time, n, {"text": "odd" if n % 2 else "even"}) for n in range(10)])
    loads: list[str] = []
    real = journal._log.load

    def noted(letter_id: str) -> Any:
        loads.append(letter_id)
        return real(letter_id)

    monkeypatch.setattr(journal._log, "load", noted)
    odd = LetterFilter(text="ODD")
    for expected in ("0001", "0003"):
        [claims] = journal.commit([ClaimNext(1, 90.0, expected, odd)])
        assert isinstance(claims, list)
        assert [each.letter.id for each in claims] == [expected]
    assert loads == ["0000", "0001", "0001", "0002", "0003", "0003"]
    journal.commit([Edit("0002", {"text": "odd now"})])
    assert [each.id for each in journal.peek(2, where=odd)] == ["0001", "0002"]
    [claims] = journal.commit([ClaimNext(3, 90.0, "all", EVERY_LETTER)])
    assert isinstance(claims, list)
    assert [each.letter.id for each in claims] == ["0000", "0002", "0004"]
