"""What the README shows works as shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow("each block is run by an interpreter of its own")
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_python_block_runs(number: int, tmp_path: Path) -> None:
    """A block that is copied into a file and run ends without an error, and without a warning."""
    script = tmp_path / "block.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    ran = subprocess.run(  # noqa: S603 -- our own README
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_example_comes_within_forty_lines() -> None:
    """What it is, how to install it and one example fit on a screen."""
    head = "\n".join(README.splitlines()[:45])
    assert "pip install resilio-toolkit" in head
    assert BLOCKS[0] in head


@pytest.mark.parametrize("session", ["demo", "proto_ddf", "tests"])
def test_each_command_is_one_line_that_gets_nox_itself(session: str) -> None:
    """From a fresh clone with only Python, one line does everything."""
    lines = [line for line in README.splitlines() if line.endswith(f"nox -s {session}")]
    assert len(lines) == 1
    assert "python3 -m venv" in lines[0]
    assert "pip install" in lines[0]


def test_the_files_it_points_to_exist() -> None:
    """The table of places names real files."""
    for path in re.findall(r"`((?:resilio|examples|benchmarks)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path
