"""Changing letters and throwing them away: only what is meant, and only when it is meant."""

from __future__ import annotations

import io
import json
import stat
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from command_kit import keep

from resilio import Encoder, sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]

Q = ("-q", "letters.jsonl")


def message_of(run: Run, letter: str) -> object:
    """What the letter says now."""
    found: object = run("dlq", "show", letter, *Q, "--json").json["message"]
    return found


def test_set_puts_values_at_places(run: Run) -> None:
    """JSON where it is JSON, else text; in objects and in lists; the difference is shown."""
    (letter,) = keep("letters.jsonl", [{"user": {"phone": "1"}, "items": [{"count": 1}]}])
    ran = run(
        *("dlq", "edit", letter, *Q),
        *("--set", "user.phone=+1555", "--set", "items.0.count=2", "--set", 'user.tags=["a"]'),
    )
    assert ran.code == 0
    assert '+    "phone": 1555' in ran.out or '+    "phone": "+1555"' in ran.out
    assert message_of(run, letter) == {"user": {"phone": "+1555", "tags": ["a"]}, "items": [{"count": 2}]}


def test_what_is_more_than_json_stays_what_it_is(run: Run) -> None:
    """Bytes and dates in a message that is edited elsewhere are bytes and dates afterwards; a new date may be given."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    letters = sync.DeadLetterQueue(local_file_path="letters.jsonl", encoder=Encoder())
    letter = letters.send_to_dlq({"photo": b"\x00\x01", "at": at, "n": 1}, ValueError("x"))
    assert run("dlq", "edit", letter, *Q, "--set", "n=2").code == 0
    assert letters.get(letter).message == {"photo": b"\x00\x01", "at": at, "n": 2}
    later = 'at={"$datetime": "2027-01-01T00:00:00+00:00"}'
    assert run("dlq", "edit", letter, *Q, "--set", later).code == 0
    assert letters.get(letter).message["at"] == at.replace(year=2027)
    letters.close()


def test_what_looks_like_a_tag_and_is_none_stays_as_it_is(run: Run) -> None:
    """A message that quotes the encoder's marks is text like any other."""
    before = {"__tagged__": {"a": {"$bytes": "AAE="}}}
    (letter,) = keep("letters.jsonl", [before])
    assert run("dlq", "edit", letter, *Q, "--set", "__tagged__.b=1").code == 0
    letters = sync.DeadLetterQueue(local_file_path="letters.jsonl")
    assert letters.get(letter).message == {"__tagged__": {"a": {"$bytes": "AAE="}, "b": 1}}
    letters.close()


@pytest.mark.parametrize("change", ["nowhere.at.all=1", "items.7=1", "items.x=1", "user.deep=1", "=1", "user"])
def test_a_place_that_is_not_there_is_a_usage_error(run: Run, change: str) -> None:
    """Nothing is made up on the way, and nothing changed."""
    before = {"user": "Ada", "items": [1]}
    (letter,) = keep("letters.jsonl", [before])
    assert run("dlq", "edit", letter, *Q, "--set", change).code == 2
    assert message_of(run, letter) == before


def test_the_whole_message_comes_from_the_line_or_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads it; what is no JSON is refused."""
    (letter,) = keep("letters.jsonl", [{"n": 1}])
    assert run("dlq", "edit", letter, *Q, "--message", '{"n": 2}').code == 0
    assert message_of(run, letter) == {"n": 2}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 3}'))
    assert run("dlq", "edit", letter, *Q, "--message", "-").code == 0
    assert message_of(run, letter) == {"n": 3}
    assert run("dlq", "edit", letter, *Q, "--message", "{n: 4}").code == 2


def test_an_editor_is_opened_on_the_message(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$EDITOR gets a file with the message; what it leaves there is the message from now on."""
    (letter,) = keep("letters.jsonl", [{"greeting": "hello"}])
    editor = folder / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/hello/goodbye/ "$1"\n', encoding="utf-8")
    editor.chmod(editor.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    assert run("dlq", "edit", letter, *Q, "--editor").code == 0
    assert message_of(run, letter) == {"greeting": "goodbye"}
    assert "the same as before" in run("dlq", "edit", letter, *Q, "--editor").err


def test_a_dry_run_edits_nothing(run: Run) -> None:
    """The difference is shown, and that is all."""
    (letter,) = keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "edit", letter, *Q, "--set", "n=2", "--dry-run")
    assert '-  "n": 1' in ran.lines
    assert message_of(run, letter) == {"n": 1}


def test_how_to_edit_must_be_said_once(run: Run) -> None:
    """Neither none nor two ways."""
    assert run("dlq", "edit", "x").code == 2
    assert run("dlq", "edit", "x", "--set", "a=1", "--message", "{}").code == 2


def test_deleting_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked it wants --yes; a no is a no."""
    ids = keep("letters.jsonl", [{"n": n} for n in range(3)])
    ran = run("dlq", "delete", ids[0], *Q)
    assert ran.code == 3
    assert "say --yes" in ran.err
    monkeypatch.setattr(sys, "stdin", _Terminal("n\n"))
    ran = run("dlq", "delete", ids[0], *Q)
    assert ran.code == 3
    assert "nothing was changed" in ran.err
    assert run("dlq", "stats", *Q, "--json").json["total"] == 3
    monkeypatch.setattr(sys, "stdin", _Terminal("y\n"))
    assert run("dlq", "delete", ids[0], *Q).code == 0
    assert run("dlq", "stats", *Q, "--json").json["total"] == 2


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Somebody can be asked here."""
        return True


def test_letters_are_deleted_by_filter(run: Run) -> None:
    """What is like the options say, and nothing else."""
    ids = keep("letters.jsonl", [{"n": n} for n in range(4)])
    assert run("dlq", "delete", *Q, "--error", "ConnectionError", "--dry-run").lines == [ids[0], ids[3]]
    told = run("dlq", "delete", *Q, "--error", "ConnectionError", "--yes", "--reason", "test data", "--json").json
    assert told == {"dry_run": False, "deleted": 2, "ids": [ids[0], ids[3]]}
    assert run("dlq", "stats", *Q, "--json").json["total"] == 2


def test_which_letters_to_delete_must_be_said(run: Run) -> None:
    """Neither IDs nor filters would be all of them: that is what purge is for."""
    ids = keep("letters.jsonl", [{"n": 1}])
    assert run("dlq", "delete", *Q, "--yes").code == 2
    assert run("dlq", "delete", ids[0], *Q, "--error", "X", "--yes").code == 2
    assert run("dlq", "stats", *Q, "--json").json["total"] == 1


def test_purge_empties_the_queue_when_it_is_meant(run: Run) -> None:
    """A dry run counts, without --yes it is refused, with it all is gone."""
    keep("letters.jsonl", [{"n": n} for n in range(3)])
    assert "would delete 3 letters" in run("dlq", "purge", *Q, "--dry-run").err
    assert run("dlq", "purge", *Q).code == 3
    assert run("dlq", "stats", *Q, "--json").json["total"] == 3
    assert json.loads(run("dlq", "purge", *Q, "--yes", "--json").out)["deleted"] == 3
    assert run("dlq", "stats", *Q, "--json").json["total"] == 0
