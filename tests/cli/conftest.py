"""What every test of this room is given: an empty folder, no settings from outside, and the command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from command_kit import Ran

from resilio import settings
from resilio.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, 100 characters wide, and nothing from this machine's own settings."""
    monkeypatch.chdir(tmp_path)
    for variable in (*(each.variable for each in settings.ALL), "RESILIO_DEBUG", "RESILIO_REPROCESSOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command in this process."""

    def ran(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return ran


@pytest.fixture
def shop(folder: Path) -> Path:
    """A program with reprocessors, in the present folder."""
    path = folder / "shop.py"
    path.write_text(SHOP, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def forget_shop() -> None:
    """Each test imports its own."""
    sys.modules.pop("shop", None)


SHOP = '''
"""What the tests replay with."""

handled = []


async def handle(message):
    handled.append(message)


def refuse_odd(message):
    if message["n"] % 2:
        raise ValueError(f"{message['n']} is odd")


def refuse(message):
    raise ConnectionError("still down")


not_a_function = 5
'''
