"""tenacity's strategies speak in our engine, on our clock."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio
import anyio.lowlevel
import pytest
import tenacity
import tenacity.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from ways import Flaky, Way, every_result, every_way

import resilio
from resilio import BackoffStrategy, CircuitBreakerOpenError, RetryExhaustedError
from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable


def taking(seconds: float, fn: Flaky) -> Callable[[], object]:
    """A call that takes ``seconds`` of the clock."""

    def slow() -> object:
        virtual = clock.current()
        assert isinstance(virtual, VirtualClock)
        virtual.advance(seconds)
        return fn()

    return slow


def fail(way: Way, fn: Callable[[], object], **settings: object) -> RetryExhaustedError:
    """Call what always fails until the strategy gives up."""
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(**settings), fn)
    return caught.value


# -- wait --------------------------------------------------------------------------------------------------------------


@every_way
def test_a_wait_strategy_takes_the_place_of_delays_and_jitter(way: Way, virtual_clock: VirtualClock) -> None:
    """`wait_exponential(multiplier=1, max=10)`: 1, 2, 4, 8, 10."""
    fn = Flaky(ConnectionError)
    fail(way, fn, wait=tenacity.wait_exponential(multiplier=1, max=10), base_delay=99, max_retries=5)
    assert fn.waits == [1, 2, 4, 8, 10]


@every_way
def test_a_chain_of_waits_goes_by_the_attempt(way: Way, virtual_clock: VirtualClock) -> None:
    """`wait_chain`: one after the other, the last one for the rest."""
    fn = Flaky(ConnectionError)
    fail(way, fn, wait=tenacity.wait_chain(*[tenacity.wait_fixed(s) for s in (1, 1, 5)]), max_retries=5)
    assert fn.waits == [1, 1, 5, 5, 5]


@every_way
def test_waits_can_be_added(way: Way, virtual_clock: VirtualClock) -> None:
    """`wait_fixed(2) + wait_incrementing(1, 1)`."""
    fn = Flaky(ConnectionError)
    fail(way, fn, wait=tenacity.wait_fixed(2) + tenacity.wait_incrementing(start=1, increment=1), max_retries=3)
    assert fn.waits == [3, 4, 5]


@every_way
def test_a_wait_can_look_at_the_error(way: Way, virtual_clock: VirtualClock) -> None:
    """`wait_exception`: it gets the error of the present attempt."""
    fn = Flaky(TimeoutError(3), TimeoutError(7), "meow")
    strategy = way.names.BackoffStrategy(wait=tenacity.wait_exception(lambda error: error.args[0]))
    assert way.call(strategy, fn) == "meow"
    assert fn.waits == [3, 7]


@every_way
def test_the_server_can_lengthen_a_strategys_wait(way: Way, virtual_clock: VirtualClock) -> None:
    """Retry-After counts there, too."""
    error = ConnectionError()
    error.retry_after = 30  # type: ignore[attr-defined]
    fn = Flaky(error, "meow")
    assert way.call(way.names.BackoffStrategy(wait=tenacity.wait_fixed(1)), fn) == "meow"
    assert fn.waits == [30]


# -- stop --------------------------------------------------------------------------------------------------------------


@every_way
def test_stop_after_attempt_counts_attempts(way: Way, virtual_clock: VirtualClock) -> None:
    """Four attempts are three retries."""
    fn = Flaky(ConnectionError)
    assert fail(way, fn, stop=tenacity.stop_after_attempt(4)).attempts == 4
    assert fn.calls == 4


@every_way
def test_stop_after_delay_obeys_our_clock(way: Way, virtual_clock: VirtualClock) -> None:
    """It stops after the first attempt that ends at or past the delay; tenacity itself reads another clock."""
    fn = Flaky(ConnectionError)
    fail(way, fn, stop=tenacity.stop_after_delay(100), wait=tenacity.wait_fixed(40))
    assert fn.waits == [40, 40, 40]
    assert virtual_clock.elapsed == pytest.approx(120)


@every_way
def test_stop_after_delay_counts_from_before_the_first_attempt(way: Way, virtual_clock: VirtualClock) -> None:
    """A first attempt that takes it all is the only one."""
    fn = Flaky(ConnectionError)
    fail(way, taking(100, fn), stop=tenacity.stop_after_delay(100))
    assert fn.calls == 1


@every_way
def test_stop_before_delay_knows_the_wait_that_would_follow(way: Way, virtual_clock: VirtualClock) -> None:
    """It gives up instead of sleeping past the limit."""
    fn = Flaky(ConnectionError)
    fail(way, fn, stop=tenacity.stop_before_delay(100), wait=tenacity.wait_fixed(40))
    assert fn.waits == [40, 40]
    assert virtual_clock.elapsed == pytest.approx(80)


@every_way
def test_stop_before_delay_knows_what_the_server_asked(way: Way, virtual_clock: VirtualClock) -> None:
    """A Retry-After past the limit ends it at once."""
    error = ConnectionError()
    error.retry_after = 200  # type: ignore[attr-defined]
    fn = Flaky(error)
    fail(way, fn, stop=tenacity.stop_before_delay(100), wait=tenacity.wait_fixed(40))
    assert fn.calls == 1


@every_way
def test_stops_can_be_joined(way: Way, virtual_clock: VirtualClock) -> None:
    """With `|` whichever comes first, with `&` both."""
    first, second = tenacity.stop_after_attempt(2), tenacity.stop_after_delay(100)
    either, both = Flaky(ConnectionError), Flaky(ConnectionError)
    fail(way, either, stop=first | second, wait=tenacity.wait_fixed(60))
    fail(way, both, stop=first & second, wait=tenacity.wait_fixed(60))
    assert (either.calls, both.calls) == (2, 3)


@every_way
def test_a_stop_with_a_number_of_retries_stops_at_whichever_comes_first(way: Way, virtual_clock: VirtualClock) -> None:
    """`max_retries` still counts where it is given."""
    fn = Flaky(ConnectionError)
    fail(way, fn, stop=tenacity.stop_after_attempt(10), max_retries=2)
    assert fn.calls == 3


def test_giving_up_says_that_it_was_the_stop(virtual_clock: VirtualClock) -> None:
    """In the error's context."""
    error = fail(Way("plain function", None), Flaky(ConnectionError), stop=tenacity.stop_after_attempt(1))
    assert error.context["reason"] == "stop"


# -- retry -------------------------------------------------------------------------------------------------------------


@every_way
def test_a_retry_strategy_takes_the_place_of_retry_exceptions(way: Way, virtual_clock: VirtualClock) -> None:
    """`retry_if_exception_type`."""
    fn = Flaky(LookupError(), KeyError(), ConnectionError())
    with pytest.raises(ConnectionError):
        way.call(way.names.BackoffStrategy(retry=tenacity.retry_if_exception_type(LookupError)), fn)
    assert fn.calls == 3


@every_way
def test_a_negated_strategy_retries_all_other_errors(way: Way, virtual_clock: VirtualClock) -> None:
    """`retry_if_not_exception_type`."""
    fn = Flaky(ConnectionError(), LookupError(), ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        way.call(way.names.BackoffStrategy(retry=tenacity.retry_if_not_exception_type(ZeroDivisionError)), fn)
    assert fn.calls == 3


@every_result
def test_a_strategy_can_refuse_results(way: Way, virtual_clock: VirtualClock) -> None:
    """`retry_if_result`."""
    fn = Flaky(None, None, "meow")
    assert way.call(way.names.BackoffStrategy(retry=tenacity.retry_if_result(lambda r: r is None)), fn) == "meow"
    assert fn.calls == 3


@every_result
def test_a_strategy_for_results_retries_no_errors(way: Way, virtual_clock: VirtualClock) -> None:
    """As tenacity has it: whoever wants both joins them."""
    fn = Flaky(None, ConnectionError())
    with pytest.raises(ConnectionError):
        way.call(way.names.BackoffStrategy(retry=tenacity.retry_if_result(lambda r: r is None)), fn)
    assert fn.calls == 2


@every_result
def test_strategies_can_be_joined(way: Way, virtual_clock: VirtualClock) -> None:
    """Errors and results in one with `|`."""
    fn = Flaky(None, ConnectionError(), "meow")
    retry = tenacity.retry_if_result(lambda r: r is None) | tenacity.retry_if_exception_type(ConnectionError)
    assert way.call(way.names.BackoffStrategy(retry=retry), fn) == "meow"
    assert fn.calls == 3


@every_result
def test_retry_result_counts_beside_a_strategy(way: Way, virtual_clock: VirtualClock) -> None:
    """Either refuses."""
    fn = Flaky("", None, "meow")
    strategy = way.names.BackoffStrategy(
        retry=tenacity.retry_if_result(lambda r: r is None), retry_result=lambda r: r == ""
    )
    assert way.call(strategy, fn) == "meow"
    assert fn.calls == 3


async def _is_transient(error: BaseException) -> bool:
    return isinstance(error, ConnectionError)


async def _is_none(result: object) -> bool:
    return result is None


@every_result
def test_async_predicates_are_awaited(way: Way, virtual_clock: VirtualClock) -> None:
    """`tenacity.asyncio.retry_if_exception` and `retry_if_result`, in blocking code too if they do not suspend."""
    fn = Flaky(ConnectionError(), None, "meow")
    retry: Any = tenacity.asyncio.retry_if_exception(_is_transient) | tenacity.asyncio.retry_if_result(_is_none)
    assert way.call(way.names.BackoffStrategy(retry=retry), fn) == "meow"
    assert fn.calls == 3


@every_result
def test_async_predicates_may_join_plain_ones(way: Way, virtual_clock: VirtualClock) -> None:
    """Either way round."""
    fn = Flaky(ConnectionError(), None, "meow")
    retry: Any = tenacity.retry_if_exception_type(ConnectionError) | tenacity.asyncio.retry_if_result(_is_none)
    assert way.call(way.names.BackoffStrategy(retry=retry), fn) == "meow"


@pytest.mark.anyio
async def test_an_async_predicate_may_suspend_in_async_code() -> None:
    """It runs on the caller's event loop."""

    async def after_a_while(error: BaseException) -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    fn = Flaky(LookupError(), "meow")
    retry: Any = tenacity.asyncio.retry_if_exception(after_a_while)
    assert await BackoffStrategy(base_delay=0, retry=retry).execute(fn) == "meow"


def test_an_async_predicate_that_suspends_is_refused_in_blocking_code() -> None:
    """Loudly: there is no event loop, and the call's own error is the context."""

    async def after_a_while(error: BaseException) -> bool:
        await asyncio.sleep(0)
        return True

    error = LookupError()
    retry: Any = tenacity.asyncio.retry_if_exception(after_a_while)
    with pytest.raises(RuntimeError, match="event loop") as caught:
        resilio.sync.BackoffStrategy(base_delay=0, retry=retry).execute(Flaky(error))
    assert caught.value.__context__ is error


@pytest.mark.anyio
async def test_an_async_predicate_that_suspends_is_refused_in_a_loop_of_attempts() -> None:
    """Loudly: leaving a plain `with` block cannot await."""

    async def after_a_while(error: BaseException) -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    retry: Any = tenacity.asyncio.retry_if_exception(after_a_while)
    attempt = await anext(aiter(BackoffStrategy(base_delay=0, retry=retry)))
    with pytest.raises(RuntimeError, match="event loop"), attempt:
        raise LookupError


# -- what they are shown -----------------------------------------------------------------------------------------------


class Watching:
    """A strategy of every kind that writes down what it is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        assert state.outcome is not None
        outcome = state.outcome.exception() if state.outcome.failed else state.outcome.result()
        since = state.seconds_since_start
        self.seen.append((state.attempt_number, outcome, round(since or 0, 6), round(state.idle_for, 6)))
        return False


@every_way
def test_a_strategy_is_shown_attempts_times_and_waits(way: Way, virtual_clock: VirtualClock) -> None:
    """As tenacity's own loop would show them, but from our clock."""
    errors = [ConnectionError("one"), ConnectionError("two"), ConnectionError("three")]
    watching = Watching()
    fn = taking(5, Flaky(*errors))
    fail(way, fn, stop=watching, max_retries=2, wait=tenacity.wait_fixed(3))
    assert watching.seen == [(1, errors[0], 5, 0), (2, errors[1], 13, 3)]


@pytest.mark.anyio
async def test_a_strategy_is_shown_the_function_and_its_arguments() -> None:
    """As tenacity has it."""
    shown: list[tuple[object, ...]] = []

    def watch(state: tenacity.RetryCallState) -> float:
        shown.append((state.get_fn_name().rpartition(".")[2], state.args, state.kwargs))
        return 0.0

    @resilio.with_backoff(wait=watch, max_retries=1)
    async def ask(*args: object, **kwargs: object) -> None:
        raise ConnectionError

    with pytest.raises(RetryExhaustedError):
        await ask(1, cat="Tristan")
    assert shown[0] == ("ask", (1,), {"cat": "Tristan"})


# -- what no strategy can do -------------------------------------------------------------------------------------------

EVERYTHING = [
    tenacity.retry_always,
    tenacity.retry_if_not_exception_type(ZeroDivisionError),
    tenacity.retry_if_exception(lambda _: True),
    tenacity.retry_unless_exception_type(ZeroDivisionError),
    tenacity.asyncio.retry_if_exception(_is_transient) | tenacity.retry_if_exception_type(BaseException),
]


@every_way
@pytest.mark.parametrize("retry", EVERYTHING)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_no_strategy_retries_an_interruption(way: Way, retry: Any, kind: type[BaseException]) -> None:
    """However it is put."""
    fn = Flaky(kind)
    with pytest.raises(kind):
        way.call(way.names.BackoffStrategy(retry=retry, base_delay=0), fn)
    assert fn.calls == 1


@every_way
@pytest.mark.parametrize("retry", EVERYTHING[:3])
def test_no_strategy_retries_an_open_circuit(way: Way, retry: Any) -> None:
    """It ends the retry at once, as it does with `retry_exceptions`."""
    fn = Flaky(CircuitBreakerOpenError("open", breaker="cats"))
    with pytest.raises(CircuitBreakerOpenError):
        way.call(way.names.BackoffStrategy(retry=retry, base_delay=0), fn)
    assert fn.calls == 1


@every_way
def test_a_strategy_that_fails_ends_the_retry_with_its_own_error(way: Way) -> None:
    """The call's error is its context."""

    def broken(_: object) -> bool:
        raise ZeroDivisionError

    error = LookupError()
    with pytest.raises(ZeroDivisionError) as caught:
        way.call(way.names.BackoffStrategy(retry=broken), Flaky(error))
    assert caught.value.__context__ is error


# -- beside tenacity itself --------------------------------------------------------------------------------------------

lengths = st.integers(0, 100).map(float)
waits = st.one_of(
    st.builds(tenacity.wait_fixed, lengths),
    st.builds(tenacity.wait_incrementing, start=lengths, increment=lengths, max=lengths),
    st.builds(tenacity.wait_exponential, multiplier=st.integers(0, 5), max=lengths, min=lengths),
    st.lists(st.builds(tenacity.wait_fixed, lengths), min_size=1, max_size=4).map(
        lambda all_: tenacity.wait_chain(*all_)
    ),
)
stops = st.one_of(
    st.builds(tenacity.stop_after_attempt, st.integers(1, 8)),
    st.builds(
        tenacity.stop_any,
        st.builds(tenacity.stop_after_attempt, st.integers(1, 8)),
        st.builds(tenacity.stop_after_delay, lengths),
        st.builds(tenacity.stop_before_delay, lengths),
    ),
)
retries = st.sampled_from(
    [
        tenacity.retry_if_exception_type(ConnectionError),
        tenacity.retry_if_not_exception_type(LookupError),
        tenacity.retry_if_result(lambda result: result == 0),
        tenacity.retry_if_exception_type(OSError) | tenacity.retry_if_result(lambda result: result == 0),
        tenacity.retry_always,
    ]
)
outcomes = st.lists(st.sampled_from([ConnectionError, LookupError, ZeroDivisionError, 0, 1]), min_size=1, max_size=10)


@settings(max_examples=40)
@given(waits, stops, retries, outcomes)
def test_strategies_decide_here_as_they_do_in_tenacity(wait: Any, stop: Any, retry: Any, script: list[Any]) -> None:
    """The same attempts, the same waits and the same end, for any script; tenacity with our clock put in."""

    def end(call: Callable[[Flaky], Any]) -> tuple[object, list[float]]:
        with VirtualClock():
            fn = Flaky(*script)
            try:
                return call(fn), fn.waits
            except (RetryExhaustedError, tenacity.RetryError):
                return "exhausted", fn.waits
            except Exception as error:
                return type(error), fn.waits

    def theirs(fn: Flaky) -> object:
        with mock.patch.object(tenacity, "time", SimpleNamespace(monotonic=clock.monotonic)):
            return tenacity.Retrying(wait=wait, stop=stop, retry=retry, sleep=clock.sleep_blocking)(fn)

    def ours(fn: Flaky) -> object:
        return resilio.sync.BackoffStrategy(wait=wait, stop=stop, retry=retry).execute(fn)

    assert end(ours) == end(theirs)
