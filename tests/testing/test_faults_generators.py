"""Fault injection into generators, plain and async."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from resilio._core import clock
from resilio.testing.faults import FaultInjector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from resilio.testing.faults import FaultRule
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

started: list[str] = []
closed: list[str] = []


def count(stop: int) -> Generator[int, str | None, str]:
    """Count up; tell in the end what was sent."""
    heard = []
    started.append("plain")
    try:
        for number in range(stop):
            try:
                heard.append((yield number) or "-")
            except KeyError:
                heard.append("K")
    finally:
        closed.append("plain")
    return "".join(heard)


async def acount(stop: int) -> AsyncGenerator[int, None]:
    """Count up, asynchronously."""
    started.append("async")
    try:
        for number in range(stop):
            await clock.sleep(0)
            try:
                yield number
            except KeyError:
                yield -1
    finally:
        closed.append("async")


@pytest.fixture
def faults() -> Iterator[FaultInjector]:
    """An injector of its own for each test, checked at the end."""
    started.clear()
    closed.clear()
    with FaultInjector(seed=7) as injector:
        yield injector


async def collected(make: Callable[[int], AsyncGenerator[int, None]], stop: int) -> list[object]:
    """The items, and the class of the error at the end if there is one."""
    items: list[object] = []
    try:
        async for item in make(stop):
            items.append(item)  # noqa: PERF401 -- the items before the error count
    except Exception as error:
        items.append(type(error))
    return items


def gathered(make: Callable[[int], Generator[int, str | None, str]], stop: int) -> list[object]:
    """The same for a plain generator."""
    items: list[object] = []
    generator = make(stop)
    try:
        while True:
            items.append(next(generator))
    except StopIteration:
        return items
    except Exception as error:
        return [*items, type(error)]


CASES = [
    pytest.param(lambda rule: rule.raises(OSError), [OSError], id="raises"),
    pytest.param(lambda rule: rule.raises(OSError, after_items=2), [0, 1, OSError], id="raises after two"),
    pytest.param(lambda rule: rule.raises(OSError, after_items=4), [0, 1, 2, 3, OSError], id="raises at the end"),
    pytest.param(lambda rule: rule.raises(OSError, after_items=5), [0, 1, 2, 3], id="raises too late"),
    pytest.param(lambda rule: rule.truncates(3), [0, 1, 2], id="truncates"),
    pytest.param(lambda rule: rule.truncates(0), [], id="truncates to nothing"),
    pytest.param(lambda rule: rule.mangles(lambda item: item * 10), [0, 10, 20, 30], id="mangles"),
    pytest.param(lambda rule: rule.truncates(2).mangles(str), ["0", "1"], id="both"),
    pytest.param(lambda rule: rule.returns("ab"), ["a", "b"], id="returns"),
    pytest.param(lambda rule: rule.truncates(1).returns("ab"), ["a"], id="returns, truncated"),
    pytest.param(lambda rule: rule.drops_ack(), [ConnectionResetError], id="drops ack"),
    pytest.param(lambda rule: rule.nth(2).raises(OSError), [0, 1, 2, 3], id="not this call"),
]


@pytest.mark.parametrize(("build", "expected"), CASES)
async def test_a_fault_in_an_async_generator(
    faults: FaultInjector, build: Callable[[FaultRule], object], expected: list[object]
) -> None:
    """Faults strike the items, the generator is closed whatever happened, and the next call is whole again."""
    flaky = faults.wrap(acount)
    rule = faults.on(acount)
    build(rule)
    assert await collected(flaky, 4) == expected
    assert closed == started
    rule.stop()
    assert await collected(flaky, 2) == [0, 1]


@pytest.mark.parametrize(("build", "expected"), CASES)
def test_a_fault_in_a_plain_generator(
    faults: FaultInjector, build: Callable[[FaultRule], object], expected: list[object]
) -> None:
    """The same, without an event loop."""
    flaky = faults.wrap(count)
    rule = faults.on(count)
    build(rule)
    assert gathered(flaky, 4) == expected
    assert closed == started
    rule.stop()
    assert gathered(flaky, 2) == [0, 1]


def test_the_colour_is_kept(faults: FaultInjector) -> None:
    """Frameworks that look at the function see the same kind of function."""
    assert inspect.isgeneratorfunction(faults.wrap(count))
    assert inspect.isasyncgenfunction(faults.wrap(acount))
    assert inspect.signature(faults.wrap(count)) == inspect.signature(count)


@pytest.mark.parametrize("struck", [False, True])
def test_sending_throwing_and_returning_reach_the_generator(faults: FaultInjector, struck: bool) -> None:  # noqa: FBT001
    """What stands in is a generator in full, with a fault on its items or without."""
    flaky = faults.wrap(count)
    if struck:
        faults.on(count).mangles(lambda item: item)
    generator = flaky(3)
    assert next(generator) == 0
    assert generator.send("a") == 1
    assert generator.throw(KeyError()) == 2
    with pytest.raises(StopIteration) as end:
        generator.send("c")
    assert end.value.value == "aKc"


def test_an_error_thrown_in_may_end_the_generator(faults: FaultInjector) -> None:
    """A generator that catches what is thrown in and returns ends with its value."""

    @faults.wrap
    def patient() -> Generator[int, None, str]:
        try:
            yield 1
        except KeyError:
            return "caught"
        return "left alone"

    generator = patient()
    next(generator)
    with pytest.raises(StopIteration) as end:
        generator.throw(KeyError())
    assert end.value.value == "caught"


async def test_throwing_reaches_the_async_generator(faults: FaultInjector) -> None:
    """``athrow`` arrives where the callee waits; what it does not catch comes back."""
    flaky = faults.wrap(acount)
    stream = flaky(3)
    assert await anext(stream) == 0
    assert await stream.athrow(KeyError()) == -1
    with pytest.raises(LookupError):
        await stream.athrow(LookupError())
    assert closed == ["async"]


async def test_leaving_early_closes_the_generator(faults: FaultInjector) -> None:
    """Closing what stands in closes what it stands for."""
    stream = faults.wrap(acount)(3)
    await anext(stream)
    await stream.aclose()
    generator = faults.wrap(count)(3)
    next(generator)
    generator.close()
    assert closed == ["async", "plain"]


async def test_drops_ack_runs_the_generator_to_its_end(faults: FaultInjector) -> None:
    """All the work is done, none of its items arrives, and an error of the callee is lost with them."""
    faults.on(faults.wrap(acount)).drops_ack()
    assert await collected(faults.wrap(acount), 3) == [ConnectionResetError]
    assert closed == ["async"]

    @faults.wrap
    def broken() -> Generator[int, None, None]:
        yield 1
        raise ValueError

    faults.on(broken).drops_ack(TimeoutError)
    with pytest.raises(TimeoutError) as caught:
        list(broken())
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_stream_may_start_late(virtual_clock: VirtualClock) -> None:
    """A delay comes before the first item, in either colour."""
    with FaultInjector() as faults:
        faults.on(faults.wrap(acount)).delays(3)
        faults.on(faults.wrap(count)).delays(4)
        assert await collected(faults.wrap(acount), 2) == [0, 1]
        assert virtual_clock.elapsed == 3


def test_nothing_is_counted_before_the_first_item_is_asked_for(faults: FaultInjector) -> None:
    """Calling a generator function runs nothing of it, and so is no call yet."""
    flaky = faults.wrap(count)
    faults.on(count).first(1).raises(OSError)
    generator = flaky(1)
    assert faults.calls(count) == 0
    with pytest.raises(OSError, match="injected"):
        next(generator)
    assert faults.calls(count) == 1


def test_returns_needs_items(faults: FaultInjector) -> None:
    """A generator cannot hand out a number's items."""
    with pytest.raises(TypeError, match=r"returns\(\) takes the items to iterate over here, not 7"):
        faults.on(faults.wrap(count)).returns(7)


def test_the_log_tells_of_a_break_when_it_happens(faults: FaultInjector) -> None:
    """A stream that ends before it would have broken has not been struck."""
    faults.on(faults.wrap(count)).raises(OSError, after_items=3)
    assert gathered(faults.wrap(count), 2) == [0, 1]
    assert not faults.log
    gathered(faults.wrap(count), 4)
    assert [each.action for each in faults.log] == ["raises(OSError, after_items=3)"]
