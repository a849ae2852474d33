from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from letter_kit import heard, lines_of

from resilio.deadletters import lines
from resilio.deadletters.events import DamagedLineSetAside, TornTailRepaired
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import new_body
from resilio.deadletters.store import Add, Book, ClaimNext, Remove

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from letter_kit import HandClock

pytestmark = pytest.mark.usefixtures("time")


def put(time: HandClock, letter_id: str, message: object = "hello") -> Add:
    """An operation that keeps a letter."""
    return Add(letter_id, new_body(letter_id, message, {"error_type": "E"}, time.now))


def ids_of(path: Path) -> list[str]:
    """The letters that a fresh opening finds."""
    return [each.id for each in Journal(path).peek(1000)]


def kept(time: HandClock, path: Path, *letter_ids: str) -> bytes:
    """Keep letters, and return what the file holds then."""
    Journal(path).commit([put(time, each) for each in letter_ids])
    return path.read_bytes()


# -- a torn tail -------------------------------------------------------------------------------------------------------


@pytest.mark.slow("tears the line at each of its bytes")
def test_a_torn_tail_is_cut_off_before_the_next_append_wherever_it_is_torn(path: Path, time: HandClock) -> None:
    """Cut the last line at each of its bytes: the letters before stay, the next one is kept, and nothing is glued."""
    whole = kept(time, path, "a", "b", "c")
    before = whole.rindex(b"\n", 0, -1) + 1
    for size in range(before, len(whole) - 1):
        path.write_bytes(whole[:size])
        with heard(TornTailRepaired, DamagedLineSetAside) as events:
            Journal(path).commit([put(time, "d")])
        torn = size - before
        assert [(type(each).__name__, each.length) for each in events] == [("TornTailRepaired", torn)] * bool(torn)
        assert ids_of(path) == ["a", "b", "d"]
        assert path.read_bytes()[:before] == whole[:before]


def test_a_last_line_that_lacks_only_its_end_is_completed(path: Path, time: HandClock) -> None:
    """An editor that drops the final line end costs no letter."""
    whole = kept(time, path, "a", "b")
    path.write_bytes(whole[:-1])
    with heard(TornTailRepaired) as events:
        assert ids_of(path) == ["a", "b"]
    assert [each.length for each in events] == [0]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"garbage \xff\xfe", b'{"op":"put","letter":{"id":"x"'])
def test_a_tail_of_anything_is_cut_off(path: Path, time: HandClock, tail: bytes) -> None:
    """Zeros, as file systems leave them after a power cut, or garbage."""
    whole = kept(time, path, "a")
    path.write_bytes(whole + tail)
    assert ids_of(path) == ["a"]
    assert path.read_bytes() == whole


def test_a_tail_that_another_process_left_is_repaired_by_whoever_comes_next(path: Path, time: HandClock) -> None:
    """A journal that is open already notices a torn tail that appears behind its back."""
    journal = Journal(path)
    journal.commit([put(time, "a")])
    with path.open("ab") as other:
        other.write(b'{"op":"put","letter":{"id":"torn"')
    journal.commit([put(time, "b")])
    assert ids_of(path) == ["a", "b"]
    assert b"torn" not in path.read_bytes()


@pytest.mark.parametrize("size", range(0, len(lines.HEADER), 7))
@pytest.mark.parametrize("fill", [b"", b"\0" * 200])
def test_a_file_whose_very_first_line_is_torn_is_begun_anew(
    path: Path, time: HandClock, size: int, fill: bytes
) -> None:
    """A process that died while it made the file leaves nothing that stops the next one."""
    path.write_bytes((lines.HEADER[:size] + fill)[: len(lines.HEADER)])
    kept(time, path, "a")
    assert ids_of(path) == ["a"]
    assert path.read_bytes().startswith(lines.HEADER)


# -- damage in the middle ----------------------------------------------------------------------------------------------


def flipped(whole: bytes, at: int) -> bytes:
    """The same with one bit changed."""
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


def test_a_damaged_line_is_set_aside_and_told_once(path: Path, time: HandClock) -> None:
    """The letters around it are read; the line goes to a file of its own; the journal is whole JSON lines again."""
    whole = kept(time, path, "a", "b", "c")
    at = whole.index(b'"id":"b"')
    start = whole.rindex(b"\n", 0, at) + 1
    end = whole.index(b"\n", at)
    path.write_bytes(flipped(whole, at + 30))
    aside = path.with_name(path.name + ".damaged")
    with heard(DamagedLineSetAside) as events:
        assert ids_of(path) == ["a", "c"]
        assert ids_of(path) == ["a", "c"]
    assert [(each.offset, each.length, each.kept_in) for each in events] == [(start, end - start, str(aside))]
    assert aside.read_bytes() == flipped(whole, at + 30)[start:end] + b"\n"
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert [each["op"] for each in lines_of(path)] == ["journal", "put", "put"]
    kept(time, path, "d")
    assert ids_of(path) == ["a", "c", "d"]


@pytest.mark.slow("damages the file in many places")
def test_damage_anywhere_is_never_fatal(path: Path, time: HandClock) -> None:
    """Flip one bit at a time, all through the file: at most the letter of that line is missing."""
    whole = kept(time, path, "a", "b", "c")
    for at in range(0, len(whole), 3):
        path.write_bytes(flipped(whole, at))
        found = ids_of(path)
        assert len(found) >= 2 or whole[at : at + 1] == b"\n"
        Journal(path).commit([put(time, "d")])
        assert ids_of(path) == [*found, "d"]


def test_a_line_glued_to_a_torn_one_is_saved(path: Path, time: HandClock) -> None:
    """Where a program appended to a torn line, its own line is found within, and only the torn part is set aside."""
    whole = kept(time, path, "a", "b")
    last = whole[whole.rindex(b"\n", 0, -1) + 1 :]
    glued = lines.put_line(new_body("glued", "x", {}, time.now))
    path.write_bytes(whole + last[:40] + glued)
    with heard(DamagedLineSetAside) as events:
        assert ids_of(path) == ["a", "b", "glued"]
    assert [each.length for each in events] == [40]
    assert ids_of(path) == ["a", "b", "glued"]
    assert [each["op"] for each in lines_of(path)] == ["journal", "put", "put", "put"]


def test_damage_that_cannot_be_set_aside_is_told_and_read_around(path: Path, time: HandClock) -> None:
    """Where the file beside cannot be written, the line stays where it is, and the event says so."""
    whole = kept(time, path, "a", "b", "c")
    path.write_bytes(flipped(whole, whole.index(b'"id":"b"') + 30))
    path.with_name(path.name + ".damaged").mkdir()
    with heard(DamagedLineSetAside) as events:
        assert ids_of(path) == ["a", "c"]
    assert [each.kept_in for each in events] == [""]


def test_a_letter_whose_line_is_damaged_while_the_journal_is_open_is_set_aside(path: Path, time: HandClock) -> None:
    """Every line is checked again when its letter is read, so that nobody is handed a damaged message."""
    journal = Journal(path)
    journal.commit([put(time, each) for each in "abc"])
    whole = path.read_bytes()
    at = whole.index(b'"id":"b"') + 30
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([whole[at] ^ 1]))
    with heard(DamagedLineSetAside) as events:
        [claims] = journal.commit([ClaimNext(10, 30.0, "token")])
    assert [each.letter.id for each in claims] == ["a", "c"]  # type: ignore[attr-defined]
    assert len(events) == 1
    assert journal.get("b") is None
    assert ids_of(path) == ["a", "c"]


def test_a_damaged_attempt_costs_the_attempt_not_the_letter(path: Path, time: HandClock) -> None:
    """The letter is there with its first error."""
    journal = Journal(path)
    journal.commit([put(time, "a"), Book("a", "t", {"error_type": "Later"}, time.now, None)])
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, whole.index(b"Later")))
    letter = Journal(path).get("a")
    assert letter is not None
    assert (letter.attempts, letter.error_info) == (0, {"error_type": "E"})


def test_a_damaged_removal_brings_the_letter_back(path: Path, time: HandClock) -> None:
    """Once more is better than never."""
    journal = Journal(path)
    journal.commit([put(time, "a"), Remove("a")])
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, whole.index(b"remove")))
    assert ids_of(path) == ["a"]


@pytest.mark.parametrize("change", [lambda text: text.replace(b"\n", b"\n\n"), lambda text: text + b"  \n"])
def test_blank_lines_do_no_harm(path: Path, time: HandClock, change: Callable[[bytes], bytes]) -> None:
    """People look at the file with editors."""
    path.write_bytes(change(kept(time, path, "a", "b")))
    with heard(DamagedLineSetAside) as events:
        assert ids_of(path) == ["a", "b"]
    assert events == []


def test_a_line_longer_than_a_reading_buffer_is_read(
    path: Path, time: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a line is, it is found whole."""
    monkeypatch.setattr("resilio.deadletters.journal_file._CHUNK", 100)
    Journal(path).commit([put(time, "a"), put(time, "b", "x" * 10_000), put(time, "c")])
    assert ids_of(path) == ["a", "b", "c"]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 10)
    assert ids_of(path) == ["a", "b"]
