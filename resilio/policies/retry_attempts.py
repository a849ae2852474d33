"""Retrying a block instead of a function: ``async for attempt in strategy: with attempt: ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from resilio._core import clock
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.policies.retry_call import RetryCall
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from types import TracebackType

    from resilio.policies.backoff import BackoffStrategyBase


class Attempt:
    """One attempt, a context manager around the block. An error worth another attempt ends the block quietly.

    Attributes:
        number: Counts from 1.
    """

    __slots__ = ("_attempts", "_result", "number")

    def __init__(self, attempts: _Attempts, number: int) -> None:
        self._attempts: _Attempts | None = attempts
        self._result: object = None
        self.number: int = number

    def set_result(self, result: object) -> None:
        """Tell what the block came to, for a strategy that looks at results."""
        self._result = result

    def __enter__(self) -> Self:
        if self._attempts is None or self._attempts.is_entered:
            msg = "an attempt is entered once: put all of its work into one `with attempt:`"
            raise RuntimeError(msg)
        self._attempts.is_entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        # The error's traceback holds the caller's frame, which holds this attempt: let it lead no further.
        attempts, self._attempts = self._attempts, None
        return attempts is not None and attempts.settle(error, self._result)


class _Attempts:
    """The attempts of one loop: a fresh object each time a strategy is iterated."""

    __slots__ = ("_call", "_error", "_is_over", "_is_waiting", "_result", "_strategy", "is_entered")

    def __init__(self, strategy: BackoffStrategyBase) -> None:
        self._strategy = strategy
        self._call = RetryCall(strategy, block, (), {}, clock.monotonic())
        self._is_over = False
        self._is_waiting = False  # whether an attempt has failed and the next one has not begun
        self._error: Exception | None = None
        self._result: object = None
        self.is_entered: bool = True

    def settle(self, error: BaseException | None, result: object) -> bool:
        """The block ended; tell whether its error is to be forgotten because another attempt may follow."""
        call = self._call
        if error is None:
            if drive(call.refuses(result)):
                self._is_waiting, self._result = True, result
                return False
            if call.attempt > 1:
                call.succeeded()
        elif isinstance(error, Exception) and self._wants(error):
            self._is_waiting, self._error = True, error
            return True
        self._is_over = True
        return False

    def _check_entered(self) -> None:
        if not self.is_entered:
            msg = "the attempt before this one was never entered; write `with attempt:` around the work"
            raise RuntimeError(msg)
        self.is_entered = False

    def _wants(self, error: Exception) -> bool:
        return self._strategy.wants(error) if self._strategy.retry is None else drive(self._call.asks(error))

    async def _delay(self, *, may_await: bool) -> float:
        error, result = self._error, self._result
        self._is_waiting, self._error, self._result = False, None, None
        self._is_over = True  # unless another attempt follows
        try:
            delay = self._call.next_delay(error, result)
            if delay is None and error is not None:
                raise error
            await close_unseen(result, may_await=may_await)
        finally:
            del error  # its traceback holds this frame
        self._is_over = False
        return delay or 0.0


class AsyncAttempts(_Attempts):
    """The attempts of one ``async for``."""

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        if self._is_over:
            raise StopAsyncIteration
        if self._is_waiting:
            await async_pause(await self._delay(may_await=True))
        self._check_entered()
        return Attempt(self, self._call.attempt)


class BlockingAttempts(_Attempts):
    """The attempts of one ``for``."""

    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt:
        if self._is_over:
            raise StopIteration
        if self._is_waiting:
            drive(blocking_pause(drive(self._delay(may_await=False))))
        self._check_entered()
        return Attempt(self, self._call.attempt)


def block() -> None:
    """Stands for the block in names and tenacity states: a block is not a function."""
