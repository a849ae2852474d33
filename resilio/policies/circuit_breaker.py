"""Circuit breaker: stop calling what keeps failing, and find out gently when it works again.

**About.** A closed circuit counts failures. When its trip rule says so it opens, and calls are rejected at once with
`CircuitBreakerOpenError` instead of making users wait for the inevitable. After ``recovery_timeout`` seconds it lets
``half_open_max_calls`` probes through, and closes or opens again on what they find.

**Usage.** ::

    breaker = CircuitBreaker(name="openai-api", failure_threshold=3, recovery_timeout=30)

    @breaker                                      # a decorator, for functions of any colour
    async def ask(prompt: str) -> str: ...

    await breaker.execute(client.post, url)       # a single call

    async with breaker:                           # a block
        await client.post(url)

    permit = breaker.acquire()                    # two steps, for calls whose end is somewhere else
    permit.success()

**Defaults.** 5 consecutive failures, 60 s break, one probe, one success to close; every ``Exception`` counts. The first
two are read from ``CIRCUIT_BREAKER_FAILURE_THRESHOLD`` and ``CIRCUIT_BREAKER_RECOVERY_TIMEOUT``.

**Events.** `CircuitStateChanged`, `CallRejected`, `CallFailed`, `CallSucceeded`.

**What counts.** Cancellation, ``KeyboardInterrupt`` and exit never count and give a probe's permit back; neither do
errors in ``ignore``, errors outside ``record``, rejections by the circuit itself, and misuse such as a function of the
wrong kind. A result that arrives after the circuit changed state is dropped. A probe that has not returned after
``half_open_timeout`` loses its permit to the next caller. A guarded call inside another one of the same circuit is part
of its probe. A plain function that returns a future has its outcome when the future has it.

**Patterns.**

- *Inside of the retry:* every attempt counts, and an open circuit ends the retry at once.
- *A longer break each time:* ``recovery_timeout=lambda failed: min(10 * 2**failed, 300) * uniform(0.8, 1)`` grows with
  failed probes and carries jitter; it is asked once a break.
- *Try before you trip:* ``breaker.metrics_only()`` counts and never opens; `snapshot` shows what would have been.
- *Processes that live for a moment:* `to_dict` at the end, `from_dict` at the start.

**Anti-patterns.**

- *One breaker for two dependencies.* Bad: ``CircuitBreaker(name="backend")`` around mail and search. Good: a name for
  each. Why: the healthy one is cut off with the sick one.
- *Waiting for the circuit.* Bad: ``wait_for_circuit=True`` while a user waits. Good: a `Fallback`. Why: the break is
  far longer than any back-off.
- *Counting the user's mistakes.* Bad: ``record=Exception`` around an API that answers 404. Good:
  ``ignore=NotFoundError``. Why: an answer, however unwelcome, says that the dependency works.
"""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from resilio._core import clock, durations, events
from resilio._core.colour import FINISHED, is_unfinished
from resilio.policies import nesting, registry
from resilio.policies.circuit import Circuit
from resilio.policies.circuit_machine import CircuitMachine, CircuitState
from resilio.policies.circuit_saving import restore, save, saved_name
from resilio.policies.circuit_settings import CircuitSettings, error_filter, recovery_time, result_predicate, trip_rule
from resilio.policies.description import Description
from resilio.policies.policy import AsyncForms, Iteration, Policy, Stream
from resilio.policies.trip import ConsecutiveMeter, TripRule

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
    from types import TracebackType

    from resilio._core.durations import Duration
    from resilio._core.pauses import Pause
    from resilio.policies.circuit import CircuitSnapshot
    from resilio.policies.circuit_settings import ErrorFilter
    from resilio.policies.policy import AsyncCall, PlainCall
    from resilio.policies.windows import Window


UNNAMED = "unnamed"
"""What a private circuit is called in events and errors."""


class Permit:
    """The right to make one call, from `CircuitBreaker.acquire`. Exactly the first of its three methods counts.

    As a context manager it books the block: success, failure, or neither. Safe to settle from any thread.
    """

    __slots__ = ("_circuit", "_started", "_ticket")

    def __init__(self, circuit: Circuit, *, nests: bool = False) -> None:
        self._circuit = circuit
        self._ticket: int | None = circuit.admit(nests=nests)
        self._started = clock.monotonic() if circuit.needs_duration else 0.0

    def success(self) -> None:
        """The call succeeded."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._circuit.succeed(ticket, self._started)

    def failure(self, error: BaseException | None = None) -> None:
        """The call failed with ``error``; whether that counts is the breaker's ``record`` and ``ignore`` to say."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._circuit.fail(ticket, error, self._started)

    def release(self) -> None:
        """The call was not made, or says nothing about the dependency."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._circuit.release(ticket)

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.success()
        else:
            self.failure(error)


class CircuitBreakerBase(Policy):
    """A breaker without the forms that have a colour; see `CircuitBreaker`."""

    __slots__ = ("_circuit", "_failure_result")

    def __init__(
        self,
        *,
        name: str | None = None,
        failure_threshold: int | None = None,
        recovery_timeout: Duration | Callable[[int], float] | None = None,
        timeout: Duration | Callable[[int], float] | None = None,
        trip: TripRule | None = None,
        half_open_max_calls: int = 1,
        success_threshold: int = 1,
        half_open_timeout: Duration | None = None,
        record: ErrorFilter | Callable[[BaseException], bool] = Exception,
        ignore: ErrorFilter | Callable[[BaseException], bool] = (),
        failure_result: Callable[[Any], bool] | None = None,
    ) -> None:
        checked = CircuitSettings(
            trip=trip_rule(trip, failure_threshold),
            recovery_timeout=recovery_time(recovery_timeout, timeout),
            half_open_max_calls=durations.whole("half_open_max_calls", half_open_max_calls, at_least=1),
            success_threshold=durations.whole("success_threshold", success_threshold, at_least=1),
            half_open_timeout=durations.optional(durations.seconds, "half_open_timeout", half_open_timeout, above=0),
            record=error_filter("record", record),
            ignore=error_filter("ignore", ignore),
            failure_result=result_predicate("failure_result", failure_result),
        )
        if name is None:
            self._circuit = Circuit(UNNAMED, checked)
        elif isinstance(name, str) and name:
            self._circuit = registry.circuits.obtain(name, checked)
        else:
            msg = f"name must be a non-empty string or None, not {name!r}"
            raise TypeError(msg)
        self._failure_result = failure_result
        self._prepare()

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The circuit's name; ``"unnamed"`` for a private one."""
        return self._circuit.name

    @property
    def state(self) -> CircuitState:
        """What a call would meet now.

        Reading it changes nothing: an open circuit shows HALF_OPEN once its break is over, and becomes it with the
        next call.
        """
        return self._circuit.state

    def snapshot(self) -> CircuitSnapshot:
        """State, counts and times at this moment, as a value."""
        return self._circuit.snapshot()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.state}>"

    def describe(self) -> Description:
        checked = self._circuit.settings
        return Description(
            "CircuitBreaker",
            (
                ("name", self.name),
                ("trip", checked.trip),
                ("recovery_timeout", checked.recovery_timeout),
                ("half_open_max_calls", checked.half_open_max_calls),
                ("success_threshold", checked.success_threshold),
            ),
        )

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows that its trip rule looks at, if any."""
        return self._circuit.settings.trip.windows

    # -- saving ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, object]:
        """The circuit's state and counts as JSON can carry them, for a process that ends soon.

        Not saved: isolations, and probes under way (a half-open circuit is saved as open with its break over).
        """
        return save(self._circuit)

    @classmethod
    def from_dict(cls, saved: Mapping[str, object], **settings: Any) -> Self:
        """A breaker with these ``settings``, its circuit in a saved state.

        Args:
            saved: What `to_dict` gave, in this process or an earlier one. Its name is used unless ``settings`` has one.
            settings: The arguments of the class.

        Raises:
            ValueError: ``saved`` is something else, or was saved under another kind of trip rule.

        A break goes on for what is left of it by the clock on the wall; one that was set forward ends it early.

            >>> breaker = CircuitBreaker(failure_threshold=1)
            >>> breaker.acquire().failure(ConnectionError())
            >>> CircuitBreaker.from_dict(breaker.to_dict(), failure_threshold=1).state
            <CircuitState.OPEN: 'OPEN'>
        """
        name = saved_name(saved)
        if name != UNNAMED:
            settings.setdefault("name", name)
        breaker = cls(**settings)
        restore(breaker._circuit, saved)
        return breaker

    # -- control ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Close the circuit, forget its counts, and end `force_open`, `disable` and `metrics_only`."""
        self._circuit.control(CircuitMachine.reset)

    def force_open(self) -> None:
        """Reject every call until `reset`."""
        self._circuit.control(lambda machine: machine.force(CircuitState.FORCED_OPEN))

    def disable(self) -> None:
        """Let every call through and count nothing until `reset`."""
        self._circuit.control(lambda machine: machine.force(CircuitState.DISABLED))

    def metrics_only(self) -> None:
        """Let every call through and count, but never open, until `reset`."""
        self._circuit.control(lambda machine: machine.force(CircuitState.METRICS_ONLY))

    @contextmanager
    def isolate(self) -> Iterator[None]:
        """Reject every call while the block runs. Blocks count: the circuit is free when the last one ends."""
        self._circuit.control(CircuitMachine.isolate)
        try:
            yield
        finally:
            self._circuit.control(CircuitMachine.end_isolation)

    # -- two steps -------------------------------------------------------------------------------------------------

    def acquire(self) -> Permit:
        """The right to make one call now.

        Raises:
            CircuitBreakerOpenError: The circuit does not let it through.
        """
        return Permit(self._circuit)

    async def open_block(self, pause: Pause) -> Permit:  # noqa: ARG002 -- a breaker never waits
        return Permit(self._circuit, nests=True)

    # -- guarding --------------------------------------------------------------------------------------------------

    def guard_coroutine(self, fn: AsyncCall) -> AsyncCall:
        circuit, machine = self._circuit, self._circuit.machine
        meter = machine.meter
        if circuit.needs_duration or self._failure_result is not None or not isinstance(meter, ConsecutiveMeter):
            return self._guard_coroutine_fully(fn)

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            ticket = machine.flow or circuit.admit()
            try:
                result = await fn(*args, **kwargs)
            except BaseException as error:
                circuit.fail(ticket, error, 0.0)
                raise
            if meter.failures or ticket != machine.flow or events.listeners:
                circuit.succeed(ticket, 0.0)
            return result

        return guarded

    def _guard_coroutine_fully(self, fn: AsyncCall) -> AsyncCall:
        circuit, machine, failure_result = self._circuit, self._circuit.machine, self._failure_result
        needs_duration = circuit.needs_duration

        @functools.wraps(fn)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            ticket = machine.flow or circuit.admit()
            started = clock.monotonic() if needs_duration else 0.0
            try:
                result = await fn(*args, **kwargs)
                failed = failure_result is not None and bool(failure_result(result))
            except BaseException as error:
                circuit.fail(ticket, error, started)
                raise
            if failed:
                circuit.fail(ticket, None, started)
            else:
                circuit.succeed(ticket, started)
            return result

        return guarded

    def guard_plain(self, fn: PlainCall) -> PlainCall:
        circuit, machine = self._circuit, self._circuit.machine
        meter = machine.meter
        if circuit.needs_duration or self._failure_result is not None or not isinstance(meter, ConsecutiveMeter):
            return self._guard_plain_fully(fn)

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            ticket = machine.flow or circuit.admit()
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                circuit.fail(ticket, error, 0.0)
                raise
            if type(result) not in FINISHED and is_unfinished(result):
                return self._guard_unfinished(ticket, 0.0, fn, result, args, kwargs)
            if meter.failures or ticket != machine.flow or events.listeners:
                circuit.succeed(ticket, 0.0)
            return result

        return guarded

    def _guard_plain_fully(self, fn: PlainCall) -> PlainCall:
        circuit, machine, failure_result = self._circuit, self._circuit.machine, self._failure_result
        needs_duration = circuit.needs_duration

        @functools.wraps(fn)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            ticket = machine.flow or circuit.admit()
            started = clock.monotonic() if needs_duration else 0.0
            try:
                result = fn(*args, **kwargs)
                has_yet_to_run = is_unfinished(result)
                failed = not has_yet_to_run and failure_result is not None and bool(failure_result(result))
            except BaseException as error:
                circuit.fail(ticket, error, started)
                raise
            if has_yet_to_run:
                return self._guard_unfinished(ticket, started, fn, result, args, kwargs)
            if failed:
                circuit.fail(ticket, None, started)
            else:
                circuit.succeed(ticket, started)
            return result

        return guarded

    def _guard_unfinished(
        self, ticket: int, started: float, fn: PlainCall, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if hasattr(type(result), "_asyncio_future_blocking"):  # which is what `asyncio.isfuture` asks
            # It runs already: it keeps the ticket, and is handed over as it is.
            nesting.leave(self._circuit.machine, ticket)
            result.add_done_callback(functools.partial(self._book_future, ticket, started))
            return result
        self._circuit.release(ticket)
        return self.guard_returned(fn, result, args, kwargs)

    def _book_future(self, ticket: int, started: float, future: Future[Any]) -> None:
        if future.cancelled():
            self._circuit.release(ticket)
            return
        error, judge = future.exception(), self._failure_result
        try:
            failed = error is not None or (judge is not None and bool(judge(future.result())))
        except Exception as raised:
            self._circuit.fail(ticket, raised, started)
            return
        if failed:
            self._circuit.fail(ticket, error, started)
        else:
            self._circuit.succeed(ticket, started)

    @asynccontextmanager
    async def open_stream(
        self, fn: Callable[..., AsyncGenerator[Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Stream]:
        with self.acquire():
            yield await Stream.begin(fn(*args, **kwargs))

    @contextmanager
    def open_iterator(
        self, fn: Callable[..., Generator[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[Iteration]:
        with self.acquire():
            yield Iteration(fn(*args, **kwargs))


class CircuitBreaker(AsyncForms, CircuitBreakerBase):
    """Stops calling what keeps failing; see this module for the whole story.

    Args:
        name: Breakers of one name share one circuit in this process, async and blocking ones alike; None makes a
            private circuit.
        failure_threshold: Consecutive failures that open the circuit, at least 1. Not together with ``trip``.
        recovery_timeout: Seconds the circuit stays open before it lets probes through, or a function from the number
            of failed probes in a row to seconds.
        timeout: Another name for ``recovery_timeout``; it limits no call.
        trip: A rule in place of ``failure_threshold``; rules join with ``|``.
        half_open_max_calls: How many probes may be under way at once, at least 1. A round has as many probes as the
            larger of this and ``success_threshold``, and ends as soon as its outcome is certain.
        success_threshold: Successful probes that close the circuit, at least 1. Left at 1 with several probes, the
            first success closes it, and it opens again only when all of them have failed; ``success_threshold`` =
            ``half_open_max_calls`` is the strictest: the first failure opens it.
        half_open_timeout: Seconds after which a probe counts as lost; by default the recovery timeout.
        record: Which errors count as failures: a class, a tuple of them, or a predicate.
        ignore: Which of those do not count after all.
        failure_result: A predicate that makes a *result* count as failure.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or a circuit of that name exists with other settings.

    Safe to create at import time and to use from any thread and event loop, asyncio's or trio's.

        >>> breaker = CircuitBreaker(failure_threshold=2, recovery_timeout=30)
        >>> breaker.state
        <CircuitState.CLOSED: 'CLOSED'>
    """

    __slots__ = ()


circuit_breaker = CircuitBreaker
"""`CircuitBreaker` under the name that reads well above a function: ``@circuit_breaker(name="openai-api")``."""
