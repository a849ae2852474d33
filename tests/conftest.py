"""What every test of this project stands on: the backends, and seeds that are printed."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    return loop


_VIRTUAL = [pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")]
if sys.version_info >= (3, 12):
    _VIRTUAL.append(pytest.param(("asyncio", {"loop_factory": _eager_loop}), id="asyncio-eager"))
_REAL = [*_VIRTUAL, pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that is marked for anyio on every backend; virtual time has no uvloop."""
    if "anyio_backend" in metafunc.fixturenames:
        backends = _VIRTUAL if "virtual_clock" in metafunc.fixturenames else _REAL
        metafunc.parametrize("anyio_backend", backends, indirect=True, scope="function")


def pytest_runtest_setup() -> None:
    """Forget how the test before, or an application that it ran, has configured structlog."""
    if (structlog := sys.modules.get("structlog")) is not None:
        structlog.reset_defaults()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    """The backend of this run, as `pytest_generate_tests` chose it."""
    backend: tuple[str, dict[str, object]] = request.param
    return backend
