from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest
from letter_kit import heard, lines_of, run_python

from resilio.deadletters import lines
from resilio.deadletters.errors import DeadLetterQueueError, NotOurFileError
from resilio.deadletters.events import LettersImported
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import DeadLetter, new_body
from resilio.deadletters.queue import DeadLetterQueue
from resilio.deadletters.store import Add, Purge

if TYPE_CHECKING:
    from pathlib import Path

    from letter_kit import HandClock


def beside(path: Path) -> list[str]:
    """What lies in the folder."""
    return sorted(each.name for each in path.parent.iterdir())


@pytest.mark.parametrize(
    "contents",
    [
        b"name,price\ncat,9.99\n",
        b"#!/bin/sh\n",
        b'{"op":"put","letter":{"id":"x"}}\n',
        b'{"name": "resilio"}',
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
        b"\0" * 100_000,
        b'"a string"',
        b"[1, 2",
        b'[{"message": 1}] and more',
        b"\xef\xbb\xbf[\xff]",
        "[" * 100_000,
        lines.line("journal", format="resilio dead letters", version=2) + lines.line("future", x=1),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_file_of_something_else_is_refused_and_left_untouched(path: Path, contents: bytes | str) -> None:
    """Neither reading nor writing changes a byte of it, and nothing is made beside it."""
    raw = contents.encode() if isinstance(contents, str) else contents
    path.write_bytes(raw)
    before = path.stat()
    journal = Journal(path)
    for call in (journal.stats, lambda: journal.peek(1), lambda: journal.commit([Purge()])):
        with pytest.raises(NotOurFileError, match=str(path)):
            call()
    assert path.read_bytes() == raw
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino
    assert [each for each in beside(path) if not each.endswith(".lock")] == [path.name]


def test_a_line_of_a_later_release_is_a_clear_error(path: Path, time: HandClock) -> None:
    """What this release does not understand it does not guess."""
    Journal(path).commit([Add("a", new_body("a", 1, {}, time.now))])
    with path.open("ab") as file:
        file.write(lines.line("teleport", ids=["a"]))
    raw = path.read_bytes()
    with pytest.raises(NotOurFileError, match="later release: unknown line 'teleport'"):
        Journal(path).stats()
    assert path.read_bytes() == raw


@pytest.mark.anyio
async def test_a_queue_on_a_foreign_file_says_so_when_it_is_opened_and_when_it_is_used(path: Path) -> None:
    """Building the queue touches nothing; entering it or sending finds out."""
    shutil.copy(__file__, path)
    dlq = DeadLetterQueue(local_file_path=path)
    with pytest.raises(NotOurFileError, match="begins with 'from __future__"):
        async with dlq:
            pass
    with pytest.raises(NotOurFileError):
        await dlq.send_to_dlq("hello", {})


def test_a_directory_is_refused(folder: Path) -> None:
    """The error says that it is one, and nothing is made in it or beside it."""
    place = folder / "place"
    place.mkdir()
    with pytest.raises(NotOurFileError, match="is a directory"):
        Journal(place).stats()
    assert beside(place) == ["place"]


def test_what_is_no_regular_file_is_refused(folder: Path) -> None:
    """A pipe or a socket would be opened with surprising effects."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(NotOurFileError, match="no regular file"):
        Journal(folder / "pipe").stats()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(NotOurFileError, match="no regular file"):
            Journal(folder / "socket").stats()
    with pytest.raises(NotOurFileError, match="no regular file"):
        Journal("/dev/null").stats()


def test_a_missing_directory_is_named(folder: Path) -> None:
    """A mistyped path is told of, not created."""
    with pytest.raises(DeadLetterQueueError, match=r"nowhere/letters.jsonl.lock: No such file or directory"):
        Journal(folder / "nowhere" / "letters.jsonl").stats()
    assert not (folder / "nowhere").exists()


READ_ONLY = """
import os, sys
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.journal import Journal
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Journal(sys.argv[1]).stats()
except DeadLetterQueueError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.slow("starts an interpreter")
def test_a_file_that_may_not_be_written_is_refused(folder: Path, time: HandClock) -> None:
    """Who may not append may not open; the file stays as it is. Root may do everything, so a child steps down."""
    place = folder / "letters.jsonl"
    Journal(place).commit([Add("a", new_body("a", 1, {}, time.now))])
    raw = place.read_bytes()
    place.chmod(0o444)
    ours = next(each for each in folder.parents if each.name.startswith("pytest-of-"))
    for each in (folder, *folder.parents):
        if each.is_relative_to(ours):
            each.chmod(0o755)
    told = run_python(READ_ONLY, place, measured=False).stdout
    assert told.startswith(f"DeadLetterQueueError cannot open the dead letter file {place}: Permission denied")
    assert place.read_bytes() == raw
    told = run_python(READ_ONLY, folder / "new.jsonl", measured=False).stdout
    assert "new.jsonl.lock: Permission denied" in told
    assert "directory they may write to" in told


# -- taking over a JSON array ------------------------------------------------------------------------------------------


NAIVE: list[Any] = [
    {
        "id": "m1",
        "message": {"text": "ünï 🐈"},
        "error_info": {"error_type": "api_error", "timestamp": "2025-01-01T10:00:00"},
        "timestamp": "2025-02-03T04:05:06+00:00",
        "retry_count": 2,
    },
    {"message_id": "m2", "message": "second", "error": "just text", "attempts": 3},
    {"message": "no id", "error_info": {}},
    {"id": "m1", "message": "the same id again"},
    {"id": 7, "message": None, "error_info": None},
    {"text": "no letter at all"},
    "not even a dict",
    float("nan"),
]


def test_a_json_array_is_taken_over_and_nothing_of_it_is_lost(path: Path, time: HandClock) -> None:
    """Every entry becomes a letter in the same order; the file as it was stays beside, with the letters' rights."""
    raw = json.dumps(NAIVE, indent=2).encode()
    path.write_bytes(raw)
    with heard(LettersImported) as events:
        letters = Journal(path).peek(100)
    kept = path.with_name(path.name + ".imported")
    assert [(each.count, each.original) for each in events] == [(8, str(kept))]
    assert kept.read_bytes() == raw
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.message for each in letters[:7]] == [
        {"text": "ünï 🐈"},
        "second",
        "no id",
        "the same id again",
        None,
        {"text": "no letter at all"},
        "not even a dict",
    ]
    assert letters[7].message == {"__unencodable__": "float", "representation": "nan"}
    assert [each.id for each in letters[:2]] == ["m1", "m2"]
    assert len({each.id for each in letters}) == 8
    assert letters[0].first_failed_at.isoformat() == "2025-02-03T04:05:06+00:00"
    assert letters[0].error_info["imported"]["retry_count"] == 2
    assert letters[1].error_info == {"error_message": "just text"}
    assert letters[1].attempts == 3
    assert letters[2].first_failed_at == time.now
    assert lines_of(path)[0]["op"] == "journal"
    with heard(LettersImported) as events:
        assert [dict(each) for each in Journal(path).peek(100)] == [dict(each) for each in letters]
    assert events == []


def test_an_array_of_our_own_letters_comes_back_as_they_were(path: Path, time: HandClock) -> None:
    """What DeadLetter.to_dict gave, saved by a script, is taken at its word."""
    letter = DeadLetter("x", {"a": 1}, {"error_type": "E"}, time.now, time.now, attempts=2)
    path.write_text(json.dumps([letter.to_dict()]), encoding="utf-8")
    assert Journal(path).get("x") == letter


def test_an_empty_array_becomes_an_empty_journal(path: Path) -> None:
    """The naive program had just begun."""
    path.write_text("\ufeff \n[]\n", encoding="utf-8")
    assert Journal(path).stats().total == 0
    assert lines_of(path) == [json.loads(lines.HEADER)]


def test_a_second_array_does_not_overwrite_the_first_ones_original(path: Path) -> None:
    """Each original is kept under a name of its own."""
    for number in range(3):
        path.write_text(json.dumps([{"message": number}]), encoding="utf-8")
        assert [each.message for each in Journal(path).peek(9)] == [number]
    assert [each for each in beside(path) if "imported" in each] == [
        f"{path.name}.imported",
        f"{path.name}.imported-2",
        f"{path.name}.imported-3",
    ]


def test_an_import_that_fails_leaves_the_array(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash before the new file has its name leaves the old one; the next opening imports it."""
    path.write_text(json.dumps([{"message": 1}]), encoding="utf-8")
    raw = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(DeadLetterQueueError, match="No space left on device"):
            Journal(path).stats()
    assert path.read_bytes() == raw
    assert [each.message for each in Journal(path).peek(9)] == [1]


def test_an_array_is_kept_by_copy_where_there_are_no_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems know no second names."""
    path.write_text(json.dumps([{"message": 1}]), encoding="utf-8")
    raw = path.read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert [each.message for each in Journal(path).peek(9)] == [1]
    assert path.with_name(path.name + ".imported").read_bytes() == raw


# -- the file itself ---------------------------------------------------------------------------------------------------


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    """Letters hold other people's messages: mode 0600, whatever the umask."""
    former = os.umask(0)
    try:
        Journal(path).stats()
    finally:
        os.umask(former)
    assert {each: stat.S_IMODE((path.parent / each).stat().st_mode) for each in beside(path)} == {
        path.name: 0o600,
        f"{path.name}.lock": 0o600,
    }


def test_an_empty_file_is_taken_as_it_is(path: Path, time: HandClock) -> None:
    """A file made with touch keeps its rights and its inode."""
    path.touch(0o640)
    before = path.stat()
    Journal(path).commit([Add("a", new_body("a", 1, {}, time.now))])
    assert path.stat().st_ino == before.st_ino
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(before.st_mode)


def test_a_symbolic_link_is_followed_and_stays_one(folder: Path, time: HandClock) -> None:
    """The journal behind the link is used, also when it is written anew."""
    (folder / "there").mkdir()
    link = folder / "letters.jsonl"
    link.symlink_to(folder / "there" / "real.jsonl")
    journal = Journal(link)
    journal.commit([Add(str(n), new_body(str(n), 1, {}, time.now)) for n in range(1100)])
    journal.commit([Purge()])
    assert link.is_symlink()
    first, second = lines_of(folder / "there" / "real.jsonl")
    assert (first, second["op"]) == (json.loads(lines.HEADER), "origin")
