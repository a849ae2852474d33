"""A hedge around async calls: when it asks again, who wins, and what becomes of the others."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_call

import resilio.sync
from resilio import Hedge, Hedged, LatencyQuantile, RetryBudget, subscribe
from resilio._core import clock
from resilio._core.pauses import Haste, haste

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Asked:
    """An async function whose calls each take so many seconds and end in their own way.

    Args:
        answers: Seconds, and what is then returned, or raised if it is an error; one pair for each call.

    Attributes:
        started: When each call began, in seconds from the first one.
        ended: How each ended, by its number, in that order: ``answered`` or ``cancelled``.
    """

    def __init__(self, *answers: tuple[float, object]) -> None:
        self._answers = answers
        self._instants: list[float] = []
        self.ended: list[tuple[int, str]] = []

    @property
    def started(self) -> list[float]:
        return [round(instant - self._instants[0], 6) for instant in self._instants]

    async def __call__(self) -> Any:
        number = len(self._instants)
        self._instants.append(clock.monotonic())
        how = "cancelled"
        try:
            seconds, answer = self._answers[number]
            await clock.sleep(seconds)
            how = "answered"
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()  # cleaning up takes a while
            self.ended.append((number, how))
        if isinstance(answer, BaseException):
            raise answer
        return answer


# -- every form --------------------------------------------------------------------------------------------------------

every_single_call = pytest.mark.parametrize(
    "way", [way for way in every_call.args[1] if way.form not in {"async generator", "generator"}], ids=str
)


@every_single_call
def test_a_quick_answer_comes_through(way: Way) -> None:
    """After one call."""
    fn = Flaky("meow")
    assert way.call(way.names.Hedge(60), fn) == "meow"
    assert fn.calls == 1


@every_single_call
def test_a_quick_failure_is_not_hedged(way: Way) -> None:
    """Trying again is the retry's business; the error comes through as it is."""
    error = ConnectionError("down")
    fn = Flaky(error, "meow")
    with pytest.raises(ConnectionError) as caught:
        way.call(way.names.Hedge(60), fn)
    assert caught.value is error
    assert fn.calls == 1


# -- asking again ------------------------------------------------------------------------------------------------------


async def test_a_late_answer_is_asked_for_again(virtual_clock: VirtualClock) -> None:
    """After the delay, not before it; the first answer counts, and the late call is cancelled."""
    ask = Asked((10, "late"), (1, "soon"))
    assert await Hedge(2).execute(ask) == "soon"
    assert ask.started == [0, 2]
    assert virtual_clock.elapsed == 3
    assert ask.ended == [(1, "answered"), (0, "cancelled")]


async def test_the_first_call_may_win_all_the_same(virtual_clock: VirtualClock) -> None:
    """The second one is cancelled then."""
    ask = Asked((3, "first"), (10, "second"))
    assert await Hedge(2).execute(ask) == "first"
    assert ask.ended == [(0, "answered"), (1, "cancelled")]
    assert virtual_clock.elapsed == 3


async def test_an_answer_in_time_is_not_asked_for_again(virtual_clock: VirtualClock) -> None:
    """One call."""
    ask = Asked((1.9, "meow"))
    assert await Hedge(2).execute(ask) == "meow"
    assert ask.started == [0]


async def test_hedges_follow_each_other(virtual_clock: VirtualClock) -> None:
    """Each after a delay of its own, up to `max_hedges`."""
    ask = Asked((100, 0), (100, 1), (100, 2), (1, 3))
    assert await Hedge(2, max_hedges=3).execute(ask) == 3
    assert ask.started == [0, 2, 4, 6]
    ask = Asked((100, 0), (10, 1))
    assert await Hedge(2, max_hedges=1).execute(ask) == 1
    assert ask.started == [0, 2]


async def test_one_event_tells_of_each_hedge(virtual_clock: VirtualClock) -> None:
    """What is called, how many calls are under way now, after how long."""
    told: list[Hedged] = []

    @Hedge(2, max_hedges=2)
    async def lookup() -> None:
        await clock.sleep(5)

    with subscribe(told.append, Hedged):
        await lookup()
    assert [(each.operation.rpartition(".")[2], each.calls, each.delay) for each in told] == [
        ("lookup", 2, 2.0),
        ("lookup", 3, 2.0),
    ]


async def test_a_lambda_is_hedged(virtual_clock: VirtualClock) -> None:
    """What a plain function gives back to be awaited, too."""
    ask = Asked((10, "late"), (1, "soon"))
    assert await Hedge(2)(lambda: ask())() == "soon"  # noqa: PLW0108 -- a lambda is the point


# -- how long to wait --------------------------------------------------------------------------------------------------


async def test_a_function_says_when(virtual_clock: VirtualClock) -> None:
    """Asked anew before each hedge; None means that there is none."""
    delays: list[float | None] = [1, 5, None]
    ask = Asked((100, 0), (100, 1), (3, 2))
    assert await Hedge(lambda: delays.pop(0), max_hedges=9).execute(ask) == 2
    assert ask.started == [0, 1, 6]
    ask = Asked((100, "only"))
    assert await Hedge(lambda: None).execute(ask) == "only"
    assert ask.started == [0]


@pytest.mark.parametrize("garbage", [-1, float("nan"), float("inf"), "soon", True, ZeroDivisionError()], ids=repr)
async def test_a_function_that_fails_hedges_nothing(
    garbage: Any, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on, and the log says what was wrong."""

    def delay() -> Any:
        if isinstance(garbage, BaseException):
            raise garbage
        return garbage

    ask = Asked((100, "only"))
    assert await Hedge(delay).execute(ask) == "only"
    assert ask.started == [0]
    assert "the delay of a hedge failed" in caplog.text


async def test_nothing_is_hedged_before_the_quantile_is_known(virtual_clock: VirtualClock) -> None:
    """During the warm-up calls are only watched; then the learnt delay counts."""
    hedge = Hedge(LatencyQuantile(0.5, warm_up=3))
    for seconds in (1, 2, 3):
        ask = Asked((seconds, "meow"))
        await hedge.execute(ask)
        assert ask.started == [0]
    ask = Asked((100, "late"), (1, "soon"))
    assert await hedge.execute(ask) == "soon"
    assert ask.started == [0, 2]


async def test_failures_teach_nothing(virtual_clock: VirtualClock) -> None:
    """A failure may come quickly; it says nothing about how long an answer takes."""
    delay = LatencyQuantile(0.5, warm_up=1)
    hedge = Hedge(delay)
    with pytest.raises(ConnectionError):
        await hedge.execute(Asked((1, ConnectionError())))
    assert delay() is None
    await hedge.execute(Asked((4, "meow")))
    with pytest.raises(ConnectionError):
        await hedge.execute(Asked((1, ConnectionError())))
    assert delay() == pytest.approx(4)


async def test_a_hedged_answer_teaches_how_long_its_caller_waited(virtual_clock: VirtualClock) -> None:
    """Not how long the quick second call took: the slow ones would vanish from sight, and ever more be hedged."""
    delay = LatencyQuantile(0.5, warm_up=1, calls=2)
    hedge = Hedge(delay)
    await hedge.execute(Asked((4, "meow")))
    await hedge.execute(Asked((100, "late"), (1, "soon")))
    assert sorted(delay._sorted) == pytest.approx([4, 5])


async def test_in_haste_the_hedge_follows_at_once(virtual_clock: VirtualClock) -> None:
    """Where waiting is switched off; but where nothing is to be hedged, nothing is."""
    token = haste.set(Haste())
    ask = Asked((10, "late"), (1, "soon"))
    assert await Hedge(5).execute(ask) == "soon"
    assert ask.started == [0, 0]
    ask = Asked((10, "only"))
    assert await Hedge(LatencyQuantile(0.5)).execute(ask) == "only"
    haste.reset(token)


# -- the budget --------------------------------------------------------------------------------------------------------


async def test_a_budget_limits_the_hedges(virtual_clock: VirtualClock) -> None:
    """Each call pays in, each hedge takes out; without means the first call is waited for."""
    hedge = Hedge(1, max_hedges=5, budget=RetryBudget(percent=0.5, min_per_second=0, ttl=1000))
    for hedges in (0, 1, 0, 1):
        ask = Asked(*[(10, "meow")] * 6)
        await hedge.execute(ask)
        assert len(ask.started) == 1 + hedges


# -- what becomes of the others ----------------------------------------------------------------------------------------


async def test_losers_have_cleaned_up_before_the_answer_is_given(virtual_clock: VirtualClock) -> None:
    """They are cancelled and awaited: no task runs on behind the caller's back."""
    before = len(anyio.get_running_tasks())
    ask = Asked((100, 0), (100, 1), (1, 2))
    assert await Hedge(1, max_hedges=2).execute(ask) == 2
    assert sorted(ask.ended) == [(0, "cancelled"), (1, "cancelled"), (2, "answered")]
    assert len(anyio.get_running_tasks()) == before


class Response:
    """A result that holds something until it is closed, which takes a while."""

    def __init__(self, seconds: float = 1) -> None:
        self.closed = 0
        self._seconds = seconds

    async def aclose(self) -> None:
        """Let go."""
        await clock.sleep(self._seconds)
        self.closed += 1


async def unstoppable(seconds: float, result: object) -> object:
    """A call that does not hear of its cancellation and answers all the same."""
    with anyio.CancelScope(shield=True):
        await clock.sleep(seconds)
    return result


async def late_and_soon(late: object, soon: object = "soon") -> Any:
    """The answer of a hedge whose first call cannot be stopped, and comes in second with ``late``."""
    calls = [unstoppable(5, late), unstoppable(1, soon)]
    return await Hedge(1).execute(lambda: calls.pop(0))


async def test_a_late_result_is_closed(virtual_clock: VirtualClock) -> None:
    """With all the time that closing takes, although its call was cancelled; the winner is left alone."""
    late, soon = Response(), Response()
    assert await late_and_soon(late, soon) is soon
    assert (late.closed, soon.closed) == (1, 0)


async def test_a_closing_that_hangs_holds_nobody_up_for_ever(virtual_clock: VirtualClock) -> None:
    """After five seconds the answer is given."""
    late = Response(seconds=3600)
    assert await late_and_soon(late) == "soon"
    assert (late.closed, virtual_clock.elapsed) == (0, 10)


async def test_a_closing_that_fails_changes_nothing(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The winner's answer is given, and the log tells of the other one."""

    class Broken(Response):
        async def aclose(self) -> None:
            raise OSError("already gone")

    with caplog.at_level(logging.ERROR, logger="resilio"):
        assert await late_and_soon(Broken()) == "soon"
    assert "already gone" in caplog.text


async def test_a_late_error_is_dropped(virtual_clock: VirtualClock) -> None:
    """The race is decided."""

    async def fail_late() -> None:
        await unstoppable(5, None)
        raise ConnectionError

    calls: list[Callable[[], Any]] = [fail_late, lambda: unstoppable(1, "soon")]
    assert await Hedge(1).execute(lambda: (calls.pop(0))()) == "soon"  # noqa: PLW0108 -- one after the other


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(5, 1), (3, 5)], ids=["it fails last", "it fails first"])
async def test_when_all_fail_the_first_calls_error_is_raised(
    first: float, second: float, virtual_clock: VirtualClock
) -> None:
    """Whichever failed last; itself, not a group."""
    error = ConnectionError("the first")
    ask = Asked((first, error), (second, ConnectionError("the second")))
    with pytest.raises(ConnectionError) as caught:
        await Hedge(2).execute(ask)
    assert caught.value is error
    assert len(ask.ended) == 2


@pytest.mark.parametrize("failing", [0, 1])
async def test_one_success_is_enough(failing: int, virtual_clock: VirtualClock) -> None:
    """A call that fails while another one is under way decides nothing."""
    answers: list[tuple[float, object]] = [(5, "meow"), (5, "meow")]
    answers[failing] = (3, ConnectionError())
    assert await Hedge(2).execute(Asked(*answers)) == "meow"


async def test_a_failure_just_as_the_hedge_starts_is_not_the_end(virtual_clock: VirtualClock) -> None:
    """Once it has been decided to ask again, the answer is waited for."""
    ask = Asked((2, ConnectionError()), (1, "meow"))
    for _ in range(20):  # which of the two comes first in that moment is the event loop's business
        try:
            assert await Hedge(2).execute(ask) == "meow"
        except ConnectionError:
            assert len(ask.started) == 1
        ask = Asked((2, ConnectionError()), (1, "meow"))


class OddEnd(BaseException):
    """No `Exception`, and no cancellation either."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, OddEnd])
@pytest.mark.parametrize("place", [0, 1])
async def test_what_is_no_exception_ends_all_as_it_is(
    kind: type[BaseException], place: int, virtual_clock: VirtualClock
) -> None:
    """In no group, with its own cause, and the other call is cancelled."""
    ending, cause = kind("over"), ValueError("why")
    ending.__cause__ = cause
    answers: list[tuple[float, object]] = [(100, "never"), (100, "never")]
    answers[place] = (5, ending)
    ask = Asked(*answers)
    with pytest.raises(kind) as caught:
        await Hedge(2).execute(ask)
    assert caught.value is ending
    assert caught.value.__cause__ is cause
    assert sorted(how for _, how in ask.ended) == ["answered", "cancelled"]


def test_a_cancellation_inside_the_call_is_passed_on() -> None:
    """A call that awaits a task which somebody cancelled is cancelled, and so is its caller; nobody hangs."""

    async def main() -> None:
        async def forever() -> None:
            await anyio.sleep_forever()

        async def ask() -> None:
            task = asyncio.get_running_loop().create_task(forever())
            await anyio.lowlevel.checkpoint()
            task.cancel()
            await task

        with pytest.raises(asyncio.CancelledError):
            await Hedge(60).execute(ask)

    asyncio.run(asyncio.wait_for(main(), 10))


async def test_an_error_is_held_by_no_cycle(virtual_clock: VirtualClock) -> None:
    """It goes as soon as its last holder does; the collector has nothing to do with it."""
    gone: list[weakref.ref[Any]] = []

    class DownError(Exception):
        def __init__(self) -> None:
            super().__init__()
            gone.append(weakref.ref(self))

    async def fail() -> None:
        await clock.sleep(3)
        raise DownError

    gc.disable()
    try:
        with suppress(DownError):
            await Hedge(2).execute(fail)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


# -- cancellation from outside -----------------------------------------------------------------------------------------


async def test_cancellation_from_outside_cancels_all_calls(virtual_clock: VirtualClock) -> None:
    """And they have cleaned up before it goes on."""
    ask = Asked((100, 0), (100, 1), (100, 2))
    with anyio.move_on_after(10) as scope:
        await Hedge(2, max_hedges=2).execute(ask)
    assert scope.cancelled_caught
    assert sorted(ask.ended) == [(0, "cancelled"), (1, "cancelled"), (2, "cancelled")]
    assert virtual_clock.elapsed == 10


async def test_cancellation_from_outside_before_the_first_hedge(virtual_clock: VirtualClock) -> None:
    """No other call is made."""
    ask = Asked((100, 0))
    with anyio.move_on_after(1) as scope:
        await Hedge(2).execute(ask)
    assert scope.cancelled_caught
    assert ask.ended == [(0, "cancelled")]


async def test_an_answer_that_meets_a_cancellation_is_given_or_closed(virtual_clock: VirtualClock) -> None:
    """Never lost in between."""
    result = Response()
    received: list[object] = []

    async def ask() -> Response:
        await clock.sleep(1)
        scope.cancel()
        return result

    with anyio.CancelScope() as scope:
        received.append(await Hedge(5).execute(ask))
    assert len(received) + result.closed == 1


# -- shapes ------------------------------------------------------------------------------------------------------------


async def test_calls_of_a_race_have_their_own_context(virtual_clock: VirtualClock) -> None:
    """They see the caller's variables, and change only their own."""
    variable = ContextVar("variable", default="nobody's")
    seen: list[str] = []

    async def ask() -> None:
        seen.append(variable.get())
        variable.set("a call's")
        await clock.sleep(3)

    variable.set("the caller's")
    await Hedge(1).execute(ask)
    assert seen == ["the caller's", "the caller's"]
    assert variable.get() == "the caller's"


def test_generators_are_refused_when_they_are_decorated() -> None:
    """A generator belongs to the task that iterates it: it cannot be raced, and is not let through unguarded."""

    async def stream() -> AsyncGenerator[int]:
        yield 1

    def items() -> Generator[int]:
        yield 1

    for kind_of in (Hedge, resilio.sync.Hedge):
        for generator in (stream, items):
            with pytest.raises(TypeError, match=f"Hedge cannot guard .*{generator.__name__}"):
                kind_of(1)(generator)


async def test_what_has_not_run_yet_is_refused() -> None:
    """A function that returns a generator."""
    with pytest.raises(TypeError, match="unguarded"):
        await Hedge(1).execute(lambda: (number for number in range(3)))


async def test_a_block_cannot_be_hedged() -> None:
    """There is nothing to call a second time."""
    with pytest.raises(TypeError, match="Hedge has no block form"):
        async with Hedge(1):
            pytest.fail("the block was entered")
