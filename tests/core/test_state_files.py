"""A small file is replaced in one step, and read back or refused."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from resilio._core.state_file import read_state, time_of, write_state

if TYPE_CHECKING:
    from pathlib import Path

FORM = "resilio-test-1"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Whatever the text; only the file is left in its folder."""
    path = tmp_path / "state [1].json"
    assert read_state(path, FORM) is None
    state: dict[str, Any] = {"name": "Größe \ud800 猫", "numbers": [1, 2.5, None, True]}
    write_state(path, FORM, {"old": True})
    write_state(path, FORM, state)
    assert read_state(path, FORM) == state
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "[]", "1", "{}", '{"format": "other"}', '{"format": ["resilio-test-1"]}'])
def test_what_is_something_else_is_refused(content: str, tmp_path: Path) -> None:
    """It may be another program's file."""
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"its format is|Expecting|line 1"):
        read_state(path, FORM)


def test_what_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    """And nothing beside it."""
    path = tmp_path / "state.json"
    write_state(path, FORM, {"number": 1})
    with pytest.raises(TypeError):
        write_state(path, FORM, {"number": object()})
    with pytest.raises(FileNotFoundError):
        write_state(tmp_path / "no such folder" / "state.json", FORM, {})
    assert read_state(path, FORM) == {"number": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Once it is old; another process may be writing just now, and other files are none of ours."""
    path = tmp_path / "state.json"
    old, young, other = (tmp_path / name for name in (".state.json.0123abcd.new", ".state.json.4567cdef.new", "x.new"))
    for each in (old, young, other):
        each.write_text("{")
        if each != young:
            os.utime(each, (0, 0))
    assert read_state(path, FORM) is None
    assert set(tmp_path.iterdir()) == {young, other}


def test_whoever_reads_meanwhile_finds_it_whole(tmp_path: Path) -> None:
    """While two threads write."""
    path = tmp_path / "state.json"
    write_state(path, FORM, {"text": "a" * 10_000})

    def write(letter: str) -> None:
        for _ in range(20):
            write_state(path, FORM, {"text": letter * 10_000})

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "bc"]
    for each in writers:
        each.start()
    while any(each.is_alive() for each in writers):
        found = read_state(path, FORM)
        assert found is not None
        assert len(set(found["text"])) == 1
    for each in writers:
        each.join()


def test_a_time_has_a_zone() -> None:
    """Or it is none that we wrote."""
    assert time_of("2030-01-01T12:00:00+00:00").isoformat() == "2030-01-01T12:00:00+00:00"
    with pytest.raises(ValueError, match="with its zone"):
        time_of("2030-01-01T12:00:00")
