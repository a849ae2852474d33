"""Policies on Reflex's event handlers: Reflex still sees what the handler is, and the policy does its work."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator  # noqa: TC003 -- Reflex evaluates annotations
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import reflex as rx
from reflex_kit import Client

from resilio import (
    BackoffStrategy,
    Bulkhead,
    CircuitBreaker,
    ErrorHandler,
    Fallback,
    Pipeline,
    RateLimiter,
    RetryBudget,
    Timeout,
    circuit_breaker,
    retry_with_backoff,
    with_backoff,
)
from resilio._core import clock
from resilio.web.reflex import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from resilio.testing import VirtualClock

QUIET = ErrorHandler(log=False)
STATE_KIND: Any = type(rx.State)

POLICIES: dict[str, Callable[[Any], Any]] = {
    "circuit_breaker": circuit_breaker(failure_threshold=3),
    "with_backoff": with_backoff(max_retries=2, base_delay=0.1),
    "retry_with_backoff": retry_with_backoff(max_retries=2, base_delay=0.1),
    "CircuitBreaker": CircuitBreaker(),
    "BackoffStrategy": BackoffStrategy(budget=RetryBudget()),
    "Timeout": Timeout(5),
    "Bulkhead": Bulkhead(5),
    "RateLimiter": RateLimiter(100),
    "Fallback": Fallback(None, on=ZeroDivisionError),
    "Pipeline": Pipeline(BackoffStrategy(), CircuitBreaker(), Timeout(5)),
}


async def by_coroutine(self: Any, count: int, name: str = "x") -> None:
    """Done at once."""
    self.done.append((count, name))


def by_function(self: Any, count: int, name: str = "x") -> None:
    """Done at once, and plain."""
    self.done.append((count, name))


async def by_async_generator(self: Any, count: int, name: str = "x") -> AsyncIterator[None]:
    """Done after an update."""
    yield
    self.done.append((count, name))


def by_generator(self: Any, count: int, name: str = "x") -> Iterator[None]:
    """Done after an update, and plain."""
    yield
    self.done.append((count, name))


async def in_background(self: Any, count: int, name: str = "x") -> None:
    """Done under the lock."""
    async with self:
        self.done.append((count, name))


HANDLERS = (by_coroutine, by_function, by_async_generator, by_generator, in_background)
WAYS: list[tuple[str, str]] = [
    (policy, handler.__name__)
    for policy in POLICIES
    for handler in HANDLERS
    # A plain function cannot be timed out on an event loop, and a blocking policy has no business there.
    if not (policy in {"Timeout", "Pipeline"} and handler in {by_function, by_generator})
]


def _states() -> dict[tuple[str, str], type[rx.State]]:
    """One state for each policy and each kind of handler; states are global and named in Reflex."""
    made: dict[tuple[str, str], type[rx.State]] = {}
    for policy, name in WAYS:
        source = next(each for each in HANDLERS if each.__name__ == name)
        event = rx.event(background=name == "in_background")
        made[policy, name] = STATE_KIND(
            f"Policy{policy.title().replace('_', '')}{name.title().replace('_', '')}",
            (ErrorStateMixin, rx.State),
            {
                "__module__": __name__,
                "__qualname__": f"Policy{policy}{name}",
                "__annotations__": {"done": list[Any], "error_handler": ClassVar},
                "done": [],
                "error_handler": QUIET,
                "work": event(handles_errors("work")(POLICIES[policy](source))),
                "unhandled_work": event(POLICIES[policy](source)),
            },
        )
    return made


STATES = _states()


@pytest.mark.asyncio
@pytest.mark.parametrize("event", ["work", "unhandled_work"])
@pytest.mark.parametrize(("policy", "name"), WAYS, ids=lambda each: each)
async def test_reflex_sees_a_guarded_handler_as_what_it_is(policy: str, name: str, event: str) -> None:
    """With and without error handling: kind, parameters and annotations; arguments arrive converted to their types."""
    state: Any = STATES[policy, name]
    source = next(each for each in HANDLERS if each.__name__ == name)
    handler = state.event_handlers[event]
    for tells in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction):
        assert tells(handler.fn) == tells(source)
    assert handler.is_background == (name == "in_background")
    assert list(handler._parameters) == ["self", "count", "name"]
    assert handler._get_type_hints()["count"] is int
    async with Client() as client:
        await client.fire(handler, count="7", name="mouse")
        assert list((await client.state(state)).done) == [(7, "mouse")]
        assert client.unhandled == []


class Guarded(ErrorStateMixin, rx.State):
    """A background handler behind a retry and a breaker of the class."""

    error_handler: ClassVar = QUIET
    breaker: ClassVar = CircuitBreaker(failure_threshold=2, recovery_timeout=30)
    attempts: int = 0
    failures: int = 0
    status: str = ""

    @rx.event(background=True)
    @handles_errors("connect", retryable=True)
    @breaker
    @with_backoff(max_retries=2, base_delay=1, jitter=None, reraise=True)
    async def connect(self) -> None:
        async with self:
            self.attempts += 1
            if self.attempts <= self.failures:
                raise ConnectionError
        async with self:
            self.status = "connected"

    @rx.event
    async def fail_next(self, failures: int) -> None:
        self.attempts, self.failures = 0, failures

    @rx.event
    async def wave(self) -> None:
        self.status = "hello"


@pytest.mark.asyncio
async def test_a_retry_in_a_background_handler_lets_other_events_through(virtual_clock: VirtualClock) -> None:
    """While it waits for its next attempt, it holds no lock; in the end nothing is shown."""
    Guarded.breaker.reset()
    async with Client() as client:
        await client.fire(Guarded.fail_next, failures=2)
        connecting = await client.send(Guarded.connect)
        await clock.sleep(0.5)
        await client.fire(Guarded.wave)
        assert client.shown["status"] == "hello"
        await asyncio.wait({connecting})
        assert client.shown["status"] == "connected"
        assert not client.shown.get("error_message")


@pytest.mark.asyncio
async def test_an_open_circuit_is_shown_as_such_and_another_try_works_once_it_closes(
    virtual_clock: VirtualClock,
) -> None:
    """After two failures the handler is not even called; half a minute later it connects."""
    Guarded.breaker.reset()
    async with Client() as client:
        await client.fire(Guarded.fail_next, failures=6)
        for _ in range(3):
            await client.fire(Guarded.connect)
        assert client.shown["error_type"] == "CircuitBreakerOpenError"
        assert "giving it a rest" in client.shown["error_message"]
        assert client.shown["retry_possible"] is True
        assert client.shown["attempts"] == 6
        await clock.sleep(31)
        await client.fire(Guarded.retry_operation)
        await clock.sleep(1)
        assert client.shown["status"] == "connected"
