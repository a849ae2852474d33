"""What users' type checkers make of our decorators and policies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
FILES = [path for path in sorted(HERE.glob("*_types.py")) if not path.name.startswith("test_")]

REVEALED = re.compile(r'^(?P<file>[^:]+):(?P<line>\d+): note: Revealed type is "(?P<kind>.*)"$')
EXPECTED = re.compile(r"# is: (?P<kind>.+)$")
# Where a name comes from is not the point, save where two have the same one.
PREFIX = re.compile(
    r"\b(?:builtins|typing|collections\.abc|_asyncio|asyncio\.tasks|resilio\.policies\.\w+|breaker_types)\."
)


def simple(kind: str) -> str:
    """A revealed type as one would write it."""
    return PREFIX.sub("", kind).replace("?", "").replace("tests.typing.", "")


@pytest.mark.slow("mypy reads the whole package")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_types_are_the_ones_written_beside_them(path: Path) -> None:
    """Every `reveal_type` reveals what its line says, and every wrong use is refused."""
    out, err, _ = api.run([str(path), "--config-file", str(HERE.parents[1] / "pyproject.toml"), "--no-pretty"])
    assert err == ""
    assert [line for line in out.splitlines() if ": error:" in line] == []
    revealed = {
        int(match["line"]): simple(match["kind"])
        for match in map(REVEALED.match, out.splitlines())
        if match is not None and match["file"].endswith(path.name)
    }
    expected = {
        number: match["kind"]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := EXPECTED.search(line)) is not None and "reveal_type(" in line
    }
    assert revealed == expected
    assert expected
