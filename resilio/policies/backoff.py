"""Retry with exponential backoff: try again what may work in a moment, and spread the load while waiting.

**About.** The first attempt runs bare. If it fails in a way worth another try, the strategy waits (a random time below
``base_delay * exponential_base ** n``, capped by ``max_delay``) and tries again, ``max_retries`` times at most.

**Usage.** ::

    @with_backoff(base_delay=0.5, max_delay=30, max_retries=5, retry_exceptions=[httpx.TransportError])
    async def fetch(url: str) -> bytes: ...

    strategy = BackoffStrategy(max_retries=3)
    await strategy.execute(client.get, url, retry_exceptions=(httpx.TransportError,))

    async for attempt in strategy:
        with attempt:
            await step_one()
            await step_two()

**Defaults.** 5 retries, from 1 s, at most 60 s each, full jitter, on what `resilio.is_transient` says. Delays and count
are read from ``BACKOFF_BASE_DELAY``, ``BACKOFF_MAX_DELAY`` and ``BACKOFF_MAX_RETRIES``.

**Events.** `RetryScheduled`, `RetryGivenUp`, `RetrySucceeded`, `StreamInterrupted`.

**Never retried**, whatever predicate is given: cancellation, ``KeyboardInterrupt``, ``SystemExit``. An open circuit
ends a retry at once, unless ``wait_for_circuit=True``.

**Retry-After.** What a server asks for, on the error or in the headers of its response, lengthens the wait, up to
``max_retry_after``.

**Refused results.** With ``retry_result`` an answer can be refused as an error is. It is closed before the wait, by its
``aclose`` or ``close``; the last one is on ``RetryExhaustedError.last_result``, open, for whoever catches that.

**Generators** are retried only until their first item: half an answer cannot be taken back. With
``retry_started_streams=True`` they are begun anew whenever they fail, and items that were out already come twice. The
attempts are those of the whole stream, and an error thrown in by the consumer is none of its failures. With ``resume``
a function of yours goes on where the stream broke off: it is given the items so far, and returns the rest. ::

    def go_on(broken: InterruptedStream) -> AsyncGenerator[str]:
        return broken.again(*broken.args, so_far="".join(broken.items))

    @with_backoff(resume=go_on)
    async def complete(prompt: str, so_far: str = "") -> AsyncGenerator[str]: ...

**Patterns.**

- *A bound on the whole:* ``max_duration=20``. After 20 s no attempt starts, and the last wait is cut short; one that is
  under way goes on. What must end by then stands inside of a `Timeout`.
- *One budget per dependency:* ``budget=RetryBudget()`` at the top of the module, given to every retry that leads there.
- *Outside of timeout and circuit breaker:* each attempt has a time of its own, and each is counted.

**Anti-patterns.**

- *Retrying what is not idempotent.* Bad: around ``charge(card)``. Good: around ``charge(card, idempotency_key=key)``.
  Why: a payment that timed out may have gone through.
- *Retries at every layer.* Bad: 3 retries each in client, service and handler. Good: one of them retries, or all share
  a `RetryBudget`. Why: they multiply, to 64 calls out of one.
- *Retrying errors that stay.* Bad: ``retry_exceptions=Exception``. Good: ``retry_exceptions=[httpx.TransportError]``.
  Why: a bug fails as surely the sixth time, and a minute later.
- *Restarting a stream whose items count.* Bad: ``retry_started_streams=True`` before a sum. Good: ``resume``, or items
  with an id, of which the consumer drops those it has. Why: every item until the failure comes again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from resilio import settings
from resilio._core import clock, durations, events
from resilio._core.colour import FINISHED, UnguardableError, is_unfinished
from resilio._core.drive import drive
from resilio._core.pauses import async_pause, blocking_pause
from resilio.errors import CircuitBreakerOpenError, RetryExhaustedError, is_transient
from resilio.policies.backoff_settings import (
    checked_budget,
    checked_delay,
    checked_jitter,
    checked_max_retries,
    checked_result_predicate,
    checked_resume,
    checked_retry_exceptions,
    checked_tenacity_strategy,
)
from resilio.policies.description import Description
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream
from resilio.policies.retry_call import RetryCall
from resilio.policies.retry_plan import BackoffPlan, Jitter
from resilio.policies.retry_streams import retried_iterator, retried_stream, watched_iterator, watched_stream
from resilio.policies.unseen import close_unseen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from tenacity.retry import RetryBaseT
    from tenacity.stop import StopBaseT
    from tenacity.wait import WaitBaseT

    from resilio._core.durations import Duration
    from resilio.policies.policy import AsyncCall, PlainCall
    from resilio.policies.retry_attempts import AsyncAttempts
    from resilio.policies.retry_budget import RetryBudget
    from resilio.policies.retry_streams import Resume

T = TypeVar("T")

_NOT_ASKED_ABOUT = (CircuitBreakerOpenError, UnguardableError)

RetryExceptions: TypeAlias = "type[Exception] | Iterable[type[Exception]] | Callable[[Exception], bool]"


class BackoffStrategyBase(Policy):
    """A strategy without the forms that have a colour; see `BackoffStrategy`."""

    __slots__ = (
        "_is_timed",
        "budget",
        "plan",
        "reraise",
        "resume",
        "retry",
        "retry_exceptions",
        "retry_result",
        "retry_started_streams",
        "stop",
        "uses_tenacity",
        "wait",
        "wait_for_circuit",
    )

    def __init__(
        self,
        *,
        base_delay: Duration | None = None,
        max_delay: Duration | None = None,
        max_retries: int | None = None,
        exponential_base: float = 2.0,
        jitter: Jitter | bool | None = "full",
        retry_exceptions: RetryExceptions | None = None,
        retry_result: Callable[[Any], bool] | None = None,
        max_duration: Duration | None = None,
        max_retry_after: Duration = 300.0,
        budget: RetryBudget | None = None,
        wait: WaitBaseT | None = None,
        stop: StopBaseT | None = None,
        retry: RetryBaseT | None = None,
        wait_for_circuit: bool = False,
        reraise: bool = False,
        retry_started_streams: bool = False,
        resume: Resume | None = None,
    ) -> None:
        self.plan: BackoffPlan = BackoffPlan(
            base_delay=checked_delay("base_delay", base_delay, settings.BACKOFF_BASE_DELAY),
            max_delay=checked_delay("max_delay", max_delay, settings.BACKOFF_MAX_DELAY),
            exponential_base=durations.number("exponential_base", exponential_base, at_least=1),
            jitter=checked_jitter(jitter),
            max_retries=checked_max_retries(max_retries, stop),
            max_duration=durations.optional(durations.seconds, "max_duration", max_duration, above=0),
            max_retry_after=durations.seconds("max_retry_after", max_retry_after),
        )
        self.retry_exceptions: tuple[type[Exception], ...] | Callable[[Exception], bool] | None = (
            checked_retry_exceptions(retry_exceptions)
        )
        self.retry_result: Callable[[Any], bool] | None = checked_result_predicate(retry_result)
        self.budget: RetryBudget | None = checked_budget(budget)
        self.uses_tenacity: bool = any(each is not None for each in (wait, stop, retry))
        self.wait: WaitBaseT | None = checked_tenacity_strategy("wait", wait)
        self.stop: StopBaseT | None = checked_tenacity_strategy("stop", stop)
        self.retry: RetryBaseT | None = checked_tenacity_strategy("retry", retry, may_be_async=True)
        self.wait_for_circuit: bool = durations.flag("wait_for_circuit", wait_for_circuit)
        self.reraise: bool = durations.flag("reraise", reraise)
        self.retry_started_streams: bool = durations.flag("retry_started_streams", retry_started_streams)
        self.resume: Resume | None = checked_resume(resume, restarts=self.retry_started_streams)
        # tenacity strategies are told the seconds since the start, which is before the first attempt.
        self._is_timed = self.uses_tenacity or self.plan.max_duration is not None
        self._prepare()

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"<{type(self).__name__} max_retries={plan.max_retries} base_delay={plan.base_delay:g} "
            f"max_delay={plan.max_delay:g} jitter={plan.jitter!r}>"
        )

    def describe(self) -> Description:
        plan = self.plan
        optional = (
            "retry_exceptions",
            "retry_result",
            "budget",
            "wait",
            "stop",
            "retry",
            "wait_for_circuit",
            "reraise",
            "retry_started_streams",
            "resume",
        )
        given = ((name, getattr(self, name)) for name in optional)
        return Description(
            "BackoffStrategy",
            (
                ("max_retries", plan.max_retries),
                ("base_delay", plan.base_delay),
                ("max_delay", plan.max_delay),
                ("exponential_base", plan.exponential_base),
                ("jitter", plan.jitter),
                ("max_duration", plan.max_duration),
                ("max_retry_after", plan.max_retry_after),
                *((name, value) for name, value in given if value is not None and value is not False),
            ),
        )

    # -- what is worth another try ---------------------------------------------------------------------------------

    def wants(self, error: Exception) -> bool:
        """Tell whether ``error`` is worth another attempt, as far as it alone can say."""
        if isinstance(error, _NOT_ASKED_ABOUT):
            return self.wait_for_circuit and isinstance(error, CircuitBreakerOpenError)
        chosen = self.retry_exceptions
        if chosen is None:
            # Another retry has tried that one often enough; more of them would multiply.
            return is_transient(error) and not isinstance(error, RetryExhaustedError)
        return isinstance(error, chosen) if isinstance(chosen, tuple) else bool(chosen(error))

    @classmethod
    def like(cls, other: BackoffStrategyBase, *, retry_exceptions: RetryExceptions | None = None) -> Self:
        """The settings of ``other`` in this class's colour, with other ``retry_exceptions`` if given."""
        twin = cls.__new__(cls)
        for name in BackoffStrategyBase.__slots__:
            setattr(twin, name, getattr(other, name))
        if retry_exceptions is not None:
            twin.retry_exceptions = checked_retry_exceptions(retry_exceptions)
        twin._prepare()  # noqa: SLF001 -- it is one of us
        return twin

    # -- guarding --------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        return self._guard_coroutine(fn, self.budget)

    def _guard_begun(self, fn: AsyncCall) -> AsyncCall:
        return self._guard_coroutine(fn, None)

    def _guard_coroutine(  # noqa: C901 -- a hot loop: each call out of it costs
        self, fn: AsyncCall, budget: RetryBudget | None
    ) -> AsyncCall:
        is_timed, retry, wants = self._is_timed, self.retry, self.wants
        is_accounted = is_timed or budget is not None
        looks_at_results = self.retry_result is not None or retry is not None

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: C901, PLR0912 -- see above
            started = 0.0
            if is_accounted:
                if budget is not None:
                    budget.deposit()
                if is_timed:
                    started = clock.monotonic()
            call = None  # nothing is made for a call that succeeds at once
            while True:
                try:
                    result = await fn(*args, **kwargs)
                except Exception as error:
                    if retry is None and not wants(error):
                        raise
                    if call is None:
                        call = RetryCall(self, fn, args, kwargs, started)
                    if retry is not None and not await call.asks(error):
                        raise
                    delay = call.next_delay(error)
                    if delay is None:
                        raise
                else:
                    if call is None:
                        if not looks_at_results:
                            return result
                        call = RetryCall(self, fn, args, kwargs, started)
                    delay = call.next_delay(None, result) if looks_at_results and await call.refuses(result) else None
                    if delay is None:
                        if call.attempt > 1 and events.listeners:
                            call.succeeded()
                        return result
                    await close_unseen(result, may_await=True)
                    result = None
                if delay:
                    await async_pause(delay)

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:  # noqa: C901 -- the same loop without `await`
        is_timed, budget, retry, wants = self._is_timed, self.budget, self.retry, self.wants
        is_accounted = is_timed or budget is not None
        looks_at_results = self.retry_result is not None or retry is not None

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: C901, PLR0912 -- see above
            started = 0.0
            if is_accounted:
                if budget is not None:
                    budget.deposit()
                if is_timed:
                    started = clock.monotonic()
            call = None
            while True:
                try:
                    result = fn(*args, **kwargs)
                except Exception as error:
                    if retry is None and not wants(error):
                        raise
                    if call is None:
                        call = RetryCall(self, fn, args, kwargs, started)
                    if retry is not None and not drive(call.asks(error)):
                        raise
                    delay = call.next_delay(error)
                    if delay is None:
                        raise
                else:
                    if type(result) not in FINISHED and is_unfinished(result):
                        return self.guard_returned(fn, result, args, kwargs)
                    if call is None:
                        if not looks_at_results:
                            return result
                        call = RetryCall(self, fn, args, kwargs, started)
                    delay = call.next_delay(None, result) if looks_at_results and drive(call.refuses(result)) else None
                    if delay is None:
                        if call.attempt > 1 and events.listeners:
                            call.succeeded()
                        return result
                    drive(close_unseen(result, may_await=False))
                    result = None
                if delay:
                    drive(blocking_pause(delay))

        return guarded

    def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractAsyncContextManager[Stream]:
        if self.retry_started_streams or self.resume is not None:
            return retried_stream(self, fn, args, kwargs)
        begun = self._begin_stream(fn, args, kwargs)
        return watched_stream(begun, fn, args) if events.listeners else begun

    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AbstractContextManager[Iteration]:
        if self.retry_started_streams or self.resume is not None:
            return retried_iterator(self, fn, args, kwargs)
        begun = self._begin_iterator(fn, args, kwargs)
        return watched_iterator(begun, fn, args) if events.listeners else begun


class BackoffStrategy(AsyncForms, BackoffStrategyBase):
    """Tries again, with growing and randomised waits; see this module for the whole story.

    Args:
        base_delay: Seconds before the first retry, before jitter.
        max_delay: The longest wait in seconds, before jitter.
        max_retries: Retries after the first attempt, at least 0. With ``stop`` and without this: what that allows.
        exponential_base: What the wait is multiplied by each time, at least 1.
        jitter: ``"full"`` waits between 0 and the computed delay, ``"equal"`` (or True) between half of it and all of
            it, ``"decorrelated"`` between ``base_delay`` and three times the last wait, None (or False) just as long.
        retry_exceptions: Which errors are worth another attempt: a class, several, or a predicate. By default what
            `is_transient` says.
        retry_result: A predicate that refuses a *result*. A refused result with a ``close`` or ``aclose`` is closed.
        max_duration: Seconds from the start after which no other attempt starts; the last wait is clipped to it.
        max_retry_after: The longest wait in seconds that a server can ask for with Retry-After.
        budget: A `RetryBudget`, asked before each wait; best shared by all calls to one dependency.
        wait: A tenacity wait strategy in place of delays and jitter.
        stop: A tenacity stop strategy.
        retry: A tenacity retry strategy in place of ``retry_exceptions``.
        wait_for_circuit: Whether an open circuit is waited for instead of ending the retry at once.
        reraise: Whether the last error itself is raised in the end, not `RetryExhaustedError`.
        retry_started_streams: Whether a generator that fails after its first item is begun anew, too. Its consumer then
            sees items twice, and what was sent into it is not sent again.
        resume: Goes on with a generator that fails after its first item: given an `InterruptedStream`, returns a
            generator of the remaining items, or None to let the error pass. The items are kept for it meanwhile.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to share between tasks, threads and event loops: a strategy holds settings, each call its own attempts.

        >>> BackoffStrategy(max_retries=3)
        <BackoffStrategy max_retries=3 base_delay=1 max_delay=60 jitter='full'>
    """

    __slots__ = ()

    @overload  # type: ignore[override]
    def execute(
        self,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        retry_exceptions: RetryExceptions | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def execute(
        self, fn: Callable[..., T], /, *args: Any, retry_exceptions: RetryExceptions | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, T]: ...
    def execute(
        self, fn: PlainCall, /, *args: Any, retry_exceptions: RetryExceptions | None = None, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]:
        """Call ``fn(*args, **kwargs)``, trying again as this strategy says, and return its result.

        Args:
            fn: Async or plain; a plain one runs on the event loop's thread.
            args: For ``fn``.
            retry_exceptions: Used for this call in place of the strategy's.
            kwargs: For ``fn``.

        Raises:
            RetryExhaustedError: No attempt succeeded; ``__cause__`` is the last error.
            CircuitBreakerOpenError: A circuit was open, and the strategy does not wait for circuits.
        """
        strategy = self if retry_exceptions is None else self.like(self, retry_exceptions=retry_exceptions)
        return strategy._invoke(fn, *args, **kwargs)  # type: ignore[no-any-return]  # noqa: SLF001 -- one of us

    call = execute  # type: ignore[assignment]

    def __aiter__(self) -> AsyncAttempts:
        """Attempts, each a context manager: ``async for attempt in strategy: with attempt: ...``."""
        from resilio.policies.retry_attempts import AsyncAttempts  # noqa: PLC0415 -- the rarest form pays for itself

        return AsyncAttempts(self)


with_backoff = BackoffStrategy
"""`BackoffStrategy` under the name that reads well above a function: ``@with_backoff(max_retries=3)``."""


def retry_with_backoff(
    max_retries: int = 3,
    base_delay: Duration = 1.0,
    max_delay: Duration = 60.0,
    exponential_base: float = 2.0,
    jitter: bool = True,  # noqa: FBT001, FBT002 -- the reference's signature
) -> BackoffStrategy:
    """A decorator that retries ``ConnectionError`` and ``TimeoutError``, and raises the last one itself.

    ::

        @retry_with_backoff(max_retries=3, base_delay=1.0)
        def connect_to_source(self, source_url: str) -> None: ...
    """
    return BackoffStrategy(
        max_retries=max_retries,
        base_delay=base_delay,
        max_delay=max_delay,
        exponential_base=exponential_base,
        jitter=jitter,
        retry_exceptions=(ConnectionError, TimeoutError),
        reraise=True,
    )
