"""Streams that fail after items have come out: begun anew, resumed by a function of the user's, or only told of."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from resilio._core import clock, events
from resilio._core.colour import UnguardableError, name_of
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.policies.events import StreamInterrupted
from resilio.policies.policy import Iteration, Stream, operation_of
from resilio.policies.retry_call import RetryCall
from resilio.policies.wording import told

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from resilio.policies.backoff import BackoffStrategyBase


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedStream:
    """A stream that broke off after its first item, for a function that goes on with it.

    Attributes:
        items: What has come out until now, resumed parts included.
        error: What it broke off with.
        attempt: How many attempts were made, from 1.
        args: The positional arguments that the stream was asked for with.
        kwargs: Its keyword arguments.
        fn: What gave it, without the retry, and under the policies inside of that.
    """

    items: tuple[Any, ...]
    error: Exception
    attempt: int
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    fn: Callable[..., Any] = field(repr=False)

    def again(self, *args: Any, **kwargs: Any) -> Any:
        """The stream once more, with these arguments. Calling the guarded function itself would retry within a retry.

        Args:
            args: Positional arguments for ``fn``.
            kwargs: Keyword arguments for ``fn``.
        """
        return self.fn(*args, **kwargs)


Resume: TypeAlias = "Callable[[InterruptedStream], AsyncGenerator[Any, Any] | Generator[Any, Any, Any] | None]"


# -- begun anew or resumed ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def retried_stream(
    strategy: BackoffStrategyBase,
    fn: Callable[..., AsyncGenerator[Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Stream]:
    """Start the stream ``fn(*args, **kwargs)``, which goes on whenever it fails in a way worth another attempt."""
    yield await Stream.begin(_again_and_again(_RetriedStream(strategy, fn, args, kwargs)))


@contextmanager
def retried_iterator(
    strategy: BackoffStrategyBase,
    fn: Callable[..., Generator[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Generator[Iteration]:
    """`retried_stream` for a plain generator."""
    yield Iteration(_again_and_again_blocking(_RetriedStream(strategy, fn, args, kwargs)))


class _RetriedStream(RetryCall):
    """The attempts of one stream; it pays into the budget as any call does."""

    __slots__ = ("_count", "_items", "_kwargs")

    def __init__(
        self,
        strategy: BackoffStrategyBase,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(strategy, fn, args, kwargs, clock.monotonic())
        self._kwargs = kwargs
        self._count = 0
        self._items: list[Any] | None = None if strategy.resume is None else []
        if strategy.budget is not None:
            strategy.budget.deposit()

    def begin(self) -> Any:
        """The stream from its beginning."""
        return self._fn(*self._args, **self._kwargs)

    def came(self, item: Any) -> None:
        """An item goes out."""
        self._count += 1
        if self._items is not None:
            self._items.append(item)

    async def next_after(self, error: Exception, method: str) -> tuple[float, Any] | None:
        """What follows ``error``: seconds to wait, and the stream to go on with; None if ``error`` is to be raised.

        Args:
            error: What the present stream failed with.
            method: What the next one must have: that of a generator of the right kind.
        """
        strategy = self._strategy
        if self._count and events.listeners:
            operation = operation_of(self._fn, self._args)
            events.emit(StreamInterrupted(operation=operation, items=self._count, error=told(error)))
        wanted = strategy.wants(error) if strategy.retry is None else await self.asks(error)
        attempt = self.attempt
        delay = self.next_delay(error) if wanted else None
        if delay is None:
            return None
        if strategy.resume is None or not self._count:
            return delay, self.begin
        interrupted = InterruptedStream(
            items=tuple(self._items or ()),
            error=error,
            attempt=attempt,
            args=self._args,
            kwargs=self._kwargs,
            fn=self._fn,
        )
        rest = strategy.resume(interrupted)
        if rest is None:
            return None
        if not hasattr(rest, method):
            msg = (
                f"{name_of(strategy.resume)} must return a generator of the kind that it resumes, or None, not {rest!r}"
            )
            raise UnguardableError(msg)
        return delay, lambda: rest

    def ended(self) -> None:
        """The last item has come out."""
        if self.attempt > 1 and events.listeners:
            self.succeeded()


async def _again_and_again(call: _RetriedStream) -> AsyncGenerator[Any, Any]:
    begin: Callable[[], AsyncGenerator[Any, Any]] = call.begin
    while True:
        source = begin()
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                item = await (source.asend(sent) if thrown is None else source.athrow(thrown))
                sent = thrown = None
                call.came(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    thrown = error
        except StopAsyncIteration:
            call.ended()
            return
        except Exception as error:
            # The consumer's own error, which the stream let pass, is no failure of the stream.
            following = None if error is thrown else await call.next_after(error, "asend")
            if following is None:
                raise
            delay, begin = following
        finally:
            thrown = None  # its traceback holds this frame
            await source.aclose()
        if delay:
            await async_pause(delay)


def _again_and_again_blocking(call: _RetriedStream) -> Generator[Any, Any, Any]:
    begin: Callable[[], Generator[Any, Any, Any]] = call.begin
    while True:
        source = begin()
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                item = source.send(sent) if thrown is None else source.throw(thrown)
                sent = thrown = None
                call.came(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    thrown = error
        except StopIteration as end:
            call.ended()
            return end.value
        except Exception as error:
            following = None if error is thrown else drive(call.next_after(error, "send"))
            if following is None:
                raise
            delay, begin = following
        finally:
            thrown = None
            source.close()
        if delay:
            drive(blocking_pause(delay))


# -- only told of ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watched_stream(
    begun: AbstractAsyncContextManager[Stream], fn: Callable[..., Any], args: tuple[Any, ...]
) -> AsyncGenerator[Stream]:
    """A stream that is not retried once it has begun, and tells if it breaks off after that."""
    async with begun as stream:
        stream.source = cast("AsyncGenerator[Any, Any]", _Watched(stream.source, operation_of(fn, args)))
        yield stream


@contextmanager
def watched_iterator(
    begun: AbstractContextManager[Iteration], fn: Callable[..., Any], args: tuple[Any, ...]
) -> Generator[Iteration]:
    """`watched_stream` for a plain generator."""
    with begun as iteration:
        iteration.source = cast("Generator[Any, Any, Any]", _Watched(iteration.source, operation_of(fn, args)))
        yield iteration


class _Watched:
    """A generator of either kind whose first item is out; counts the others, and tells how it broke off."""

    __slots__ = ("_items", "_operation", "_source")

    def __init__(self, source: Any, operation: str) -> None:
        self._source = source
        self._operation = operation
        self._items = 1

    async def asend(self, value: Any) -> Any:
        try:
            item = await self._source.asend(value)
        except Exception as error:
            self._tell(error)
            raise
        self._items += 1
        return item

    async def athrow(self, thrown: BaseException) -> Any:
        try:
            item = await self._source.athrow(thrown)
        except Exception as error:
            self._tell(error, thrown)
            raise
        self._items += 1
        return item

    async def aclose(self) -> None:
        await self._source.aclose()

    def send(self, value: Any) -> Any:
        try:
            item = self._source.send(value)
        except Exception as error:
            self._tell(error)
            raise
        self._items += 1
        return item

    def throw(self, thrown: BaseException) -> Any:
        try:
            item = self._source.throw(thrown)
        except Exception as error:
            self._tell(error, thrown)
            raise
        self._items += 1
        return item

    def close(self) -> None:
        self._source.close()

    def _tell(self, error: Exception, thrown: BaseException | None = None) -> None:
        if error is not thrown and not isinstance(error, (StopAsyncIteration, StopIteration)):
            events.emit(StreamInterrupted(operation=self._operation, items=self._items, error=told(error)))
