"""The blocking twin: the call runs in a thread of its own, which can be left behind."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

import resilio.sync
from resilio import OperationTimeoutError, TimedOut, subscribe
from resilio._core import clock
from resilio.sync import BackoffStrategy, CircuitBreaker, Pipeline, Timeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from resilio.testing.virtual_clock import VirtualClock

request_id: ContextVar[str] = ContextVar("request_id", default="none")


@pytest.fixture(autouse=True)
def nobody_left_behind(virtual_clock: VirtualClock) -> Iterator[None]:
    """Let calls that were given up end in virtual time, so that no thread outlives its test."""
    yield
    clock.sleep_blocking(3600)


def slow(seconds: float = 60) -> str:
    """Take a while."""
    clock.sleep_blocking(seconds)
    return "meow"


def test_a_call_that_takes_too_long_is_given_up(virtual_clock: VirtualClock) -> None:
    """On time, with the same error as in async code."""
    with pytest.raises(OperationTimeoutError) as caught:
        Timeout(5).execute(slow)
    assert virtual_clock.elapsed == 5
    assert (caught.value.seconds, caught.value.operation) == (5, f"{__name__}.slow")


def test_a_call_in_time_takes_what_it_takes(virtual_clock: VirtualClock) -> None:
    """And no longer."""
    assert Timeout(5).execute(slow, 4) == "meow"
    assert virtual_clock.elapsed == 4


def test_a_decorated_function_keeps_its_name_and_arguments(virtual_clock: VirtualClock) -> None:
    """As with any decorator."""

    @Timeout(5)
    def greet(cat: str, *, times: int = 1) -> str:
        """Say hello."""
        return f"meow, {cat}" * times

    assert greet("Tristan", times=2) == "meow, Tristanmeow, Tristan"
    assert (greet.__name__, greet.__doc__) == ("greet", "Say hello.")


def test_the_call_sees_the_callers_context_variables() -> None:
    """A copy: what it sets does not come back."""
    seen: list[str] = []

    def work() -> None:
        seen.append(request_id.get())
        request_id.set("changed")

    token = request_id.set("r-1")
    try:
        Timeout(5).execute(work)
        assert (seen, request_id.get()) == (["r-1"], "r-1")
    finally:
        request_id.reset(token)


def test_the_thread_is_a_daemon_with_a_name() -> None:
    """A process can end while a call that was given up still hangs."""
    seen: list[tuple[bool, str, bool]] = []

    def work() -> None:
        me = threading.current_thread()
        seen.append((me.daemon, me.name, me is threading.main_thread()))

    Timeout(5).execute(work)
    assert seen == [(True, "resilio-call", False)]


def test_the_error_of_the_call_keeps_its_traceback() -> None:
    """It crosses threads as it is."""
    error = LookupError("no")

    def deepest() -> None:
        raise error

    def work() -> None:
        deepest()

    with pytest.raises(LookupError) as caught:
        Timeout(5).execute(work)
    assert caught.value is error
    assert [entry.name for entry in caught.traceback][-2:] == ["work", "deepest"]


def test_what_comes_too_late_is_dropped_and_closed(virtual_clock: VirtualClock) -> None:
    """Nobody else could: a response holds its connection."""
    closed = threading.Event()

    class Response:
        def close(self) -> None:
            closed.set()

    def late() -> Response:
        clock.sleep_blocking(60)
        return Response()

    with pytest.raises(OperationTimeoutError):
        Timeout(5).execute(late)
    clock.sleep_blocking(100)
    assert closed.wait(5)


def test_an_error_that_comes_too_late_is_dropped(virtual_clock: VirtualClock) -> None:
    """No unhandled exception in a thread."""

    def late() -> None:
        clock.sleep_blocking(60)
        raise LookupError

    with pytest.raises(OperationTimeoutError):
        Timeout(5).execute(late)
    before = threading.active_count()
    clock.sleep_blocking(100)
    assert threading.active_count() <= before


def test_calls_in_many_threads_have_their_own_time(virtual_clock: VirtualClock) -> None:
    """One policy."""
    policy = Timeout(5)
    ended: list[tuple[float, str]] = []

    def work(seconds: float) -> None:
        try:
            ended.append((virtual_clock.elapsed, policy.execute(slow, seconds)))
        except OperationTimeoutError:
            ended.append((virtual_clock.elapsed, "late"))

    threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (1, 60, 2, 60)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(ended)[-2:] == [(5, "late"), (5, "late")]


def test_it_nests(virtual_clock: VirtualClock) -> None:
    """The shorter one fires."""
    with pytest.raises(OperationTimeoutError) as caught:
        Timeout(9).execute(Timeout(5)(slow))
    assert caught.value.seconds == 5
    assert virtual_clock.elapsed == 5


def test_it_is_told_by_an_event(virtual_clock: VirtualClock) -> None:
    """As in async code."""
    told: list[tuple[str, float]] = []
    with subscribe(lambda event: told.append((event.operation, event.seconds)), TimedOut):
        with pytest.raises(OperationTimeoutError):
            Timeout(5)(slow)()
    assert told == [(f"{__name__}.slow", 5)]


def test_attempts_that_time_out_are_retried(virtual_clock: VirtualClock) -> None:
    """Each in a thread of its own."""
    calls: list[float] = []

    def unsteady() -> str:
        calls.append(virtual_clock.elapsed)
        return slow(60 if len(calls) < 3 else 1)

    pipeline = Pipeline(BackoffStrategy(base_delay=1, jitter=None), CircuitBreaker(failure_threshold=3), Timeout(5))
    assert pipeline.execute(unsteady) == "meow"
    assert calls == [0, 6, 13]


def test_it_has_no_block_form() -> None:
    """A block cannot be moved to another thread: that is said when it is entered."""
    with pytest.raises(TypeError, match="no block form"), Timeout(5):
        pass


@pytest.mark.parametrize("kind", [resilio.Timeout, resilio.sync.Timeout])
def test_a_blocking_pipeline_with_either_kind_of_timeout_has_no_block_form(kind: type[resilio.Timeout]) -> None:
    """The async one's block would need an event loop, and says so in the same words."""
    with pytest.raises(TypeError, match="no block form"), Pipeline(kind(5)):
        pass


@pytest.mark.parametrize("kind", [resilio.Timeout, resilio.sync.Timeout])
@pytest.mark.anyio
async def test_an_async_pipeline_with_either_kind_of_timeout_has_a_block_form(kind: type[resilio.Timeout]) -> None:
    """It takes policies of either kind."""
    with pytest.raises(OperationTimeoutError):
        async with resilio.Pipeline(kind(0.001)):
            await clock.sleep(60)


def test_an_async_function_is_refused() -> None:
    """There is nobody to await it."""

    async def work() -> None:
        """Never runs."""

    with pytest.raises(TypeError, match="is async"):
        Timeout(5).execute(work)  # type: ignore[unused-coroutine]


def test_a_generator_is_refused() -> None:
    """It would run outside of the thread, without any limit."""

    def items() -> Generator[int]:
        yield 1

    with pytest.raises(TypeError, match="unguarded"):
        Timeout(5)(lambda: items())()  # noqa: PLW0108 -- the shape is the point
    with pytest.raises(TypeError, match="unguarded"):
        Timeout(5).execute(items)


def test_an_async_generator_is_refused() -> None:
    """As a plain one is."""

    async def items() -> AsyncGenerator[int]:
        yield 1

    with pytest.raises(TypeError, match="unguarded"):
        Timeout(5)(lambda: items())()  # noqa: PLW0108 -- the shape is the point


def test_an_interruption_of_the_caller_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it waits for the thread."""

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "wait_blocking", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Timeout(5).execute(lambda: "meow")
