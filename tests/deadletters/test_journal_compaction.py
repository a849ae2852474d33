from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, lines_of

from resilio.deadletters.events import CompactionFailed, JournalCompacted
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterStatus, new_body
from resilio.deadletters.store import Add, Book, Claim, ClaimNext, ClaimOne, Purge, Remove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from letter_kit import HandClock

    from resilio.deadletters.store import Operation


def puts(time: HandClock, numbers: Sequence[int]) -> list[Operation]:
    """Operations that keep letters."""
    return [Add(f"{each:05}", new_body(f"{each:05}", each, {"error_type": "E"}, time.now)) for each in numbers]


def removals(numbers: Sequence[int]) -> list[Operation]:
    """Operations that remove them."""
    return [Remove(f"{each:05}") for each in numbers]


def snapshot(path: Path) -> list[dict[str, Any]]:
    """All letters as a fresh opening finds them."""
    return [each.to_dict() for each in Journal(path).peek(10_000)]


@pytest.fixture
def busy(path: Path, time: HandClock) -> Journal:
    """A journal that is about to be written anew: a letter of every kind, and nearly as many dead lines as it takes."""
    journal = Journal(path)
    journal.commit(puts(time, range(540)))
    journal.commit([Book("00500", "t", {"error_type": "Again"}, time.now, None)])
    journal.commit([Book("00501", "t", {"error_type": "Last"}, time.now, 1)])
    journal.commit([ClaimOne("00502", 30.0, "mine"), ClaimOne("00503", 0.5, "ran out")])
    time.advance(1)
    journal.commit(removals(range(498)))
    return journal


def test_a_journal_of_mostly_dead_lines_is_written_anew(path: Path, time: HandClock, busy: Journal) -> None:
    """Letters, attempts, parking and claims are as before; the dead lines are gone."""
    before = path.stat()
    with heard(JournalCompacted) as events:
        assert snapshot(path)[0]["id"] == "00498"
        expected = snapshot(path)[2:]
        busy.commit(removals([498, 499]))
    [event] = events
    assert event.before > event.after == path.stat().st_size
    assert path.stat().st_ino != before.st_ino
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ops = [each["op"] for each in lines_of(path)]
    assert ops == ["journal", "origin", "put", "attempt", "put", "attempt", "put", "claim", *(["put"] * 37)]
    assert snapshot(path) == expected
    assert {each["id"]: each["status"] for each in expected[:4]} == {
        "00500": LetterStatus.WAITING,
        "00501": LetterStatus.PARKED,
        "00502": LetterStatus.CLAIMED,
        "00503": LetterStatus.WAITING,
    }
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_the_one_who_compacted_goes_on_without_reading_anything_anew(
    path: Path, time: HandClock, busy: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index knows where the lines lie now."""
    busy.commit(removals([498, 499]))
    monkeypatch.setattr("resilio.deadletters.journal_file.JournalFile.new_lines", None)
    assert busy.stats().total == 40
    letter = busy.get("00501")
    assert letter is not None
    assert (letter.attempts, letter.status) == (1, LetterStatus.PARKED)
    [claims] = busy.commit([ClaimNext(3, 30.0, "next")])
    assert isinstance(claims, list)
    # The claim on 503 ran out, and 500 failed: they went to the end; 501 is parked and 502 claimed.
    assert [each.letter.id for each in claims if isinstance(each, Claim)] == ["00504", "00505", "00506"]
    busy.commit(puts(time, [700]))
    assert [each.id for each in busy.peek(1000)][-1] == "00700"


def test_others_notice_that_the_file_was_replaced(path: Path, time: HandClock, busy: Journal) -> None:
    """A journal that had the old file open reads the new one, and its letters go there."""
    other = Journal(path)
    assert other.stats().total == 42
    busy.commit(removals([498, 499]))
    assert other.stats().total == 40
    other.commit(puts(time, [800]))
    letter = busy.get("00800")
    assert letter is not None


def test_others_notice_that_too_when_the_new_file_has_grown_past_the_old_one(
    path: Path, time: HandClock, busy: Journal
) -> None:
    """A file is told from another by what it is, not by its size."""
    other = Journal(path)
    assert other.stats().total == 42
    size = path.stat().st_size
    busy.commit(removals([498, 499]))
    busy.commit(puts(time, range(1000, 2000)))
    assert path.stat().st_size > size
    assert [each.to_dict() for each in other.peek(10_000)] == snapshot(path)


def test_purging_leaves_a_small_file(path: Path, time: HandClock) -> None:
    """Nothing is left but the first two lines."""
    journal = Journal(path)
    journal.commit(puts(time, range(1200)))
    assert journal.commit([Purge()]) == [1200]
    assert [each["op"] for each in lines_of(path)] == ["journal", "origin"]
    assert journal.stats().total == 0


@pytest.mark.slow("thousands of letters")
def test_a_journal_of_mostly_live_lines_is_left_alone(path: Path, time: HandClock) -> None:
    """Writing anew pays only where most lines are dead; a few hundred never matter."""
    journal = Journal(path)
    with heard(JournalCompacted) as events:
        journal.commit(puts(time, range(3000)))
        journal.commit(removals(range(1000)))
        assert events == []
        journal.commit(removals(range(1000, 2100)))
    assert len(events) == 1


class FullDisk:
    """A disk that refuses one step of writing a journal anew."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._open, self._write, self._sync = os.open, os.write, os.fdatasync

    def refuse(self, *_: object) -> Any:
        raise OSError(28, "No space left on device")

    def refuses_to_open(self) -> None:
        self._patch.setattr(os, "open", lambda name, *how: (self.refuse if _is_aside(name) else self._open)(name, *how))

    def refuses_to_write(self) -> None:
        self._patch.setattr(
            os, "write", lambda fd, data: (self.refuse if _is_aside(_name(fd)) else self._write)(fd, data)
        )

    def refuses_to_sync(self) -> None:
        self._patch.setattr(os, "fdatasync", lambda fd: (self.refuse if _is_aside(_name(fd)) else self._sync)(fd))

    def refuses_to_rename(self) -> None:
        self._patch.setattr("pathlib.Path.replace", self.refuse)

    def refuses_to_sync_the_name(self) -> None:
        self._patch.setattr("resilio.deadletters.journal_file.sync_directory", self.refuse)


def _is_aside(name: object) -> bool:
    return str(name).endswith(".compact")


def _name(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


@pytest.mark.parametrize("step", [name for name in vars(FullDisk) if name.startswith("refuses")])
def test_a_compaction_that_fails_anywhere_loses_nothing(
    path: Path, time: HandClock, busy: Journal, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The disk refuses at each step in turn: the batch stands, all letters are there, and the queue goes on."""
    expected = snapshot(path)[2:]
    with monkeypatch.context() as patch, heard(CompactionFailed) as events:
        getattr(FullDisk(patch), step)()
        assert busy.commit(removals([498, 499])) == [True, True]
    assert ["No space left" in each.error for each in events] == [True]
    assert snapshot(path) == expected
    busy.commit(puts(time, [900]))
    assert [each["id"] for each in snapshot(path)] == [*(each["id"] for each in expected), "00900"]


def test_after_a_failed_compaction_the_next_waits_until_it_pays_more(
    path: Path, time: HandClock, busy: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not asked again with every batch."""
    with monkeypatch.context() as patch, heard(CompactionFailed) as events:
        patch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        busy.commit(removals([498, 499]))
        for number in range(504, 539):
            busy.commit(removals([number]))
    assert len(events) == 1


def test_a_compaction_that_was_cut_short_is_swept_up_by_the_next(path: Path, time: HandClock, busy: Journal) -> None:
    """What a process that died has left beside the journal does no harm."""
    path.with_name(path.name + ".compact").write_bytes(b"half a journal")
    expected = snapshot(path)[2:]
    busy.commit(removals([498, 499]))
    assert snapshot(path) == expected
    assert not path.with_name(path.name + ".compact").exists()
