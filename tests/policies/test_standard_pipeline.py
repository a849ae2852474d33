"""The standard pipeline: limiter, total timeout, retry, breaker, attempt timeout, with numbers that suit a network."""

from __future__ import annotations

from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from ways import Flaky, Way, every_call, on

import resilio.sync
from resilio import (
    BackoffStrategy,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    CircuitBreakerOpenError,
    ConsecutiveFailures,
    FailureRate,
    OperationTimeoutError,
    Pipeline,
    RetryBudget,
    RetryExhaustedError,
    Timeout,
    TimeWindow,
    standard_pipeline,
)
from resilio._core import clock
from resilio.policies import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("build", [standard_pipeline, resilio.sync.standard_pipeline], ids=["async", "blocking"])
ORDER = ("Bulkhead", "Timeout", "BackoffStrategy", "CircuitBreaker", "Timeout")


@pytest.fixture(autouse=True)
def own_circuits() -> Iterator[None]:
    """Names belong to one test."""
    with registry.fresh():
        yield


# -- what it is --------------------------------------------------------------------------------------------------------


@BOTH
def test_its_layers_and_numbers_are_the_documented_ones(build: Callable[..., Any]) -> None:
    """One value says it all; equal in both colours."""
    pipeline = build("crm")
    assert (
        pipeline.describe()
        == Pipeline(
            Bulkhead(1000),
            Timeout(30),
            BackoffStrategy(max_retries=3, base_delay=2, max_duration=30),
            CircuitBreaker(
                name="crm", trip=FailureRate(0.5, window=TimeWindow(30), minimum_calls=20), recovery_timeout=5
            ),
            Timeout(10),
        ).describe()
    )
    assert tuple(each.kind for each in pipeline.describe().policies) == ORDER


@BOTH
def test_every_number_can_be_given(build: Callable[..., Any]) -> None:
    """Each argument reaches its layer."""
    budget = RetryBudget()
    pipeline = build(
        max_concurrent=7,
        total_timeout=60,
        max_retries=5,
        base_delay=0.5,
        budget=budget,
        trip=ConsecutiveFailures(4),
        recovery_timeout=9,
        attempt_timeout=3,
    )
    assert (
        pipeline.describe()
        == Pipeline(
            Bulkhead(7),
            Timeout(60),
            BackoffStrategy(max_retries=5, base_delay=0.5, budget=budget, max_duration=60),
            CircuitBreaker(trip=ConsecutiveFailures(4), recovery_timeout=9),
            Timeout(3),
        ).describe()
    )


def test_colours_share_a_named_circuit_and_nothing_else() -> None:
    """A name is an identity; without one each pipeline has a circuit of its own."""
    one, other = standard_pipeline("crm"), resilio.sync.standard_pipeline("crm")
    breaker, twin = one.policies[3], other.policies[3]
    assert isinstance(breaker, CircuitBreaker)
    assert isinstance(twin, CircuitBreaker)
    assert twin is not breaker
    breaker.force_open()
    with pytest.raises(CircuitBreakerOpenError):
        other.execute(int)
    assert resilio.sync.standard_pipeline().execute(int) == 0


@BOTH
def test_numbers_that_defeat_each_other_are_listed_all_at_once(build: Callable[..., Any]) -> None:
    """An attempt longer than all attempts, and a window shorter than an attempt: one error names both."""
    trip = FailureRate(0.5, window=TimeWindow(8))
    with pytest.raises(ValueError, match="defeat each other") as caught:
        build(total_timeout=10, attempt_timeout=20, trip=trip)
    said = str(caught.value)
    assert "the inner timeout of 20 s never fires inside the outer one of 10 s" in said
    assert "circuit 'unnamed' looks back 8 s, and one call may take 20 s" in said
    build(total_timeout=8, attempt_timeout=8, trip=trip)  # exactly as long is no contradiction


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_concurrent": 0}, ValueError, "max_concurrent must be a whole number, at least 1, not 0"),
    ({"total_timeout": 0}, ValueError, "seconds must be seconds or a timedelta, above 0, not 0"),
    ({"max_retries": -1}, ValueError, "max_retries must be a whole number, at least 0, not -1"),
    ({"base_delay": -1}, ValueError, "base_delay must be seconds or a timedelta, at least 0, not -1"),
    ({"budget": 0.2}, TypeError, "budget must be a RetryBudget or None, not 0.2"),
    ({"trip": 5}, TypeError, "trip must be a trip rule such as ConsecutiveFailures(5), not 5"),
    ({"recovery_timeout": "5"}, TypeError, "recovery_timeout must be seconds or a timedelta"),
    ({"attempt_timeout": True}, TypeError, "seconds must be seconds or a timedelta"),
]


@BOTH
@pytest.mark.parametrize(("arguments", "kind", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_wrong_numbers_are_refused(
    build: Callable[..., Any], arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """By the layer that they are for, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build(**arguments)
    assert str(caught.value).startswith(said)


# -- what it does ------------------------------------------------------------------------------------------------------


@every_call
def test_a_hiccup_is_hidden(way: Way, virtual_clock: VirtualClock) -> None:
    """Three failures and a success, with growing waits."""
    fn = Flaky(ConnectionError, ConnectionError, ConnectionError, "meow")
    assert way.call(way.names.standard_pipeline(), fn) == "meow"
    assert fn.calls == 4
    assert all(0 <= wait <= cap for wait, cap in zip(fn.waits, (2, 4, 8), strict=True))


@every_call
def test_what_does_not_pass_is_told_with_its_last_error(way: Way, virtual_clock: VirtualClock) -> None:
    """After three retries; an error that would stay is not tried again."""
    pipeline = way.names.standard_pipeline()
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(pipeline, Flaky(ConnectionError))
    assert caught.value.attempts == 4
    assert str(caught.value.last_exception) == "call 4"
    fn = Flaky(ValueError)
    with pytest.raises(ValueError, match="call 1"):
        way.call(pipeline, fn)
    assert fn.calls == 1


@pytest.mark.parametrize("way", [way for way in every_call.args[1] if way.form != "generator"], ids=str)
def test_half_of_twenty_calls_open_the_circuit_for_five_seconds(way: Way, virtual_clock: VirtualClock) -> None:
    """Every attempt counts; the open circuit ends the retry at once. Left early, a generator does not count."""
    pipeline, fn = way.names.standard_pipeline(max_retries=0), Flaky(*["meow"] * 10, *[ConnectionError] * 10, "meow")
    for number in range(20):
        try:
            way.call(pipeline, fn)
        except RetryExhaustedError:
            assert number >= 10
    with pytest.raises(CircuitBreakerOpenError) as caught:
        way.call(pipeline, fn)
    assert fn.calls == 20
    assert caught.value.retry_after == pytest.approx(5)
    virtual_clock.advance(5)
    assert way.call(pipeline, fn) == "meow"


def test_a_partial_fault_does_not_become_an_outage(virtual_clock: VirtualClock) -> None:
    """One call in five fails for an hour: retries hide it, and the circuit stays closed."""
    pipeline = resilio.sync.standard_pipeline()
    outcomes = cycle([*["meow"] * 4, None])
    attempts = 0

    def partly() -> str:
        nonlocal attempts
        attempts += 1
        clock.sleep_blocking(0.1)
        if (answer := next(outcomes)) is None:
            raise ConnectionError
        return answer

    guarded = pipeline(partly)
    assert {guarded() for _ in range(200)} == {"meow"}
    assert attempts == 249


async def test_an_attempt_that_hangs_is_ended_and_tried_again(virtual_clock: VirtualClock) -> None:
    """After ten seconds; the next one may answer."""
    pipeline, hangs = standard_pipeline(base_delay=0), iter([3600, 1])

    @pipeline
    async def slow() -> str:
        await clock.sleep(next(hangs))
        return "meow"

    assert await slow() == "meow"
    assert virtual_clock.elapsed == 11


def test_a_blocking_attempt_that_hangs_is_left_behind_and_tried_again(virtual_clock: VirtualClock) -> None:
    """Without an event loop as well."""
    pipeline, hangs = resilio.sync.standard_pipeline(base_delay=0), iter([10.5, 5])

    @pipeline
    def slow() -> str:
        clock.sleep_blocking(next(hangs))
        return "meow"

    assert slow() == "meow"
    assert virtual_clock.elapsed == 15


async def test_all_attempts_together_take_thirty_seconds_at_most(virtual_clock: VirtualClock) -> None:
    """Whatever is under way then is ended, and nothing is left taken."""
    pipeline = standard_pipeline(max_retries=9, base_delay=0)
    limiter = pipeline.policies[0]
    assert isinstance(limiter, Bulkhead)
    began: list[float] = []

    async def hang() -> None:
        began.append(virtual_clock.elapsed)
        await clock.sleep(3600)

    with pytest.raises(OperationTimeoutError) as caught:
        await pipeline.execute(hang)
    assert (caught.value.seconds, virtual_clock.elapsed) == (30, 30)
    assert began[:3] == [0, 10, 20]
    assert limiter.running == 0


def test_blocking_attempts_together_take_thirty_seconds_at_most(virtual_clock: VirtualClock) -> None:
    """The call that hangs is left behind in its thread; the retry, in another thread, begins no other one."""
    pipeline = resilio.sync.standard_pipeline(max_retries=9, base_delay=0)
    began: list[float] = []

    def hang() -> None:
        began.append(virtual_clock.elapsed)
        clock.sleep_blocking(10.5)

    with pytest.raises(OperationTimeoutError) as caught:
        pipeline.execute(hang)
    assert (caught.value.seconds, virtual_clock.elapsed) == (30, 30)
    clock.sleep_blocking(100)
    assert began == [0, 10, 20]


async def test_more_calls_than_it_takes_are_refused_before_they_cost_anything(virtual_clock: VirtualClock) -> None:
    """The limiter stands outside: a refused call is not retried, and the circuit does not hear of it."""
    pipeline = standard_pipeline(max_concurrent=2)
    breaker = pipeline.policies[3]
    assert isinstance(breaker, CircuitBreaker)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(pipeline.execute, clock.sleep, 1)
        await clock.sleep(0.5)
        with pytest.raises(BulkheadFullError):
            await pipeline.execute(int)
        assert virtual_clock.elapsed == 0.5
    assert breaker.snapshot().counts["calls"] == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_budget_limits_its_retries(backend: str, virtual_clock: VirtualClock) -> None:
    """Shared between pipelines, of either colour."""
    budget = RetryBudget(0, min_per_second=0.3, ttl=10)
    fn = Flaky(ConnectionError)
    with pytest.raises(RetryExhaustedError) as caught:
        resilio.sync.standard_pipeline(max_retries=2, budget=budget, base_delay=0).execute(fn)
    assert caught.value.context["reason"] == "attempts"
    with pytest.raises(RetryExhaustedError) as caught:
        on(backend, partial(standard_pipeline(budget=budget, base_delay=0).execute, fn))
    assert caught.value.context["reason"] == "budget"
    assert fn.calls == 3 + 2


async def test_a_change_at_run_time_drops_no_call(virtual_clock: VirtualClock) -> None:
    """Calls under way end under the old numbers; a change that is refused keeps them."""
    pipeline, ended = standard_pipeline(), list[float]()

    @pipeline
    async def slow() -> None:
        try:
            await clock.sleep(8)
        finally:
            ended.append(virtual_clock.elapsed)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slow)
        await clock.sleep(1)
        before = pipeline.describe()
        with pytest.raises(ValueError, match="defeat each other"):
            pipeline.replace(Timeout(1), Timeout(2))
        assert pipeline.describe() == before
        pipeline.replace(*standard_pipeline(attempt_timeout=2, max_retries=0).policies)
        with pytest.raises(RetryExhaustedError):
            await slow()
        assert ended == [3]
    assert ended == [3, 8]
