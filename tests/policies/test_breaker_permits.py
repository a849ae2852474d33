"""The two-step form: acquire now, settle later, from anywhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from breaker_forms import DownError, state_of, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio import Permit

pytestmark = pytest.mark.anyio

either_colour = pytest.mark.parametrize(
    "build", [CircuitBreaker, resilio.sync.CircuitBreaker], ids=["async", "blocking"]
)
Build = type[CircuitBreaker]


@either_colour
def test_a_permit_books_a_success(build: Build) -> None:
    """success() starts the count of failures anew."""
    breaker = build(failure_threshold=2)
    breaker.acquire().failure(DownError())
    breaker.acquire().success()
    assert breaker.snapshot().counts == {"consecutive_failures": 0}


@either_colour
def test_a_permit_books_a_failure(build: Build) -> None:
    """failure(error) counts, and the error becomes the cause of rejections."""
    breaker, error = build(failure_threshold=1), DownError("the cause")
    breaker.acquire().failure(error)
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.__cause__ is error


@either_colour
def test_a_failure_needs_no_error(build: Build) -> None:
    """failure() alone counts as well; rejections then have no cause."""
    breaker = build(failure_threshold=1)
    breaker.acquire().failure()
    with pytest.raises(CircuitBreakerOpenError) as caught:
        breaker.acquire()
    assert caught.value.__cause__ is None


@either_colour
def test_an_ignored_error_is_ignored_in_two_steps_too(build: Build) -> None:
    """`record` and `ignore` are asked about the error of a permit."""
    breaker = build(failure_threshold=1, ignore=KeyError)
    breaker.acquire().failure(KeyError())
    assert state_of(breaker) is CircuitState.CLOSED


SETTLE: dict[str, Callable[[Permit], object]] = {
    "success": lambda permit: permit.success(),
    "failure": lambda permit: permit.failure(DownError()),
    "release": lambda permit: permit.release(),
    "block": lambda permit: permit.__exit__(None, None, None),
}


@pytest.mark.parametrize("again", SETTLE)
@pytest.mark.parametrize("first", SETTLE)
def test_the_first_settling_counts(first: str, again: str) -> None:
    """Settling a permit a second time changes nothing, whatever the two say."""
    breaker = CircuitBreaker(failure_threshold=2)
    tripped(breaker)
    permit = breaker.acquire()
    SETTLE[first](permit)
    before = breaker.snapshot().counts, state_of(breaker), breaker.snapshot().failed
    SETTLE[again](permit)
    assert (breaker.snapshot().counts, state_of(breaker), breaker.snapshot().failed) == before


@pytest.mark.parametrize("again", SETTLE)
def test_a_probe_settled_twice_frees_one_permit(again: str) -> None:
    """A released permit that is settled again does not take the next probe's place away."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    permit = breaker.acquire()
    permit.release()
    other = breaker.acquire()
    SETTLE[again](permit)
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    other.success()
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize("ending", ["success", "failure"])
def test_a_permit_may_be_settled_from_another_thread(ending: str) -> None:
    """Where it is settled does not matter."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    permit = breaker.acquire()
    thread = threading.Thread(target=SETTLE[ending], args=(permit,))
    thread.start()
    thread.join(10)
    assert breaker.snapshot().failed_probes == (1 if ending == "failure" else 0)
    assert breaker.snapshot().transitions == 3


async def test_a_permit_may_be_settled_from_another_task() -> None:
    """Nor does it matter in which task."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    permit = breaker.acquire()

    async def settle() -> None:
        permit.success()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settle)
    assert state_of(breaker) is CircuitState.CLOSED


@either_colour
def test_permits_count_against_the_probes_one_by_one(build: Build) -> None:
    """A task that holds a permit is not let through a second time for it."""
    breaker = build(failure_threshold=1, recovery_timeout=0, half_open_max_calls=2)
    tripped(breaker)
    first, second = breaker.acquire(), breaker.acquire()
    with pytest.raises(CircuitBreakerOpenError):
        breaker.acquire()
    first.release()
    second.release()


def test_a_permit_as_a_block_books_the_block() -> None:
    """`with breaker.acquire():` books success, failure, or neither; the error passes through."""
    breaker = CircuitBreaker(failure_threshold=2, ignore=KeyError)
    error = DownError()
    with pytest.raises(DownError) as caught, breaker.acquire():
        raise error
    assert caught.value is error
    with pytest.raises(KeyError), breaker.acquire():
        raise KeyError
    assert breaker.snapshot().counts == {"consecutive_failures": 1}
    with breaker.acquire() as permit:
        pass
    assert breaker.snapshot().counts == {"consecutive_failures": 0}
    permit.failure(DownError())
    assert breaker.snapshot().counts == {"consecutive_failures": 0}


def test_a_block_may_settle_its_permit_itself() -> None:
    """What the block says first holds, whatever comes of it."""
    breaker = CircuitBreaker(failure_threshold=1)

    def work(permit: Permit) -> None:
        permit.success()
        raise DownError

    with pytest.raises(DownError), breaker.acquire() as permit:
        work(permit)
    assert state_of(breaker) is CircuitState.CLOSED


def test_a_forgotten_permit_of_a_closed_circuit_holds_nothing_up() -> None:
    """Nobody waits for a permit that was dropped without being settled."""
    breaker = CircuitBreaker(failure_threshold=1)
    for _ in range(1000):
        breaker.acquire()
    tripped(breaker)
    assert state_of(breaker) is CircuitState.OPEN
