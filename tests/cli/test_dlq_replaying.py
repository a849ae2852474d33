"""Replaying from a terminal: what goes, what stays, and what an interruption leaves."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from command_kit import environment, keep, spawn

from resilio import sync
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]

Q = ("-q", "letters.jsonl")
PATIENT = 60.0


@pytest.mark.parametrize("name", ["letters.jsonl", "letters.db"])
def test_all_letters_are_given_to_the_reprocessor(run: Run, shop: Path, name: str) -> None:
    """An async function of the present folder handles each message; the letters are gone."""
    keep(name, [{"n": n} for n in range(5)])
    ran = run("dlq", "replay", "-q", name, "--reprocessor", "shop:handle", "--json")
    assert ran.code == 0
    assert (ran.json["replayed"], ran.json["failed"], ran.json["ended"]) == (5, 0, "done")
    assert sys.modules["shop"].handled == [{"n": n} for n in range(5)]
    assert run("dlq", "stats", "-q", name, "--json").json["total"] == 0


def test_letters_that_fail_again_stay_and_are_told(run: Run, shop: Path) -> None:
    """Exit code 1, each with its error; a plain function serves as well."""
    keep("letters.jsonl", [{"n": n} for n in range(4)])
    ran = run("dlq", "replay", *Q, "-r", "shop:refuse_odd", "--keep-going")
    assert ran.code == 1
    assert "2 replayed, 2 failed" in ran.out
    assert "ValueError: 3 is odd" in ran.out
    left = run("dlq", "list", *Q, "--json").objects
    assert [(each["message"]["n"], each["attempts"]) for each in left] == [(1, 1), (3, 1)]


def test_it_stops_by_itself_when_all_fail(run: Run, shop: Path) -> None:
    """A backend that is still down costs ten letters an attempt, not all of them."""
    keep("letters.jsonl", [{"n": n} for n in range(15)])
    ran = run("dlq", "replay", *Q, "-r", "shop:refuse", "--json")
    assert ran.code == 1
    assert (ran.json["ended"], ran.json["failed"]) == ("failing", 10)


def test_limit_filters_and_ids_say_which(run: Run, shop: Path) -> None:
    """The first ones, those with an error, or one by its id."""
    ids = keep("letters.jsonl", [{"n": n} for n in range(6)])
    assert run("dlq", "replay", *Q, "-r", "shop:handle", "--limit", "1", "--json").json["ended"] == "limit"
    run("dlq", "replay", *Q, "-r", "shop:handle", "--error", "TimeoutError")
    assert run("dlq", "replay", ids[5], *Q, "-r", "shop:handle").code == 0
    assert [each["n"] for each in sys.modules["shop"].handled] == [0, 1, 4, 5]
    assert run("dlq", "replay", ids[2], "--error", "KeyError", *Q, "-r", "shop:handle").code == 2


def test_a_letter_named_by_its_id_that_fails_is_told(run: Run, shop: Path) -> None:
    """The reprocessor's error is the letter's, not the command's."""
    ids = keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "replay", ids[0], *Q, "-r", "shop:refuse_odd", "--json")
    assert ran.code == 1
    assert ran.json["errors"] == {ids[0]: "ValueError: 1 is odd"}


def test_a_letter_that_somebody_else_has_does_not_stop_the_others(run: Run, shop: Path) -> None:
    """It is told among the failures; the next one is replayed."""
    ids = keep("letters.jsonl", [{"n": n} for n in range(2)])
    other = sync.DeadLetterQueue(local_file_path="letters.jsonl", visibility_timeout=600)
    other.receive_from_dlq(1)
    ran = run("dlq", "replay", *ids, *Q, "-r", "shop:handle", "--json")
    other.close()
    assert ran.code == 1
    assert ran.json["replayed"] == 1
    assert set(ran.json["errors"]) == {ids[0]}


def test_a_dry_run_replays_nothing(run: Run) -> None:
    """It prints the ids, needs no reprocessor, and claims nothing."""
    ids = keep("letters.jsonl", [{"n": n} for n in range(3)])
    ran = run("dlq", "replay", *Q, "--dry-run", "--error", "KeyError")
    assert (ran.code, ran.lines) == (0, [ids[2]])
    told = run("dlq", "replay", *Q, "--dry-run", "--json").json
    assert told == {"dry_run": True, "would_replay": 3, "ids": ids}
    assert run("dlq", "stats", *Q, "--json").json["waiting"] == 3


def test_the_environment_may_name_the_reprocessor(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container sets it once."""
    keep("letters.jsonl", [{"n": 1}])
    monkeypatch.setenv("RESILIO_REPROCESSOR", "shop:handle")
    assert run("dlq", "replay", *Q).code == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shop", "should be module:function"),
        ("shp:handle", "there is no module 'shp'"),
        ("shop:missing", "shop has no 'missing'"),
        ("shop:not_a_function", "is no function, but 5"),
        ("broken:handle", "importing broken raised ZeroDivisionError"),
        ("needy:handle", "needy needs 'no_such_library'"),
    ],
)
def test_a_reprocessor_that_cannot_be_had_is_a_usage_error(
    run: Run, shop: Path, folder: Path, name: str, message: str
) -> None:
    """Said before any letter is touched, without a traceback."""
    (folder / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    (folder / "needy.py").write_text("import no_such_library\n", encoding="utf-8")
    keep("letters.jsonl", [{"n": 1}])
    ran = run("dlq", "replay", *Q, "-r", name)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert run("dlq", "stats", *Q, "--json").json["waiting"] == 1


SLOW = """
import pathlib
import anyio

async def handle(message):
    if message["n"] == 3:
        pathlib.Path("at-work").touch()
        await anyio.sleep(600)
    with open("handled", "a") as file:
        file.write(f"{message['n']}\\n")
"""


def _interrupted(folder: Path, how: int) -> tuple[int, str]:
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    child = spawn("dlq", "replay", *Q, "-r", "slow:handle", cwd=folder)
    try:
        end = clock.monotonic() + PATIENT
        while not (folder / "at-work").exists():
            assert child.poll() is None, child.communicate()
            assert clock.monotonic() < end, "the replay did not begin"
            clock.sleep_blocking(0.01)
        child.send_signal(how)
        _, err = child.communicate(timeout=PATIENT)
        return child.returncode, err
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow("starts an interpreter")
@pytest.mark.parametrize(("how", "told"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"])
def test_an_interruption_gives_the_claims_back(run: Run, folder: Path, how: int, told: int) -> None:
    """128 and the signal's number, no traceback, and every letter that was not replayed waits again at once."""
    keep("letters.jsonl", [{"n": n} for n in range(6)])
    code, err = _interrupted(folder, how)
    assert code == told
    assert "Traceback" not in err
    stats: dict[str, Any] = run("dlq", "stats", *Q, "--json").json
    assert (stats["total"], stats["waiting"], stats["claimed"]) == (3, 3, 0)


@pytest.mark.slow("starts an interpreter")
def test_a_killed_replay_loses_no_letter(run: Run, folder: Path) -> None:
    """Killed outright, what was handled is gone, all the rest is there; the claim runs out by itself."""
    keep("letters.jsonl", [{"n": n} for n in range(6)])
    code, _ = _interrupted(folder, signal.SIGKILL)
    assert code == -signal.SIGKILL
    handled = {int(line) for line in (folder / "handled").read_text(encoding="utf-8").split()}
    left = {each["message"]["n"] for each in run("dlq", "list", *Q, "--json").objects}
    assert handled == {0, 1, 2}
    assert left == {3, 4, 5}


@pytest.mark.slow("starts an interpreter")
def test_a_progress_bar_is_drawn_only_in_a_terminal(folder: Path, shop: Path) -> None:
    """In a log file there are no bars and no colours."""
    keep("letters.jsonl", [{"n": n} for n in range(3)])
    child = spawn("dlq", "replay", *Q, "-r", "shop:handle", cwd=folder, env=environment())
    out, err = child.communicate(timeout=PATIENT)
    assert child.returncode == 0
    assert out.startswith("3 replayed, 0 failed")
    assert err.strip() == ""
    assert "\x1b" not in out + err
