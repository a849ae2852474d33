"""A result can be refused; what is refused, and will not be seen by anybody, is closed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_result, every_way

import resilio.sync
from resilio import BackoffStrategy, RetryExhaustedError, with_backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

in_async = pytest.mark.parametrize(
    "way",
    [
        Way(form, backend)
        for backend in ("asyncio", "trio")
        for form in ("async function", "execute", "execute of a plain function", "async for")
    ],
    ids=str,
)
in_blocking = pytest.mark.parametrize(
    "way", [Way(form, None) for form in ("plain function", "blocking execute", "for")], ids=str
)


class Response:
    """A result that holds something until it is closed."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.closed = 0

    def close(self) -> None:
        """Let go."""
        self.closed += 1

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class AsyncResponse(Response):
    """One whose closing must be awaited, beside a `close` that is for other uses."""

    async def aclose(self) -> None:
        """Let go, after a while."""
        await anyio.lowlevel.checkpoint()
        self.closed += 10


class AsyncCloseResponse(Response):
    """One whose `close` itself must be awaited, as aiohttp sessions have it."""

    async def close(self) -> None:  # type: ignore[override]
        """Let go, after a while."""
        await anyio.lowlevel.checkpoint()
        self.closed += 100


def busy(response: Any) -> bool:
    """Refuse a 503."""
    return bool(response.status == 503)


# -- refusing ----------------------------------------------------------------------------------------------------------


@every_result
def test_a_refused_result_is_retried(way: Way, virtual_clock: VirtualClock) -> None:
    """Until one is good."""
    fn = Flaky(None, None, "meow")
    assert way.call(way.names.BackoffStrategy(retry_result=lambda r: r is None, jitter=None), fn) == "meow"
    assert fn.waits == [1, 2]


@every_result
def test_a_good_result_is_asked_about_once(way: Way) -> None:
    """And returned as it is."""
    asked: list[object] = []
    result = object()

    def good(given: object) -> bool:
        asked.append(given)
        return False

    assert way.call(way.names.BackoffStrategy(retry_result=good), Flaky(result)) is result
    assert asked == [result]


@every_result
def test_refused_results_and_failures_share_the_attempts(way: Way, virtual_clock: VirtualClock) -> None:
    """One count for both."""
    fn = Flaky(None, ConnectionError(), None, ConnectionError())
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(retry_result=lambda r: r is None, max_retries=3), fn)
    assert caught.value.attempts == 4
    assert isinstance(caught.value.last_exception, ConnectionError)


@every_result
@pytest.mark.parametrize("reraise", [False, True])
def test_when_all_results_are_refused_the_end_holds_the_last_one(
    way: Way, virtual_clock: VirtualClock, *, reraise: bool
) -> None:
    """There is no error to raise again, with `reraise` either."""
    results = [Response(503), Response(503)]
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(retry_result=busy, max_retries=1, reraise=reraise), Flaky(*results))
    assert caught.value.last_result is results[1]
    assert caught.value.last_exception is None
    assert caught.value.__cause__ is None
    assert "refused result <Response 503>" in str(caught.value)
    assert caught.value.__notes__ == ["attempt 1: refused result: <Response 503>"]


@every_result
def test_a_refused_result_that_cannot_be_shown_does_no_harm(way: Way) -> None:
    """Its class is named instead."""

    class Unprintable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(RetryExhaustedError, match="Unprintable"):
        way.call(
            way.names.BackoffStrategy(retry_result=lambda _: True, max_retries=1, base_delay=0), Flaky(Unprintable())
        )


@every_result
def test_a_predicate_that_fails_ends_the_retry(way: Way) -> None:
    """With its own error, and no other attempt."""

    def broken(_: object) -> bool:
        raise ZeroDivisionError

    fn = Flaky("meow")
    with pytest.raises(ZeroDivisionError):
        way.call(way.names.BackoffStrategy(retry_result=broken), fn)
    assert fn.calls == 1


@pytest.mark.parametrize(
    "way",
    [Way("async generator", "asyncio"), Way("async generator", "trio"), Way("generator", None)],
    ids=str,
)
def test_a_stream_has_no_result_to_refuse(way: Way) -> None:
    """Its items are not asked about, nor anything of ours."""
    asked: list[object] = []
    fn = Flaky(None)

    def bad(given: object) -> bool:
        asked.append(given)
        return True

    assert way.call(way.names.BackoffStrategy(retry_result=bad, max_retries=1, base_delay=0), fn) is None
    assert (asked, fn.calls) == ([], 1)


# -- closing -----------------------------------------------------------------------------------------------------------


@every_result
def test_refused_results_are_closed_once(way: Way, virtual_clock: VirtualClock) -> None:
    """A response that is dropped without that holds its connection."""
    responses = [Response(503), Response(503), Response(200)]
    good = way.call(way.names.BackoffStrategy(retry_result=busy), Flaky(*responses))
    assert good is responses[2]
    assert [response.closed for response in responses] == [1, 1, 0]


@in_async
def test_an_async_closing_is_awaited(way: Way, virtual_clock: VirtualClock) -> None:
    """`aclose` comes before `close`."""
    responses = [AsyncResponse(503), AsyncResponse(503), AsyncResponse(200)]
    way.call(way.names.BackoffStrategy(retry_result=busy), Flaky(*responses))
    assert [response.closed for response in responses] == [10, 10, 0]


@in_async
def test_an_async_close_is_awaited(way: Way, virtual_clock: VirtualClock) -> None:
    """Whatever its name."""
    responses = [AsyncCloseResponse(503), AsyncCloseResponse(200)]
    way.call(way.names.BackoffStrategy(retry_result=busy), Flaky(*responses))
    assert [response.closed for response in responses] == [100, 0]


@in_blocking
def test_in_blocking_code_the_plain_close_is_called(way: Way, virtual_clock: VirtualClock) -> None:
    """Nobody could await the other one."""
    responses = [AsyncResponse(503), AsyncResponse(200)]
    way.call(way.names.BackoffStrategy(retry_result=busy), Flaky(*responses))
    assert [response.closed for response in responses] == [1, 0]


@in_blocking
def test_in_blocking_code_an_async_close_leaves_no_coroutine_behind(way: Way, virtual_clock: VirtualClock) -> None:
    """It cannot be run there; no warning about a coroutine that nobody awaited follows."""
    responses = [AsyncCloseResponse(503), AsyncCloseResponse(200)]
    way.call(way.names.BackoffStrategy(retry_result=busy), Flaky(*responses))
    assert [response.closed for response in responses] == [0, 0]


@every_result
def test_the_last_refused_result_is_left_to_the_caller(way: Way, virtual_clock: VirtualClock) -> None:
    """It is not discarded: the error holds it, and a closed response could not be read."""
    responses = [Response(503), Response(503)]
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(retry_result=busy, max_retries=1), Flaky(*responses))
    assert caught.value.last_result is responses[1]
    assert [response.closed for response in responses] == [1, 0]


@every_result
def test_a_result_that_cannot_be_closed_is_dropped(way: Way) -> None:
    """No error from a `close` that is no function."""

    class Odd:
        close = "tomorrow"
        aclose = None

    fn = Flaky(Odd(), "meow")
    strategy = way.names.BackoffStrategy(retry_result=lambda r: r != "meow", base_delay=0)
    assert way.call(strategy, fn) == "meow"


@every_result
def test_a_closing_that_fails_is_logged_and_changes_nothing(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """The result was bad already."""

    class Broken(Response):
        def close(self) -> None:
            raise OSError("already gone")

    fn = Flaky(Broken(503), Response(200))
    with caplog.at_level(logging.WARNING, logger="resilio"):
        assert way.call(way.names.BackoffStrategy(retry_result=busy, base_delay=0), fn).status == 200
    assert "already gone" in caplog.text


async def test_cancellation_arrives_while_a_result_is_closed() -> None:
    """It is neither swallowed nor answered by another attempt."""

    class Slow(Response):
        async def aclose(self) -> None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    fn = Flaky(Slow(503), Response(200))
    with anyio.CancelScope() as scope:
        await BackoffStrategy(retry_result=busy, base_delay=0).execute(fn)
    assert scope.cancelled_caught
    assert fn.calls == 1


# -- shapes ------------------------------------------------------------------------------------------------------------


async def test_an_async_functions_refused_results_are_retried_on_every_loop() -> None:
    """asyncio, eager tasks, uvloop, trio."""
    results = [503, 503, 200]

    @with_backoff(retry_result=lambda status: status == 503, base_delay=0)
    async def ask() -> int:
        await anyio.lowlevel.checkpoint()
        return results.pop(0)

    assert await ask() == 200


async def test_an_async_generator_as_a_later_result_is_refused_loudly() -> None:
    """A function that fails first and returns a generator then would run unguarded."""

    async def stream() -> AsyncGenerator[int]:
        yield 1

    fn = Flaky(ConnectionError(), stream())
    with pytest.raises(TypeError, match="unguarded"):
        await BackoffStrategy(base_delay=0).execute(fn)


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_generator_as_a_plain_functions_result_is_refused_loudly(attempt: int) -> None:
    """On the first attempt as on a later one: it would run unguarded."""

    def items() -> Generator[int]:
        yield 1

    fn = Flaky(*[ConnectionError()] * (attempt - 1), items())
    with pytest.raises(TypeError, match="unguarded"):
        resilio.sync.with_backoff(base_delay=0)(fn)()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_an_awaitable_as_a_plain_functions_result_is_guarded(attempt: int) -> None:
    """On the first attempt as on a later one: what it does when awaited is retried."""
    calls: list[str] = []

    async def inner() -> str:
        calls.append("inner")
        if calls.count("inner") < 3:
            raise ConnectionError
        return "meow"

    @with_backoff(base_delay=0)
    def outer() -> Any:
        calls.append("outer")
        if len(calls) < attempt:
            raise ConnectionError
        return inner()

    assert await outer() == "meow"
    assert calls.count("inner") == 3


@every_way
def test_none_is_a_result_like_any_other(way: Way) -> None:
    """Without a predicate nothing is refused."""
    fn = Flaky(None)
    assert way.call(way.names.BackoffStrategy(), fn) is None
    assert fn.calls == 1
