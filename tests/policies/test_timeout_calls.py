"""No call takes longer than it is given."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_call

import resilio
import resilio.sync
from resilio import IntegrationError, OperationTimeoutError, TimedOut, Timeout, is_transient, subscribe
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


# -- in every way ------------------------------------------------------------------------------------------------------


@every_call
def test_a_call_in_time_returns_its_result(way: Way, virtual_clock: VirtualClock) -> None:
    """The object itself."""
    result = object()
    assert way.call(way.names.Timeout(5), Flaky(result)) is result


@every_call
def test_a_call_that_fails_in_time_raises_its_error(way: Way, virtual_clock: VirtualClock) -> None:
    """The object itself, with nothing of ours."""
    error = LookupError("no")
    with pytest.raises(LookupError) as caught:
        way.call(way.names.Timeout(5), Flaky(error))
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@every_call
@pytest.mark.parametrize("kind", [TimeoutError, KeyboardInterrupt, SystemExit])
def test_other_endings_of_the_call_pass_as_they_are(way: Way, kind: type[BaseException]) -> None:
    """A TimeoutError that the function raises by itself is its own."""
    error = kind("mine")
    with pytest.raises(kind) as caught:
        way.call(way.names.Timeout(5), Flaky(error))
    assert caught.value is error


# -- on an event loop --------------------------------------------------------------------------------------------------


async def forever() -> None:
    """Take an hour."""
    await anyio.sleep(3600)


async def decorated(policy: Timeout) -> None:
    """A decorated function."""
    await policy(forever)()


async def executed(policy: Timeout) -> None:
    """A single call."""
    await policy.execute(forever)


async def wrapped(policy: Timeout) -> None:
    """A lambda that returns a coroutine."""
    await policy(lambda: forever())()  # noqa: PLW0108 -- the shape is the point


async def blocked(policy: Timeout) -> None:
    """A block."""
    async with policy:
        await forever()


async def method(policy: Timeout) -> None:
    """A decorated method."""

    class Service:
        @policy
        async def slow(self) -> None:
            await forever()

    await Service().slow()


forms = pytest.mark.parametrize("form", [decorated, executed, wrapped, blocked, method], ids=lambda form: form.__name__)


@forms
async def test_a_call_that_takes_too_long_is_ended(
    form: Callable[[Timeout], Awaitable[None]], virtual_clock: VirtualClock
) -> None:
    """On time, and with our error."""
    with pytest.raises(OperationTimeoutError):
        await form(Timeout(5))
    assert virtual_clock.elapsed == 5


async def test_a_timeout_fires_on_every_event_loop() -> None:
    """asyncio, eager tasks, uvloop, trio."""
    with pytest.raises(OperationTimeoutError):
        await Timeout(0.001).execute(forever)


async def test_the_call_is_cancelled_and_may_clean_up(virtual_clock: VirtualClock) -> None:
    """Its cleaning up is waited for."""
    seen: list[object] = []

    async def slow() -> None:
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            seen.append(virtual_clock.elapsed)

    with pytest.raises(OperationTimeoutError):
        await Timeout(5).execute(slow)
    assert seen == [7]


async def test_the_error_says_what_took_how_long(virtual_clock: VirtualClock) -> None:
    """In words, as attributes, and in both families of errors."""
    with pytest.raises(OperationTimeoutError) as caught:
        await Timeout(2.5)(forever)()
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert isinstance(error, IntegrationError)
    assert (error.seconds, error.operation) == (2.5, f"{__name__}.forever")
    assert str(error) == f"{__name__}.forever took longer than 2.5 s"
    assert is_transient(error)


async def test_the_event_says_the_same(virtual_clock: VirtualClock) -> None:
    """Once."""
    told: list[tuple[str, float]] = []
    with subscribe(lambda event: told.append((event.operation, event.seconds)), TimedOut):
        with pytest.raises(OperationTimeoutError):
            await Timeout(2.5).execute(forever)
        await Timeout(2.5).execute(Flaky("in time"))
    assert told == [(f"{__name__}.forever", 2.5)]


async def test_the_clock_starts_with_the_call(virtual_clock: VirtualClock) -> None:
    """Not with the policy, the decoration, nor the making of the coroutine."""
    guarded = Timeout(5)(anyio.sleep)
    await anyio.sleep(60)
    coroutine = guarded(4)
    await anyio.sleep(60)
    await coroutine
    assert virtual_clock.elapsed == 124


async def test_each_call_has_its_own_time(virtual_clock: VirtualClock) -> None:
    """One policy, calls that overlap."""
    policy = Timeout(5)
    ended: list[tuple[float, str]] = []

    async def call(start: float, length: float) -> None:
        await anyio.sleep(start)
        try:
            await policy.execute(anyio.sleep, length)
            ended.append((virtual_clock.elapsed, "ok"))
        except OperationTimeoutError:
            ended.append((virtual_clock.elapsed, "late"))

    async with anyio.create_task_group() as group:
        for start, length in ((0, 9), (1, 2), (2, 9), (3, 4.5)):
            group.start_soon(call, start, length)
    assert sorted(ended) == [(3, "ok"), (5, "late"), (7, "late"), (7.5, "ok")]


async def test_overlapping_blocks_have_their_own_time(virtual_clock: VirtualClock) -> None:
    """`async with` over one policy in several tasks."""
    policy = Timeout(5)
    ended: list[float] = []

    async def block(start: float) -> None:
        await anyio.sleep(start)
        with pytest.raises(OperationTimeoutError):
            async with policy:
                await forever()
        ended.append(virtual_clock.elapsed)

    async with anyio.create_task_group() as group:
        for start in (0, 1, 2):
            group.start_soon(block, start)
    assert ended == [5, 6, 7]


async def test_a_policy_nests_in_itself(virtual_clock: VirtualClock) -> None:
    """Two blocks of one policy in one task, the second entered later: the outer one's time is over first."""
    policy = Timeout(5)
    reached: list[float] = []

    async def work() -> None:
        async with policy:
            await anyio.sleep(2)
            try:
                async with policy:
                    await forever()
            finally:
                reached.append(virtual_clock.elapsed)

    with pytest.raises(OperationTimeoutError):
        await work()
    assert reached == [5]


async def test_a_block_in_time_leaves_nothing_behind(virtual_clock: VirtualClock) -> None:
    """What comes after it is not cut."""
    async with Timeout(5) as policy:
        await anyio.sleep(4)
    assert isinstance(policy, Timeout)
    await anyio.sleep(60)
    assert virtual_clock.elapsed == 64


async def test_an_error_of_a_block_passes(virtual_clock: VirtualClock) -> None:
    """As it is."""
    error = LookupError()
    with pytest.raises(LookupError) as caught:
        async with Timeout(5):
            raise error
    assert caught.value is error


async def test_a_block_is_called_a_block(virtual_clock: VirtualClock) -> None:
    """It has no name."""
    with pytest.raises(OperationTimeoutError, match=r"^block took longer than 5 s$"):
        async with Timeout(5):
            await forever()


async def test_a_plain_function_on_the_event_loop_cannot_be_ended(virtual_clock: VirtualClock) -> None:
    """It runs on the loop's thread; its result is in, and is returned."""

    def slow() -> str:
        virtual_clock.advance(60)
        return "late, but here"

    assert await Timeout(5).execute(slow) == "late, but here"


async def test_a_very_long_time_is_as_good_as_none(virtual_clock: VirtualClock) -> None:
    """No overflow."""
    assert await Timeout(timedelta.max).execute(Flaky("meow")) == "meow"
    assert await Timeout(1e300).execute(Flaky("meow")) == "meow"


def test_a_very_long_time_is_as_good_as_none_in_blocking_code() -> None:
    """No overflow."""
    assert resilio.sync.Timeout(timedelta.max).execute(Flaky("meow")) == "meow"
    assert resilio.sync.Timeout(1e300).execute(Flaky("meow")) == "meow"


# -- parameters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [resilio.Timeout, resilio.sync.Timeout])
@pytest.mark.parametrize("value", [0, -1, -0.0, math.nan, math.inf, timedelta(0), timedelta(seconds=-1)])
def test_a_time_out_of_range_is_refused(build: Any, value: object) -> None:
    """When the policy is built."""
    with pytest.raises(ValueError, match="seconds must be seconds or a timedelta, above 0, not"):
        build(value)


@pytest.mark.parametrize("build", [resilio.Timeout, resilio.sync.Timeout])
@pytest.mark.parametrize("value", ["5", None, True, [5], 5j])
def test_a_time_of_the_wrong_type_is_refused(build: Any, value: object) -> None:
    """With its value."""
    with pytest.raises(TypeError, match="seconds must be seconds or a timedelta, above 0, not") as refused:
        build(value)
    assert repr(value) in str(refused.value)


def test_a_timedelta_becomes_seconds() -> None:
    """In the description as well."""
    assert Timeout(timedelta(minutes=1)).seconds == 60
    assert Timeout(timedelta(minutes=1)).describe() == Timeout(60).describe() == resilio.sync.Timeout(60).describe()
    assert Timeout(1).describe() != Timeout(2).describe()
    assert (repr(Timeout(2.5)), str(Timeout(2.5).describe())) == ("<Timeout seconds=2.5>", "Timeout(seconds=2.5)")


async def test_time_is_measured_by_the_event_loop(virtual_clock: VirtualClock) -> None:
    """Which is on the virtual clock in tests."""
    started = clock.monotonic()
    with pytest.raises(OperationTimeoutError):
        await Timeout(1234).execute(forever)
    assert clock.monotonic() - started == pytest.approx(1234)
