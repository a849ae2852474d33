"""What every test of this room is given: a file of its own, and no settings from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from letter_kit import hand_clock
from store_kit import KINDS, needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from letter_kit import HandClock
    from store_kit import StoreKind

    from resilio.deadletters.store import Store


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


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, object]], time: HandClock) -> StoreKind:
    """Each of the stores, on each backend that it works on; the clock is moved by hand."""
    found: StoreKind = request.param
    if anyio_backend[0] == "trio":
        needs(found, "on_trio")
    return found


@pytest.fixture
def opened(kind: StoreKind, folder: Path) -> AbstractAsyncContextManager[Store]:
    """The store, to be opened by the test."""
    return kind.opened(folder)
