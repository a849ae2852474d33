"""What every snippet is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from snippets import Backend, QuickClock

import resilio.sync
from resilio._core import clock
from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A server that starts healthy."""
    server = Backend()
    yield server
    server.close()


@pytest.fixture
def quick_clock() -> Iterator[QuickClock]:
    """The clock in force while the test runs."""
    quick = QuickClock()
    with clock.installed(quick):
        yield quick


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to run in, no environment variables of ours, and no circuit from before."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DLQ_QUEUE_URL", "DLQ_LOCAL_FILE_PATH", "SNS_TOPIC_ARN"):
        monkeypatch.delenv(variable, raising=False)
    with registry.fresh():
        yield tmp_path


@pytest.fixture
def names() -> dict[str, Any]:
    """Everything that `resilio.sync` offers, for snippets without an import line."""
    return {name: getattr(resilio.sync, name) for name in resilio.sync.__all__}
