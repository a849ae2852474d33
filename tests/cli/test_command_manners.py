"""How the command behaves towards shells, pipes, terminals and people who slip."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_kit import COMMAND, environment, keep, spawn

from resilio import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command_kit import Ran

    Run = Callable[..., Ran]

PATIENT = 60


@pytest.mark.parametrize(
    "command",
    [
        *([], ["dlq"], ["doctor"], ["simulate"], ["dashboard"], ["completion"]),
        *(
            ["dlq", name]
            for name in ("list", "show", "replay", "edit", "delete", "export", "import", "stats", "purge", "move")
        ),
    ],
    ids=lambda command: "-".join(command) or "resilio",
)
def test_every_command_explains_itself(run: Run, command: list[str]) -> None:
    """--help says what it does, within the terminal's width, and ends with 0."""
    ran = run(*command, "--help")
    assert ran.code == 0
    assert ran.out.startswith("Usage: resilio")
    assert max(map(len, ran.lines)) <= 100
    assert "\\b" not in ran.out


def test_the_version_is_told(run: Run) -> None:
    """As the package has it."""
    assert run("--version").lines == [f"resilio {__version__}"]


@pytest.mark.parametrize(
    "arguments", [["dlq", "lst"], ["--nonsense"], ["dlq", "list", "--limit", "x"], ["dlq", "show"]]
)
def test_a_command_that_is_not_understood_exits_with_2(run: Run, arguments: list[str]) -> None:
    """With how it is used, on stderr."""
    ran = run(*arguments)
    assert ran.code == 2
    assert "Usage:" in ran.err
    assert ran.out == ""


def test_an_error_shows_where_it_came_from_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line by default; --traceback or RESILIO_DEBUG shows the rest."""
    assert "Traceback" not in run("dlq", "list", "-q", "none.jsonl").err
    assert "Traceback" in run("--traceback", "dlq", "list", "-q", "none.jsonl").err
    monkeypatch.setenv("RESILIO_DEBUG", "1")
    assert "Traceback" in run("dlq", "list", "-q", "none.jsonl").err


def test_a_setting_that_does_not_parse_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever typed it is told which, and what it should be."""
    monkeypatch.setenv("BACKOFF_BASE_DELAY", "soon")
    ran = run("simulate", "-p", "retries=3")
    assert ran.code == 2
    assert "the environment variable BACKOFF_BASE_DELAY should be a number of seconds" in " ".join(ran.err.split())


def test_without_the_extra_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, no traceback."""
    monkeypatch.setitem(sys.modules, "click", None)
    ran = run("dlq", "list")
    assert ran.code == 3
    assert "pip install 'resilio-toolkit[cli]'" in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.slow("starts an interpreter")
def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    """`resilio dlq list | head -1` prints a line and says nothing else."""
    keep("letters.jsonl", [{"n": n, "text": "x" * 20_000} for n in range(300)])
    line = f"{' '.join(COMMAND)} dlq list -q letters.jsonl --all --json | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", line],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENT,
        check=True,
    )
    first, code = ran.stdout.splitlines()
    assert first.startswith('{"id"')
    assert code == "141"
    assert ran.stderr == ""


def _in_a_terminal(folder: Path, *arguments: str, **more: str) -> str:
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="100", **more)
    child = spawn(*arguments, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # what Linux says when the other side has gone
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert child.wait(PATIENT) == 0
    return seen.decode()


@pytest.mark.slow("starts interpreters")
def test_colours_are_for_terminals_that_want_them(folder: Path) -> None:
    """In a terminal there are colours; with NO_COLOR there are none."""
    keep("letters.jsonl", [{"n": 1}])
    arguments = ("dlq", "list", "-q", "letters.jsonl")
    assert "\x1b[33mwaiting" in _in_a_terminal(folder, *arguments)
    assert "\x1b[33m" not in _in_a_terminal(folder, *arguments, NO_COLOR="1")


@pytest.mark.slow("starts interpreters")
@pytest.mark.parametrize(
    ("words", "expected"), [("resilio d", "dlq"), ("resilio dlq re", "replay"), ("resilio dlq list --st", "--status")]
)
def test_a_shell_completes_commands_and_options(folder: Path, words: str, expected: str) -> None:
    """Asked as bash asks."""
    env = environment(_RESILIO_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    child = spawn(cwd=folder, env=env)
    out, err = child.communicate(timeout=PATIENT)
    assert expected in out, err


@pytest.mark.parametrize("command", ["", "simulate", "completion"])
def test_help_keeps_its_lines_and_shows_no_marks(run: Run, command: str) -> None:
    """A list in a help text is neither wrapped, nor does it show what keeps it from that."""
    shown = run(*filter(None, [command, "--help"])).out
    assert "\\b" not in shown
    assert re.search(r"^ +(Exit codes|bash: |retries=N )", shown, re.MULTILINE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_is_printed(run: Run, shell: str) -> None:
    """It names the variable that the command answers to."""
    ran = run("completion", shell)
    assert ran.code == 0
    assert "_RESILIO_COMPLETE" in ran.out


def test_the_shell_is_found_by_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """From SHELL; one that is not known is asked for."""
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert run("completion").out.startswith("#compdef resilio")
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run("completion").code == 2


def test_a_fault_of_ours_is_one_line_as_well(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class, its text, and how to see where it came from."""

    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    keep("letters.jsonl", [{"n": 1}])
    monkeypatch.setattr("resilio.deadletters.queue.DeadLetterQueue.stats", broken)
    ran = run("dlq", "stats", "-q", "letters.jsonl")
    assert (ran.code, ran.err) == (3, "resilio: ZeroDivisionError: a fault (RESILIO_DEBUG=1 shows where)\n")
