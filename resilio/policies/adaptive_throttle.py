"""Adaptive throttle: when a backend refuses much of what we send, send less.

**About.** Each client keeps count of its calls and of those the backend accepted. As soon as the calls exceed ``k``
times the accepts, a growing share of calls is refused here, without troubling the backend, in proportion to how much it
refuses. The share never exceeds ``max_rejection``, so that enough calls go through to notice when it recovers.

**Usage.** ::

    @AdaptiveThrottle()
    async def search(query: str) -> list[Hit]: ...

**Defaults.** ``k=2``, at most 90 % refused, over two minutes; a call counts as refused by the backend when it fails
with what `resilio.is_transient` calls transient.

**Events.** `RateLimited`.

**Patterns.**

- *One per backend,* in every client: together they send about ``k`` times what it takes, without knowing each other.
- *A backend that says when it is full,* by 429 or 503: quick refusals are what the throttle learns from.
- *More patience for important calls:* ``k=3`` for users, ``k=1.1`` for batch jobs, each with a throttle of its own.

**Anti-patterns.**

- *Together with a breaker that trips early.* Bad: ``Pipeline(AdaptiveThrottle(), CircuitBreaker())``. Good: one of
  them. Why: both answer the same question; the breaker's answer is no.
- *Inside of an eager retry.* Bad: ``retry_exceptions=Exception`` around it. Good: a `RetryBudget`. Why: retries of
  refused calls count as calls, and the share refused grows with them.

Source: "Handling Overload", Site Reliability Engineering (Google, 2016): ``max(0, (requests - k * accepts) / (requests
+ 1))``.
"""

from __future__ import annotations

import functools
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from resilio._core import clock, dice, durations, events
from resilio._core.cancellation import is_interruption
from resilio._core.colour import is_unfinished, refuse_unless_plain
from resilio._core.mishaps import log_exception
from resilio.errors import RateLimitExceededError, is_transient
from resilio.policies.description import Description
from resilio.policies.events import RateLimited
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream
from resilio.policies.windows import RecentCalls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio.policies.policy import AsyncCall, PlainCall


class AdaptiveThrottleBase(Policy):
    """A throttle without the forms that have a colour; see `AdaptiveThrottle`."""

    __slots__ = ("_calls", "_k", "_lock", "_max_rejection", "_record", "_window")

    def __init__(
        self,
        *,
        k: float = 2.0,
        window: Duration = 120.0,
        max_rejection: float = 0.9,
        record: Callable[[BaseException], bool] = is_transient,
    ) -> None:
        self._k = durations.number("k", k, at_least=1)
        self._window = durations.seconds("window", window, above=0)
        self._max_rejection = durations.number("max_rejection", max_rejection, at_least=0, at_most=0.99)
        if isinstance(record, type):  # calling a class makes an object, which is as good as True
            msg = f"record must be a predicate of an error, not the class {record.__qualname__}"
            raise TypeError(msg)
        refuse_unless_plain("record", record)
        self._record = record
        self._calls = RecentCalls(self._window)  # all calls, and those refused here or there
        self._lock = threading.Lock()
        self._prepare()

    @property
    def rejection(self) -> float:
        """The share of calls that is refused now, 0.0 to ``max_rejection``."""
        now = clock.monotonic()
        with self._lock:
            return self._rejection(now)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} refusing {self.rejection:.0%}>"

    def describe(self) -> Description:
        return Description(
            "AdaptiveThrottle",
            (
                ("k", self._k),
                ("window", self._window),
                ("max_rejection", self._max_rejection),
                ("record", self._record),
            ),
        )

    def _rejection(self, now: float) -> float:
        requests, refused, _ = self._calls.totals(now)
        accepts = requests - refused
        return min(max(0.0, (requests - self._k * accepts) / (requests + 1)), self._max_rejection)

    def _admit(self) -> _Admission:
        now = clock.monotonic()
        with self._lock:
            share = self._rejection(now)
            is_refused = share > 0 and dice.random() < share
            if is_refused:
                self._calls.add(now, failed=True)
        if not is_refused:
            return _Admission(self)
        if events.listeners:
            events.emit(RateLimited(limiter=type(self).__name__, retry_after=None))
        msg = f"the backend refuses much of what it is sent, so {share:.0%} of calls are refused here"
        raise RateLimitExceededError(msg, limiter="adaptive throttle", code="throttled", rejection=share)

    def _book(self, error: BaseException | None) -> None:
        if error is not None and is_interruption(error):
            return
        accepted = error is None or not self._is_refusal(error)
        now = clock.monotonic()
        with self._lock:
            self._calls.add(now, failed=not accepted)

    def _is_refusal(self, error: BaseException) -> bool:
        try:
            return bool(self._record(error))
        except Exception:
            # A predicate of the user's. The call's own error is on its way and must not be replaced by this one.
            log_exception("record of an adaptive throttle failed; the call counts as refused")
            return True

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._admit():
                return await fn(*args, **kwargs)

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._admit() as admission:
                result = fn(*args, **kwargs)
                if is_unfinished(result):
                    admission.says_nothing()
                    return self.guard_returned(fn, result, args, kwargs)
                return result

        return guarded

    async def open_block(self, pause: Pause) -> _Admission:  # noqa: ARG002 -- a throttle never waits
        return self._admit()

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        with self._admit():
            stream = await Stream.begin(fn(*args, **kwargs))
        yield stream

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        with self._admit():
            iteration = Iteration(fn(*args, **kwargs))
        yield iteration


class _Admission:
    """A call that was let through; its end is booked."""

    __slots__ = ("_throttle",)

    def __init__(self, throttle: AdaptiveThrottleBase) -> None:
        self._throttle: AdaptiveThrottleBase | None = throttle

    def says_nothing(self) -> None:
        """The call has not been made after all."""
        self._throttle = None

    def __enter__(self) -> _Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._throttle is not None:
            self._throttle._book(error)  # noqa: SLF001 -- its own throttle


class AdaptiveThrottle(AsyncForms, AdaptiveThrottleBase):
    """Refuses calls in proportion to what the backend refuses; see this module for the whole story.

    Args:
        k: Calls allowed per accepted call before any is refused, at least 1. Higher is more patient.
        window: Seconds over which calls count.
        max_rejection: The largest share of calls refused, at most 0.99, so that some always find out.
        record: Which errors mean that the backend refused; others mean that it answered.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Safe to create at import time and to share between tasks, threads and event loops.

        >>> AdaptiveThrottle().rejection
        0.0
    """

    __slots__ = ()
