"""Fallback: when a call fails for good, answer with something better than an error.

**About.** If the call raises an error that ``on`` covers, the fallback's value is returned instead, or what its
function makes of the error.

**Usage.** ::

    @Fallback("Meow? (DadaCat is taking a catnap.)", on=CircuitBreakerOpenError)
    async def reply(message: str) -> str: ...

    cached = Fallback(lambda error: cache.latest())
    await cached.execute(fetch, url)

Chain them: ``Pipeline(Fallback(last_resort), Fallback(from_cache), Timeout(10))``; the inner one answers first, and if
its function fails, the outer one sees that error, with the first one in its ``__context__``.

**Generators.** A failure before the first item is replaced by a stream of the one value (or by the async generator that
the function returned); a failure after it is raised, for half an answer has been given.

**Defaults.** It answers for every ``Exception``.

**Events.** `FellBack`.

**Never caught**: cancellation, ``KeyboardInterrupt``, ``SystemExit``.

**Patterns.**

- *Outermost in a pipeline:* it answers when all else has failed.
- *Degrade in steps:* the live answer, a cached one, a fixed one; a chain of fallbacks, the best innermost.
- *Name what you answer for:* ``on=(CircuitBreakerOpenError, RetryExhaustedError)``.

**Anti-patterns.**

- *A fallback that calls the same dependency.* Bad: ``Fallback(lambda error: fetch(url))``. Good: a cache, another
  provider. Why: it fails at the same moment, and doubles the load.
- *Inside of the retry or the breaker.* Bad: ``Pipeline(BackoffStrategy(), Fallback("Meow?"))``. Good: the other way
  round. Why: what has been answered has not failed, so nothing is retried and no circuit opens.
- *For bugs.* Bad: ``on=Exception`` around code that may have a ``TypeError``. Good: the errors that you expect. Why:
  nobody notices the bug.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import events
from resilio._core.colour import (
    FINISHED,
    UnguardableError,
    is_awaitable,
    is_unfinished,
    name_of,
    refuse_unless_plain,
)
from resilio.policies.description import Description
from resilio.policies.events import FellBack
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream, operation_of
from resilio.policies.wording import told

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from resilio.policies.policy import AsyncCall, PlainCall


class FallbackBase(Policy):
    """A fallback without the forms that have a colour; see `Fallback`."""

    __slots__ = ("_answer", "_on", "_value")

    def __init__(
        self,
        value_or_fn: object,
        *,
        on: type[Exception] | Iterable[type[Exception]] | Callable[[Exception], bool] = Exception,
    ) -> None:
        self._value = value_or_fn
        self._answer = _of_the_error(value_or_fn) if callable(value_or_fn) else None
        self._on = _checked(on)
        self._prepare()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._value!r}>"

    def describe(self) -> Description:
        shown = self._value if self._answer is None else name_of(self._value)
        return Description("Fallback", (("value_or_fn", shown), ("on", self._on)))

    def _covers(self, error: Exception) -> bool:
        on = self._on
        if isinstance(error, UnguardableError):
            return False
        return isinstance(error, on) if isinstance(on, (type, tuple)) else bool(on(error))

    async def _substitute(self, error: Exception) -> Any:
        """What stands in for the result, awaited if it must be."""
        if self._answer is None:
            return self._value
        answer = self._answer(error)
        return await answer if is_awaitable(answer) else answer

    def _plain_substitute(self, error: Exception) -> Any:
        """What stands in for the result.

        Raises:
            UnguardableError: It would have to be awaited.
        """
        if self._answer is None:
            return self._value
        answer = self._answer(error)
        if is_awaitable(answer):
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            msg = f"the fallback function {name_of(self._value)} is async, and the function that failed is not"
            raise UnguardableError(msg)
        return answer

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return await fn(*args, **kwargs)
            except Exception as error:
                if not self._covers(error):
                    raise
                substitute = await self._substitute(error)
                _tell(fn, args, error)
                return substitute

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                if not self._covers(error):
                    raise
                substitute = self._plain_substitute(error)
                _tell(fn, args, error)
                return substitute
            if type(result) not in FINISHED and is_unfinished(result):
                return self.guard_returned(fn, result, args, kwargs)
            return result

        return guarded

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        try:
            stream = await Stream.begin(fn(*args, **kwargs))
        except Exception as error:
            if not self._covers(error):
                raise
            stream = await Stream.begin(_stream_of(await self._substitute(error)))
            _tell(fn, args, error)
        yield stream

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        try:
            iteration = Iteration(fn(*args, **kwargs))
        except Exception as error:
            if not self._covers(error):
                raise
            iteration = Iteration(_iterator_of(self._plain_substitute(error)))
            _tell(fn, args, error)
        yield iteration


class Fallback(AsyncForms, FallbackBase):
    """Answers in place of a failed call; see this module for the whole story.

    Args:
        value_or_fn: The answer, or a function (async or plain) that makes it, from the error if it takes an argument.
        on: The errors it answers for: a class, several, or a predicate.

    Raises:
        TypeError: ``on`` is none of these, or covers more than ``Exception``.

    Safe to share between tasks, threads and event loops.

        >>> import asyncio
        >>> asyncio.run(Fallback("unknown", on=LookupError).execute({}.__getitem__, "name"))
        'unknown'
    """

    __slots__ = ()


def _tell(fn: PlainCall, args: tuple[Any, ...], error: Exception) -> None:
    if events.listeners:
        events.emit(FellBack(operation=operation_of(fn, args), error=told(error)))


def _stream_of(substitute: object) -> AsyncGenerator[Any, Any]:
    return substitute if isinstance(substitute, AsyncGenerator) else _items_of(substitute)


async def _items_of(substitute: object) -> AsyncGenerator[Any, Any]:
    if isinstance(substitute, AsyncIterator):
        async for item in substitute:
            yield item
    else:
        yield substitute


def _iterator_of(substitute: object) -> Generator[Any, Any, Any]:
    if isinstance(substitute, Iterator):
        return (yield from substitute)
    yield substitute
    return None


def _of_the_error(fn: Callable[..., Any]) -> Callable[[Exception], Any]:
    if fn in (list, dict, set, frozenset, tuple):  # an empty one, made anew each time; of an error they cannot be made
        return lambda _error: fn()
    try:
        inspect.signature(fn).bind(Exception())
    except TypeError:
        return lambda _error: fn()
    except ValueError:  # some builtins do not tell their signature
        return fn
    return fn


def _checked(on: Any) -> type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]:
    if callable(on) and not isinstance(on, type):
        refuse_unless_plain("on", on)
        return on  # type: ignore[no-any-return]
    kinds = tuple(on) if isinstance(on, Iterable) else (on,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return on if isinstance(on, type) else kinds
    msg = f"on must be an Exception class, several of them, or a predicate, not {on!r}"
    raise TypeError(msg)
