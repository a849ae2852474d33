"""Every shape of callable is guarded, or refused when it is wrapped; none is passed through unguarded."""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from breaker_forms import DownError, state_of, tripped

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

pytestmark = pytest.mark.anyio


class Service:
    """A dependency with methods of every kind; it is down until `is_up`."""

    def __init__(self, *, is_up: bool) -> None:
        self.is_up = is_up
        self.calls = 0

    def plain(self, x: int = 1, *, y: int = 2) -> tuple[int, int]:
        self.calls += 1
        if not self.is_up:
            raise DownError
        return x, y

    async def coroutine(self, x: int = 1, *, y: int = 2) -> tuple[int, int]:
        await anyio.lowlevel.checkpoint()
        return self.plain(x, y=y)

    async def stream(self, x: int = 1, *, y: int = 2) -> AsyncIterator[tuple[int, int]]:
        yield await self.coroutine(x, y=y)

    def generator(self, x: int = 1, *, y: int = 2) -> Iterator[tuple[int, int]]:
        yield self.plain(x, y=y)

    @staticmethod
    async def static(service: Service, x: int = 1, *, y: int = 2) -> tuple[int, int]:
        return await service.coroutine(x, y=y)


class AsyncCallable:
    """An object with an async ``__call__``."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __call__(self, x: int = 1, *, y: int = 2) -> tuple[int, int]:
        return await self.service.coroutine(x, y=y)


class PlainCallable:
    """An object with a plain ``__call__``."""

    __slots__ = ("service",)

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, x: int = 1, *, y: int = 2) -> tuple[int, int]:
        return self.service.plain(x, y=y)


class LateCoroutine:
    """An awaitable that is no coroutine, as some clients return."""

    def __init__(self, service: Service, x: int, y: int) -> None:
        self._args = service, x, y

    def __await__(self) -> Generator[Any, Any, tuple[int, int]]:
        service, x, y = self._args
        return service.coroutine(x, y=y).__await__()


SHAPES: dict[str, Callable[[Service], Callable[..., Any]]] = {
    "async method": lambda service: service.coroutine,
    "plain method": lambda service: service.plain,
    "async generator method": lambda service: service.stream,
    "generator method": lambda service: service.generator,
    "partial of async": lambda service: functools.partial(service.coroutine, 1),
    "partial of plain": lambda service: functools.partial(service.plain, y=2),
    "partial of a partial of a stream": lambda service: functools.partial(functools.partial(service.stream), 1),
    "partial of a static method": lambda service: functools.partial(Service.static, service),
    "object with async call": AsyncCallable,
    "object with plain call": PlainCallable,
    "partial of an object": lambda service: functools.partial(AsyncCallable(service), 1),
    "bound call of an object": lambda service: AsyncCallable(service).__call__,
    "lambda around a coroutine": lambda service: lambda x=1, y=2: service.coroutine(x, y=y),
    "lambda around an awaitable": lambda service: lambda x=1, y=2: LateCoroutine(service, x, y),
    "builtin": lambda service: functools.partial(map_first, service.plain),
}


def map_first(fn: Callable[[int], object], x: int = 1, y: int = 2) -> object:
    """Call ``fn`` through a builtin."""
    return next(map(functools.partial(fn, y=y), [x]))  # type: ignore[call-arg]


every_shape = pytest.mark.parametrize("shape", SHAPES)


async def outcome_of(result: object) -> object:
    """What a guarded call gave, whatever its colour."""
    if hasattr(result, "__await__"):
        return await result
    if hasattr(result, "__aiter__"):
        (item,) = [item async for item in result]
        return item
    if hasattr(result, "__next__"):
        (item,) = result  # type: ignore[misc]
        return item
    return result


@every_shape
async def test_every_shape_hands_over_arguments_and_result(shape: str) -> None:
    """The guarded callable takes the same arguments and gives the same result."""
    guarded = CircuitBreaker()(SHAPES[shape](Service(is_up=True)))
    assert await outcome_of(guarded()) == (1, 2)
    assert await outcome_of(guarded(y=5)) == (1, 5)


@every_shape
async def test_every_shape_is_guarded(shape: str) -> None:
    """Its failures open the circuit, and then it is no longer called."""
    breaker, service = CircuitBreaker(failure_threshold=2), Service(is_up=False)
    guarded = breaker(SHAPES[shape](service))
    for _ in range(2):
        with pytest.raises(DownError):
            await outcome_of(guarded())
    assert state_of(breaker) is CircuitState.OPEN
    with pytest.raises(CircuitBreakerOpenError):
        await outcome_of(guarded())
    assert service.calls == 2


@every_shape
async def test_every_shape_can_probe(shape: str) -> None:
    """At half-open it takes one permit, and its success closes the circuit."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    guarded = breaker(SHAPES[shape](Service(is_up=True)))
    assert await outcome_of(guarded()) == (1, 2)
    assert state_of(breaker) is CircuitState.CLOSED


@pytest.mark.parametrize(
    "shape", [shape for shape in SHAPES if not any(word in shape for word in ("generator", "stream"))]
)
async def test_execute_takes_every_shape_that_can_be_awaited_or_called(shape: str) -> None:
    """`execute` hands over arguments and result, and counts failures, whatever the colour."""
    breaker = CircuitBreaker(failure_threshold=1)
    assert await breaker.execute(SHAPES[shape](Service(is_up=True)), y=5) == (1, 5)
    with pytest.raises(DownError):
        await breaker.execute(SHAPES[shape](Service(is_up=False)))
    assert state_of(breaker) is CircuitState.OPEN


# -- awaitables that are turned away ----------------------------------------------------------------------------------


async def test_a_coroutine_that_is_turned_away_is_closed() -> None:
    """A lambda's coroutine that the circuit rejects when awaited leaves no "never awaited" warning behind."""
    breaker = CircuitBreaker(failure_threshold=1)
    service = Service(is_up=True)
    pending = breaker(lambda: service.coroutine())()  # noqa: PLW0108 -- a lambda is the point
    tripped(breaker)
    with pytest.raises(CircuitBreakerOpenError):
        await pending
    del pending
    gc.collect()  # the warning, if there were one, would be an error
    assert service.calls == 0


async def test_a_lambda_takes_its_permit_when_it_is_awaited() -> None:
    """Calling it without awaiting occupies nothing."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=0)
    tripped(breaker)
    service = Service(is_up=True)
    pending = breaker(lambda: service.coroutine())()  # noqa: PLW0108 -- a lambda is the point
    breaker.acquire().release()
    assert await pending == (1, 2)
    assert state_of(breaker) is CircuitState.CLOSED


def test_a_result_that_answers_to_every_attribute_is_a_result() -> None:
    """Only a type makes an awaitable: a proxy that has any attribute one asks for is handed over."""

    class Proxy:
        def __getattr__(self, name: str) -> str:
            return name

    proxy = Proxy()
    breaker = resilio.sync.CircuitBreaker()
    assert breaker.execute(lambda: proxy) is proxy
    assert breaker(lambda: proxy)() is proxy


def test_a_class_of_awaitables_is_a_result() -> None:
    """A class that has `__await__` is not itself awaitable."""
    assert resilio.sync.CircuitBreaker().execute(lambda: LateCoroutine) is LateCoroutine
