"""A guarded call inside another one of the same circuit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from breaker_forms import FORMS, state_of, tripped

import resilio
from resilio import CircuitBreaker, CircuitState
from resilio.policies import nesting

if TYPE_CHECKING:
    from breaker_forms import Form

pytestmark = pytest.mark.anyio


async def test_a_rejection_by_the_same_circuit_says_nothing_about_the_dependency() -> None:
    """An outer call that ends in its own circuit's rejection does not count as a failure."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)

    @breaker
    async def outer() -> None:
        tripped(breaker)
        await breaker.execute(lambda: None)

    with pytest.raises(resilio.CircuitBreakerOpenError):
        await outer()
    assert breaker.snapshot().failed == 1
    assert breaker.snapshot().last_failure.startswith("DownError")


async def test_a_probe_that_ends_in_its_own_circuits_rejection_gives_its_permit_back() -> None:
    """It is no failed probe: the rejection was about this circuit, not about the dependency."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    for _ in range(3):
        with pytest.raises(resilio.CircuitBreakerOpenError), breaker.acquire():
            await breaker.execute(lambda: None)
    assert state_of(breaker) is CircuitState.HALF_OPEN
    assert breaker.snapshot().failed_probes == 0
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED


async def test_a_probe_that_is_over_leaves_nothing_in_the_context() -> None:
    """A task that probes all its life does not collect probes."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, success_threshold=100)
    tripped(breaker)
    for _ in range(20):
        await breaker.execute(lambda: None)
        async with breaker:
            assert len(nesting._probes.get()) == 1
    assert nesting._probes.get() == ()


async def test_a_rejection_by_another_circuit_counts() -> None:
    """To this circuit, another one's rejection is a failure like any other."""
    inner, outer = CircuitBreaker(), CircuitBreaker(failure_threshold=1)
    inner.force_open()
    with pytest.raises(resilio.CircuitBreakerOpenError):
        await outer.execute(inner.execute, lambda: None)
    assert state_of(outer) is CircuitState.OPEN


# Permits and streams may be settled elsewhere than where they began, so nothing nests in them.
NESTING = [form for form in FORMS if not {"permit", "stream", "generator"} & set(form.name.split("-"))]


@pytest.mark.parametrize("form", NESTING, ids=str)
async def test_a_nested_call_is_part_of_its_probe(form: Form) -> None:
    """A guarded function that calls another one under the same circuit can close it, with a single permit."""
    breaker = form.build(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    assert await form.call(breaker, breaker(lambda: "inner")) == "inner"
    assert state_of(breaker) is CircuitState.CLOSED


async def test_a_nested_probe_ends_with_the_outer_call() -> None:
    """Once the outer call is over, the next one in the same task is a probe of its own."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, success_threshold=2)
    tripped(breaker)
    await breaker.execute(breaker(lambda: None))
    assert state_of(breaker) is CircuitState.HALF_OPEN
    probe = breaker.acquire()
    with pytest.raises(resilio.CircuitBreakerOpenError):
        await breaker.execute(lambda: None)
    probe.success()
    assert state_of(breaker) is CircuitState.CLOSED


async def test_tasks_started_by_a_probe_are_part_of_it_until_it_ends() -> None:
    """A child task may call through the circuit while its parent's probe is under way, and not afterwards."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0, success_threshold=2)
    tripped(breaker)
    parent_is_over = anyio.Event()
    results: list[str] = []

    async def child() -> None:
        await breaker.execute(lambda: results.append("inside"))
        await parent_is_over.wait()
        occupied = breaker.acquire()
        try:
            await breaker.execute(lambda: results.append("inside after the end"))
        except resilio.CircuitBreakerOpenError:
            results.append("rejected")
        occupied.release()

    async with anyio.create_task_group() as tasks:
        async with breaker:
            tasks.start_soon(child)
            await anyio.wait_all_tasks_blocked()
        parent_is_over.set()
    assert results == ["inside", "rejected"]


async def test_other_tasks_are_not_part_of_a_probe() -> None:
    """Only what the probe itself calls is let through with it."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    rejected: list[bool] = []

    async def stranger(begin: anyio.Event) -> None:
        await begin.wait()
        try:
            await breaker.execute(lambda: None)
        except resilio.CircuitBreakerOpenError:
            rejected.append(True)

    async with anyio.create_task_group() as tasks:
        begin = anyio.Event()
        tasks.start_soon(stranger, begin)
        await anyio.wait_all_tasks_blocked()
        async with breaker:
            begin.set()
            await anyio.wait_all_tasks_blocked()
    assert rejected == [True]
