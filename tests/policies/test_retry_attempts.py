"""How many attempts a retry makes, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ways import Flaky, Way, every_way

import resilio
from resilio import (
    BackoffStrategy,
    IntegrationError,
    OperationTimeoutError,
    RetryExhaustedError,
    ValidationError,
    retry_with_backoff,
)
from resilio.policies import backoff

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class ExplosiveError(AssertionError):
    """The retry machinery was touched."""


@pytest.fixture
def no_machinery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever makes a `RetryCall` fail."""

    def explode(*_: object) -> None:
        raise ExplosiveError

    monkeypatch.setattr(backoff, "RetryCall", explode)
    monkeypatch.setattr("resilio.policies.retry_plan.RetryRun.__init__", explode)
    monkeypatch.setattr("resilio.policies.tenacity_bridge.TenacityBridge.__init__", explode)


functions = pytest.mark.parametrize(
    "way",
    [
        Way(form, backend)
        for backend in ("asyncio", "trio")
        for form in ("async function", "async method", "lambda", "execute", "execute of a plain function")
    ]
    + [Way("async generator", "asyncio"), Way("async generator", "trio")]
    + [Way(form, None) for form in ("plain function", "plain method", "blocking execute", "generator")],
    ids=str,
)


@functions
def test_the_first_attempt_runs_bare(way: Way, no_machinery: None) -> None:
    """A call that succeeds at once touches nothing of the retry machinery."""
    assert way.call(way.names.BackoffStrategy(max_duration=5), Flaky("meow")) == "meow"


@functions
def test_the_machinery_comes_in_with_the_first_failure(way: Way, no_machinery: None) -> None:
    """The proof that the test above would notice."""
    with pytest.raises(ExplosiveError):
        way.call(way.names.BackoffStrategy(), Flaky(ConnectionError()))


@every_way
def test_a_call_that_succeeds_is_made_once(way: Way) -> None:
    """No retry without a failure."""
    fn = Flaky("meow")
    assert way.call(way.names.BackoffStrategy(), fn) == "meow"
    assert fn.calls == 1


@every_way
@pytest.mark.parametrize("failures", [1, 2, 3])
def test_it_tries_until_an_attempt_succeeds(way: Way, virtual_clock: VirtualClock, failures: int) -> None:
    """And returns that attempt's result."""
    fn = Flaky(*[ConnectionError()] * failures, "meow")
    assert way.call(way.names.BackoffStrategy(max_retries=3), fn) == "meow"
    assert fn.calls == failures + 1


@every_way
@pytest.mark.parametrize("max_retries", [0, 1, 4])
def test_it_makes_max_retries_retries_and_no_more(way: Way, virtual_clock: VirtualClock, max_retries: int) -> None:
    """The first attempt is not a retry."""
    fn = Flaky(ConnectionError)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=max_retries), fn)
    assert fn.calls == max_retries + 1
    assert caught.value.attempts == max_retries + 1


@every_way
def test_the_end_names_the_last_error(way: Way, virtual_clock: VirtualClock) -> None:
    """`last_exception` and `__cause__` are that very object."""
    errors = [ConnectionError("one"), TimeoutError("two"), OSError("not transient")]
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=1), Flaky(*errors))
    assert caught.value.last_exception is errors[1]
    assert caught.value.__cause__ is errors[1]
    assert str(caught.value).endswith("failed after 2 attempts: TimeoutError: two")


@every_way
def test_one_attempt_is_told_in_the_singular(way: Way) -> None:
    """With max_retries=0."""
    with pytest.raises(RetryExhaustedError, match=r"failed after 1 attempt: ConnectionError: no"):
        way.call(way.names.BackoffStrategy(max_retries=0), Flaky(ConnectionError("no")))


@every_way
def test_with_reraise_the_end_is_the_last_error_itself(way: Way, virtual_clock: VirtualClock) -> None:
    """The object that the last attempt raised."""
    last = ConnectionError("last")
    fn = Flaky(ConnectionError("first"), TimeoutError("second"), last)
    with pytest.raises(ConnectionError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=2, reraise=True), fn)
    assert caught.value is last
    assert fn.calls == 3


@every_way
def test_an_error_not_worth_a_retry_comes_through_at_once(way: Way) -> None:
    """As it is, on the first attempt."""
    error = LookupError("no such cat")
    fn = Flaky(error)
    with pytest.raises(LookupError) as caught:
        way.call(way.names.BackoffStrategy(), fn)
    assert caught.value is error
    assert fn.calls == 1


@every_way
def test_an_error_not_worth_a_retry_ends_the_retries_under_way(way: Way, virtual_clock: VirtualClock) -> None:
    """As it is, on a later attempt."""
    error = LookupError("no such cat")
    fn = Flaky(ConnectionError(), ConnectionError(), error)
    with pytest.raises(LookupError) as caught:
        way.call(way.names.BackoffStrategy(), fn)
    assert caught.value is error
    assert fn.calls == 3


# -- what is worth a retry ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OperationTimeoutError("slow", seconds=1), True),
        (IntegrationError("no", system="crm", operation="get", retryable=True), True),
        (IntegrationError("no", system="crm", operation="get"), False),
        (ValidationError("no", field="name", value=""), False),
        (ValueError(), False),
        (ExceptionGroup("two", [ConnectionError(), TimeoutError()]), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_by_default_it_retries_what_is_transient(error: Exception, *, retried: bool) -> None:
    """`resilio.is_transient` decides."""
    assert BackoffStrategy().wants(error) is retried is resilio.is_transient(error)


@every_way
def test_a_retry_around_a_retry_does_not_multiply_the_attempts(way: Way, virtual_clock: VirtualClock) -> None:
    """The inner one's `RetryExhaustedError` is not retried by default, whatever its last error was."""
    fn = Flaky(ConnectionError)
    inner = resilio.sync.BackoffStrategy(max_retries=2, base_delay=0)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=5), inner(fn))
    assert fn.calls == 3
    assert caught.value.attempts == 3


@every_way
def test_a_retry_around_a_retry_multiplies_if_told_to(way: Way, virtual_clock: VirtualClock) -> None:
    """Whoever names `RetryExhaustedError` gets it retried."""
    fn = Flaky(ConnectionError)
    inner = resilio.sync.BackoffStrategy(max_retries=2, base_delay=0)
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=1, retry_exceptions=RetryExhaustedError), inner(fn))
    assert fn.calls == 6
    assert isinstance(caught.value.last_exception, RetryExhaustedError)


@every_way
@pytest.mark.parametrize("given", [LookupError, (LookupError,), [LookupError, OSError], lambda e: e.args == ("no",)])
def test_it_retries_what_it_is_told_to(way: Way, virtual_clock: VirtualClock, given: Any) -> None:
    """A class, several, or a predicate in place of the default."""
    fn = Flaky(LookupError("no"), KeyError("no"), "meow")
    assert way.call(way.names.BackoffStrategy(retry_exceptions=given), fn) == "meow"


@every_way
@pytest.mark.parametrize("given", [LookupError, (LookupError,), [LookupError, OSError], lambda e: e.args == ("no",)])
def test_it_retries_nothing_else_then(way: Way, virtual_clock: VirtualClock, given: Any) -> None:
    """What is transient by default is not, if something else was named."""
    fn = Flaky(TimeoutError() if OSError not in (given if isinstance(given, list) else ()) else ValueError())
    with pytest.raises((TimeoutError, ValueError)):
        way.call(way.names.BackoffStrategy(retry_exceptions=given), fn)
    assert fn.calls == 1


@every_way
def test_a_predicate_that_fails_ends_the_retry_with_its_own_error(way: Way) -> None:
    """The call's error is its context."""

    def broken(error: Exception) -> bool:
        raise ZeroDivisionError

    error = ConnectionError()
    with pytest.raises(ZeroDivisionError) as caught:
        way.call(way.names.BackoffStrategy(retry_exceptions=broken), Flaky(error))
    assert caught.value.__context__ is error


# -- the reference's decorator -----------------------------------------------------------------------------------------

reference_ways = pytest.mark.parametrize(
    "way",
    [
        Way("async function", "asyncio"),
        Way("async method", "trio"),
        Way("lambda", "trio"),
        Way("async generator", "asyncio"),
        Way("plain function", None),
        Way("plain method", None),
        Way("generator", None),
    ],
    ids=str,
)


@reference_ways
@pytest.mark.parametrize("kind", [ConnectionError, ConnectionResetError, TimeoutError])
def test_retry_with_backoff_retries_connection_and_timeout_errors(
    way: Way, virtual_clock: VirtualClock, kind: type[Exception]
) -> None:
    """Three times by default, and re-raises the last one."""
    fn = Flaky(kind)
    with pytest.raises(kind) as caught:
        way.call(way.names.retry_with_backoff(), fn)
    assert fn.calls == 4
    assert caught.value.args == ("call 4",)


@reference_ways
def test_retry_with_backoff_retries_nothing_else(way: Way, virtual_clock: VirtualClock) -> None:
    """Not even what is transient by our own account."""
    fn = Flaky(IntegrationError("no", system="crm", operation="get", retryable=True))
    with pytest.raises(IntegrationError):
        way.call(way.names.retry_with_backoff(), fn)
    assert fn.calls == 1


@reference_ways
def test_retry_with_backoff_jitters_between_half_and_all(way: Way, virtual_clock: VirtualClock) -> None:
    """`delay *= 0.5 + random() * 0.5`."""
    fn = Flaky(ConnectionError)
    with pytest.raises(ConnectionError):
        way.call(way.names.retry_with_backoff(max_retries=5, base_delay=2.0, max_delay=12), fn)
    for wait, delay in zip(fn.waits, [2, 4, 8, 12, 12], strict=True):
        assert delay / 2 <= wait <= delay


@reference_ways
def test_retry_with_backoff_without_jitter_is_exact(way: Way, virtual_clock: VirtualClock) -> None:
    """`jitter=False`."""
    fn = Flaky(ConnectionError)
    with pytest.raises(ConnectionError):
        way.call(way.names.retry_with_backoff(3, 1.0, 60.0, 3.0, jitter=False), fn)
    assert fn.waits == [1, 3, 9]


def test_retry_with_backoff_takes_its_arguments_by_position_too() -> None:
    """The reference's signature."""
    plan = retry_with_backoff(1, 2.0, 3.0, 4.0, False).plan
    assert (plan.max_retries, plan.base_delay, plan.max_delay, plan.exponential_base, plan.jitter) == (1, 2, 3, 4, None)


def test_retry_with_backoff_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its defaults are the reference's own."""
    monkeypatch.setenv("BACKOFF_MAX_RETRIES", "9")
    assert retry_with_backoff().plan.max_retries == 3


# -- on every loop -----------------------------------------------------------------------------------------------------


async def test_retries_work_on_every_event_loop() -> None:
    """On asyncio, eager tasks, uvloop and trio."""
    fn = Flaky(ConnectionError(), ConnectionError(), "meow")
    assert await BackoffStrategy(base_delay=0).execute(fn) == "meow"
    assert fn.calls == 3


async def test_arguments_reach_every_attempt() -> None:
    """The same ones each time."""
    seen: list[tuple[object, ...]] = []

    @resilio.with_backoff(base_delay=0, max_retries=2)
    async def fails(*args: object, **kwargs: object) -> None:
        seen.append((args, kwargs))
        raise ConnectionError

    with pytest.raises(RetryExhaustedError):
        await fails(1, 2, name="cat")
    assert seen == [((1, 2), {"name": "cat"})] * 3


async def test_an_argument_called_fn_or_self_reaches_the_function() -> None:
    """`execute` takes its own arguments by position only."""

    async def echo(**kwargs: object) -> dict[str, object]:
        return kwargs

    found = await BackoffStrategy().execute(echo, fn=1, self=2, args=3)
    assert found == {"fn": 1, "self": 2, "args": 3}
