from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from breaker_forms import DownError, state_of, tripped

from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState, CircuitStateChanged, subscribe
from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


def breaks_of(breaker: CircuitBreaker, virtual_clock: VirtualClock, rounds: int) -> list[float]:
    """The lengths of a circuit's first breaks, each of them ended by a failed probe."""
    tripped(breaker)
    lengths = []
    for _ in range(rounds):
        length = breaker.snapshot().retry_after
        assert length is not None
        lengths.append(length)
        virtual_clock.advance(length)
        tripped(breaker)
    return lengths


def test_the_break_may_grow_with_failed_probes(virtual_clock: VirtualClock) -> None:
    """A function of the number of failed probes in a row decides how long each break lasts."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: min(10 * 2**failed, 50))
    assert breaks_of(breaker, virtual_clock, 5) == pytest.approx([10, 20, 40, 50, 50])


def test_a_closed_circuit_forgets_its_failed_probes(virtual_clock: VirtualClock) -> None:
    """Once closed, the next break is as short as the first."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: 10.0 * (failed + 1))
    assert breaks_of(breaker, virtual_clock, 2) == pytest.approx([10, 20])
    virtual_clock.advance(30)
    breaker.acquire().success()
    assert breaks_of(breaker, virtual_clock, 1) == pytest.approx([10])


def test_reset_forgets_failed_probes(virtual_clock: VirtualClock) -> None:
    """reset() starts the growth of breaks anew."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: 10.0 * (failed + 1))
    breaks_of(breaker, virtual_clock, 3)
    breaker.reset()
    assert breaker.snapshot().failed_probes == 0
    assert breaks_of(breaker, virtual_clock, 1) == pytest.approx([10])


def test_the_function_is_asked_once_for_each_break(virtual_clock: VirtualClock) -> None:
    """It may draw jitter: one number per break, not one per reader."""
    asked: list[int] = []

    def recovery(failed_probes: int) -> float:
        asked.append(failed_probes)
        return 5

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    assert asked == []  # not before there is a break
    tripped(breaker)
    for _ in range(3):
        _ = breaker.state, breaker.snapshot()
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
    assert asked == [0]
    virtual_clock.advance(5)
    tripped(breaker)
    assert asked == [0, 1]


def test_the_end_of_an_isolation_does_not_ask_again(virtual_clock: VirtualClock) -> None:
    """A break that an isolation interrupts goes on; it does not begin again."""
    asked: list[int] = []

    def recovery(failed_probes: int) -> float:
        asked.append(failed_probes)
        return 30

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    tripped(breaker)
    asked.clear()
    virtual_clock.advance(10)
    with breaker.isolate():
        virtual_clock.advance(5)
    assert asked == []
    assert breaker.snapshot().retry_after == pytest.approx(15)


@pytest.mark.parametrize(
    "nonsense", [-1, float("nan"), float("inf"), "60", None, True, 1j], ids=lambda value: f"returns {value!r}"
)
def test_a_function_that_returns_nonsense_means_a_minute(
    nonsense: object, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The call's own error is on its way and wins; the break lasts the default, and the log says why."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda _: nonsense)  # type: ignore[arg-type,return-value]
    with caplog.at_level(logging.ERROR, logger="resilio"), pytest.raises(DownError):
        breaker(failing)()
    assert breaker.snapshot().retry_after == pytest.approx(60)
    assert "recovery_timeout of circuit 'unnamed' failed" in caplog.text
    virtual_clock.advance(60)
    assert state_of(breaker) is CircuitState.HALF_OPEN


def failing() -> None:
    """Fail."""
    raise DownError


def test_a_function_that_raises_means_a_minute(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """The same for one that raises."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: 1 / 0)
    with pytest.raises(DownError):
        breaker(failing)()
    assert breaker.snapshot().retry_after == pytest.approx(60)
    assert "ZeroDivisionError" in caplog.text


def test_a_function_that_is_interrupted_leaves_a_break_of_a_minute(virtual_clock: VirtualClock) -> None:
    """Ctrl-C inside the function passes through, and the circuit does not stay open for ever."""

    def recovery(failed_probes: int) -> float:
        raise KeyboardInterrupt

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    with pytest.raises(KeyboardInterrupt):
        tripped(breaker)
    assert state_of(breaker) is CircuitState.OPEN
    assert breaker.snapshot().retry_after == pytest.approx(60)


def test_the_function_may_use_the_breaker(virtual_clock: VirtualClock) -> None:
    """It runs outside of every lock: reading the circuit there is harmless."""
    seen: list[CircuitState] = []

    def recovery(failed_probes: int) -> float:
        seen.append(breaker.state)
        return 7

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    tripped(breaker)
    assert seen == [CircuitState.OPEN]
    assert breaker.snapshot().retry_after == pytest.approx(7)


def test_a_slow_function_holds_up_nobody_else() -> None:
    """While one thread waits for the function, other callers are rejected at once instead of waiting for a lock."""
    asked, answer = threading.Event(), threading.Event()

    def recovery(failed_probes: int) -> float:
        asked.set()
        assert answer.wait(10)
        return 7

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    thread = threading.Thread(target=tripped, args=(breaker,))
    thread.start()
    assert asked.wait(10)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after is None  # nobody knows yet
    answer.set()
    thread.join(10)
    assert breaker.snapshot().retry_after == pytest.approx(7, abs=5)


def test_a_break_that_was_reset_meanwhile_stays_reset() -> None:
    """An answer that comes after a reset, and after the break that followed, changes neither."""
    answers = iter([500.0, 20.0])

    def recovery(failed_probes: int) -> float:
        answer = next(answers)
        if answer == 500:
            breaker.reset()
            tripped(breaker)  # asks again, and is told 20
        return answer

    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=recovery)
    tripped(breaker)
    assert breaker.snapshot().retry_after == pytest.approx(20, abs=5)


def test_a_probe_after_a_longer_break_has_longer(virtual_clock: VirtualClock) -> None:
    """half_open_timeout is by default as long as the break that just ended."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda failed: 10.0 * (failed + 1))
    breaks_of(breaker, virtual_clock, 2)
    virtual_clock.advance(30)
    probe = breaker.acquire()
    assert breaker.snapshot().retry_after == pytest.approx(30)
    probe.release()


def test_the_event_tells_the_length_that_the_function_gave() -> None:
    """CircuitStateChanged.retry_after is the break's length, however it came about."""
    told: list[CircuitStateChanged] = []
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=lambda _: 44)
    with subscribe(told.append, CircuitStateChanged):
        tripped(breaker)
    assert [each.retry_after for each in told] == [44]


class SwungClock(clock.SystemClock):
    """A machine whose time of day somebody sets, while its monotonic clock goes on."""

    def __init__(self) -> None:
        self.day = datetime(2026, 1, 1, tzinfo=UTC)
        self.uptime = 1000.0

    def utcnow(self) -> datetime:
        return self.day

    def monotonic(self) -> float:
        return self.uptime


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=400)], ids=str)
def test_a_jump_of_the_wall_clock_changes_nothing(jump: timedelta) -> None:
    """Breaks and probes are timed on the monotonic clock alone."""
    machine = SwungClock()
    with clock.installed(machine):
        breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=30)
        tripped(breaker)
        machine.day += jump
        assert breaker.snapshot().retry_after == 30
        assert state_of(breaker) is CircuitState.OPEN
        machine.uptime += 30
        machine.day -= 2 * jump
        probe = breaker.acquire()
        machine.day += jump
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
        probe.success()
        assert state_of(breaker) is CircuitState.CLOSED
