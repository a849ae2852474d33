"""Shapes that could not be guarded are refused loudly."""

from __future__ import annotations

import functools
import gc
import inspect
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from breaker_forms import state_of, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

pytestmark = pytest.mark.anyio


class Service:
    """Something with methods."""

    def __init__(self) -> None:
        self.calls = 0

    async def coroutine(self) -> None:
        self.calls += 1

    async def stream(self) -> AsyncIterator[int]:
        self.calls += 1
        yield self.calls


@asynccontextmanager
async def _async_manager() -> AsyncIterator[None]:
    yield


@contextmanager
def _manager() -> Iterator[None]:
    yield


@pytest.mark.parametrize("manager", [_async_manager, _manager, functools.partial(_manager)])
def test_a_function_that_returns_a_context_manager_is_refused(manager: Callable[..., object]) -> None:
    """Its block would run outside of the guard."""
    with pytest.raises(TypeError, match="context manager"):
        CircuitBreaker()(manager)


@pytest.mark.parametrize("build", [CircuitBreaker, resilio.sync.CircuitBreaker])
def test_a_class_is_refused(build: type[CircuitBreaker]) -> None:
    """Guarding a class would guard its construction alone."""
    with pytest.raises(TypeError, match=r"cannot decorate the class .*Service; decorate its methods"):
        build()(Service)


@pytest.mark.parametrize("thing", [None, 42, "name", property(lambda self: 1)], ids=lambda thing: type(thing).__name__)
def test_what_cannot_be_called_is_refused(thing: Any) -> None:
    """So is everything that is no callable."""
    with pytest.raises(TypeError, match="expected a callable"):
        CircuitBreaker()(thing)


def _closing(closed: list[str]) -> Generator[int]:
    try:
        yield 1
    finally:
        closed.append("closed")


def test_a_lambda_that_returns_a_generator_is_refused_and_the_generator_closed() -> None:
    """It shows only when called: nothing has run yet, so nothing was guarded."""
    made: list[Generator[int]] = []
    breaker = CircuitBreaker(failure_threshold=1)

    def disguised() -> Generator[int]:
        made.append(_closing([]))
        return made[0]

    lazy = breaker(lambda: disguised())  # noqa: PLW0108 -- a lambda is the point
    with pytest.raises(TypeError, match="returned a generator, which would run unguarded"):
        lazy()
    assert inspect.getgeneratorstate(made[0]) == inspect.GEN_CLOSED
    assert state_of(breaker) is CircuitState.CLOSED  # a mistake in the code says nothing about the dependency


async def test_execute_refuses_a_lambda_that_returns_a_stream() -> None:
    """The same for async generators and context managers behind `execute`."""
    breaker = CircuitBreaker()
    service = Service()
    with pytest.raises(TypeError, match="async_generator"):
        await breaker.execute(lambda: service.stream())  # noqa: PLW0108 -- a lambda is the point
    with pytest.raises(TypeError, match="GeneratorContextManager"):
        await breaker.execute(lambda: _manager())  # noqa: PLW0108
    assert service.calls == 0


def test_blocking_execute_refuses_async_functions() -> None:
    """Nobody could await the result; the coroutine is closed, and the error says what to do."""
    breaker = resilio.sync.CircuitBreaker()
    with pytest.raises(TypeError, match=r"coroutine is async; await the policy from `resilio`"):
        breaker.execute(Service().coroutine)  # type: ignore[unused-coroutine]
    gc.collect()  # a coroutine left open would warn


async def test_a_mistake_in_the_code_is_no_failure_of_the_dependency() -> None:
    """What `execute` refuses does not count, in either colour: the circuit stays closed, and the mistake in sight."""
    breaker, twin = CircuitBreaker(failure_threshold=1), resilio.sync.CircuitBreaker(failure_threshold=1)
    for _ in range(3):
        with pytest.raises(TypeError, match="would run unguarded"):
            await breaker.execute(lambda: _closing([]))
        with pytest.raises(TypeError, match="is async"):
            twin.execute(Service().coroutine)  # type: ignore[unused-coroutine]
    assert (breaker.snapshot().failed, twin.snapshot().failed) == (0, 0)


def test_a_refused_probe_keeps_no_permit() -> None:
    """A call that is refused for its shape gives its permit back."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    lazy = breaker(lambda: _closing([]))
    for _ in range(3):
        with pytest.raises(TypeError):
            lazy()
    breaker.acquire().success()
    assert state_of(breaker) is CircuitState.CLOSED
