"""What stands in for a function under fault injection: a real function of the same colour.

What happens before the callee is one coroutine, `_enter`. Plain functions and generators have it driven without an
event loop, as nothing in it suspends there. Around a generator's items stands `_Stream`, for both worlds alike.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from resilio._core import clock
from resilio._core.colour import Colour, colour_of, innermost, is_awaitable, name_of, refuse_lazy
from resilio._core.drive import drive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from resilio.testing.fault_actions import Step, Wait


if TYPE_CHECKING:
    Plan: TypeAlias = tuple[Step, ...]
    Decide: TypeAlias = Callable[[Wait], Plan]


def kind_of(fn: object) -> Colour:
    """The colour of ``fn``; an ``AsyncMock``, which looks plain, counts as what it stands for.

    Raises:
        TypeError: ``fn`` is a shape that cannot be guarded.
    """
    mock = sys.modules.get("unittest.mock")
    if mock is not None and isinstance(fn, mock.AsyncMock):
        return Colour.COROUTINE
    return colour_of(fn)


def stand_in(fn: Callable[..., Any], decide: Decide) -> Callable[..., Any]:
    """Return a function of the colour of ``fn`` that asks ``decide`` at each call which faults to inject.

    A generator asks when its first item is asked for, as nothing of it runs before.

    Raises:
        TypeError: ``fn`` is a shape that cannot be guarded.
    """
    makers = {
        Colour.PLAIN: _plain,
        Colour.COROUTINE: _coroutine,
        Colour.GENERATOR: _generator,
        Colour.ASYNC_GENERATOR: _async_generator,
    }
    wrapper = makers[kind_of(fn)](fn, decide)
    # A partial or a callable object has no name of its own, and its attributes are none of the wrapper's.
    named = fn if hasattr(fn, "__qualname__") else innermost(fn)
    functools.update_wrapper(wrapper, named, updated=())
    wrapper.__wrapped__ = fn  # type: ignore[attr-defined]
    return wrapper


def _coroutine(fn: Callable[..., Any], decide: Decide) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        entry = await _enter(decide(clock.sleep))
        try:
            result = entry.value if entry.replaced else await fn(*args, **kwargs)
        except Exception as error:
            entry.failed(error)
            raise
        return entry.left(result)

    return call


def _plain(fn: Callable[..., Any], decide: Decide) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        entry = drive(_enter(decide(_block)))
        try:
            result = entry.value if entry.replaced else fn(*args, **kwargs)
        except Exception as error:
            entry.failed(error)
            raise
        if not entry.replaced:
            _refuse_unfinished(fn, result)
        return entry.left(result)

    return call


def _async_generator(fn: Callable[..., Any], decide: Decide) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stream = _Stream(decide(clock.sleep), lambda: fn(*args, **kwargs))
        try:
            item = await stream.open()
            while item is not _END:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    item = await stream.throw(error)
                else:
                    item = await stream.send(sent)
        finally:
            await stream.close()

    return call


def _generator(fn: Callable[..., Any], decide: Decide) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        source: list[_PlainSource] = []

        def opened() -> _PlainSource:
            source.append(_PlainSource(fn(*args, **kwargs)))
            return source[0]

        stream = _Stream(decide(_block), opened)
        try:
            item = drive(stream.open())
            while item is not _END:
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    item = drive(stream.throw(error))
                else:
                    item = drive(stream.send(sent))
        finally:
            drive(stream.close())
        return source[0].value if source else None

    return call


async def _block(seconds: float) -> None:
    # Not the policies' pause: switching their waits off must not switch an injected delay off.
    clock.sleep_blocking(seconds)


def _refuse_unfinished(fn: object, result: object) -> None:
    """Raise for a result that has not happened yet: the faults would have struck the wrong thing."""
    refuse_lazy(fn, result)
    if is_awaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        msg = f"{name_of(fn)} is a plain function that returned an awaitable; inject into the async function itself"
        raise TypeError(msg)


# -- before and after the callee ---------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """The steps that a call went through, innermost first, and the value that replaces the callee, if one does."""

    steps: tuple[Step, ...]
    replaced: bool
    value: Any

    def left(self, result: Any) -> Any:
        """The result as the steps hand it back."""
        for each in self.steps:
            result = each.action.after(each, result)
        return result

    def failed(self, error: Exception) -> None:
        """Let a step put another error in the place of the callee's."""
        for each in self.steps:
            each.action.after_failure(each, error)


async def _enter(plan: Plan) -> _Entry:
    entered: list[Step] = []
    for each in plan:
        await each.action.before(each)
        if each.action.replaces:
            return _Entry(tuple(reversed(entered)), replaced=True, value=each.action.value)
        entered.append(each)
    return _Entry(tuple(reversed(entered)), replaced=False, value=None)


# -- around the items of a generator -----------------------------------------------------------------------------------

_END: Any = object()


class _Source(Protocol):
    """Where items come from; `StopAsyncIteration` says that there are no more."""

    async def asend(self, value: Any, /) -> Any: ...
    async def athrow(self, error: BaseException, /) -> Any: ...
    async def aclose(self) -> None: ...


class _PlainSource:
    """A plain generator as a source that never suspends."""

    __slots__ = ("_generator", "value")

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self._generator = generator
        self.value: Any = None

    async def asend(self, value: Any, /) -> Any:
        try:
            return self._generator.send(value)
        except StopIteration as end:
            self.value = end.value
            raise StopAsyncIteration from None

    async def athrow(self, error: BaseException, /) -> Any:
        try:
            return self._generator.throw(error)
        except StopIteration as end:
            self.value = end.value
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._generator.close()


class _Stream:
    """The items of one call of a generator, with the faults done to them. Answers `_END` when there are no more."""

    __slots__ = ("_open", "_passed", "_plan", "_source", "_steps")

    def __init__(self, plan: Plan, open_source: Callable[[], _Source]) -> None:
        self._plan = plan
        self._open = open_source
        self._source: _Source | None = None
        self._steps: tuple[Step, ...] = ()
        self._passed = 0

    async def open(self) -> Any:
        """Do what comes before the callee, and return the first item."""
        entry = await _enter(self._plan)
        self._steps = entry.steps
        self._source = _PlainSource(item for item in entry.value) if entry.replaced else self._open()
        return await self.send(None)

    async def send(self, value: Any) -> Any:
        """Resume with ``value``, and return the next item."""
        assert self._source is not None
        if any(each.action.at_item(each, self._passed) for each in self._steps):
            return _END
        try:
            item = await self._source.asend(value)
            while any(each.action.swallows_items for each in self._steps):
                item = await self._source.asend(None)
        except StopAsyncIteration:
            return self._ended()
        except Exception as error:
            for each in self._steps:
                each.action.after_failure(each, error)
            raise
        return self._handed_on(item)

    async def throw(self, error: BaseException) -> Any:
        """Raise ``error`` where the callee waits, and return the next item if it goes on."""
        assert self._source is not None
        try:
            item = await self._source.athrow(error)
        except StopAsyncIteration:
            return self._ended()
        return self._handed_on(item)

    async def close(self) -> None:
        """End the callee, which may have ended already."""
        if self._source is not None:
            await self._source.aclose()

    def _handed_on(self, item: Any) -> Any:
        for each in self._steps:
            item = each.action.item(each, self._passed, item)
        self._passed += 1
        return item

    def _ended(self) -> Any:
        for each in self._steps:
            if each.action.swallows_items:
                each.action.after(each, None)
        return _END
