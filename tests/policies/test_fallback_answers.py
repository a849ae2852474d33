"""When a call fails, something better than an error answers."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_call

import resilio
import resilio.sync
from resilio import (
    BackoffStrategy,
    CircuitBreakerOpenError,
    Fallback,
    FellBack,
    Pipeline,
    RetryExhaustedError,
    subscribe,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


@every_call
def test_a_call_that_succeeds_answers_itself(way: Way) -> None:
    """The object itself; the fallback is not asked."""
    result = object()

    def never() -> None:
        raise AssertionError

    assert way.call(way.names.Fallback(never), Flaky(result)) is result


@every_call
@pytest.mark.parametrize("value", ["Meow?", None, 0, ["a", "list"]], ids=repr)
def test_a_value_answers_for_a_failure(way: Way, value: object) -> None:
    """The object itself, whatever it is."""
    assert way.call(way.names.Fallback(value), Flaky(ConnectionError())) is value


@every_call
def test_a_function_of_the_error_answers_for_it(way: Way) -> None:
    """With that very error."""
    error = ConnectionError("no")
    assert way.call(way.names.Fallback(lambda caught: (caught, "answer")), Flaky(error)) == (error, "answer")


@every_call
def test_a_function_without_arguments_answers_too(way: Way) -> None:
    """It need not care."""
    assert way.call(way.names.Fallback(lambda: "answer"), Flaky(ConnectionError())) == "answer"


@every_call
@pytest.mark.parametrize(("kind", "empty"), [(list, []), (dict, {}), (set, set()), (tuple, ())])
def test_a_container_class_answers_with_an_empty_one(way: Way, kind: type, empty: object) -> None:
    """Made anew each time: nobody shares it."""
    fallback = way.names.Fallback(kind)
    first, second = (way.call(fallback, Flaky(ConnectionError())) for _ in range(2))
    assert first == second == empty
    assert first is not second or kind is tuple


@every_call
def test_a_class_that_takes_an_argument_gets_the_error(way: Way) -> None:
    """Such as `str`, or one of the caller's own."""

    class Answer:
        def __init__(self, error: Exception) -> None:
            self.error = error

    error = ConnectionError("no")
    assert way.call(way.names.Fallback(str), Flaky(error)) == "no"
    assert way.call(way.names.Fallback(Answer), Flaky(error)).error is error


@every_call
def test_a_bound_method_answers(way: Way) -> None:
    """With the error, and with its object."""

    class Cache:
        latest = "cached"

        def answer(self, error: Exception) -> tuple[str, str]:
            return self.latest, type(error).__name__

    assert way.call(way.names.Fallback(Cache().answer), Flaky(OSError())) == ("cached", "OSError")


async_ways = pytest.mark.parametrize(
    "way",
    [
        Way(form, backend)
        for backend in ("asyncio", "trio")
        for form in ("async function", "lambda", "execute", "execute of a plain function", "async generator")
    ],
    ids=str,
)
blocking_ways = pytest.mark.parametrize(
    "way", [Way(form, None) for form in ("plain function", "blocking execute", "generator")], ids=str
)


@async_ways
def test_an_async_function_answers_in_async_code(way: Way) -> None:
    """It is awaited."""

    async def answer(error: Exception) -> str:
        await anyio.lowlevel.checkpoint()
        return f"after {error}"

    assert way.call(way.names.Fallback(answer), Flaky(ConnectionError("no"))) == "after no"


@blocking_ways
def test_an_async_function_is_refused_in_plain_code(way: Way) -> None:
    """Nobody could await it; and no coroutine is left behind."""

    async def answer(error: Exception) -> str:
        return "never"

    error = ConnectionError("no")
    with pytest.raises(TypeError, match=r"fallback function .*answer is async") as caught:
        way.call(way.names.Fallback(answer), Flaky(error))
    assert caught.value.__context__ is error


@every_call
def test_an_awaitable_value_is_a_value(way: Way) -> None:
    """Only what the function of a fallback gives is awaited."""

    class Awaitable:
        def __await__(self) -> Generator[None]:
            raise AssertionError
            yield

    value = Awaitable()
    assert way.call(way.names.Fallback(value), Flaky(ConnectionError())) is value


# -- on what -----------------------------------------------------------------------------------------------------------


@every_call
@pytest.mark.parametrize(
    "on",
    [LookupError, (LookupError,), [OSError, LookupError], {LookupError}, lambda error: error.args == ("no",)],
    ids=["class", "tuple", "list", "set", "predicate"],
)
def test_it_answers_for_what_it_is_told_to(way: Way, on: Any) -> None:
    """A class, several, or a predicate."""
    fallback = way.names.Fallback("answer", on=on)
    assert way.call(fallback, Flaky(KeyError("no"))) == "answer"
    error = ValueError("other")
    with pytest.raises(ValueError, match="other") as caught:
        way.call(fallback, Flaky(error))
    assert caught.value is error


@every_call
def test_by_default_it_answers_for_every_exception(way: Way) -> None:
    """Also for groups of them."""
    assert way.call(way.names.Fallback("answer"), Flaky(ExceptionGroup("two", [ValueError()]))) == "answer"


@every_call
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("on", [Exception, lambda _: True], ids=["class", "predicate"])
def test_it_never_answers_for_an_interruption(way: Way, kind: type[BaseException], on: Any) -> None:
    """Whatever it is told."""
    with pytest.raises(kind):
        way.call(way.names.Fallback("answer", on=on), Flaky(kind))


async def test_it_never_answers_for_cancellation() -> None:
    """On every event loop."""
    result = "none"

    async def work() -> str:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        return "finished"

    with anyio.CancelScope() as scope:
        result = await Fallback("answer").execute(work)
    assert scope.cancelled_caught
    assert result == "none"


async def test_cancellation_arrives_while_it_makes_up_its_answer() -> None:
    """It is not swallowed there either."""

    async def answer(error: Exception) -> str:
        scope.cancel()
        await anyio.lowlevel.checkpoint()
        return "finished"

    with anyio.CancelScope() as scope:
        await Fallback(answer).execute(Flaky(ConnectionError()))
    assert scope.cancelled_caught


@every_call
def test_a_predicate_that_fails_raises_its_own_error(way: Way) -> None:
    """With the call's error as context."""

    def broken(_: Exception) -> bool:
        raise ZeroDivisionError

    error = ConnectionError()
    with pytest.raises(ZeroDivisionError) as caught:
        way.call(way.names.Fallback("answer", on=broken), Flaky(error))
    assert caught.value.__context__ is error


# -- chains ------------------------------------------------------------------------------------------------------------


@every_call
def test_a_function_that_fails_raises_its_own_error(way: Way) -> None:
    """With the call's error as context."""

    def answer(_: Exception) -> str:
        raise KeyError("cache")

    error = ConnectionError()
    with pytest.raises(KeyError) as caught:
        way.call(way.names.Fallback(answer), Flaky(error))
    assert caught.value.__context__ is error


@every_call
def test_the_inner_one_of_a_chain_answers_first(way: Way) -> None:
    """And the outer one is not asked."""
    chain = way.names.Pipeline(way.names.Fallback("outer"), way.names.Fallback("inner"))
    assert way.call(chain, Flaky(ConnectionError())) == "inner"


@every_call
def test_the_outer_one_answers_for_the_inner_one(way: Way) -> None:
    """It sees that one's error, and the call's error behind it."""
    seen: list[BaseException] = []

    def from_cache() -> str:
        raise KeyError("cache")

    def last_resort(error: Exception) -> str:
        seen.append(error)
        return "last resort"

    error = ConnectionError()
    chain = way.names.Pipeline(way.names.Fallback(last_resort), way.names.Fallback(from_cache))
    assert way.call(chain, Flaky(error)) == "last resort"
    assert isinstance(seen[0], KeyError)
    assert seen[0].__context__ is error


@every_call
def test_each_of_a_chain_answers_for_its_own_errors(way: Way) -> None:
    """The inner one lets pass what is the outer one's."""
    chain = way.names.Pipeline(
        way.names.Fallback("open", on=CircuitBreakerOpenError), way.names.Fallback("down", on=ConnectionError)
    )
    assert way.call(chain, Flaky(ConnectionError())) == "down"
    assert way.call(chain, Flaky(CircuitBreakerOpenError("no", breaker="cats"))) == "open"
    with pytest.raises(LookupError):
        way.call(chain, Flaky(LookupError()))


@every_call
def test_around_a_retry_it_answers_when_all_attempts_failed(way: Way, virtual_clock: VirtualClock) -> None:
    """It gets the retry's error."""
    fn = Flaky(ConnectionError)
    chain = way.names.Pipeline(way.names.Fallback(lambda error: error), way.names.BackoffStrategy(max_retries=2))
    assert isinstance(way.call(chain, fn), RetryExhaustedError)
    assert fn.calls == 3


# -- misuse is not answered for ----------------------------------------------------------------------------------------


async def numbers() -> AsyncGenerator[int]:
    """An async generator."""
    yield 1


def letters() -> Generator[str]:
    """A plain one."""
    yield "a"


async def ask() -> str:
    """An async function."""
    return "never"


@pytest.mark.parametrize("fn", [numbers, letters])
@pytest.mark.parametrize("policies", [(), (BackoffStrategy(base_delay=0, retry_exceptions=Exception),)])
async def test_a_shape_that_cannot_be_guarded_is_refused_loudly(fn: Any, policies: tuple[Any, ...]) -> None:
    """The program is wrong: an answer, or another attempt, would hide that for ever."""
    with pytest.raises(TypeError, match="unguarded"):
        await Pipeline(Fallback("answer"), *policies).execute(fn)


@pytest.mark.parametrize("fn", [numbers, letters, ask])
@pytest.mark.parametrize("policies", [(), (resilio.sync.BackoffStrategy(base_delay=0, retry_exceptions=Exception),)])
def test_a_shape_that_cannot_be_guarded_is_refused_loudly_in_blocking_code(fn: Any, policies: tuple[Any, ...]) -> None:
    """An async function as well."""
    with pytest.raises(TypeError, match=r"unguarded|is async"):
        resilio.sync.Pipeline(resilio.sync.Fallback("answer"), *policies).execute(fn)


def test_an_outer_fallback_does_not_hide_an_inner_ones_misuse() -> None:
    """An async function as the inner fallback of blocking code."""
    chain = resilio.sync.Pipeline(resilio.sync.Fallback("outer"), resilio.sync.Fallback(ask))
    with pytest.raises(TypeError, match=r"ask is async"):
        chain.execute(Flaky(ConnectionError()))


def test_a_type_error_of_the_call_is_answered_for() -> None:
    """It is an error like any other."""
    assert resilio.sync.Fallback("answer").execute(Flaky(TypeError("mine"))) == "answer"


# -- events, parameters ------------------------------------------------------------------------------------------------


@every_call
def test_it_tells_once_that_it_answered_and_for_what(way: Way) -> None:
    """With the error as text."""
    told: list[str] = []
    with subscribe(lambda event: told.append(event.error), FellBack):
        way.call(way.names.Fallback("answer"), Flaky(ConnectionError("no")))
        way.call(way.names.Fallback("answer"), Flaky("fine"))
    assert told == ["ConnectionError: no"]


@every_call
def test_a_fallback_that_failed_tells_nothing(way: Way) -> None:
    """In a chain the one that answered tells."""
    told: list[str] = []

    def from_cache() -> str:
        raise KeyError("cache")

    chain = way.names.Pipeline(way.names.Fallback("last resort"), way.names.Fallback(from_cache))
    with subscribe(lambda event: told.append(event.error), FellBack):
        assert way.call(chain, Flaky(ConnectionError("no"))) == "last resort"
    assert told == ["KeyError: 'cache'"]


async def test_execute_and_decorators_name_the_function() -> None:
    """Not anything of ours."""
    told: list[str] = []

    async def fails() -> str:
        raise ConnectionError

    with subscribe(lambda event: told.append(event.operation.rpartition(".")[2]), FellBack):
        await Fallback("answer").execute(fails)
        await Fallback("answer")(fails)()
    assert told == ["fails", "fails"]


def test_a_listener_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is given all the same."""

    def broken(_: FellBack) -> None:
        raise ZeroDivisionError

    with subscribe(broken, FellBack), caplog.at_level(logging.CRITICAL, logger="resilio"):
        assert resilio.sync.Fallback("answer").execute(Flaky(ConnectionError())) == "answer"


@pytest.mark.parametrize("build", [resilio.Fallback, resilio.sync.Fallback])
@pytest.mark.parametrize(
    "on",
    [
        BaseException,
        KeyboardInterrupt,
        asyncio.CancelledError,
        (ValueError, SystemExit),
        "ValueError",
        None,
        5,
        int,
        ask,
        numbers,
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_what_it_cannot_answer_for_is_refused(build: Any, on: Any) -> None:
    """When it is built, with the parameter's name and the value."""
    with pytest.raises(TypeError, match=r"^on must be") as refused:
        build("answer", on=on)
    assert repr(on) in str(refused.value)


def test_on_is_keyword_only() -> None:
    """Two positions would be easy to mix up."""
    with pytest.raises(TypeError):
        Fallback("answer", ValueError)  # type: ignore[call-arg]


def answer() -> str:
    """Answer."""
    return "Meow?"


def test_it_describes_itself() -> None:
    """As a value; functions by their names."""
    assert Fallback("a").describe() == resilio.sync.Fallback("a").describe()
    assert Fallback("a").describe() != Fallback("b").describe()
    assert Fallback("a").describe() != Fallback("a", on=ValueError).describe()
    assert Fallback("a", on=[ValueError]).describe() == Fallback("a", on=(ValueError,)).describe()
    assert str(Fallback(answer, on=ValueError).describe()) == (
        f"Fallback(value_or_fn='{__name__}.answer', on=<class 'ValueError'>)"
    )
    assert repr(Fallback("a")) == "<Fallback 'a'>"


async def test_a_block_cannot_fall_back() -> None:
    """It has no result that could be replaced."""
    with pytest.raises(TypeError, match="no block form"):
        async with Fallback("answer"):
            pass
