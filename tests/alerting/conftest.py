"""The servers that the channels speak to, and a channel that speaks to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alert_kit import MailServer, Receiver
from moto.server import ThreadedMotoServer
from rules_kit import Postbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def box() -> Postbox:
    """A channel that keeps what it is given."""
    return Postbox()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server that takes everything, until told otherwise."""
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """An SMTP server that wants TLS and the password "right"."""
    server = MailServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(_moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """AWS on this machine, as the environment says; empty."""
    import httpx  # noqa: PLC0415 -- for who asks for AWS

    httpx.post(f"{_moto}/moto-api/reset").raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL", _moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return _moto
