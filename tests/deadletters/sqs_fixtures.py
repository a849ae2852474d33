"""Queues on real servers, for the tests that ask for them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqs_kit import remote_queue, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqs_kit import RemoteQueue


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that local servers take, and nothing from this machine's own settings."""
    for name, value in settings().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["moto", "ministack"])
def queue(request: pytest.FixtureRequest, credentials: None) -> Iterator[RemoteQueue]:
    """A queue on each kind of server."""
    with remote_queue(request.param) as made:
        yield made


@pytest.fixture
def mini_queue(credentials: None) -> Iterator[RemoteQueue]:
    """A queue on ministack, the faster of the two, for what does not depend on the server."""
    with remote_queue("ministack") as made:
        yield made


@pytest.fixture
def moto_queue(credentials: None) -> Iterator[RemoteQueue]:
    """A queue on moto's server, for what does not depend on the server."""
    with remote_queue("moto") as made:
        yield made
