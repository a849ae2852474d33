"""Streams that are begun anew also after items have come out: the whole stream is the attempt, not its beginning."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import clock, events
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.policies.policy import Iteration, Stream
from resilio.policies.retry_call import RetryCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from resilio.policies.backoff import BackoffStrategyBase


@asynccontextmanager
async def retried_stream(
    strategy: BackoffStrategyBase,
    fn: Callable[..., AsyncGenerator[Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Stream]:
    """Start the stream ``fn(*args, **kwargs)``, which begins anew whenever it fails in a way worth another attempt."""
    yield await Stream.begin(_again_and_again(_RetriedStream(strategy, fn, args, kwargs), fn, args, kwargs))


@contextmanager
def retried_iterator(
    strategy: BackoffStrategyBase,
    fn: Callable[..., Generator[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Generator[Iteration]:
    """`retried_stream` for a plain generator."""
    yield Iteration(_again_and_again_blocking(_RetriedStream(strategy, fn, args, kwargs), fn, args, kwargs))


class _RetriedStream(RetryCall):
    """The attempts of one stream; it pays into the budget as any call does."""

    __slots__ = ()

    def __init__(
        self,
        strategy: BackoffStrategyBase,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(strategy, fn, args, kwargs, clock.monotonic())
        if strategy.budget is not None:
            strategy.budget.deposit()

    async def delay_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None if ``error`` is to be raised."""
        strategy = self._strategy
        wanted = strategy.wants(error) if strategy.retry is None else await self.asks(error)
        return self.next_delay(error) if wanted else None

    def ended(self) -> None:
        """The last item has come out."""
        if self.attempt > 1 and events.listeners:
            self.succeeded()


async def _again_and_again(
    call: _RetriedStream,
    fn: Callable[..., AsyncGenerator[Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Any, Any]:
    while True:
        source = fn(*args, **kwargs)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                item = await (source.asend(sent) if thrown is None else source.athrow(thrown))
                sent = thrown = None
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
            delay = None if error is thrown else await call.delay_after(error)
            if delay is None:
                raise
        finally:
            thrown = None  # its traceback holds this frame
            await source.aclose()
        if delay:
            await async_pause(delay)


def _again_and_again_blocking(
    call: _RetriedStream,
    fn: Callable[..., Generator[Any, Any, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Generator[Any, Any, Any]:
    while True:
        source = fn(*args, **kwargs)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                item = source.send(sent) if thrown is None else source.throw(thrown)
                sent = thrown = None
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
            delay = None if error is thrown else drive(call.delay_after(error))
            if delay is None:
                raise
        finally:
            thrown = None
            source.close()
        if delay:
            drive(blocking_pause(delay))
