"""``@handles_errors``: a handler whose error ends in its state, whatever colour the handler has."""

# ruff: noqa: SLF001 -- a decorated handler and its state are one thing in two files
from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from resilio._core.colour import Colour, UnguardableError, colour_of, is_unfinished, name_of, refuse_to_decorate
from resilio.web.state.behaviour import ErrorStateBehaviour
from resilio.web.state.handler_call import HandlerCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping

__all__ = ("HandlesErrors", "handles_errors")

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")
S = TypeVar("S")


class HandlesErrors:
    """Decorates handlers; what `handles_errors` returns. Can decorate any number of them."""

    __slots__ = ("_context", "_operation", "_retryable")

    def __init__(self, operation: str, retryable: bool | None, context: Mapping[str, object]) -> None:  # noqa: FBT001
        self._operation = operation
        self._retryable = retryable
        self._context = context

    @overload
    def __call__(self, fn: Callable[P, AsyncGenerator[Y, S]]) -> Callable[P, AsyncGenerator[Y, S]]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[Y]]) -> Callable[P, AsyncIterator[Y]]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R | None]]: ...
    @overload
    def __call__(self, fn: Callable[P, Generator[Y, S, R]]) -> Callable[P, Generator[Y, S, R | None]]: ...
    @overload
    def __call__(self, fn: Callable[P, Iterator[Y]]) -> Callable[P, Iterator[Y]]: ...
    @overload
    def __call__(self, fn: Callable[P, R]) -> Callable[P, R | None]: ...
    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate ``fn``; the result is a function of the same colour, with its name and its signature.

        Raises:
            TypeError: ``fn`` is a class, or returns a context manager.
        """
        refuse_to_decorate(fn)
        colour = colour_of(fn)
        if colour is Colour.COROUTINE:
            return self._coroutine(fn)
        if colour is Colour.ASYNC_GENERATOR:
            return self._async_generator(fn)
        if colour is Colour.GENERATOR:
            return self._generator(fn)
        return self._plain(fn)

    def _begin(
        self, state: object, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ErrorStateBehaviour, HandlerCall]:
        if not isinstance(state, ErrorStateBehaviour):
            msg = f"{name_of(fn)} handles errors, so it must be a method of an ErrorStateMixin, not of {state!r}"
            raise TypeError(msg)
        # `state.__class__`, not `type(state)`: a framework may hand out proxies.
        call = HandlerCall(
            state.__class__, fn.__name__, args, kwargs, operation=self._operation, retryable=self._retryable
        )
        return state, call

    # -- one for each colour; the wrapper must be a real function, for frameworks look inside --------------------------

    def _coroutine(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(fn)
        async def guarded(state: Any, /, *args: Any, **kwargs: Any) -> Any:
            state, call = self._begin(state, fn, args, kwargs)
            with call:
                await state._forget_error_of(call)
                try:
                    return await fn(state, *args, **kwargs)
                except Exception as error:
                    await state.handle_error(error, self._operation, **self._context)
                    return None

        return guarded

    def _plain(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def guarded(state: Any, /, *args: Any, **kwargs: Any) -> Any:
            state, call = self._begin(state, fn, args, kwargs)
            with call:
                state._forget_error_of_now(call)
                try:
                    result = fn(state, *args, **kwargs)
                except Exception as error:
                    return state._handle_error_now(error, self._operation, self._context)
            if is_unfinished(result):
                close = getattr(result, "close", None)
                if close is not None:
                    close()
                msg = f"{name_of(fn)} returned a {type(result).__name__}, whose errors nobody would handle"
                raise UnguardableError(msg)
            return result

        return guarded

    def _async_generator(self, fn: Callable[..., AsyncGenerator[Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(fn)
        async def guarded(state: Any, /, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            state, call = self._begin(state, fn, args, kwargs)
            with call:
                await state._forget_error_of(call)
            source = fn(state, *args, **kwargs)
            step = functools.partial(source.asend, None)
            try:
                while True:  # the call is the current one only while the handler itself runs
                    with call:
                        item = await step()
                    try:
                        step = functools.partial(source.asend, (yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as thrown:
                        step = functools.partial(source.athrow, thrown)
            except StopAsyncIteration:
                return
            except Exception as error:
                with call:
                    await state.handle_error(error, self._operation, **self._context)
            finally:
                await source.aclose()

        return guarded

    def _generator(self, fn: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def guarded(state: Any, /, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            state, call = self._begin(state, fn, args, kwargs)
            state._forget_error_of_now(call)
            source = fn(state, *args, **kwargs)
            step = functools.partial(source.send, None)
            try:
                while True:
                    with call:
                        item = step()
                    try:
                        step = functools.partial(source.send, (yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as thrown:
                        step = functools.partial(source.throw, thrown)
            except StopIteration as end:
                return end.value
            except Exception as error:
                with call:
                    return state._handle_error_now(error, self._operation, self._context)
            finally:
                source.close()

        return guarded


def handles_errors(operation: str, /, *, retryable: bool | None = None, **context: object) -> HandlesErrors:
    """Let a handler's error end in its state: reported, shown, cleared after a while, tried again on request.

    For methods of an `ErrorStateMixin` of any colour: async, plain, and generators that ``yield`` updates. The handler
    keeps its colour, name and signature; one that failed returns None. Cancellation passes through.

        class State(ErrorStateMixin):
            @handles_errors("source_connection", retryable=True)
            async def connect(self, source: str) -> None: ...

    A new call of the handler takes away what is still shown of its last failure. Works on any event loop, and in plain
    code without one: there a notifier is waited for, while a plain handler on a loop tells it in the background.

    Args:
        operation: What the handler does, the same each time: ``"source_connection"``.
        retryable: Whether another try is offered. None: if the report says that it may help. True: always, but for bad
            input, which would be refused again. False: never, because doing it twice would do harm.
        context: What else is known, for the report and for ``error_context``; ``locale="de"`` chooses the language.

    Returns:
        A decorator.

    Raises:
        TypeError: ``operation`` is no text, as when the decorator stands without its parentheses.
        ValueError: ``operation`` is empty.
    """
    if not isinstance(operation, str):
        msg = f'operation must be a text, as in @handles_errors("source_connection"), not {operation!r}'
        raise TypeError(msg)
    if not operation:
        msg = "operation must be a text that is not empty"
        raise ValueError(msg)
    if retryable is not None and not isinstance(retryable, bool):
        msg = f"retryable must be True, False or None, not {retryable!r}"
        raise TypeError(msg)
    return HandlesErrors(operation, retryable, cast("Mapping[str, object]", context))
