from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from resilio._core.colour import UnguardableError
from resilio.deadletters.errors import LetterNotKeptError, UnencodableMessageError
from resilio.deadletters.guard import dead_lettered
from resilio.deadletters.queue import DeadLetterQueue
from resilio.sync import DeadLetterQueue as BlockingQueue
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

ORDER = {"order": 17}


@pytest.fixture
def dlq() -> DeadLetterQueue:
    """A queue in memory."""
    return DeadLetterQueue(store=MemoryStore("x"))


@pytest.fixture
def blocking() -> BlockingQueue:
    """The same for code without an event loop."""
    return BlockingQueue(store=MemoryStore("x"))


async def kept(dlq: DeadLetterQueue) -> list[Any]:
    """The messages that are there."""
    return [each.message for each in await dlq.peek(100)]


# -- blocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_block_that_fails_leaves_a_letter_and_its_error(dlq: DeadLetterQueue) -> None:
    """With all labels, and the error's own traceback."""
    guard = dlq.guard(ORDER, operation="ship", headers={"a": "b"}, group="g", deduplication_key="k")
    with pytest.raises(ValueError, match="no such street"):  # noqa: PT012 -- the block is the point
        async with guard as entered:
            assert entered is guard
            raise ValueError("no such street")
    [letter] = await dlq.peek()
    assert (letter.id, letter.message) == (guard.message_id, ORDER)
    assert letter.error_info["error_type"] == "ValueError"
    assert "test_a_block_that_fails" in letter.error_info["traceback"]
    assert (letter.source["operation"], letter.headers, letter.group, letter.deduplication_key) == (
        "ship",
        {"a": "b"},
        "g",
        "k",
    )


@pytest.mark.anyio
async def test_a_block_that_succeeds_leaves_none(dlq: DeadLetterQueue) -> None:
    """And the guard can be used again."""
    guard = dlq.guard(ORDER)
    async with guard:
        pass
    assert guard.message_id is None
    assert await kept(dlq) == []


@pytest.mark.anyio
async def test_an_error_may_end_with_its_letter(dlq: DeadLetterQueue) -> None:
    """The message may be completed on the way."""
    async with dlq.guard(dict(ORDER), suppress=True) as guard:
        guard.message["step"] = "packed"
        raise ValueError
    assert await kept(dlq) == [{"order": 17, "step": "packed"}]


@pytest.mark.anyio
async def test_cancellation_is_no_failure(dlq: DeadLetterQueue) -> None:
    """Nor are exit, Ctrl-C and a closed generator: nothing is kept, nothing is swallowed."""
    with anyio.CancelScope() as scope:
        async with dlq.guard(ORDER, suppress=True):
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    for ending in (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        with pytest.raises(ending):
            async with dlq.guard(ORDER, suppress=True):
                raise ending
    assert await kept(dlq) == []


class Full(MemoryStore):
    """A store that takes nothing."""

    async def add(self, letter_id: str, body: bytes, *, deduplication_key: str | None = None) -> str:
        await anyio.lowlevel.checkpoint()
        raise LetterNotKeptError("full", location=self.location) from OSError(28, "disk")


@pytest.mark.anyio
@pytest.mark.parametrize("suppress", [False, True])
async def test_a_letter_that_could_not_be_kept_is_what_comes_out(suppress: bool) -> None:  # noqa: FBT001
    """Whoever expects the block's error to mean that the letter is safe must not see it; it is told beside."""
    with pytest.raises(LetterNotKeptError, match="full") as caught:
        async with DeadLetterQueue(store=Full("full")).guard(ORDER, suppress=suppress):
            raise ValueError("no such street")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__notes__ == ["the message was to be kept because of ValueError: no such street"]
    with pytest.raises(UnencodableMessageError) as refused:
        async with DeadLetterQueue(store=MemoryStore("x")).guard(object(), suppress=suppress):
            raise ValueError("no such street")
    assert isinstance(refused.value.__cause__, ValueError)


def test_a_blocking_block_does_the_same(blocking: BlockingQueue) -> None:
    """With `with`."""
    guard = blocking.guard(dict(ORDER))
    with pytest.raises(ValueError, match="no"), guard as entered:  # noqa: PT012 -- the block is the point
        entered.message["step"] = "packed"
        raise ValueError("no")
    [letter] = blocking.peek()
    assert (letter.id, letter.message) == (guard.message_id, {"order": 17, "step": "packed"})
    with pytest.raises(KeyboardInterrupt), guard:
        raise KeyboardInterrupt
    assert guard.message_id is None
    guard.message = 2
    with blocking.guard(3, suppress=True):
        raise ValueError
    assert [each.message for each in blocking.peek()] == [{"order": 17, "step": "packed"}, 3]


# -- functions ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_async_function_leaves_its_message(dlq: DeadLetterQueue) -> None:
    """By the name of a parameter, by a function, or all arguments by name; the operation is the function's name."""

    async def ship(order: object, carrier: str = "cat") -> str:
        await anyio.lowlevel.checkpoint()
        if carrier == "cat":
            raise ValueError("asleep")
        return carrier

    by_name = dead_lettered(dlq, message="order")(ship)
    by_function = dead_lettered(dlq, message=lambda order, **more: [order, more])(ship)
    by_default = dead_lettered(dlq)(ship)
    assert await by_name(ORDER, "dog") == "dog"
    for call in (by_name(ORDER), by_function(ORDER, carrier="cat"), by_default(ORDER)):
        with pytest.raises(ValueError, match="asleep"):
            await call
    assert await kept(dlq) == [ORDER, [ORDER, {"carrier": "cat"}], {"order": ORDER, "carrier": "cat"}]
    letter = (await dlq.peek(1))[0]
    assert letter.source["operation"] == f"{__name__}.{ship.__qualname__}"
    assert letter.group == f"ValueError in {letter.source['operation']}"
    assert inspect.iscoroutinefunction(by_name)
    assert (by_name.__name__, inspect.signature(by_name)) == ("ship", inspect.signature(ship))


@pytest.mark.anyio
async def test_a_suppressed_call_returns_none(dlq: DeadLetterQueue) -> None:
    """Once its letter is safe."""

    @dead_lettered(dlq, message="order", suppress=True)
    async def ship(order: object) -> str:
        raise ValueError

    assert await ship(ORDER) is None
    assert await kept(dlq) == [ORDER]


@pytest.mark.anyio
async def test_an_async_generator_keeps_its_colour(dlq: DeadLetterQueue) -> None:
    """What is sent and thrown in reaches it; its failure in the middle leaves a letter, closing it early none."""

    @dead_lettered(dlq, message="count")
    async def stream(count: int) -> AsyncGenerator[Any, Any]:
        for number in range(count):
            try:
                sent = yield number
            except LookupError:
                sent = yield "caught"
            if sent:
                yield sent
        raise ValueError("dry")

    got = []
    with pytest.raises(ValueError, match="dry"):  # noqa: PT012 -- the block is the point
        async for item in stream(2):
            got.append(item)  # noqa: PERF401 -- it must keep what came before the error
    assert got == [0, 1]
    source = stream(3)
    assert [await anext(source), await source.asend("echo"), await anext(source)] == [0, "echo", 1]
    assert await source.athrow(KeyError()) == "caught"
    await source.aclose()
    assert await kept(dlq) == [2]
    assert inspect.isasyncgenfunction(stream)


def test_plain_functions_and_generators_leave_their_message(blocking: BlockingQueue) -> None:
    """With the blocking queue."""

    @dead_lettered(blocking, message="x")
    def compute(x: int) -> int:
        return 1 // x

    @dead_lettered(blocking, message="count")
    def generate(count: int) -> Generator[int, Any, str]:
        got = yield count
        if got is None:
            raise ValueError
        return "done"

    assert compute(1) == 1
    with pytest.raises(ZeroDivisionError):
        compute(0)
    with pytest.raises(ValueError, match=r"^$"):
        list(generate(5))
    source = generate(6)
    next(source)
    with pytest.raises(StopIteration) as ended:
        source.send("go on")
    assert ended.value.value == "done"
    closed = generate(7)
    next(closed)
    closed.close()
    assert [each.message for each in blocking.peek()] == [0, 5]
    assert inspect.isgeneratorfunction(generate)


@pytest.mark.anyio
async def test_methods_are_bound_and_self_is_no_part_of_the_message(dlq: DeadLetterQueue) -> None:
    """Instance, class and static methods."""

    class Shop:
        @dead_lettered(dlq)
        async def ship(self, order: int) -> None:
            raise ValueError

        @dead_lettered(dlq)
        @classmethod
        async def charge(cls, order: int) -> None:
            raise ValueError

        @staticmethod
        @dead_lettered(dlq)
        async def pack(order: int, /, *more: int) -> None:
            raise ValueError

    for call in (Shop().ship(1), Shop.charge(2), Shop.pack(3, 4)):
        with pytest.raises(ValueError, match=r"^$"):
            await call
    assert await kept(dlq) == [{"order": 1}, {"order": 2}, {"order": 3, "more": [4]}]


@pytest.mark.anyio
async def test_objects_and_partials_can_be_decorated(dlq: DeadLetterQueue) -> None:
    """They get a name."""

    class Shipper:
        async def __call__(self, order: int) -> None:
            raise ValueError

    async def ship(order: int, carrier: str) -> None:
        raise ValueError

    for fn in (Shipper(), functools.partial(ship, carrier="cat")):
        guarded = dead_lettered(dlq, message="order")(fn)
        assert guarded.__name__
        with pytest.raises(ValueError, match=r"^$"):
            await guarded(7)
    assert await kept(dlq) == [7, 7]


def test_what_could_not_be_guarded_is_refused(dlq: DeadLetterQueue, blocking: BlockingQueue) -> None:
    """A class, a context manager, the wrong colour for the queue, a parameter that is not there, no queue."""

    async def ship(order: int) -> None: ...

    def compute(order: int) -> None: ...

    class Shop: ...

    @contextlib.contextmanager
    def block() -> Generator[None]:
        yield

    with pytest.raises(TypeError, match="cannot decorate the class"):
        dead_lettered(dlq)(Shop)
    with pytest.raises(TypeError, match="returns a context manager"):
        dead_lettered(blocking)(block)
    with pytest.raises(TypeError, match=r"is a kind of plain; it needs the DeadLetterQueue of resilio\.sync"):
        dead_lettered(dlq)(compute)
    with pytest.raises(TypeError, match="is a kind of coroutine; it needs the DeadLetterQueue of resilio,"):
        dead_lettered(blocking)(ship)
    with pytest.raises(ValueError, match=r"message='prder' is no parameter of .*ship, which has order"):
        dead_lettered(dlq, message="prder")(ship)
    with pytest.raises(TypeError, match="message must be a parameter's name or a plain function of the arguments"):
        dead_lettered(dlq, message=ship)(ship)
    with pytest.raises(TypeError, match="dlq must be a DeadLetterQueue, not 'x'"):
        dead_lettered("x")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="suppress must be True or False"):
        dead_lettered(dlq, suppress=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="group must be text, not 7"):
        dead_lettered(dlq, group=7)  # type: ignore[call-overload]


def test_a_plain_function_whose_work_is_yet_to_come_is_refused(blocking: BlockingQueue) -> None:
    """What it returned would run unguarded."""

    async def ship() -> None: ...

    with pytest.raises(UnguardableError, match="returned what must be awaited"):
        _ = dead_lettered(blocking)(lambda: ship())()  # noqa: PLW0108 -- the shape that hides its colour
    with pytest.raises(UnguardableError, match="returned a generator"):
        dead_lettered(blocking)(lambda: (each for each in "ab"))()


@pytest.mark.anyio
async def test_a_message_function_that_fails_is_heard(dlq: DeadLetterQueue) -> None:
    """From the call's own error: no letter could be made."""

    @dead_lettered(dlq, message=lambda order: order["id"])
    async def ship(order: dict[str, int]) -> None:
        raise ValueError("asleep")

    with pytest.raises(KeyError) as caught:
        await ship({})
    assert isinstance(caught.value.__cause__, ValueError)
    assert await kept(dlq) == []
