"""Letters on their way: out to a file, in from one, over to another queue."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from command_kit import keep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from command_kit import Ran

    Run = Callable[..., Ran]

Q = ("-q", "letters.jsonl")


def test_what_is_exported_is_imported_as_it_was(run: Run) -> None:
    """Into a new queue of another kind, with ids, attempts and errors; twice does no harm."""
    keep("letters.jsonl", [{"n": n} for n in range(3)])
    assert run("dlq", "export", "out.jsonl", *Q).code == 0
    for _ in range(2):
        told = run("dlq", "import", "out.jsonl", "-q", "new.db", "--json").json
        assert told["imported"] == 3
    assert run("dlq", "list", "-q", "new.db", "--json").objects == run("dlq", "list", *Q, "--json").objects


def test_export_and_import_go_through_pipes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` is stdout and stdin; remarks go to stderr, so that the lines stay clean."""
    keep("letters.jsonl", [{"n": n} for n in range(3)])
    exported = run("dlq", "export", *Q, "--error", "KeyError")
    assert len(exported.objects) == 1
    assert "wrote 1 letters" in exported.err
    monkeypatch.setattr(sys, "stdin", io.StringIO(exported.out))
    assert run("dlq", "import", "-q", "new.jsonl").code == 0
    assert [each["message"] for each in run("dlq", "list", "-q", "new.jsonl", "--json").objects] == [{"n": 2}]


def test_a_line_that_is_no_letter_is_said_with_its_number(run: Run, folder: Path) -> None:
    """One line on stderr, no traceback."""
    (folder / "bad.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    ran = run("dlq", "import", "bad.jsonl", "-q", "new.jsonl")
    assert ran.code == 3
    assert ran.err.startswith("resilio: line 1 of bad.jsonl is no letter")
    assert len(ran.err.splitlines()) == 1


def test_letters_move_to_another_queue(run: Run) -> None:
    """Those that are meant are there and no longer here; the rest stays."""
    keep("letters.jsonl", [{"n": n} for n in range(3)])
    assert run("dlq", "move", *Q, "--to", "other.db", "--error", "KeyError", "--dry-run", "--json").json["letters"] == 1
    assert run("dlq", "move", *Q, "--to", "other.db", "--error", "KeyError", "--json").json["moved"] == 1
    assert [each["message"]["n"] for each in run("dlq", "list", "-q", "other.db", "--json").objects] == [2]
    assert [each["message"]["n"] for each in run("dlq", "list", *Q, "--json").objects] == [0, 1]


def test_moving_everything_asks_first(run: Run) -> None:
    """A queue is not emptied by a forgotten filter."""
    keep("letters.jsonl", [{"n": 1}])
    assert run("dlq", "move", *Q, "--to", "other.db").code == 3
    assert run("dlq", "stats", *Q, "--json").json["total"] == 1
    assert run("dlq", "move", *Q, "--to", "other.db", "--yes").code == 0


def test_a_queue_is_not_moved_into_itself(run: Run) -> None:
    """One line says so."""
    keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "move", *Q, "--to", "letters.jsonl", "--yes")
    assert ran.code == 3
    assert "another queue" in ran.err


def test_a_folder_that_is_not_there_is_said(run: Run) -> None:
    """Before anything is opened."""
    keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "move", *Q, "--to", "nowhere/other.db", "--yes")
    assert ran.code == 3
    assert "there is no folder" in ran.err
