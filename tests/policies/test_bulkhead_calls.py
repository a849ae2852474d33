"""A bulkhead around calls: places are taken, given back whatever happens, and refused when there is none."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from ways import Flaky, Way, every_call

import resilio.sync
from resilio import Bulkhead, BulkheadFullError, BulkheadRejected, subscribe
from resilio.policies.description import Description

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = pytest.mark.anyio


# -- every form --------------------------------------------------------------------------------------------------------


@every_call
def test_a_call_has_a_place_while_it_runs(way: Way) -> None:
    """And gives it back with its result."""
    bulkhead = way.names.Bulkhead(2)
    assert way.call(bulkhead, lambda: bulkhead.running) == 1
    assert bulkhead.running == 0


@every_call
def test_a_failed_call_gives_its_place_back(way: Way) -> None:
    """Its error comes through as it is."""
    bulkhead = way.names.Bulkhead(1)
    with pytest.raises(ConnectionError, match="call 1"):
        way.call(bulkhead, Flaky(ConnectionError))
    assert bulkhead.running == 0
    assert way.call(bulkhead, Flaky("meow")) == "meow"


@every_call
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_call_gives_its_place_back(way: Way, interruption: type[BaseException]) -> None:
    """Ctrl-C as well as any other end."""
    bulkhead = way.names.Bulkhead(1)
    with pytest.raises(interruption):
        way.call(bulkhead, Flaky(interruption))
    assert bulkhead.running == 0


@every_call
def test_a_full_bulkhead_refuses_at_once(way: Way) -> None:
    """The function is not reached, the error says what is full, and one event tells of it."""
    bulkhead, fn = way.names.Bulkhead(1), Flaky("meow")
    told: list[BulkheadRejected] = []
    assert bulkhead.try_acquire()
    with subscribe(told.append, BulkheadRejected), pytest.raises(BulkheadFullError) as caught:
        way.call(bulkhead, fn)
    assert fn.calls == 0
    assert str(caught.value) == "all 1 places are taken, and it has no queue"
    assert (caught.value.retryable, caught.value.context["max_concurrent"]) == (True, 1)
    assert [(each.running, each.waiting) for each in told] == [(1, 0)]
    bulkhead.release()
    assert way.call(bulkhead, fn) == "meow"


# -- many at once ------------------------------------------------------------------------------------------------------


async def test_so_many_calls_run_at_once_and_no_more() -> None:
    """Fifty tasks, five places: five at a time, all in the end."""
    bulkhead = Bulkhead(5, max_queue=50)
    most, done = 0, 0

    @bulkhead
    async def work() -> None:
        nonlocal most, done
        most = max(most, bulkhead.running)
        await anyio.lowlevel.checkpoint()
        done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(work)
    assert (most, done) == (5, 50)
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


async def test_blocks_of_many_tasks_do_not_meet() -> None:
    """One object, many `async with` blocks at once, nested ones among them: each gives back its own place."""
    bulkhead = Bulkhead(40)
    most = 0

    async def work() -> None:
        nonlocal most
        async with bulkhead:
            await anyio.lowlevel.checkpoint()
            async with bulkhead:
                most = max(most, bulkhead.running)
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)
    assert (most, bulkhead.running) == (40, 0)


def test_a_blocking_block_has_a_place() -> None:
    """`with bulkhead:`, nested; the one too many is refused and costs nothing."""
    bulkhead = resilio.sync.Bulkhead(2)
    with bulkhead, bulkhead:
        assert bulkhead.running == 2
        with pytest.raises(BulkheadFullError):
            bulkhead.__enter__()
        assert bulkhead.running == 2
    assert bulkhead.running == 0


# -- streams -----------------------------------------------------------------------------------------------------------


async def test_a_stream_holds_its_place_until_it_is_closed() -> None:
    """The body counts, not only the first item."""
    bulkhead = Bulkhead(1)

    @bulkhead
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        yield 2

    stream = numbers()
    assert bulkhead.running == 0
    assert await anext(stream) == 1
    assert bulkhead.running == 1
    with pytest.raises(BulkheadFullError):
        await anext(numbers())
    await stream.aclose()
    assert bulkhead.running == 0


async def test_a_stream_gives_its_place_back_at_its_end() -> None:
    """Read to the end, it needs no closing; one that fails or is empty neither."""
    bulkhead = Bulkhead(1)

    @bulkhead
    async def numbers(*items: int) -> AsyncGenerator[int]:
        for item in items:
            yield item
            if item == 3:
                raise ConnectionError

    assert [item async for item in numbers(1, 2)] == [1, 2]
    assert [item async for item in numbers()] == []
    with pytest.raises(ConnectionError):
        _ = [item async for item in numbers(3)]
    assert bulkhead.running == 0


def test_a_plain_generator_holds_its_place_until_it_is_closed() -> None:
    """As a stream does."""
    bulkhead = resilio.sync.Bulkhead(1)

    @bulkhead
    def numbers() -> Generator[int]:
        yield 1
        yield 2

    with closing(numbers()) as opened:
        assert next(opened) == 1
        assert bulkhead.running == 1
        with pytest.raises(BulkheadFullError):
            next(numbers())
    assert bulkhead.running == 0
    assert list(numbers()) == [1, 2]
    assert bulkhead.running == 0


def test_an_abandoned_generator_gives_its_place_back() -> None:
    """Nobody closed it, and nobody can reach it any more."""
    bulkhead = resilio.sync.Bulkhead(1)

    @bulkhead
    def numbers() -> Generator[int]:
        yield 1

    assert next(numbers()) == 1
    assert bulkhead.running == 0


# -- places by hand ----------------------------------------------------------------------------------------------------


def test_places_can_be_taken_by_hand() -> None:
    """`try_acquire` answers at once; `release` gives back."""
    bulkhead = Bulkhead(2)
    assert [bulkhead.try_acquire() for _ in range(3)] == [True, True, False]
    bulkhead.release()
    assert bulkhead.try_acquire()


def test_a_place_cannot_be_given_back_twice() -> None:
    """A release too many would quietly raise the limit."""
    bulkhead = Bulkhead(1)
    assert bulkhead.try_acquire()
    bulkhead.release()
    with pytest.raises(RuntimeError, match="none can be given back"):
        bulkhead.release()
    assert [bulkhead.try_acquire() for _ in range(2)] == [True, False]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_bulkhead_shows_itself() -> None:
    """To people, and as a value."""
    bulkhead = Bulkhead(20, max_queue=100, max_wait=2)
    assert repr(bulkhead) == "<Bulkhead 0/20 running, 0 waiting>"
    assert bulkhead.describe() == Description(
        "Bulkhead", (("max_concurrent", 20), ("max_queue", 100), ("max_wait", 2.0))
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"max_concurrent": 0}, ValueError, "max_concurrent must be a whole number, at least 1, not 0"),
        ({"max_concurrent": 2.5}, TypeError, "max_concurrent must be a whole number, at least 1, not 2.5 (float)"),
        ({"max_concurrent": True}, TypeError, "max_concurrent must be a whole number, at least 1, not True (bool)"),
        ({"max_concurrent": 1, "max_queue": -1}, ValueError, "max_queue must be a whole number, at least 0, not -1"),
        ({"max_concurrent": 1, "max_wait": -1}, ValueError, "max_wait must be seconds or a timedelta, at least 0"),
        ({"max_concurrent": 1, "max_wait": float("nan")}, ValueError, "max_wait must be seconds or a timedelta"),
        ({"max_concurrent": 1, "max_wait": "2"}, TypeError, "max_wait must be seconds or a timedelta, at least 0"),
    ],
)
@pytest.mark.parametrize("kind_of", [Bulkhead, resilio.sync.Bulkhead])
def test_wrong_settings_are_refused(kind_of: Any, arguments: dict[str, Any], kind: type[Exception], said: str) -> None:
    """By the parameter's name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        kind_of(**arguments)
    assert str(caught.value).startswith(said)
