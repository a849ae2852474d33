"""A stream that breaks off is told of, and with ``resume`` goes on by a function of the user's."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import resilio.sync
from resilio import (
    BackoffStrategy,
    CircuitBreaker,
    InterruptedStream,
    Pipeline,
    RetryBudget,
    RetryExhaustedError,
    RetryScheduled,
    RetrySucceeded,
    StreamInterrupted,
    with_backoff,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from resilio import Policy
    from resilio.testing import EventRecorder, VirtualClock

pytestmark = pytest.mark.anyio

BUILDS: Any = [BackoffStrategy, resilio.sync.BackoffStrategy]


class Story:
    """Ten words; each start breaks off behind so many more of them.

    Attributes:
        asked: What was asked for: where to begin, each time.
        open_now: How many of its streams are open.
    """

    def __init__(self, *breaks_behind: int, error: type[Exception] = ConnectionError) -> None:
        self._breaks_behind = list(breaks_behind)
        self._error = error
        self.asked: list[int] = []
        self.open_now = 0

    def words(self, begin: int = 0, *, length: int = 10) -> Generator[int, Any, str]:
        """A plain generator."""
        self.asked.append(begin)
        assert self.open_now == 0, "the one before has not been closed"
        self.open_now += 1
        left = self._breaks_behind.pop(0) if self._breaks_behind else 99
        try:
            for word in range(begin, length):
                if word - begin == left:
                    msg = f"lost at {word}"
                    raise self._error(msg)
                yield word
            return "the end"
        finally:
            self.open_now -= 1

    async def stream(self, begin: int = 0, *, length: int = 10) -> AsyncGenerator[int]:
        """An async generator."""
        source = self.words(begin, length=length)
        try:
            for word in source:
                await anyio.lowlevel.checkpoint()
                yield word
        finally:
            source.close()

    def go_on(self, broken: InterruptedStream) -> AsyncGenerator[int]:
        """Begin behind what has come."""
        return self.stream(len(broken.items), **broken.kwargs)

    def go_on_blocking(self, broken: InterruptedStream) -> Generator[int, Any, str]:
        """The same for a plain generator."""
        return self.words(len(broken.items), **broken.kwargs)


async def read(stream: AsyncGenerator[Any]) -> list[Any]:
    """All that comes out."""
    async with aclosing(stream) as opened:
        return [item async for item in opened]


async def test_a_stream_goes_on_where_it_broke_off() -> None:
    """Its consumer sees each item once, and one stream is open at a time."""
    story = Story(3, 2, 0)
    strategy = BackoffStrategy(base_delay=0, max_retries=3, resume=story.go_on)
    assert await read(strategy(story.stream)()) == list(range(10))
    assert (story.asked, story.open_now) == ([0, 3, 5, 5], 0)


@pytest.mark.parametrize("build", BUILDS, ids=["async", "blocking"])
def test_a_generator_goes_on_where_it_broke_off(build: Callable[..., Policy]) -> None:
    """With its return value, under a strategy of either colour."""
    story = Story(3, 2)
    ends: list[str] = []

    def reading() -> Generator[int]:
        ends.append((yield from guarded()))

    guarded = build(base_delay=0, max_retries=3, resume=story.go_on_blocking)(story.words)
    assert list(reading()) == list(range(10))
    assert ends == ["the end"]
    assert (story.asked, story.open_now) == ([0, 3, 5], 0)


async def test_before_its_first_item_a_stream_is_begun_anew() -> None:
    """There is nothing to go on from; the function is not asked."""
    story = Story(0, 0, 4)
    strategy = BackoffStrategy(base_delay=0, max_retries=3, resume=story.go_on)
    assert await read(strategy(story.stream)()) == list(range(10))
    assert story.asked == [0, 0, 0, 4]


async def test_the_function_is_told_all_about_it() -> None:
    """Items of all parts, the error, how many attempts there were, and what was asked for."""
    told: list[InterruptedStream] = []
    story = Story(3, 2)

    def go_on(broken: InterruptedStream) -> AsyncGenerator[int]:
        told.append(broken)
        return story.go_on(broken)

    strategy = BackoffStrategy(base_delay=0, max_retries=3, resume=go_on)
    await read(strategy(story.stream)(0, length=8))
    assert [each.items for each in told] == [(0, 1, 2), (0, 1, 2, 3, 4)]
    assert [each.attempt for each in told] == [1, 2]
    assert [str(each.error) for each in told] == ["lost at 3", "lost at 5"]
    assert all(each.args == (0,) and each.kwargs == {"length": 8} for each in told)


async def test_the_strategys_limits_are_those_of_all_parts(virtual_clock: VirtualClock) -> None:
    """Waits, the number of retries and the budget are as for any call."""
    story = Story(3, 3, 3)
    strategy = BackoffStrategy(base_delay=1, jitter=None, max_retries=2, resume=story.go_on)
    got: list[int] = []

    async def follow() -> None:
        async with aclosing(strategy(story.stream)()) as stream:
            async for item in stream:
                got.append(item)  # noqa: PERF401 -- it breaks off

    with pytest.raises(RetryExhaustedError) as caught:
        await follow()
    assert (got, caught.value.attempts) == (list(range(9)), 3)
    assert virtual_clock.elapsed == pytest.approx(3)

    story, budget = Story(3), RetryBudget(percent=0, min_per_second=0)
    frugal = BackoffStrategy(base_delay=0, budget=budget, resume=story.go_on)
    with pytest.raises(RetryExhaustedError):
        await read(frugal(story.stream)())
    assert story.asked == [0]


async def test_none_lets_the_error_pass() -> None:
    """The function may know that there is nothing left to come."""
    story = Story(3)
    strategy = BackoffStrategy(base_delay=0, resume=lambda _: None)
    with pytest.raises(ConnectionError, match="lost at 3"):
        await read(strategy(story.stream)())
    assert (story.asked, story.open_now) == ([0], 0)


async def test_errors_that_stay_are_not_resumed() -> None:
    """What is no passing trouble is raised as it is."""
    story = Story(3, error=ValueError)
    strategy = BackoffStrategy(base_delay=0, resume=story.go_on)
    with pytest.raises(ValueError, match="lost at 3"):
        await read(strategy(story.stream)())
    assert story.asked == [0]


async def test_an_error_of_the_consumer_is_its_own() -> None:
    """Thrown into the stream, it is not taken for a failure of it."""
    story = Story()
    strategy = BackoffStrategy(base_delay=0, resume=story.go_on)
    async with aclosing(strategy(story.stream)()) as stream:
        assert await anext(stream) == 0
        with pytest.raises(ConnectionError, match="mine"):
            await stream.athrow(ConnectionError("mine"))
    assert (story.asked, story.open_now) == ([0], 0)


async def test_cancellation_is_not_resumed() -> None:
    """It passes, and the stream is closed."""
    story = Story()

    async def slowly() -> AsyncGenerator[int]:
        async with aclosing(story.stream()) as words:
            async for word in words:
                yield word
                await anyio.sleep_forever()

    strategy = BackoffStrategy(base_delay=0, retry_exceptions=Exception, resume=lambda _: slowly())
    with anyio.move_on_after(0.02) as scope:
        await read(strategy(slowly)())
    assert scope.cancelled_caught
    assert (story.asked, story.open_now) == ([0], 0)


async def test_it_is_told_of(resilio_events: EventRecorder) -> None:
    """Each break with the number of items so far; then what the retry made of it."""
    story = Story(3, 2)
    await read(BackoffStrategy(base_delay=0, resume=story.go_on)(story.stream)())
    kinds = [StreamInterrupted, RetryScheduled, StreamInterrupted, RetryScheduled, RetrySucceeded]
    assert [type(each) for each in resilio_events] == kinds
    assert [(each.items, each.error) for each in resilio_events.of(StreamInterrupted)] == [
        (3, "ConnectionError: lost at 3"),
        (5, "ConnectionError: lost at 5"),
    ]
    assert resilio_events.of(StreamInterrupted)[0].operation.endswith("Story.stream")


@pytest.mark.parametrize("build", BUILDS, ids=["async", "blocking"])
async def test_a_stream_that_is_not_resumed_is_told_of_as_well(
    resilio_events: EventRecorder, build: Callable[..., Policy]
) -> None:
    """The error reaches the consumer, and nothing is begun anew."""
    story, blocking = Story(3), Story(4)
    with pytest.raises(ConnectionError):
        await read(build(base_delay=0)(story.stream)())
    with pytest.raises(ConnectionError):
        list(build(base_delay=0)(blocking.words)())
    assert [each.items for each in resilio_events.of(StreamInterrupted)] == [3, 4]
    assert (story.asked, blocking.asked) == ([0], [0])
    assert len(resilio_events) == 2


async def test_what_is_watched_stays_a_generator(resilio_events: EventRecorder) -> None:
    """What is sent or thrown in reaches it, its value comes out, and a consumer's error is not told of."""

    def echo() -> Generator[Any, Any, str]:
        sent = yield "begin"
        try:
            sent = yield sent
        except KeyError:
            yield "caught"
        return "value"

    async def echo_async() -> AsyncGenerator[Any, Any]:
        sent = yield "begin"
        try:
            sent = yield sent
        except KeyError:
            yield "caught"

    plain = with_backoff(base_delay=0)(echo)()
    assert [next(plain), plain.send("a"), plain.throw(KeyError())] == ["begin", "a", "caught"]
    with pytest.raises(StopIteration) as end:
        next(plain)
    assert end.value.value == "value"
    stream = with_backoff(base_delay=0)(echo_async)()
    assert [await anext(stream), await stream.asend("a"), await stream.athrow(KeyError())] == ["begin", "a", "caught"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    early = with_backoff(base_delay=0)(echo_async)()
    await anext(early)
    with pytest.raises(LookupError):
        await early.athrow(LookupError())
    assert not resilio_events.of(StreamInterrupted)


async def test_inside_of_a_pipeline_each_part_is_an_attempt() -> None:
    """The policies inside of the retry guard the resumed parts as well, and the retry is not nested."""
    story = Story(3, 2, 1)
    breaker = CircuitBreaker(failure_threshold=5)

    def go_on(broken: InterruptedStream) -> AsyncGenerator[int]:
        rest: AsyncGenerator[int] = broken.again(len(broken.items))
        return rest

    guarded = Pipeline(BackoffStrategy(base_delay=0, max_retries=3, resume=go_on), breaker)(story.stream)
    assert await read(guarded()) == list(range(10))
    assert story.asked == [0, 3, 5, 6]
    assert breaker.snapshot().failed == 3


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"resume": "again"}, TypeError, "resume must be a function"),
        ({"resume": print, "retry_started_streams": True}, ValueError, "either resume or retry_started_streams"),
    ],
    ids=["no-function", "both"],
)
async def test_bad_settings_are_refused(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    """When the strategy is made."""
    for build in BUILDS:
        with pytest.raises(kind, match=message):
            build(**settings)


async def test_a_function_that_gives_something_else_is_a_mistake_that_is_told() -> None:
    """The consumer learns what is wrong with it."""
    story = Story(3)
    wrong: Any = lambda _: [4, 5]  # noqa: E731 -- a list is no generator
    with pytest.raises(TypeError, match="must return a generator of the kind that it resumes"):
        await read(BackoffStrategy(base_delay=0, resume=wrong)(story.stream)())


async def test_settings_show_it() -> None:
    """Two strategies that differ in it are not the same."""
    story = Story()
    with_it = BackoffStrategy(resume=story.go_on)
    assert "resume" in str(with_it.describe())
    assert with_it.describe() != BackoffStrategy().describe()
