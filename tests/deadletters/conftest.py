"""What every test of this room is given: a file of its own, and no settings from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from letter_kit import hand_clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from letter_kit import HandClock


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, and no environment variables of ours."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DLQ_QUEUE_URL", "DLQ_LOCAL_FILE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def path(folder: Path) -> Path:
    """Where the letters of the test lie."""
    return folder / "letters.jsonl"


@pytest.fixture
def time() -> Iterator[HandClock]:
    """A clock moved by hand."""
    with hand_clock() as hand:
        yield hand
