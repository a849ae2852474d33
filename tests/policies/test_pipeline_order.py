"""Several policies around one call, the outermost first."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from ways import Flaky, Way, every_call

import resilio
import resilio.sync
from resilio import (
    BackoffStrategy,
    CircuitBreaker,
    CircuitState,
    Fallback,
    FellBack,
    OperationTimeoutError,
    Pipeline,
    Policy,
    RetryExhaustedError,
    RetryGivenUp,
    RetryScheduled,
    TimedOut,
    Timeout,
    subscribe,
)
from resilio.policies.description import Description
from resilio.policies.policy import Iteration, Stream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Tracing(Policy):
    """A policy of somebody's own that writes down when a call goes in and out."""

    def __init__(self, name: str, trace: list[str]) -> None:
        self.name = name
        self.trace = trace

    @contextmanager
    def _traced(self) -> Generator[None]:
        self.trace.append(f"{self.name}>")
        try:
            yield
        finally:
            self.trace.append(f"<{self.name}")

    def guard_coroutine(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._traced():
                return await fn(*args, **kwargs)

        return guarded

    def guard_plain(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._traced():
                result = fn(*args, **kwargs)
            return self.guard_returned(fn, result, args, kwargs) if hasattr(result, "__await__") else result

        return guarded

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        with self._traced():
            yield await Stream.begin(fn(*args, **kwargs))

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        with self._traced():
            yield Iteration(fn(*args, **kwargs))

    def describe(self) -> Description:
        return Description("Tracing", (("name", self.name),))


straight = pytest.mark.parametrize(
    "way",
    [
        Way(form, backend)
        for backend in ("asyncio", "trio")
        for form in ("async function", "async method", "execute", "execute of a plain function", "async generator")
    ]
    + [Way(form, None) for form in ("plain function", "plain method", "blocking execute", "generator")],
    ids=str,
)


@straight
def test_a_call_goes_in_from_the_first_and_comes_out_through_the_first(way: Way) -> None:
    """As it is read."""
    trace: list[str] = []
    pipeline = way.names.Pipeline(Tracing("a", trace), Tracing("b", trace), Tracing("c", trace))

    def fn() -> str:
        trace.append("call")
        return "meow"

    assert way.call(pipeline, fn) == "meow"
    assert trace == ["a>", "b>", "c>", "call", "<c", "<b", "<a"]


@straight
def test_pipelines_nest(way: Way) -> None:
    """As if their policies stood there."""
    trace: list[str] = []
    a, b, c, d = (Tracing(name, trace) for name in "abcd")
    pipeline = way.names.Pipeline(a, way.names.Pipeline(b, way.names.Pipeline(c)), d)
    assert way.call(pipeline, Flaky("meow")) == "meow"
    assert trace == ["a>", "b>", "c>", "d>", "<d", "<c", "<b", "<a"]


@straight
def test_an_error_comes_out_through_all_of_them(way: Way) -> None:
    """As it is."""
    trace: list[str] = []
    error = LookupError()
    pipeline = way.names.Pipeline(Tracing("a", trace), Tracing("b", trace))
    with pytest.raises(LookupError) as caught:
        way.call(pipeline, Flaky(error))
    assert caught.value is error
    assert trace == ["a>", "b>", "<b", "<a"]


@every_call
def test_a_pipeline_of_one_is_that_one(way: Way, virtual_clock: VirtualClock) -> None:
    """No difference."""
    assert way.call(way.names.Pipeline(way.names.Fallback("answer")), Flaky(ConnectionError())) == "answer"


@every_call
def test_a_breaker_inside_of_the_retry_sees_every_attempt(way: Way, virtual_clock: VirtualClock) -> None:
    """Three attempts are three failures."""
    breaker = way.names.CircuitBreaker(failure_threshold=3)
    with pytest.raises(RetryExhaustedError):
        way.call(way.names.Pipeline(way.names.BackoffStrategy(max_retries=2), breaker), Flaky(ConnectionError))
    assert breaker.state is CircuitState.OPEN


@every_call
def test_a_breaker_outside_of_the_retry_sees_what_all_attempts_came_to(way: Way, virtual_clock: VirtualClock) -> None:
    """Three attempts are one failure."""
    breaker = way.names.CircuitBreaker(failure_threshold=2)
    with pytest.raises(RetryExhaustedError):
        way.call(way.names.Pipeline(breaker, way.names.BackoffStrategy(max_retries=2)), Flaky(ConnectionError))
    assert breaker.state is CircuitState.CLOSED
    assert breaker.snapshot().failed == 1


@every_call
def test_policies_of_either_kind_may_be_joined(way: Way, virtual_clock: VirtualClock) -> None:
    """Blocking ones in an async pipeline, and the other way round."""
    other = resilio if way.backend is None else resilio.sync
    fn = Flaky(ConnectionError(), "meow")
    pipeline = way.names.Pipeline(
        other.Fallback("answer"), other.BackoffStrategy(jitter=None), other.CircuitBreaker(), other.Timeout(60)
    )
    assert way.call(pipeline, fn) == "meow"
    assert fn.waits == [1]


async def test_a_timeout_stands_for_one_attempt_or_for_all(virtual_clock: VirtualClock) -> None:
    """By its place."""
    calls: list[float] = []

    async def slow() -> None:
        calls.append(virtual_clock.elapsed)
        await anyio.sleep(60)

    retry = BackoffStrategy(max_retries=1, base_delay=1, jitter=None)
    with pytest.raises(RetryExhaustedError):
        await Pipeline(retry, Timeout(5)).execute(slow)
    assert (calls, virtual_clock.elapsed) == ([0, 6], 11)
    with pytest.raises(OperationTimeoutError):
        await Pipeline(Timeout(5), retry).execute(slow)
    assert (calls[2:], virtual_clock.elapsed) == ([11], 16)


async def test_one_pipeline_guards_any_number_of_functions() -> None:
    """Each with its own name and signature, and all on the same circuit."""
    breaker = CircuitBreaker(failure_threshold=2)
    pipeline = Pipeline(BackoffStrategy(max_retries=0, reraise=True), breaker)

    @pipeline
    async def first(cat: str) -> str:
        """Greet."""
        return f"meow, {cat}"

    @pipeline
    def second() -> None:
        raise ConnectionError

    assert (first.__name__, first.__doc__, await first("Tristan")) == ("first", "Greet.", "meow, Tristan")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            second()
    assert breaker.state is CircuitState.OPEN


async def test_every_event_names_the_function() -> None:
    """Not the wrappers between, nor anything of ours, by decorator and by `execute`."""
    told: list[tuple[str, str]] = []

    async def ask_the_cat() -> str:
        raise ConnectionError

    def listen(event: Any) -> None:
        told.append((type(event).__name__, event.operation.rpartition(".")[2]))

    breaker = CircuitBreaker(failure_threshold=100)
    pipeline = Pipeline(Fallback("Meow?"), Timeout(60), BackoffStrategy(max_retries=1, base_delay=0), breaker)
    with subscribe(listen, FellBack, RetryScheduled, RetryGivenUp):
        assert await pipeline.execute(ask_the_cat) == "Meow?"
        assert await pipeline(ask_the_cat)() == "Meow?"
        assert await Pipeline(Pipeline(pipeline)).execute(ask_the_cat) == "Meow?"
    once = [("RetryScheduled", "ask_the_cat"), ("RetryGivenUp", "ask_the_cat"), ("FellBack", "ask_the_cat")]
    assert told == once * 3


async def test_the_timeouts_of_a_pipeline_name_the_function(virtual_clock: VirtualClock) -> None:
    """Both of them."""
    told: list[str] = []

    async def ask_the_cat() -> None:
        await anyio.sleep(60)

    pipeline = Pipeline(Timeout(7), BackoffStrategy(base_delay=0), Timeout(5))
    with subscribe(lambda event: told.append(f"{event.operation.rpartition('.')[2]} {event.seconds}"), TimedOut):
        with pytest.raises(OperationTimeoutError, match=r"ask_the_cat took longer than 7 s"):
            await pipeline.execute(ask_the_cat)
    assert told == ["ask_the_cat 5.0", "ask_the_cat 7.0"]


# -- generators --------------------------------------------------------------------------------------------------------


async def test_a_stream_goes_through_all_policies(virtual_clock: VirtualClock) -> None:
    """Tried again until it starts in time; then it is left alone."""
    starts: list[float] = []

    @Pipeline(Fallback("Meow?"), BackoffStrategy(base_delay=1, jitter=None), CircuitBreaker(), Timeout(5))
    async def stream(count: int) -> AsyncGenerator[int]:
        starts.append(virtual_clock.elapsed)
        if len(starts) == 1:
            raise ConnectionError
        await anyio.sleep(60 if len(starts) == 2 else 1)
        for item in range(count):
            yield item
            await anyio.sleep(100)

    assert [item async for item in stream(3)] == [0, 1, 2]
    assert starts == [0, 1, 8]


async def test_what_is_sent_and_thrown_in_goes_through_all_policies() -> None:
    """And so does closing."""
    closed: list[str] = []

    @Pipeline(Fallback("Meow?"), BackoffStrategy(), CircuitBreaker(), Timeout(5))
    async def echo() -> AsyncGenerator[str, str]:
        try:
            said = yield "ready"
            while True:
                try:
                    said = yield said.upper()
                except LookupError as error:
                    said = f"caught {error}"
        finally:
            closed.append("closed")

    stream = echo()
    assert await anext(stream) == "ready"
    assert await stream.asend("meow") == "MEOW"
    assert await stream.athrow(LookupError("it")) == "CAUGHT IT"
    await stream.aclose()
    assert closed == ["closed"]


async def test_a_breaker_sees_how_a_stream_ended() -> None:
    """A failure after the first item is raised and counted, though no longer retried."""
    breaker = CircuitBreaker(failure_threshold=1)
    seen: list[int] = []

    @Pipeline(Fallback(-1), BackoffStrategy(base_delay=0), breaker)
    async def stream() -> AsyncGenerator[int]:
        yield 1
        raise ConnectionError

    async def read() -> None:
        async for item in stream():
            seen.append(item)  # noqa: PERF401 -- what came before the error counts

    with pytest.raises(ConnectionError):
        await read()
    assert seen == [1]
    assert breaker.state is CircuitState.OPEN
    await read()
    assert seen == [1, -1]


def test_a_generator_goes_through_all_policies() -> None:
    """In plain code, with its value."""
    starts: list[int] = []

    @resilio.sync.Pipeline(
        resilio.sync.Fallback("Meow?"),
        resilio.sync.BackoffStrategy(base_delay=0),
        resilio.sync.CircuitBreaker(),
        resilio.sync.Timeout(60),
    )
    def items(count: int) -> Generator[int, None, str]:
        starts.append(1)
        if len(starts) < 3:
            raise ConnectionError
        yield from range(count)
        return "done"

    def outer() -> Generator[Any]:
        yield (yield from items(2))

    assert list(outer()) == [0, 1, "done"]
    assert len(starts) == 3


# -- describing, building ----------------------------------------------------------------------------------------------


def standard(names: Any) -> Any:
    """The README's pipeline."""
    return names.Pipeline(
        names.Fallback("Meow?"), names.BackoffStrategy(max_retries=3), names.CircuitBreaker(), names.Timeout(10)
    )


def test_equal_pipelines_are_described_equally() -> None:
    """A value that tests can compare; blocking or not makes no difference."""
    assert standard(resilio).describe() == standard(resilio).describe() == standard(resilio.sync).describe()
    assert hash(standard(resilio).describe()) == hash(standard(resilio).describe())


def test_order_and_settings_show_in_the_description() -> None:
    """Any difference does."""
    a, b = Timeout(10), Fallback("Meow?")
    descriptions = [
        Pipeline(a, b).describe(),
        Pipeline(b, a).describe(),
        Pipeline(Timeout(11), b).describe(),
        Pipeline(a, Fallback("Purr?")).describe(),
        Pipeline(a).describe(),
        Pipeline(Pipeline(a), b).describe(),
    ]
    assert len(set(descriptions)) == len(descriptions)


def test_a_description_prints_one_policy_a_line() -> None:
    """Outermost first, nested ones indented."""
    pipeline = Pipeline(Fallback("Meow?"), Pipeline(Timeout(10), Pipeline(Timeout(5))), Timeout(1))
    assert str(pipeline.describe()).splitlines() == [
        "1. Fallback(value_or_fn='Meow?', on=<class 'Exception'>)",
        "2. Pipeline",
        "   1. Timeout(seconds=10.0)",
        "   2. Pipeline",
        "      1. Timeout(seconds=5.0)",
        "3. Timeout(seconds=1.0)",
    ]


def test_a_pipeline_prints_its_order() -> None:
    """For logs and debuggers."""
    assert repr(standard(resilio)) == "<Pipeline Fallback → BackoffStrategy → CircuitBreaker → Timeout>"


@pytest.mark.parametrize("names", [resilio, resilio.sync], ids=["async", "blocking"])
@pytest.mark.parametrize("wrong", [None, "Timeout", Timeout, lambda fn: fn, 5], ids=lambda value: type(value).__name__)
def test_what_is_no_policy_is_refused(names: Any, wrong: object) -> None:
    """With its place and value: a class without arguments, for one."""
    with pytest.raises(TypeError, match=r"number 2 is none") as refused:
        names.Pipeline(names.Timeout(5), wrong)
    assert repr(wrong) in str(refused.value)


@pytest.mark.parametrize("names", [resilio, resilio.sync], ids=["async", "blocking"])
def test_an_empty_pipeline_is_refused(names: Any) -> None:
    """It would guard nothing."""
    with pytest.raises(ValueError, match="at least one policy"):
        names.Pipeline()


def test_settings_that_defeat_each_other_are_refused_all_at_once() -> None:
    """Also across nested pipelines."""
    with pytest.raises(ValueError, match="defeat each other") as refused:
        Pipeline(Timeout(5), BackoffStrategy(max_duration=60), Pipeline(Timeout(10)))
    assert "10 s never fires inside the outer one of 5 s" in str(refused.value)
    assert "max_duration=60 never ends by itself inside a timeout of 5 s" in str(refused.value)


# -- at run time -------------------------------------------------------------------------------------------------------


async def test_replaced_policies_guard_later_calls(virtual_clock: VirtualClock) -> None:
    """Of functions decorated long ago, of streams, and of `execute`; calls under way end as they began."""
    pipeline = Pipeline(Timeout(5))
    ended: list[tuple[str, float]] = []

    @pipeline
    async def slow(seconds: float) -> None:
        await anyio.sleep(seconds)

    @pipeline
    async def stream() -> AsyncGenerator[int]:
        await anyio.sleep(20)
        yield 1

    async def call(name: str, fn: Callable[[], Any]) -> None:
        try:
            await fn()
            ended.append((name, virtual_clock.elapsed))
        except OperationTimeoutError as error:
            ended.append((f"{name} after {error.seconds:g}", virtual_clock.elapsed))

    async with anyio.create_task_group() as group:
        group.start_soon(call, "old", lambda: slow(20))
        await anyio.sleep(1)
        pipeline.replace(Timeout(10))
        group.start_soon(call, "new", lambda: slow(20))
        group.start_soon(call, "execute", lambda: pipeline.execute(anyio.sleep, 20))
        group.start_soon(call, "stream", lambda: anext(stream()))
    assert ended[0] == ("old after 5", 5)
    assert sorted(ended[1:]) == [("execute after 10", 11), ("new after 10", 11), ("stream after 10", 11)]


@pytest.mark.parametrize("wrong", [(), (None,), (Timeout(1), Timeout(2))])
def test_a_failing_replacement_keeps_the_old_policies(wrong: tuple[Any, ...]) -> None:
    """Refused as when it is built, and nothing changes."""
    pipeline = resilio.sync.Pipeline(resilio.sync.Fallback("Meow?"))
    guarded = pipeline(Flaky(ConnectionError))
    before = pipeline.describe()
    with pytest.raises((TypeError, ValueError)):
        pipeline.replace(*wrong)
    assert pipeline.describe() == before
    assert guarded() == "Meow?"


def test_a_nested_pipeline_is_replaced_where_it_stands() -> None:
    """The outer one follows it."""
    inner = resilio.sync.Pipeline(resilio.sync.Fallback("old"))
    outer = resilio.sync.Pipeline(resilio.sync.Timeout(60), inner)
    guarded = outer(Flaky(ConnectionError))
    assert guarded() == "old"
    inner.replace(resilio.sync.Fallback("new"))
    assert guarded() == "new"
    assert outer.execute(Flaky(ConnectionError)) == "new"
