# ruff: noqa: ASYNC240 -- nobody waits while a test looks at its files
"""The example's state, without a browser: what it generates runs, and each of its errors is told as what it is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from reflex_kit import Client

from examples.proto_ddf import connection, state
from examples.proto_ddf.generator import check_name, write_app
from examples.proto_ddf.ports import PortPair, PortRegistry
from examples.proto_ddf.source import DataSource
from resilio import CircuitBreaker, OperationEnded, ValidationError
from resilio.testing import match

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from resilio.testing import EventRecorder, VirtualClock

State = state.State


def free_ports() -> PortPair:
    """Two ports that nobody listens on just now."""
    from examples.proto_ddf.__main__ import free_port  # noqa: PLC0415 -- needs bun

    return PortPair(free_port(), free_port())


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what is generated, and a register of this test's own."""
    monkeypatch.setattr(state, "OUTPUT", tmp_path / "generated")
    monkeypatch.setattr(state, "PORT_REGISTRY", PortRegistry(31_000, 31_999, file=tmp_path / "ports.json"))
    return tmp_path / "generated"


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataSource]:
    """A data source that is up; its circuit is closed."""
    _, breaker, _ = connection.guarded.policies
    assert isinstance(breaker, CircuitBreaker)
    breaker.reset()
    with DataSource() as served:
        monkeypatch.setattr(connection, "URL", served.url)
        yield served


# -- generating --------------------------------------------------------------------------------------------------------


@pytest.mark.slow("runs what was generated, in a process of its own")
def test_what_is_generated_runs(tmp_path: Path) -> None:
    """A page on one port, what it shows on the other."""
    ports = free_ports()
    folder = write_app("felt-mice", ports, tmp_path)
    assert {each.name for each in folder.iterdir()} == {"main.py", "README.md"}
    with subprocess.Popen([sys.executable, "main.py"], cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                try:
                    page = httpx.get(f"http://127.0.0.1:{ports.frontend}/")
                    says = httpx.get(f"http://127.0.0.1:{ports.backend}/").json()
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.05)
            assert "<h1>felt-mice</h1>" in page.text
            assert str(ports.backend) in page.text
            assert says == {"says": "felt-mice works"}
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "project_name_required"),
        ("ab", "project_name_too_short"),
        ("felt mice", "invalid_characters"),
        ("../../etc", "invalid_characters"),
        ("1st-app", "invalid_characters"),
        ("mäuse", "invalid_characters"),
        ("mice\n", "invalid_characters"),
    ],
)
@pytest.mark.asyncio
async def test_a_bad_name_is_told_as_what_it_is(name: str, code: str, output: Path) -> None:
    """Under the reference's codes; nothing is written, no other try is offered."""
    with pytest.raises(ValidationError):
        check_name(name)
    async with Client() as client:
        await client.fire(State.name_project, name=name)
        await client.fire(State.generate_app)
        shown = client.shown
        assert (shown["generation_status"], shown["error_context"]["code"]) == ("error", code)
        assert shown["error_context"]["validation_field"] == "project_name"
        assert shown["retry_possible"] is False
        assert not output.exists()


@pytest.mark.asyncio
async def test_an_application_is_generated_once(output: Path, resilio_events: EventRecorder) -> None:
    """The work is logged; the second of the same name is refused in our words and changes nothing."""
    async with Client() as client:
        await client.fire(State.name_project, name="felt-mice")
        await client.fire(State.generate_app)
        assert client.shown["generation_status"] == "success"
        written = (output / "felt-mice" / "main.py").read_text(encoding="utf-8")
        resilio_events.assert_sequence(..., match(OperationEnded, operation="code_generation", outcome="succeeded"))
        await client.fire(State.generate_app)
        assert client.shown["error_message"].startswith("There is a project called felt-mice already")
        assert (output / "felt-mice" / "main.py").read_text(encoding="utf-8") == written
        assert [each.name for each in output.iterdir()] == ["felt-mice"]


@pytest.mark.asyncio
async def test_the_registry_is_asked_twice(
    output: Path, virtual_clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No port at first, one a second later: the user sees nothing of it."""

    class Late(PortRegistry):
        refusals = 1

        def reserve_pair(self, name: str) -> PortPair:
            if self.refusals:
                self.refusals -= 1
                return PortRegistry(1, 1, file=tmp_path / "none.json").reserve_pair(name)
            return super().reserve_pair(name)

    late = Late(31_000, 31_999, file=tmp_path / "ports.json")
    monkeypatch.setattr(state, "PORT_REGISTRY", late)
    async with Client() as client:
        await client.fire(State.name_project, name="felt-mice")
        await client.fire(State.generate_app)
        assert client.shown["generation_status"] == "success"
        assert virtual_clock.elapsed >= 1
        late.refusals = 2
        await client.fire(State.name_project, name="other-mice")
        await client.fire(State.generate_app)
        assert client.shown["error_message"] == "No available ports found. Please try again in a moment"
        assert client.shown["error_context"]["system_component"] == "port_registry"
        assert client.shown["retry_possible"] is True


@pytest.mark.asyncio
async def test_a_disk_that_takes_nothing_gives_the_ports_back(output: Path) -> None:
    """The error is told as the disk's, and the pair can be reserved by somebody else."""
    registry: PortRegistry = vars(state)["PORT_REGISTRY"]
    output.write_text("a file where the folder should be")
    async with Client() as client:
        await client.fire(State.name_project, name="felt-mice")
        await client.fire(State.generate_app)
        assert client.shown["generation_status"] == "error"
        assert client.shown["error_type"] in {"FileExistsError", "NotADirectoryError"}
        with registry._reservations() as taken:
            assert taken == {}


# -- connecting --------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_source_connects(source: DataSource) -> None:
    """Records and status reach the browser."""
    async with Client() as client:
        await client.fire(State.select_source, source="crm")
        await client.fire(State.connect_source)
        assert client.shown["integration_status"] == "success"
        assert [each["item"] for each in client.shown["source_records"]] == ["Tristan", "Hannah"]


@pytest.mark.asyncio
async def test_without_a_choice_there_is_nothing_to_connect(source: DataSource) -> None:
    """A matter of input: not retried, no circuit counts it against the source, no other try."""
    _, breaker, _ = connection.guarded.policies
    assert isinstance(breaker, CircuitBreaker)
    before = breaker.snapshot().failed
    async with Client() as client:
        await client.fire(State.connect_source)
        assert client.shown["error_message"] == "Please select a data source"
        assert breaker.snapshot().failed == before
        assert client.shown["retry_possible"] is False


@pytest.mark.slow("its retries wait for a real second, beside a real server")
@pytest.mark.asyncio
async def test_another_try_connects_once_the_source_is_back(source: DataSource) -> None:
    """Broken and repaired by the page's own switch."""
    async with Client() as client:
        await client.fire(State.select_source, source="warehouse")
        await client.fire(State.flip_source, up=False)
        await client.fire(State.connect_source)
        assert (client.shown["integration_status"], client.shown["retry_possible"]) == ("error", True)
        await client.fire(State.flip_source, up=True)
        await client.fire(State.retry_operation)
        for _ in range(600):
            if client.shown["integration_status"] == "success":
                break
            await asyncio.sleep(0.05)
        assert client.shown["integration_message"] == "Connected to warehouse"
        assert client.shown["error_message"] == ""
