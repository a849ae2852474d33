"""Retrying a block: ``async for attempt in strategy: with attempt: ...`` and its blocking twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import tenacity

import resilio.sync
from resilio import (
    BackoffStrategy,
    RetryExhaustedError,
    RetryGivenUp,
    RetryScheduled,
    RetrySucceeded,
    subscribe,
)
from resilio.policies import retry_attempts

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

no_wait = BackoffStrategy(base_delay=0, max_retries=3)
blocking = resilio.sync.BackoffStrategy(base_delay=0, max_retries=3)


async def test_the_block_runs_until_it_succeeds() -> None:
    """And the loop ends by itself."""
    seen: list[int] = []
    async for attempt in no_wait:
        with attempt:
            seen.append(attempt.number)
            await anyio.lowlevel.checkpoint()
            if len(seen) < 3:
                raise ConnectionError
    assert seen == [1, 2, 3]


def test_the_blocking_block_runs_until_it_succeeds() -> None:
    """And the loop ends by itself."""
    seen: list[int] = []
    for attempt in blocking:
        with attempt:
            seen.append(attempt.number)
            if len(seen) < 3:
                raise ConnectionError
    assert seen == [1, 2, 3]


async def test_a_strategy_can_be_looped_over_again() -> None:
    """Each loop has attempts of its own."""
    for _ in range(2):
        seen: list[int] = []
        async for attempt in no_wait:
            with attempt:
                seen.append(attempt.number)
                if len(seen) < 4:
                    raise ConnectionError
        assert seen == [1, 2, 3, 4]


async def test_loops_nest() -> None:
    """One in the other, over one strategy."""
    seen: list[tuple[int, int]] = []
    async for outer in no_wait:
        with outer:
            async for inner in no_wait:
                with inner:
                    seen.append((outer.number, inner.number))
                    if inner.number < 2:
                        raise ConnectionError
            if outer.number < 2:
                raise ConnectionError
    assert seen == [(1, 1), (1, 2), (2, 1), (2, 2)]


async def test_break_inside_of_the_attempt_ends_the_loop() -> None:
    """It is no failure."""
    seen: list[int] = []
    async for attempt in no_wait:
        with attempt:
            seen.append(attempt.number)
            if attempt.number == 2:
                break
            raise ConnectionError
    assert seen == [1, 2]


def test_break_after_a_failed_attempt_ends_the_loop() -> None:
    """Whoever breaks out gives up, without an error."""
    seen: list[int] = []
    for attempt in blocking:
        with attempt:
            seen.append(attempt.number)
            raise ConnectionError
        break
    assert seen == [1]


def test_return_out_of_an_attempt_ends_the_loop() -> None:
    """With its value."""

    def work() -> str:
        for attempt in blocking:
            with attempt:
                if attempt.number < 3:
                    raise ConnectionError
                return f"attempt {attempt.number}"
        return "never"

    assert work() == "attempt 3"


async def test_continue_inside_of_an_attempt_is_success() -> None:
    """The block ended without an error."""
    seen: list[int] = []
    async for attempt in no_wait:
        with attempt:
            seen.append(attempt.number)
            continue
    assert seen == [1]


@pytest.mark.parametrize("number", [1, 3])
async def test_an_error_not_worth_a_retry_comes_out_of_the_block(number: int) -> None:
    """At once, as it is."""
    error = LookupError()
    seen: list[int] = []

    async def work() -> None:
        async for attempt in no_wait:
            with attempt:
                seen.append(attempt.number)
                raise error if attempt.number == number else ConnectionError()

    with pytest.raises(LookupError) as caught:
        await work()
    assert caught.value is error
    assert seen == list(range(1, number + 1))


async def test_an_error_outside_of_the_attempt_is_none_of_ours() -> None:
    """It passes, and nothing is retried."""
    seen: list[int] = []

    async def work() -> None:
        async for attempt in no_wait:
            with attempt:
                seen.append(attempt.number)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await work()
    assert seen == [1]


async def test_code_after_a_failed_attempt_runs_before_the_wait(virtual_clock: VirtualClock) -> None:
    """It is a loop like any other."""
    times: list[float] = []
    async for attempt in BackoffStrategy(base_delay=5, jitter=None):
        with attempt:
            if attempt.number < 2:
                raise ConnectionError
        times.append(virtual_clock.elapsed)
    assert times == [0, 5]


async def test_an_attempt_that_is_never_entered_is_an_error() -> None:
    """Otherwise the loop would never end."""

    async def work() -> None:
        async for _ in no_wait:
            pass

    with pytest.raises(RuntimeError, match="never entered"):
        await work()


def test_a_blocking_attempt_that_is_never_entered_is_an_error() -> None:
    """Otherwise the loop would never end."""

    def work() -> None:
        for _ in blocking:
            pass

    with pytest.raises(RuntimeError, match="never entered"):
        work()


def test_a_second_block_in_one_attempt_is_an_error() -> None:
    """The first one's failure would be forgotten when the second one succeeds."""

    def work() -> None:
        for attempt in blocking:
            with attempt:
                raise ConnectionError
            with attempt:
                pass

    with pytest.raises(RuntimeError, match="entered once"):
        work()


def test_an_attempt_inside_of_itself_is_an_error() -> None:
    """It would be settled twice."""

    def work() -> None:
        for attempt in blocking:
            with attempt, attempt:
                pass

    with pytest.raises(RuntimeError, match="entered once"):
        work()


def test_an_attempt_of_an_ended_loop_is_an_error() -> None:
    """Nobody would make the next one: its failure would be swallowed."""
    for attempt in blocking:
        with attempt:
            pass
    with pytest.raises(RuntimeError, match="entered once"), attempt:
        raise ConnectionError


async def test_the_wrong_loop_is_an_error() -> None:
    """A strategy for async code is not iterated by a plain `for`, nor the other way round."""
    with pytest.raises(TypeError):
        iter(no_wait)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        aiter(blocking)  # type: ignore[arg-type]


def test_the_end_of_a_blocking_loop_is_an_error() -> None:
    """Raised where the next attempt would begin."""

    def work() -> None:
        for attempt in blocking:
            with attempt:
                raise ConnectionError("no")

    with pytest.raises(RetryExhaustedError, match="block failed after 4 attempts"):
        work()


async def test_the_end_of_a_loop_is_the_last_error_with_reraise() -> None:
    """The object itself."""
    errors = [ConnectionError("one"), ConnectionError("two")]

    async def work() -> None:
        async for attempt in BackoffStrategy(base_delay=0, max_retries=1, reraise=True):
            with attempt:
                raise errors[attempt.number - 1]

    with pytest.raises(ConnectionError) as caught:
        await work()
    assert caught.value is errors[1]


async def test_after_the_end_there_is_no_other_attempt() -> None:
    """The iterator is exhausted, and stays so."""
    attempts = aiter(BackoffStrategy(base_delay=0, max_retries=0))
    with await anext(attempts):
        raise ConnectionError
    with pytest.raises(RetryExhaustedError):
        await anext(attempts)
    with pytest.raises(StopAsyncIteration):
        await anext(attempts)


def test_after_success_there_is_no_other_attempt() -> None:
    """The iterator is exhausted, and stays so."""
    attempts = iter(blocking)
    with next(attempts):
        pass
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(attempts)


# -- results -----------------------------------------------------------------------------------------------------------


async def test_a_result_is_told_by_set_result() -> None:
    """For a strategy that looks at results."""
    seen: list[int] = []
    async for attempt in BackoffStrategy(base_delay=0, retry_result=lambda r: r == 503):
        with attempt:
            status = 503 if attempt.number < 3 else 200
            seen.append(status)
            attempt.set_result(status)
    assert seen == [503, 503, 200]


def test_a_blocking_result_is_told_by_set_result() -> None:
    """For a tenacity strategy, too."""
    seen: list[int] = []
    strategy = resilio.sync.BackoffStrategy(base_delay=0, retry=tenacity.retry_if_result(lambda r: r == 503))
    for attempt in strategy:
        with attempt:
            status = 503 if attempt.number < 3 else 200
            seen.append(status)
            attempt.set_result(status)
    assert seen == [503, 503, 200]


def test_a_block_that_tells_no_result_came_to_none() -> None:
    """As a function without `return` does."""
    asked: list[object] = []

    def good(result: object) -> bool:
        asked.append(result)
        return False

    for attempt in resilio.sync.BackoffStrategy(retry_result=good):
        with attempt:
            pass
    assert asked == [None]


async def test_the_last_refused_result_of_a_block_is_on_the_error() -> None:
    """As a function's would be."""

    async def work() -> None:
        async for attempt in BackoffStrategy(base_delay=0, max_retries=1, retry_result=lambda _: True):
            with attempt:
                attempt.set_result(attempt.number)

    with pytest.raises(RetryExhaustedError) as caught:
        await work()
    assert caught.value.last_result == 2


# -- waiting, telling --------------------------------------------------------------------------------------------------


async def test_a_loop_waits_as_the_strategy_says(virtual_clock: VirtualClock) -> None:
    """Before the second attempt, not before the first."""
    times: list[float] = []
    async for attempt in BackoffStrategy(base_delay=1, jitter=None, max_retries=3):
        with attempt:
            times.append(virtual_clock.elapsed)
            if attempt.number < 4:
                raise ConnectionError
    assert times == [0, 1, 3, 7]


def test_a_blocking_loop_waits_as_the_strategy_says(virtual_clock: VirtualClock) -> None:
    """Before the second attempt, not before the first."""
    times: list[float] = []
    for attempt in resilio.sync.BackoffStrategy(base_delay=1, jitter=None, max_retries=3):
        with attempt:
            times.append(virtual_clock.elapsed)
            if attempt.number < 4:
                raise ConnectionError
    assert times == [0, 1, 3, 7]


async def test_the_duration_of_a_loop_runs_from_its_start(virtual_clock: VirtualClock) -> None:
    """What the attempts take counts."""

    async def work() -> None:
        async for attempt in BackoffStrategy(max_duration=10, base_delay=1, exponential_base=1, jitter=None):
            with attempt:
                await anyio.sleep(6)
                raise ConnectionError

    with pytest.raises(RetryExhaustedError) as caught:
        await work()
    assert caught.value.attempts == 2
    assert virtual_clock.elapsed == 13


async def test_a_loop_tells_the_same_events_as_a_call() -> None:
    """The operation is called a block."""
    told: list[tuple[str, str]] = []

    def listen(event: Any) -> None:
        told.append((type(event).__name__, event.operation))

    with subscribe(listen, RetryScheduled, RetryGivenUp, RetrySucceeded):
        async for attempt in no_wait:
            with attempt:
                if attempt.number < 3:
                    raise ConnectionError
    name = f"{retry_attempts.__name__}.block"
    assert told == [("RetryScheduled", name), ("RetryScheduled", name), ("RetrySucceeded", name)]


async def test_a_loop_that_succeeds_at_once_tells_nothing() -> None:
    """As a call does."""
    told: list[object] = []
    with subscribe(told.append):
        async for attempt in no_wait:
            with attempt:
                pass
    assert told == []
