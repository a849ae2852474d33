"""A pipeline around a block: ``async with pipeline:``, for policies that need no function to call again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import (
    BackoffStrategy,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitState,
    Fallback,
    OperationTimeoutError,
    Pipeline,
    Timeout,
)

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_a_block_goes_through_all_policies(virtual_clock: VirtualClock) -> None:
    """The timeout ends it, and the breaker around it sees that."""
    breaker = CircuitBreaker(failure_threshold=1)

    async def work() -> None:
        async with Pipeline(breaker, Timeout(5)):
            await anyio.sleep(60)

    with pytest.raises(OperationTimeoutError):
        await work()
    assert virtual_clock.elapsed == 5
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitBreakerOpenError):
        await work()


async def test_a_block_that_ends_well_is_a_success_to_all() -> None:
    """The half-open circuit closes."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    with pytest.raises(ConnectionError):
        async with Pipeline(breaker):
            raise ConnectionError
    async with Pipeline(breaker, Timeout(60)) as pipeline:
        assert isinstance(pipeline, Pipeline)
    assert breaker.state is CircuitState.CLOSED


async def test_an_error_of_a_block_passes_as_it_is() -> None:
    """Through all policies."""
    error = LookupError()
    with pytest.raises(LookupError) as caught:
        async with Pipeline(CircuitBreaker(), Pipeline(Timeout(60)), Bulkhead(1)):
            raise error
    assert caught.value is error


async def test_a_cancelled_block_gives_everything_back() -> None:
    """It is no failure, and takes no place."""
    breaker, bulkhead = CircuitBreaker(failure_threshold=1), Bulkhead(1)
    pipeline = Pipeline(breaker, bulkhead, Timeout(60))
    with anyio.CancelScope() as scope:
        async with pipeline:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert breaker.state is CircuitState.CLOSED
    async with pipeline:
        pass


async def test_blocks_of_many_tasks_do_not_meet(virtual_clock: VirtualClock) -> None:
    """One pipeline object, overlapping blocks."""
    pipeline = Pipeline(CircuitBreaker(failure_threshold=100), Timeout(5))
    ended: list[tuple[float, str]] = []

    async def work(start: float, length: float) -> None:
        await anyio.sleep(start)
        try:
            async with pipeline:
                await anyio.sleep(length)
            ended.append((virtual_clock.elapsed, "ok"))
        except OperationTimeoutError:
            ended.append((virtual_clock.elapsed, "late"))

    async with anyio.create_task_group() as group:
        for start, length in ((0, 9), (1, 2), (2, 9), (3, 4.5)):
            group.start_soon(work, start, length)
    assert ended == [(3, "ok"), (5, "late"), (7, "late"), (7.5, "ok")]


async def test_a_pipeline_nests_in_itself() -> None:
    """Two blocks of one object in one task."""
    breaker = CircuitBreaker(failure_threshold=2)
    pipeline = Pipeline(breaker, Timeout(60))

    async def work() -> None:
        async with pipeline:
            with pytest.raises(KeyError):
                async with pipeline:
                    raise KeyError
            assert breaker.state is CircuitState.CLOSED
            raise LookupError

    with pytest.raises(LookupError):
        await work()
    assert breaker.state is CircuitState.OPEN


async def test_when_a_later_policy_refuses_the_earlier_ones_give_back() -> None:
    """A probe's permit, a bulkhead's place: the next block finds them free."""
    outer = CircuitBreaker(failure_threshold=1, recovery_timeout=0, ignore=BulkheadFullError)
    bulkhead = Bulkhead(1)
    with pytest.raises(ConnectionError):
        await outer.execute(_fail)
    async with bulkhead:
        for _ in range(3):  # without the permit, the second one would meet a busy half-open circuit
            with pytest.raises(BulkheadFullError):
                async with Pipeline(outer, Timeout(60), bulkhead):
                    pass
    async with Pipeline(outer, Timeout(60), bulkhead):
        pass
    assert outer.state is CircuitState.CLOSED


async def _fail() -> None:
    raise ConnectionError


async def test_when_a_later_policy_refuses_no_deadline_is_left_running(virtual_clock: VirtualClock) -> None:
    """Nothing fires into the task later."""
    breaker = CircuitBreaker()
    breaker.force_open()
    with pytest.raises(CircuitBreakerOpenError):
        async with Pipeline(Timeout(5), breaker):
            pass
    await anyio.sleep(60)
    assert virtual_clock.elapsed == 60


async def test_cancellation_while_a_later_policy_waits_gives_back_what_was_taken(virtual_clock: VirtualClock) -> None:
    """The place in the first bulkhead, while waiting for one in the second."""
    first, second = Bulkhead(1), Bulkhead(1, max_queue=5)
    async with second:
        with anyio.move_on_after(3) as scope:
            async with Pipeline(first, second):
                pass
        assert scope.cancelled_caught
        async with first:
            pass
    async with Pipeline(first, second):
        pass


@pytest.mark.parametrize("policy", [BackoffStrategy(), Fallback("Meow?")], ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize("depth", [0, 1])
async def test_what_must_call_a_function_has_no_block_form(policy: Any, depth: int) -> None:
    """It is said when the block is entered, and what stands before it gives back."""
    bulkhead = Bulkhead(1)
    inner = Pipeline(policy) if depth else policy
    for _ in range(2):
        with pytest.raises(TypeError, match=f"{type(policy).__name__} has no block form"):
            async with Pipeline(bulkhead, inner, Timeout(5)):
                pass
    async with bulkhead:
        pass


def test_a_blocking_block_goes_through_all_policies() -> None:
    """`with pipeline:`."""
    breaker = resilio.sync.CircuitBreaker(failure_threshold=1)
    pipeline = resilio.sync.Pipeline(breaker, resilio.sync.Bulkhead(1))
    with pytest.raises(LookupError), pipeline:
        raise LookupError
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitBreakerOpenError), pipeline:
        pass


def test_what_must_call_a_function_has_no_blocking_block_form_either() -> None:
    """The same words."""
    pipeline = resilio.sync.Pipeline(resilio.sync.BackoffStrategy())
    with pytest.raises(TypeError, match="BackoffStrategy has no block form"), pipeline:
        pass
