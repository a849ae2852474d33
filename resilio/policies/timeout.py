"""Timeout: no call takes longer than it is given.

**About.** When ``seconds`` have passed the call is cancelled, and `OperationTimeoutError` (also a builtin
``TimeoutError``) is raised in its place. It is raised only if this very timer fired: a cancellation from outside
passes through as what it is, and a result that is in when the timer fires is returned.

**Usage.** ::

    @Timeout(10)
    async def ask(prompt: str) -> str: ...

    await Timeout(10).execute(client.post, url)

    async with Timeout(10):
        await client.post(url)

Where it stands in a pipeline says what it limits: outside of the retry all attempts together, inside of it each one.

**Defaults.** None: nobody but you knows how long is too long.

**Generators.** The time runs until the first item is there; a streamed body may take as long as its consumer does.

**Blocking code.** A thread cannot be cancelled. The call runs in a worker thread (with the caller's context variables),
and on timeout is left behind to end on its own; its result is dropped. Where the client has a timeout of its own,
prefer that.

**Events.** `TimedOut`.

**Patterns.**

- *Two of them:* ``Pipeline(Timeout(30), BackoffStrategy(), Timeout(10))``, for the user's patience and for an attempt.
- *A little above the slowest good answer:* its 99.9th percentile, say, not its mean.

**Anti-patterns.**

- *A timeout for all attempts that is shorter than one attempt's.* Bad: ``Pipeline(Timeout(5), Timeout(10))``. Good: the
  other way round. Why: the inner one never fires; a pipeline refuses it.
- *Around a retry in blocking code, alone.* Bad: ``sync.Pipeline(Timeout(30), BackoffStrategy())``. Good:
  ``BackoffStrategy(max_duration=30)`` inside. Why: the thread that is left behind goes on with its attempts.
- *Around what must not be half done.* Bad: around a transaction's commit. Good: around the calls before it. Why: the
  cancelled call may have had its effect.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from resilio._core import durations, events
from resilio._core.colour import is_unfinished
from resilio._core.pauses import async_pause
from resilio.errors import OperationTimeoutError
from resilio.policies.deadline import AsyncioDeadline, TrioDeadline, deadline
from resilio.policies.description import Description
from resilio.policies.events import TimedOut
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream, operation_of
from resilio.policies.threaded_call import Race

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall


class TimeoutBase(Policy):
    """A timeout without the forms that have a colour; see `Timeout`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: Duration) -> None:
        self.seconds: float = durations.seconds("seconds", seconds, above=0)
        self._prepare()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} seconds={self.seconds:g}>"

    def describe(self) -> Description:
        return Description("Timeout", (("seconds", self.seconds),))

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        seconds = self.seconds

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            limit = deadline(seconds)
            try:
                result = await fn(*args, **kwargs)
            except BaseException as error:
                if limit.end(error):
                    raise timed_out(operation_of(fn, args), seconds) from error
                raise
            limit.end(None)
            return result

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            call = Race(functools.partial(fn, *args, **kwargs))
            call.start()
            if not call.is_over_within(self.seconds) and call.abandon():
                raise timed_out(operation_of(fn, args), self.seconds)
            result = call.outcome()
            if is_unfinished(result):
                return self.guard_returned(fn, result, args, kwargs)
            return result

        return guarded

    def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Stream]:
        return self._begin_stream(fn, args, kwargs)

    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractContextManager[Iteration]:
        return self._begin_iterator(fn, args, kwargs)

    async def open_block(self, pause: Pause) -> AbstractContextManager[object]:
        # Blocking code cannot be moved to another thread in the middle of a function.
        return _Block(self.seconds) if pause is async_pause else await super().open_block(pause)


class Timeout(AsyncForms, TimeoutBase):
    """Limits how long a call may take; see this module for the whole story.

    Args:
        seconds: Above 0.

    Raises:
        TypeError: ``seconds`` is neither a number nor a ``timedelta``.
        ValueError: It is not above 0.

    Safe to share between tasks, threads and event loops.

        >>> Timeout(10)
        <Timeout seconds=10>
    """

    __slots__ = ()


class _Block:
    """An ``async with Timeout(...)`` block under way."""

    __slots__ = ("_limit", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limit: AsyncioDeadline | TrioDeadline = deadline(seconds)

    def __enter__(self) -> None:
        """The block has begun with this object."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._limit.end(error):
            msg = "block"
            raise timed_out(msg, self._seconds) from error


def timed_out(operation: str, seconds: float) -> OperationTimeoutError:
    """Tell that an operation took longer than it was given; the error to raise."""
    if events.listeners:
        events.emit(TimedOut(operation=operation, seconds=seconds))
    return OperationTimeoutError(f"{operation} took longer than {seconds:g} s", seconds=seconds, operation=operation)
