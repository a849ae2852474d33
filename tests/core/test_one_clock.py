"""The one clock, and putting another in its place."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from resilio._core import clock


class ManualClock:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self, start: float = 100.0) -> None:
        self.now = start
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        self.sleep_blocking(seconds)

    def sleep_blocking(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def wait_blocking(self, event: threading.Event, timeout: float | None) -> bool:
        self.sleep_blocking(timeout or 0.0)
        return event.is_set()


def test_the_system_clock_never_goes_back() -> None:
    """Two readings of the monotonic clock are in order."""
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_the_time_of_day_is_in_utc() -> None:
    """A timestamp carries its time zone, and it is UTC."""
    assert clock.utcnow().utcoffset() == timedelta(0)


def test_the_system_clock_waits_for_an_event() -> None:
    """Waiting ends at once when the event is set, and says whether it is."""
    event = threading.Event()
    assert clock.wait_blocking(event, timeout=0) is False
    event.set()
    assert clock.wait_blocking(event) is True


@pytest.mark.parametrize("timeout", [1e300, float("inf"), None])
def test_the_system_clock_waits_as_long_as_anybody_likes(timeout: float | None) -> None:
    """A time that the system has no number for is as good as none."""
    event = threading.Event()
    setter = threading.Timer(0.01, event.set)
    setter.start()
    assert clock.wait_blocking(event, timeout) is True
    setter.join()


def test_an_installed_clock_is_read_by_everybody() -> None:
    """Every function of the module asks the installed clock, and the system's again afterwards."""
    manual = ManualClock(start=5.0)
    with clock.installed(manual):
        assert clock.current() is manual
        assert clock.monotonic() == 5.0
        assert clock.utcnow() == datetime(2030, 1, 1, 0, 0, 5, tzinfo=UTC)
        clock.sleep_blocking(2.0)
        assert clock.wait_blocking(threading.Event(), 3.0) is False
        assert manual.slept == [2.0, 3.0]
        assert clock.monotonic() == 10.0
    assert clock.current() is not manual
    assert clock.utcnow().year < 2030


def test_installed_clocks_nest() -> None:
    """The clock installed last is in force; taking it away brings back the one before."""
    outer, inner = ManualClock(1.0), ManualClock(2.0)
    with clock.installed(outer):
        with clock.installed(inner):
            assert clock.monotonic() == 2.0
        assert clock.monotonic() == 1.0


def test_a_clock_is_taken_away_after_an_error_too() -> None:
    """An exception in the block leaves no clock behind."""
    before = clock.current()
    with pytest.raises(ZeroDivisionError), clock.installed(ManualClock()):
        1 / 0  # noqa: B018 -- the error is the point
    assert clock.current() is before


def test_a_negative_blocking_sleep_is_none() -> None:
    """A deadline that has passed is no error: the clock is asked for zero seconds."""
    manual = ManualClock()
    with clock.installed(manual):
        clock.sleep_blocking(-1.0)
    assert manual.slept == [0.0]


@pytest.mark.anyio
async def test_sleep_is_a_checkpoint_even_for_zero_seconds() -> None:
    """A cancelled task that sleeps for nothing, or less, is cancelled there."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await clock.sleep(-1.0)
        pytest.fail("slept through a cancellation")
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_an_installed_clock_sleeps_for_tasks() -> None:
    """A task's sleep goes to the installed clock."""
    manual = ManualClock()
    with clock.installed(manual):
        await clock.sleep(7.5)
    assert manual.slept == [7.5]
