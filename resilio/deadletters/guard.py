"""Keeping the message of what fails: a block, or a function of any colour.

Failure is an ``Exception``. Cancellation, Ctrl-C, exit and a closed generator are none, and leave no letter.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Protocol, Self, TypeVar, cast, overload

from resilio._core import durations
from resilio._core.cancellation import is_interruption
from resilio._core.colour import (
    Colour,
    UnguardableError,
    colour_of,
    is_awaitable,
    name_of,
    refuse_lazy,
    refuse_to_decorate,
)
from resilio.deadletters.error_info import brief
from resilio.deadletters.labels import checked_headers, checked_label

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from resilio.deadletters.queue import DeadLetterQueue

__all__ = ("DeadLettered", "LetterGuard", "MessageOf", "dead_lettered")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a guard writes on the letter, checked before anything has failed.

    Raises:
        TypeError, ValueError: One of them is not what it should be; the message names it.
    """

    operation: str | None = None
    headers: Mapping[str, str] | None = None
    group: str | None = None
    deduplication_key: str | None = None

    def __post_init__(self) -> None:
        for name in ("operation", "group", "deduplication_key"):
            checked_label(name, getattr(self, name))
        checked_headers(self.headers)


def is_failure(error: BaseException | None) -> bool:
    """Tell whether ``error`` makes a dead letter."""
    return isinstance(error, Exception) and not is_interruption(error)


class LetterGuard:
    """A block whose message becomes a dead letter if it fails; what `DeadLetterQueue.guard` returns.

    Attributes:
        message: The message. It is kept as it is when the block fails, so it may be completed on the way.
        message_id: The letter's id once the block has failed, else None.

    For one block at a time.
    """

    __slots__ = ("_labels", "_queue", "_suppress", "message", "message_id")

    def __init__(self, queue: DeadLetterQueue, message: Any, labels: Labels, *, suppress: bool) -> None:
        self._queue = queue
        self._labels = labels
        self._suppress = durations.flag("suppress", suppress)
        self.message: Any = message
        self.message_id: str | None = None

    async def __aenter__(self) -> Self:
        self.message_id = None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None or not is_failure(error):
            return False
        await self.keep(error)
        return self._suppress

    async def keep(self, error: BaseException) -> None:
        """Make the letter. What goes wrong with that is raised in place of ``error``: the message is nowhere safe."""
        labels = self._labels
        try:
            self.message_id = await self._queue.send_to_dlq(
                self.message,
                error,
                operation=labels.operation,
                headers=labels.headers,
                group=labels.group,
                deduplication_key=labels.deduplication_key,
            )
        except Exception as trouble:
            if trouble.__cause__ is None:
                raise trouble from error
            trouble.add_note(f"the message was to be kept because of {brief(error)}")
            raise


# -- functions ---------------------------------------------------------------------------------------------------------


class AsyncGuarding(Protocol):
    """A queue whose guard is for ``async with``."""

    def guard(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Any, bool | None]:
        """A guard."""


class BlockingGuarding(Protocol):
    """A queue whose guard is for ``with``."""

    def guard(self, *args: Any, **kwargs: Any) -> AbstractContextManager[Any, bool | None]:
        """A guard."""


class MessageOf:
    """Finds the message of a call of ``fn``.

    Args:
        fn: The function.
        message: The name of a parameter, a function of the call's arguments, or None for all arguments by name.

    Raises:
        TypeError, ValueError: ``message`` is none of these.
    """

    __slots__ = ("_message", "_signature")

    def __init__(self, fn: Callable[..., Any], message: str | Callable[..., Any] | None) -> None:
        self._message = message
        self._signature = inspect.signature(fn)
        if isinstance(message, str):
            if message not in self._signature.parameters:
                names = ", ".join(self._signature.parameters) or "none"
                msg = f"message={message!r} is no parameter of {name_of(fn)}, which has {names}"
                raise ValueError(msg)
        elif message is not None and (not callable(message) or colour_of(message) is not Colour.PLAIN):
            msg = f"message must be a parameter's name or a plain function of the arguments, not {message!r}"
            raise TypeError(msg)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if callable(self._message):
            return self._message(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self._message is not None:
            return bound.arguments[self._message]
        return {name: each for name, each in bound.arguments.items() if name not in _OWNERS}


_OWNERS: Final = ("self", "cls")


class DeadLettered:
    """The decorator that `dead_lettered` returns, for functions that raise again.

    Args:
        queue: Where the letters go.
        message: See `dead_lettered`.
        labels: What is written on them.
        suppress: Whether the error ends here.
    """

    __slots__ = ("_labels", "_message", "_queue", "_suppress")

    def __init__(
        self,
        queue: AsyncGuarding | BlockingGuarding,
        message: str | Callable[..., Any] | None,
        labels: Labels,
        *,
        suppress: bool,
    ) -> None:
        if not callable(getattr(queue, "guard", None)):
            msg = f"dlq must be a DeadLetterQueue, not {queue!r}"
            raise TypeError(msg)
        self._queue = queue
        self._message = message
        self._labels = labels
        self._suppress = durations.flag("suppress", suppress)

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``fn``: the result has its colour, its name and its signature.

        Raises:
            TypeError: ``fn`` is a class, a function that returns a context manager, or of another colour than the
                queue: a plain function cannot wait for an async queue, nor an async one for a blocking queue.
            ValueError: ``message`` is no parameter of it.
        """
        if isinstance(fn, (classmethod, staticmethod)):
            return cast("Callable[P, R]", type(fn)(self(fn.__func__)))
        refuse_to_decorate(fn)
        colour = colour_of(fn)
        is_async = colour in (Colour.COROUTINE, Colour.ASYNC_GENERATOR)
        if is_async is not hasattr(self._queue.guard(None), "__aenter__"):
            other = "resilio" if is_async else "resilio.sync"
            msg = (
                f"{name_of(fn)} is a kind of {colour.value}; it needs the DeadLetterQueue of {other}, which waits there"
            )
            raise TypeError(msg)
        wrap = _WRAPPERS[colour]
        guarded = wrap(fn, _Guards(self._queue, fn, self._message, self._labels, suppress=self._suppress))
        functools.update_wrapper(guarded, fn)
        if not hasattr(fn, "__name__"):  # partials and callable objects have none to copy
            guarded.__name__ = guarded.__qualname__ = name_of(fn).rpartition(".")[2]
        return cast("Callable[P, R]", guarded)


class _Suppressing(Protocol):
    """The same for functions that return None where they would raise."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T | None]]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncGenerator[T, R]]) -> Callable[P, AsyncGenerator[T, R]]: ...
    @overload
    def __call__(self, fn: Callable[P, T]) -> Callable[P, T | None]: ...


class _Guards:
    """Makes a guard for each call of a function. The message is found when the call has failed."""

    def __init__(
        self,
        queue: Any,
        fn: Callable[..., Any],
        message: str | Callable[..., Any] | None,
        labels: Labels,
        *,
        suppress: bool,
    ) -> None:
        self._queue = queue
        self._message_of = MessageOf(fn, message)
        self._more = {
            "operation": labels.operation or name_of(fn),
            "headers": labels.headers,
            "group": labels.group,
            "deduplication_key": labels.deduplication_key,
            "suppress": suppress,
        }

    def after(self, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A guard for a call that has failed already."""
        try:
            message = self._message_of(args, kwargs)
        except Exception as trouble:
            raise trouble from error
        return self._queue.guard(message, **self._more)


def _around_coroutine(fn: Callable[..., Any], guards: _Guards) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await fn(*args, **kwargs)
        except Exception as error:
            async with guards.after(error, args, kwargs):
                raise

    return guarded


def _around_plain(fn: Callable[..., Any], guards: _Guards) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            result = fn(*args, **kwargs)
        except Exception as error:
            with guards.after(error, args, kwargs):
                raise
            return None
        if is_awaitable(result):
            close = getattr(result, "close", None)
            if close is not None:
                close()
            msg = f"{name_of(fn)} returned what must be awaited; decorate the async function itself"
            raise UnguardableError(msg)
        refuse_lazy(fn, result)
        return result

    return guarded


def _around_async_generator(fn: Callable[..., Any], guards: _Guards) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        source = fn(*args, **kwargs)
        try:
            item = await source.__anext__()
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
        except Exception as error:
            async with guards.after(error, args, kwargs):
                raise
        finally:
            await source.aclose()

    return guarded


def _around_generator(fn: Callable[..., Any], guards: _Guards) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        try:
            return (yield from fn(*args, **kwargs))
        except Exception as error:
            with guards.after(error, args, kwargs):
                raise
        return None

    return guarded


_WRAPPERS: Final = {
    Colour.COROUTINE: _around_coroutine,
    Colour.PLAIN: _around_plain,
    Colour.ASYNC_GENERATOR: _around_async_generator,
    Colour.GENERATOR: _around_generator,
}


@overload
def dead_lettered(
    dlq: AsyncGuarding | BlockingGuarding,
    *,
    message: str | Callable[..., Any] | None = None,
    operation: str | None = None,
    headers: Mapping[str, str] | None = None,
    group: str | None = None,
    deduplication_key: str | None = None,
    suppress: Literal[False] = False,
) -> DeadLettered: ...
@overload
def dead_lettered(
    dlq: AsyncGuarding | BlockingGuarding,
    *,
    message: str | Callable[..., Any] | None = None,
    operation: str | None = None,
    headers: Mapping[str, str] | None = None,
    group: str | None = None,
    deduplication_key: str | None = None,
    suppress: Literal[True],
) -> _Suppressing: ...
def dead_lettered(
    dlq: AsyncGuarding | BlockingGuarding,
    *,
    message: str | Callable[..., Any] | None = None,
    operation: str | None = None,
    headers: Mapping[str, str] | None = None,
    group: str | None = None,
    deduplication_key: str | None = None,
    suppress: bool = False,
) -> DeadLettered | _Suppressing:
    """A decorator that keeps the message of every call that fails.

        @dead_lettered(dlq, message="order")
        async def ship(order, carrier): ...

    The function keeps its colour, name and signature: async functions and async generators with the queue of
    ``resilio``, plain functions and generators with that of ``resilio.sync``. Methods work, too.

    Args:
        dlq: Where the letters go.
        message: What the message is: the name of a parameter, or a plain function of the call's arguments. By default
            all arguments by name, without ``self`` and ``cls``. It is looked at when the call has failed.
        operation: What failed; by default the function's name.
        headers: What to write on the letters.
        group: The letters' group; by default that of the error.
        deduplication_key: While a letter with it is there, no other is kept.
        suppress: Whether the error ends here once its letter is safe; the call then returns None.

    Returns:
        The decorator.

    Raises:
        TypeError, ValueError: An argument is not what it should be; the message names it.

    A call whose letter cannot be kept raises what went wrong with that, from the call's own error. Cancellation is no
    failure. Safe to share between threads and event loops, as the queue is.
    """
    labels = Labels(operation=operation, headers=headers, group=group, deduplication_key=deduplication_key)
    return DeadLettered(dlq, message, labels, suppress=suppress)
