"""What every policy is: a decorator for four colours of functions, and `execute` for a single call.

A policy says how it guards each colour (`guard_coroutine`, `guard_plain`, `open_stream`, `open_iterator`); this file
finds the colour, keeps name and signature, and sees that nothing is wrapped unguarded. `AsyncForms` and `BlockingForms`
add `execute` in the caller's colour: `resilio` joins a policy with the first, `resilio.sync` with the second.
"""

from __future__ import annotations

import functools
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast, overload

from resilio._core.colour import (
    Colour,
    UnguardableError,
    colour_of,
    is_awaitable,
    name_of,
    refuse_lazy,
    refuse_to_decorate,
)
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.policies import blocks

if TYPE_CHECKING:
    from types import TracebackType

    from resilio._core.pauses import Pause
    from resilio.policies.description import Description

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

AsyncCall = Callable[..., Coroutine[Any, Any, Any]]
PlainCall = Callable[..., Any]


class Stream:
    """An async generator that has begun: its first item is here, or it ended without one."""

    __slots__ = ("first", "is_empty", "source")

    def __init__(self, source: AsyncGenerator[Any, Any], first: object, *, is_empty: bool = False) -> None:
        self.source: AsyncGenerator[Any, Any] = source
        self.first: object = first
        self.is_empty: bool = is_empty

    @classmethod
    async def begin(cls, source: AsyncGenerator[Any, Any]) -> Stream:
        """Start ``source`` and take its first item; what it raises passes through."""
        try:
            return cls(source, await source.__anext__())
        except StopAsyncIteration:
            return cls(source, None, is_empty=True)


class Iteration:
    """A plain generator that has begun: its first item is here, or it ended with ``value``."""

    __slots__ = ("first", "is_empty", "source", "value")

    def __init__(self, source: Generator[Any, Any, Any]) -> None:
        self.source: Generator[Any, Any, Any] = source
        self.is_empty: bool = False
        self.value: object = None
        self.first: object = None
        try:
            self.first = next(source)
        except StopIteration as end:
            self.is_empty = True
            self.value = end.value


class Policy(ABC):
    """A way to guard calls. Policies are safe to share between threads, event loops, and any number of functions."""

    __slots__ = ("__weakref__", "_invoke")

    _invoke: PlainCall

    # -- what a policy says ----------------------------------------------------------------------------------------

    @abstractmethod
    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        """A coroutine function that calls ``fn`` under this policy, and wraps it as ``functools.wraps`` does."""

    @abstractmethod
    def guard_plain(self, fn: PlainCall) -> PlainCall:
        """A plain function that calls ``fn`` under this policy, blocking where the policy waits; it wraps ``fn``.

        If ``fn`` returns what has not run yet, an awaitable or a generator, it returns `self.guard_returned(...)`.
        """

    @abstractmethod
    def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Stream]:
        """Start the stream ``fn(*args, **kwargs)`` under this policy; the block is what the consumer does with it."""

    @abstractmethod
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractContextManager[Iteration]:
        """`open_stream` for a plain generator."""

    async def open_block(self, pause: Pause) -> AbstractContextManager[object]:  # noqa: ARG002 -- others wait
        """Take what a block needs, waiting by ``pause``; leaving the context manager gives it back.

        Raises:
            TypeError: The policy needs a function to call (again), which a block is not.
        """
        msg = f"{type(self).__name__} has no block form: it must be able to call a function; use it as a decorator"
        raise TypeError(msg)

    @abstractmethod
    def describe(self) -> Description:
        """The policy's kind and settings, as a value."""

    def _prepare(self) -> None:  # noqa: B027 -- a policy without a colour has nothing to build
        """Build what `execute` runs; the form with a colour says how."""

    # -- decorating ------------------------------------------------------------------------------------------------

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``fn``: the result has its colour (async, plain, generator), its name and its signature.

        Raises:
            TypeError: ``fn`` is a class, or a function that returns a context manager: neither could be guarded.
        """
        if isinstance(fn, (classmethod, staticmethod)):
            return cast("Callable[P, R]", type(fn)(self(fn.__func__)))
        refuse_to_decorate(fn)
        guarded = self.guard(colour_of(fn), fn)
        return cast("Callable[P, R]", _named_after(fn, guarded))

    def guard(self, colour: Colour, fn: PlainCall) -> PlainCall:
        """``fn`` under this policy, in its own colour."""
        if colour is Colour.COROUTINE:
            return self.guard_coroutine(fn)
        if colour is Colour.ASYNC_GENERATOR:
            return self._guard_async_generator(fn)
        if colour is Colour.GENERATOR:
            return self._guard_generator(fn)
        return self.guard_plain(fn)

    def guard_returned(self, fn: PlainCall, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Guard what a plain function gave back to be awaited: a lambda around a coroutine function, say.

        The first attempt awaits ``result``, later ones call ``fn`` again.

        Raises:
            TypeError: The result is a generator or a context manager.
        """
        refuse_lazy(fn, result)
        given = [result]

        @functools.wraps(fn)
        async def attempt(*args: Any, **kwargs: Any) -> Any:
            return await (given.pop() if given else fn(*args, **kwargs))

        async def guarded() -> Any:
            try:
                return await self._guard_begun(attempt)(*args, **kwargs)
            finally:
                for unused in given:  # turned away before it could begin
                    if isinstance(unused, Coroutine):
                        unused.close()

        return guarded()

    def _guard_begun(self, fn: AsyncCall) -> AsyncCall:
        """`guard_coroutine` for a call that `guard_plain` has counted already, if this policy counts calls."""
        return self.guard_coroutine(fn)

    def _guard_async_generator(self, fn: Callable[..., AsyncGenerator[Any, Any]]) -> PlainCall:
        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            async with self.open_stream(fn, args, kwargs) as stream:
                if stream.is_empty:
                    return
                source, item = stream.source, stream.first
                try:
                    while True:  # `yield from` in long form: what is sent or thrown in reaches the source
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as thrown:
                            item = await source.athrow(thrown)
                        else:
                            item = await source.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await source.aclose()

        return guarded

    def _guard_generator(self, fn: Callable[..., Generator[Any, Any, Any]]) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self.open_iterator(fn, args, kwargs) as iteration:
                if iteration.is_empty:
                    return iteration.value
                return (yield from _continued(iteration))

        return guarded

    # -- for policies whose work ends with the first item ----------------------------------------------------------

    @asynccontextmanager
    async def _begin_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        async def begin(*args: Any, **kwargs: Any) -> Stream:
            return await Stream.begin(fn(*args, **kwargs))

        yield await self.guard_coroutine(functools.wraps(fn)(begin))(*args, **kwargs)

    @contextmanager
    def _begin_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        def begin(*args: Any, **kwargs: Any) -> Iteration:
            return Iteration(fn(*args, **kwargs))

        yield self.guard_plain(functools.wraps(fn)(begin))(*args, **kwargs)


def _continued(iteration: Iteration) -> Generator[Any, Any, Any]:
    source, item = iteration.source, iteration.first
    try:
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as thrown:
                item = source.throw(thrown)
            else:
                item = source.send(sent)
    except StopIteration as end:
        return end.value
    finally:
        source.close()


def _named_after(fn: PlainCall, guarded: PlainCall) -> PlainCall:
    functools.update_wrapper(guarded, fn)
    if not hasattr(fn, "__name__"):  # partials and callable objects have none to copy
        guarded.__name__ = guarded.__qualname__ = name_of(fn).rpartition(".")[2]
    return guarded


# -- single calls ------------------------------------------------------------------------------------------------------


async def call_any(fn: PlainCall, /, *args: Any, **kwargs: Any) -> Any:
    """Call ``fn`` whatever its colour, and await what it returns if that must be awaited."""
    result = fn(*args, **kwargs)
    if is_awaitable(result):
        return await result
    refuse_lazy(fn, result)
    return result


def call_plain(fn: PlainCall, /, *args: Any, **kwargs: Any) -> Any:
    """Call ``fn``; refuse what would have to be awaited, for here nobody can.

    Raises:
        UnguardableError: ``fn`` returned an awaitable, a generator or a context manager.
    """
    result = fn(*args, **kwargs)
    if is_awaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        msg = f"{name_of(fn)} is async; await the policy from `resilio` instead of calling the one from `resilio.sync`"
        raise UnguardableError(msg)
    refuse_lazy(fn, result)
    return result


def operation_of(fn: PlainCall, args: tuple[Any, ...]) -> str:
    """The name of what a guard calls in the end; behind `execute` that is the first argument."""
    innermost = inspect.unwrap(fn)
    return name_of(args[0] if innermost is call_any or innermost is call_plain else innermost)


class AsyncForms(Policy):
    """``await policy.execute(fn, ...)``."""

    __slots__ = ()

    def _prepare(self) -> None:
        self._invoke = self.guard_coroutine(call_any)

    @overload
    def execute(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]: ...
    def execute(self, fn: PlainCall, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call ``fn(*args, **kwargs)`` under this policy and return its result.

        ``fn`` may be async or plain; a plain one runs on the event loop's thread.
        """
        return self._invoke(fn, *args, **kwargs)  # type: ignore[no-any-return]

    call = execute

    async def __aenter__(self) -> Self:
        frame = sys._getframe(1)  # noqa: SLF001 -- the one that runs the `async with`
        blocks.push(self, await self.open_block(async_pause), frame)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block = blocks.pop(self, sys._getframe(1))  # noqa: SLF001 -- see above
        return None if block is None else block.__exit__(kind, error, traceback)


class BlockingForms(Policy):
    """``policy.execute(fn, ...)``, blocking."""

    __slots__ = ()

    def _prepare(self) -> None:
        self._invoke = self.guard_plain(call_plain)

    def execute(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``fn(*args, **kwargs)`` under this policy and return its result.

        Raises:
            TypeError: ``fn`` is async.
        """
        return cast("T", self._invoke(fn, *args, **kwargs))

    call = execute

    def __enter__(self) -> Self:
        blocks.push(self, drive(self.open_block(blocking_pause)), sys._getframe(1))  # noqa: SLF001 -- runs the `with`
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block = blocks.pop(self, sys._getframe(1))  # noqa: SLF001 -- see above
        return None if block is None else block.__exit__(kind, error, traceback)
