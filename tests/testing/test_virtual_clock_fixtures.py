from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(anyio_backend: object, virtual_clock: VirtualClock) -> AsyncIterator[float]:
    """Something that waits by the project's clock while it starts and while it stops."""
    await clock.sleep(10)
    yield virtual_clock.elapsed
    await clock.sleep(100)
    await anyio.lowlevel.checkpoint()


@pytest.fixture
async def ticks(anyio_backend: object) -> AsyncIterator[list[int]]:
    """A task of a fixture that knows nothing of the clock."""
    counted: list[int] = []

    async def tick() -> None:
        while True:
            await anyio.sleep(60)
            counted.append(len(counted))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield counted
        tasks.cancel_scope.cancel()


async def test_fixtures_may_wait_by_the_clock(server: float, virtual_clock: VirtualClock) -> None:
    """An async fixture's waits on the project's clock jump as well; the test counts from its own start."""
    assert server == 10
    await anyio.sleep(3600)
    assert virtual_clock.elapsed == 3600


async def test_tasks_of_fixtures_live_on_the_clock_meanwhile(ticks: list[int], virtual_clock: VirtualClock) -> None:
    """What fixtures have left running on the loop jumps together with the test."""
    await anyio.sleep(3599)
    assert len(ticks) == 59


async def test_the_clock_may_be_asked_for_late(
    request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, object]]
) -> None:
    """Asked for in the midst of a test, the clock comes into force there, or is refused there."""
    if "use_uvloop" in anyio_backend[1]:
        with pytest.raises(RuntimeError, match="virtual time needs asyncio's own selector loop"):
            request.getfixturevalue("virtual_clock")
        return
    virtual = request.getfixturevalue("virtual_clock")
    await anyio.sleep(3600)
    assert virtual.elapsed == 3600
