from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from breaker_forms import DownError, every_waiting_form, state_of, throw, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState

if TYPE_CHECKING:
    from breaker_forms import Waiting

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Backend:
    """A dependency whose calls wait until the test lets them go; it counts who reached it."""

    def __init__(self) -> None:
        self.reached = 0
        self.release = anyio.Event()

    async def __call__(self) -> str:
        self.reached += 1
        await self.release.wait()
        return "fine"


class Callers:
    """Many callers at once, and what became of them."""

    def __init__(self, breaker: CircuitBreaker, form: Waiting, backend: Backend) -> None:
        self._breaker, self._form, self._backend = breaker, form, backend
        self.served: list[object] = []
        self.rejections: list[CircuitBreakerOpenError] = []

    async def one(self) -> None:
        try:
            self.served.append(await self._form.call(self._breaker, self._backend))
        except CircuitBreakerOpenError as rejection:
            self.rejections.append(rejection)


@every_waiting_form
@pytest.mark.parametrize("permits", [1, 3, 50])
async def test_exactly_the_permitted_probes_reach_the_backend(form: Waiting, permits: int) -> None:
    """Of 100 callers at once exactly half_open_max_calls reach the backend, and the rest are rejected."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, half_open_max_calls=permits)
    tripped(breaker)
    backend = Backend()
    callers = Callers(breaker, form, backend)
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(callers.one)
        await anyio.wait_all_tasks_blocked()
        assert backend.reached == permits
        assert len(callers.rejections) == 100 - permits
        backend.release.set()
    assert callers.served == ["fine"] * permits
    assert state_of(breaker) is CircuitState.CLOSED


async def test_exactly_one_of_many_threads_probes() -> None:
    """The same holds for 50 threads that come at once."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    together, release = threading.Barrier(50), threading.Event()
    reached, rejected = [], []

    def work() -> None:
        reached.append(1)
        assert release.wait(10)

    def caller() -> None:
        together.wait()
        try:
            breaker.execute(work)
        except CircuitBreakerOpenError:
            rejected.append(1)
            if len(rejected) == 49:
                release.set()

    threads = [threading.Thread(target=caller) for _ in range(50)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert (len(reached), len(rejected)) == (1, 49)


async def test_a_rejection_at_half_open_says_so(virtual_clock: VirtualClock) -> None:
    """While the probe is under way, the rejection tells when it will count as lost."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=20, half_open_timeout=7)
    tripped(breaker)
    virtual_clock.advance(20)
    probe = breaker.acquire()
    virtual_clock.advance(3)
    with pytest.raises(CircuitBreakerOpenError, match="half-open") as caught:
        breaker.acquire()
    assert caught.value.retry_after == pytest.approx(4)
    assert isinstance(caught.value.__cause__, DownError)
    probe.release()


async def test_a_half_open_circuit_with_room_asks_nobody_to_wait() -> None:
    """The snapshot tells no waiting time while a probe would be let through."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, half_open_max_calls=2)
    tripped(breaker)
    first = breaker.acquire()
    assert breaker.snapshot().retry_after is None
    second = breaker.acquire()
    assert breaker.snapshot().retry_after == pytest.approx(60, abs=1)
    first.release()
    second.release()


@every_waiting_form
async def test_a_cancelled_probe_gives_its_permit_back(form: Waiting) -> None:
    """Cancellation says nothing about the dependency: the circuit stays half-open, and the next caller probes."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    backend = Backend()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(form.call, breaker, backend)
        await anyio.wait_all_tasks_blocked()
        assert backend.reached == 1
        tasks.cancel_scope.cancel()
    assert state_of(breaker) is CircuitState.HALF_OPEN
    assert breaker.snapshot().failed_probes == 0
    backend.release.set()
    assert await form.call(breaker, backend) == "fine"
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize("settings", [{"ignore": KeyError}, {"record": DownError}], ids=str)
@every_waiting_form
async def test_a_probe_whose_error_does_not_count_gives_its_permit_back(
    form: Waiting, settings: dict[str, type[Exception]]
) -> None:
    """An ignored or unrecorded error neither closes nor opens the circuit."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, **settings)  # type: ignore[arg-type]
    tripped(breaker)

    async def not_found() -> object:
        return throw(KeyError("not found"))

    for _ in range(3):
        with pytest.raises(KeyError):
            await form.call(breaker, not_found)
        assert state_of(breaker) is CircuitState.HALF_OPEN
    assert breaker.snapshot().failed_probes == 0


async def test_a_released_permit_goes_to_the_next_caller() -> None:
    """A probe given back untouched counts for nothing."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    for _ in range(3):
        breaker.acquire().release()
        assert state_of(breaker) is CircuitState.HALF_OPEN
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


@every_waiting_form
async def test_a_hung_probe_loses_its_permit(form: Waiting, virtual_clock: VirtualClock) -> None:
    """After half_open_timeout the next caller probes, though the first one has not returned; its result is dropped."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=5, half_open_timeout=30)
    tripped(breaker)
    virtual_clock.advance(5)
    backend = Backend()
    with virtual_clock.hold():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(form.call, breaker, backend)
            await anyio.wait_all_tasks_blocked()
            virtual_clock.advance(29.9)
            with pytest.raises(CircuitBreakerOpenError):
                breaker.acquire()
            virtual_clock.advance(0.1)
            second = breaker.acquire()
            backend.release.set()
            await anyio.wait_all_tasks_blocked()
            assert state_of(breaker) is CircuitState.HALF_OPEN  # the hung probe's success came too late
    second.failure(DownError())
    assert state_of(breaker) is CircuitState.OPEN


async def test_every_probe_that_hangs_makes_room_for_one_more(virtual_clock: VirtualClock) -> None:
    """A backend that never answers gets one probe per half_open_timeout, and no more."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=10)
    tripped(breaker)
    virtual_clock.advance(10)
    probes = []
    for _ in range(100):
        probes.append(breaker.acquire())
        with pytest.raises(CircuitBreakerOpenError):
            breaker.acquire()
        virtual_clock.advance(10)
    assert len(probes) == 100
    assert state_of(breaker) is CircuitState.HALF_OPEN


async def test_a_slow_probe_that_nobody_replaced_still_counts(virtual_clock: VirtualClock) -> None:
    """half_open_timeout takes the permit away only when somebody else wants it."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=5)
    tripped(breaker)
    virtual_clock.advance(5)
    probe = breaker.acquire()
    virtual_clock.advance(3600)
    probe.success()
    assert state_of(breaker) is CircuitState.CLOSED


async def test_the_probe_timeout_is_the_recovery_timeout_by_default(virtual_clock: VirtualClock) -> None:
    """Without half_open_timeout a probe is lost after as long as the break took."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=12)
    tripped(breaker)
    virtual_clock.advance(12)
    probe = breaker.acquire()
    assert breaker.snapshot().retry_after == pytest.approx(12)
    probe.release()


@pytest.mark.parametrize(
    ("permits", "needed", "outcomes", "state"),
    [
        (3, 2, "ss", CircuitState.CLOSED),  # two of three: certain
        (3, 2, "ff", CircuitState.OPEN),  # out of reach
        (3, 2, "sf", CircuitState.HALF_OPEN),
        (3, 2, "sfs", CircuitState.CLOSED),
        (3, 2, "fsf", CircuitState.OPEN),
        (5, 3, "ffsf", CircuitState.OPEN),
        (5, 3, "ffss", CircuitState.HALF_OPEN),
        (5, 3, "ffsss", CircuitState.CLOSED),
        (1, 4, "sss", CircuitState.HALF_OPEN),
        (1, 4, "ssss", CircuitState.CLOSED),
        (1, 4, "sssf", CircuitState.OPEN),  # with one permit at a time all must succeed
        (4, 1, "fff", CircuitState.HALF_OPEN),
        (4, 1, "ffff", CircuitState.OPEN),
    ],
)
async def test_half_open_decides_as_early_as_arithmetic_allows(
    permits: int, needed: int, outcomes: str, state: CircuitState
) -> None:
    """M of N: closed once M successes are in, open once they are out of reach, and not a result earlier."""
    breaker = CircuitBreaker(
        failure_threshold=1,
        recovery_timeout=lambda failed_probes: 60 if failed_probes else 0,
        half_open_max_calls=permits,
        success_threshold=needed,
    )
    tripped(breaker)
    for place, outcome in enumerate(outcomes):
        assert state_of(breaker) is CircuitState.HALF_OPEN, f"decided after {outcomes[:place]}"
        permit = breaker.acquire()
        if outcome == "s":
            permit.success()
        else:
            permit.failure(DownError())
    assert state_of(breaker) is state


async def test_a_round_admits_no_more_probes_than_can_still_matter() -> None:
    """Of a round of three with two answers in, only one more probe is let through."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, half_open_max_calls=3, success_threshold=2)
    tripped(breaker)
    breaker.acquire().success()
    breaker.acquire().failure(DownError())
    last = breaker.acquire()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    last.success()
    assert state_of(breaker) is CircuitState.CLOSED
