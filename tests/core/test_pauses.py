"""How policies wait in each world, and waiting switched off."""

from __future__ import annotations

import pytest

from resilio._core import clock, pauses
from resilio._core.drive import drive


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every wait that reached the clock; none of them takes any time."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(clock, "sleep_blocking", waits.append)
    monkeypatch.setattr(clock, "sleep", sleep)
    return waits


def test_a_blocking_pause_never_suspends_and_asks_the_clock(slept: list[float]) -> None:
    """A coroutine that waits this way can be driven without an event loop."""
    drive(pauses.blocking_pause(2.5))
    assert slept == [2.5]


@pytest.mark.anyio
async def test_an_async_pause_asks_the_clock(slept: list[float]) -> None:
    """On an event loop the wait goes through the one clock."""
    await pauses.async_pause(1.5)
    assert slept == [1.5]


@pytest.mark.anyio
async def test_in_haste_an_async_pause_is_only_a_checkpoint(slept: list[float]) -> None:
    """With waiting switched off the task still lets others run."""
    token = pauses.haste.set(pauses.Haste())
    try:
        await pauses.async_pause(60.0)
    finally:
        pauses.haste.reset(token)
    assert slept == [0.0]


def test_in_haste_a_blocking_pause_is_nothing(slept: list[float]) -> None:
    """With waiting switched off the clock is not asked at all."""
    token = pauses.haste.set(pauses.Haste(max_attempts=2))
    try:
        drive(pauses.blocking_pause(60.0))
    finally:
        pauses.haste.reset(token)
    assert slept == []
