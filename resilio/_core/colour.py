"""Telling which kind of function one has in hand, so that a wrapper is of the same kind.

There are four colours, and one rule: what is wrapped is guarded or refused, never passed through unguarded. Two shapes
show their colour only when called: a lambda that returns a coroutine, and a plain function that returns a generator.
`is_awaitable` and `refuse_lazy` look at what came back.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator


class Colour(Enum):
    """What calling a function gives: a value, a coroutine, or something to iterate over."""

    PLAIN = "plain"
    COROUTINE = "coroutine"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


def colour_of(fn: object) -> Colour:
    """Tell the colour of any callable: function, bound method, partial, or object with ``__call__``.

    Raises:
        TypeError: ``fn`` is not callable, or is a shape that a wrapper could not guard: a class, or a function that
            returns a context manager.
    """
    if not callable(fn):
        msg = f"expected a callable, not {fn!r} ({type(fn).__name__})"
        raise TypeError(msg)
    target = innermost(fn)
    if _is_context_manager_function(target):
        msg = f"{name_of(fn)} returns a context manager, whose block a wrapper does not see; guard what is inside it"
        raise TypeError(msg)
    if inspect.isasyncgenfunction(target):
        return Colour.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(target):
        return Colour.COROUTINE
    if inspect.isgeneratorfunction(target):
        return Colour.GENERATOR
    return Colour.PLAIN


def innermost(fn: Any) -> Any:
    """The function that a call of ``fn`` ends in: below partials, bound methods and ``__call__``."""
    while True:
        if isinstance(fn, (functools.partial, functools.partialmethod)):
            fn = fn.func
        elif inspect.ismethod(fn):
            fn = fn.__func__
        elif inspect.isroutine(fn) or isinstance(fn, type):
            return fn
        else:
            fn = type(fn).__call__


def name_of(fn: object) -> str:
    """A name for error messages and events: ``module.qualname`` where there is one."""
    target = innermost(fn) if callable(fn) and not hasattr(fn, "__qualname__") else fn
    qualname = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(fn).__qualname__
    module = getattr(target, "__module__", None)
    return f"{module}.{qualname}" if module and module != "builtins" else qualname


def is_awaitable(result: object) -> TypeGuard[Awaitable[Any]]:
    """Tell whether ``result`` must still be awaited to have happened."""
    return hasattr(type(result), "__await__")  # as `await` itself looks: a proxy answers to any attribute


class UnguardableError(TypeError):
    """What was called is of a shape that nobody could guard. The program is wrong, not the call.

    No retry repeats it and no fallback answers for it: either would hide it.
    """


# What a call returned, but has not run yet: whoever guards the call has guarded nothing.
LAZY_RESULTS = frozenset(
    {
        types.GeneratorType,
        types.AsyncGeneratorType,
        contextlib._GeneratorContextManager,  # noqa: SLF001 -- there is no public name for these two
        contextlib._AsyncGeneratorContextManager,  # noqa: SLF001
    }
)


# Types whose instances are known to be finished results; hot paths look here before they ask `is_unfinished`.
FINISHED: set[type] = {type(None), bool, int, float, str, bytes, list, tuple, dict, set}
_FINISHED_KEPT = 1000


def is_unfinished(result: object) -> bool:
    """Tell whether ``result`` has yet to run: an awaitable, a generator, a context manager.

    The answer depends on the type alone; a finished type is remembered, up to a thousand of them.
    """
    kind = type(result)
    if hasattr(kind, "__await__") or kind in LAZY_RESULTS:
        return True
    if len(FINISHED) < _FINISHED_KEPT:
        FINISHED.add(kind)
    return False


def refuse_lazy(fn: object, result: object) -> None:
    """Raise if ``result`` is a generator or a context manager: nothing has run yet, so nothing was guarded.

    Raises:
        UnguardableError: See above.
    """
    if type(result) in LAZY_RESULTS:
        close = getattr(result, "close", None)
        if close is not None:
            close()
        kind = type(result).__name__.lstrip("_")
        msg = f"{name_of(fn)} returned a {kind}, which would run unguarded; decorate the generator function itself"
        raise UnguardableError(msg)


def refuse_to_decorate(fn: object) -> None:
    """Raise for what a decorator cannot stand in for.

    Raises:
        TypeError: ``fn`` is a class.
    """
    if isinstance(fn, type):
        msg = f"cannot decorate the class {fn.__qualname__}; decorate its methods"
        raise TypeError(msg)


def refuse_unless_plain(name: str, fn: object) -> None:
    """Raise if ``fn``, a predicate or the like given as ``name``, cannot answer at once.

    What an async function returns before it is awaited is true: as a predicate it would say yes to everything.

    Raises:
        TypeError: ``fn`` is not callable, or async, or a generator function.
    """
    if not callable(fn):
        msg = f"{name} must be callable, not {fn!r}"
        raise TypeError(msg)
    if colour_of(fn) is not Colour.PLAIN:
        msg = f"{name} must be a plain function, neither async nor a generator, not {fn!r}"
        raise TypeError(msg)


def _is_context_manager_function(fn: object) -> bool:
    # `contextlib.contextmanager` leaves a helper of its own code object around the generator function.
    code = getattr(fn, "__code__", None)
    return code is not None and code in _CONTEXT_MANAGER_HELPERS


@contextlib.contextmanager
def _probe() -> Generator[None]:
    yield


@contextlib.asynccontextmanager
async def _async_probe() -> AsyncGenerator[None]:
    yield


_CONTEXT_MANAGER_HELPERS = frozenset({_probe.__code__, _async_probe.__code__})
