"""Looking at dead letters: for people, and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from command_kit import keep

from resilio import sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]


@pytest.mark.parametrize("name", ["letters.jsonl", "letters.db"])
def test_letters_are_listed_on_each_kind_of_file(run: Run, name: str) -> None:
    """One line a letter, those that came first at the top, with error and message."""
    keep(name, [{"n": 1}, {"n": 2}])
    ran = run("dlq", "list", "--queue", name)
    assert ran.code == 0
    assert len(ran.lines) == 3
    assert "ConnectionError" in ran.lines[1]
    assert '{"n": 1}' in ran.lines[1]
    assert '{"n": 2}' in ran.lines[2]


def test_json_is_the_letter_as_the_journal_has_it(run: Run) -> None:
    """One object a line, with every field that `DeadLetter.to_dict` has."""
    (letter,) = keep("letters.jsonl", [{"n": 1}])
    (found,) = run("dlq", "list", "-q", "letters.jsonl", "--json").objects
    assert found["id"] == letter
    assert found["message"] == {"n": 1}
    assert found["error_info"]["error_type"] == "ConnectionError"
    assert found["status"] == "waiting"
    assert found == run("dlq", "show", letter, "-q", "letters.jsonl", "--json").json


def test_the_environment_says_which_queue(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --queue the command looks where the application does."""
    keep("elsewhere.jsonl", [{"n": 1}])
    monkeypatch.setenv("DLQ_LOCAL_FILE_PATH", "elsewhere.jsonl")
    assert len(run("dlq", "list", "--json").objects) == 1


def test_queue_on_the_line_beats_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is given is the only place that is looked at, whatever queue the environment names."""
    keep("letters.jsonl", [{"n": 1}])
    monkeypatch.setenv("DLQ_QUEUE_URL", "http://127.0.0.1:1/queue")
    assert len(run("dlq", "list", "-q", "letters.jsonl", "--json").objects) == 1


def test_a_file_that_is_not_there_is_said_and_not_made(run: Run, folder: Path) -> None:
    """A slip of the pen is one line and leaves no empty journal behind."""
    ran = run("dlq", "list", "-q", "leters.jsonl")
    assert (ran.code, ran.err) == (3, "resilio: there is no file leters.jsonl\n")
    assert list(folder.iterdir()) == []
    assert "set DLQ_QUEUE_URL or DLQ_LOCAL_FILE_PATH" in run("dlq", "stats").err


def test_a_file_that_is_not_ours_is_left_alone(run: Run, folder: Path) -> None:
    """Somebody else's file is refused in one line."""
    (folder / "notes.txt").write_text("buy milk\n", encoding="utf-8")
    ran = run("dlq", "list", "-q", "notes.txt")
    assert ran.code == 3
    assert ran.err.startswith("resilio: ")
    assert len(ran.err.splitlines()) == 1
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "buy milk\n"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--error", "TimeoutError"), [1]),
        (("--text", "needle"), [2]),
        (("--status", "parked"), []),
        (("--since", "1h"), [0, 1, 2]),
        (("--until", "1h"), []),
        (("--since", "2020-01-01T00:00", "--error", "KeyError"), [2]),
        (("--group", "TimeoutError"), [1]),
        (("--limit", "2"), [0, 1]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_filters_say_which_letters(run: Run, options: tuple[str, ...], found: list[int]) -> None:
    """Class of error, text, status, age and group; all that are given must hold."""
    keep("letters.jsonl", [{"n": 0}, {"n": 1}, {"n": 2, "hay": "a Needle in it"}])
    ran = run("dlq", "list", "-q", "letters.jsonl", "--json", *options)
    assert [each["message"]["n"] for each in ran.objects] == found


def test_a_time_that_is_none_is_a_usage_error(run: Run) -> None:
    """The message names the option and what it takes."""
    ran = run("dlq", "list", "--since", "yesterday")
    assert ran.code == 2
    assert "'yesterday' is neither a time such as" in ran.err


def test_more_letters_than_are_shown_are_told(run: Run) -> None:
    """Nobody takes a page for the whole."""
    keep("letters.jsonl", [{"n": n} for n in range(5)])
    ran = run("dlq", "list", "-q", "letters.jsonl", "-n", "2")
    assert "2 of 5 letters" in ran.err
    assert len(run("dlq", "list", "-q", "letters.jsonl", "--all").lines) == 6


def test_a_letter_is_shown_with_all_that_is_known(run: Run) -> None:
    """By the beginning of its id: message, error, where it came from."""
    (letter,) = keep("letters.jsonl", [{"to": "Ada", "items": [1, 2]}])
    shown = run("dlq", "show", letter[:18], "-q", "letters.jsonl").out
    for expected in (letter, "waiting", "operation ship", '"to": "Ada"', "ConnectionError: no route to host"):
        assert expected in shown


def test_what_replaying_came_to_is_shown(run: Run, shop: Path) -> None:
    """Each failed replay with its error, beside headers, key and traceback."""
    letters = sync.DeadLetterQueue(local_file_path="letters.jsonl")
    letter = letters.send_to_dlq({"n": 1}, KeyError("zip"), headers={"trace": "abc"}, deduplication_key="order-1")
    letters.close()
    for _ in range(2):
        assert run("dlq", "replay", letter, "-q", "letters.jsonl", "-r", "shop:refuse_odd").code == 1
    shown = " ".join(run("dlq", "show", letter, "-q", "letters.jsonl").out.split())
    for expected in ("replays 2", "header trace abc", "order-1", "history", "in refuse_odd"):
        assert expected in shown
    assert shown.count("ValueError: 1 is odd") == 3


def test_an_id_that_several_letters_have_is_asked_for_in_full(run: Run) -> None:
    """Nothing is guessed."""
    keep("letters.jsonl", [{"n": 1}, {"n": 2}])
    ran = run("dlq", "show", "0", "-q", "letters.jsonl")
    assert (ran.code, ran.err) == (3, "resilio: 2 letters have an id that begins with 0; say more of it\n")


def test_an_id_that_no_letter_has_is_said(run: Run) -> None:
    """One line, exit code 3."""
    keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "show", "nonsense", "-q", "letters.jsonl")
    assert ran.code == 3
    assert ran.err.startswith("resilio: there is no letter nonsense in ")


def test_stats_count_by_status_and_group(run: Run) -> None:
    """For people with bars, for programs as one object."""
    keep("letters.jsonl", [{"n": n} for n in range(4)])
    told: dict[str, Any] = run("dlq", "stats", "-q", "letters.jsonl", "--json").json
    assert (told["total"], told["waiting"], told["parked"]) == (4, 4, 0)
    assert told["groups"]["ConnectionError"] == 2
    shown = run("dlq", "stats", "-q", "letters.jsonl").out
    assert "TimeoutError" in shown
    assert "█" in shown


def test_a_hostile_message_cannot_touch_the_terminal(run: Run) -> None:
    """Escape sequences, bells and markup come out as text."""
    hostile = "\x1b[2J\x1b]0;owned\x07[red]not red[/red]\u202e\x9b31m"
    (letter,) = keep("letters.jsonl", [{"text": hostile}], error=ValueError(hostile))
    for arguments in (("list",), ("show", letter), ("stats",)):
        ran = run("dlq", *arguments, "-q", "letters.jsonl")
        assert ran.code == 0
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(ran.out)
    assert "[red]not red[/red]" in run("dlq", "show", letter, "-q", "letters.jsonl").out


def test_sealed_letters_need_the_codec(run: Run, folder: Path) -> None:
    """With --codec they are read; without it they are listed, and say what opens them."""
    (folder / "keys.py").write_text(
        "from resilio import FernetCodec\ncodec = FernetCodec(b'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=')\n",
        encoding="utf-8",
    )
    send = folder / "letters.jsonl"
    (folder / "plain.jsonl").write_text(json.dumps(_plain()) + "\n", encoding="utf-8")
    imported = run("dlq", "import", "plain.jsonl", "-q", "letters.jsonl", "--codec", "keys:codec")
    assert imported.code == 0, imported.err
    assert b"secret" not in send.read_bytes()
    assert "secret" in run("dlq", "list", "-q", "letters.jsonl", "--codec", "keys:codec").out
    for arguments in (("list",), ("show", "01a")):
        ran = run("dlq", *arguments, "-q", "letters.jsonl")
        assert ran.code == 0
        assert "(sealed: --codec opens it)" in ran.out
        assert "v1:" not in ran.out


def _plain() -> dict[str, Any]:
    at = "2026-11-22T10:00:00.000000+00:00"
    return {
        "id": "01a2031b-fbdc-7000-aa47-1134c0a3ba9b",
        "message": {"text": "secret"},
        "error_info": {"error_type": "ValueError", "error_message": "x"},
        "attempts": 0,
        "first_failed_at": at,
        "last_failed_at": at,
        "status": "waiting",
    }
