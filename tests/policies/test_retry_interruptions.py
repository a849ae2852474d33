"""Cancellation, Ctrl-C and exit are never retried, and arrive while a retry waits."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from ways import Flaky, Way, every_way, on

import resilio.sync
from resilio import BackoffStrategy, RetryExhaustedError, RetryGivenUp, RetryScheduled, subscribe, with_backoff
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

INTERRUPTIONS = [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit]


@every_way
@pytest.mark.parametrize("kind", INTERRUPTIONS)
@pytest.mark.parametrize("given", [Exception, lambda _: True], ids=["Exception", "predicate"])
def test_an_interruption_is_never_retried(way: Way, kind: type[BaseException], given: Any) -> None:
    """Whatever the strategy retries."""
    fn = Flaky(kind)
    with pytest.raises(kind):
        way.call(way.names.BackoffStrategy(retry_exceptions=given, base_delay=0), fn)
    assert fn.calls == 1


@every_way
@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_an_interruption_ends_the_retries_under_way(way: Way, kind: type[BaseException]) -> None:
    """On a later attempt as on the first one."""
    fn = Flaky(ConnectionError(), kind)
    with pytest.raises(kind):
        way.call(way.names.BackoffStrategy(base_delay=0), fn)
    assert fn.calls == 2


@every_way
def test_a_group_with_an_interruption_in_it_is_never_retried(way: Way) -> None:
    """A `BaseExceptionGroup` is no `Exception`."""
    fn = Flaky(BaseExceptionGroup("two", [ConnectionError(), KeyboardInterrupt()]))
    with pytest.raises(BaseExceptionGroup):
        way.call(way.names.BackoffStrategy(retry_exceptions=lambda _: True, base_delay=0), fn)
    assert fn.calls == 1


@every_way
def test_a_predicate_is_never_asked_about_an_interruption(way: Way) -> None:
    """So that it cannot get it wrong."""
    asked: list[BaseException] = []

    def predicate(error: Exception) -> bool:
        asked.append(error)
        return True

    with pytest.raises(KeyboardInterrupt):
        way.call(way.names.BackoffStrategy(retry_exceptions=predicate), Flaky(KeyboardInterrupt))
    assert asked == []


# -- while it waits ----------------------------------------------------------------------------------------------------


class AlwaysFails:
    """An async function in four forms that fails, and says when it has done so."""

    def __init__(self) -> None:
        self.calls = 0

    def fail(self) -> Any:
        """Count and raise."""
        self.calls += 1
        raise ConnectionError

    async def decorated(self) -> None:
        """A decorated function."""

        @with_backoff(base_delay=100, jitter=None)
        async def fails() -> None:
            self.fail()

        await fails()

    async def executed(self) -> None:
        """A single call."""
        await BackoffStrategy(base_delay=100, jitter=None).execute(self.fail)

    async def streamed(self) -> None:
        """An async generator."""

        @with_backoff(base_delay=100, jitter=None)
        async def fails() -> AsyncIterator[int]:
            yield self.fail()

        async for _ in fails():
            pass

    async def looped(self) -> None:
        """A loop of attempts."""
        async for attempt in BackoffStrategy(base_delay=100, jitter=None):
            with attempt:
                self.fail()


forms = pytest.mark.parametrize(
    "form",
    [AlwaysFails.decorated, AlwaysFails.executed, AlwaysFails.streamed, AlwaysFails.looped],
    ids=lambda form: form.__name__,
)


@forms
async def test_cancellation_arrives_while_it_waits(
    form: Callable[[AlwaysFails], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """At that moment, with no other attempt; on asyncio and trio."""
    fails = AlwaysFails()
    with anyio.move_on_after(30) as scope:
        await form(fails)
    assert scope.cancelled_caught
    assert fails.calls == 1
    assert virtual_clock.elapsed == pytest.approx(30)


@forms
async def test_cancellation_is_told_by_no_event(
    form: Callable[[AlwaysFails], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """The retry was scheduled; nothing was given up."""
    told: list[str] = []
    with subscribe(lambda event: told.append(type(event).__name__), RetryScheduled, RetryGivenUp):
        with anyio.move_on_after(30):
            await form(AlwaysFails())
    assert told == ["RetryScheduled"]


@forms
def test_a_cancelled_asyncio_task_ends_in_cancellation(
    form: Callable[[AlwaysFails], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """`task.cancel()` on a sleeping retry."""
    fails = AlwaysFails()

    async def run() -> None:
        await form(fails)

    async def main() -> bool:
        task = asyncio.get_running_loop().create_task(run())
        await clock.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert on("asyncio", main)
    assert fails.calls == 1


@forms
def test_a_cancelled_trio_scope_is_left(
    form: Callable[[AlwaysFails], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """`nursery.cancel_scope.cancel()` on a sleeping retry."""
    fails = AlwaysFails()

    async def main() -> bool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(form, fails)
            await clock.sleep(1)
            nursery.cancel_scope.cancel()
        return nursery.cancel_scope.cancelled_caught

    assert on("trio", main)
    assert fails.calls == 1


async def test_a_cancelled_attempt_is_not_retried() -> None:
    """Cancellation that arrives inside of the function itself, on every event loop."""
    calls = 0

    @with_backoff(base_delay=0, retry_exceptions=Exception)
    async def hangs() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError
        scope.cancel()
        await anyio.lowlevel.checkpoint()

    with anyio.CancelScope() as scope:
        await hangs()
    assert scope.cancelled_caught
    assert calls == 2


async def test_a_timeout_of_the_caller_is_no_failure_of_the_call(virtual_clock: VirtualClock) -> None:
    """`fail_after` around a retry cancels it once; its TimeoutError is not retried, though TimeoutErrors are."""
    fn = Flaky(ConnectionError)
    with pytest.raises(TimeoutError):
        with anyio.fail_after(10):
            await BackoffStrategy(base_delay=100, jitter=None, max_retries=50).execute(fn)
    assert fn.calls == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_arrives_while_blocking_code_waits(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """As a signal handler raises it out of `sleep`."""

    def interrupted(_: float) -> None:
        raise kind

    monkeypatch.setattr(clock, "sleep_blocking", interrupted)
    fn = Flaky(ConnectionError)
    with pytest.raises(kind):
        resilio.sync.BackoffStrategy().execute(fn)
    assert fn.calls == 1


async def test_closing_a_stream_that_waits_ends_it(virtual_clock: VirtualClock) -> None:
    """A guarded coroutine that is thrown away runs no other attempt."""
    fails = AlwaysFails()
    coroutine = fails.decorated()
    with anyio.move_on_after(1):
        await coroutine
    coroutine.close()
    assert fails.calls == 1


def test_retries_in_threads_do_not_meet(virtual_clock: VirtualClock) -> None:
    """One strategy, eight threads: each has its own attempts."""
    strategy = resilio.sync.BackoffStrategy(max_retries=4)
    made: list[int] = []

    def work() -> None:
        fn = Flaky(ConnectionError)
        with pytest.raises(RetryExhaustedError):
            strategy.execute(fn)
        made.append(fn.calls)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [5] * 8
