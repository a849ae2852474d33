"""What a type checker sees of the breaker. Not run: `test_revealed_types.py` has mypy read it.

``# is: T`` at the end of a line is the type that must be revealed there. A wrong use carries its `type: ignore`, which
strict mypy takes back where the use is allowed after all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, reveal_type

import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState, circuit_breaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

breaker = CircuitBreaker(name="typed", failure_threshold=3)
blocking = resilio.sync.CircuitBreaker()


# -- decorated functions keep their signature --------------------------------------------------------------------------


@breaker
async def ask(prompt: str, *, temperature: float = 1.0) -> list[str]:
    """Async, with a keyword of its own."""
    return [prompt] * int(temperature)


@circuit_breaker(failure_threshold=3, recovery_timeout=30)
async def ask_too(prompt: str) -> list[str]:
    """Async, decorated by the factory."""
    return [prompt]


@resilio.sync.circuit_breaker(name="typed")
def compute(x: int, y: int = 2) -> float:
    """Plain."""
    return x / y


@breaker
async def stream(count: int) -> AsyncIterator[int]:
    """An async generator."""
    yield count


@blocking
def generate(count: int) -> Iterator[int]:
    """A generator."""
    yield count


reveal_type(ask)  # is: def (prompt: str, *, temperature: float =) -> Coroutine[Any, Any, list[str]]
reveal_type(ask_too)  # is: def (prompt: str) -> Coroutine[Any, Any, list[str]]
reveal_type(compute)  # is: def (x: int, y: int =) -> float
reveal_type(stream)  # is: def (count: int) -> AsyncIterator[int]
reveal_type(generate)  # is: def (count: int) -> Iterator[int]
ask(1)  # type: ignore[arg-type, unused-coroutine]
ask("a", heat=1.0)  # type: ignore[call-arg, unused-coroutine]
compute("a")  # type: ignore[arg-type]


async def tasks() -> None:
    """A decorated function's result goes to whatever wants a coroutine."""
    task = asyncio.create_task(ask("a"))
    reveal_type(task)  # is: Task[list[str]]
    reveal_type(await task)  # is: list[str]
    reveal_type(await asyncio.gather(ask("a"), ask_too("b")))  # is: tuple[list[str], list[str]]
    async with asyncio.TaskGroup() as group:
        reveal_type(group.create_task(ask("a")))  # is: Task[list[str]]
    reveal_type([item async for item in stream(1)])  # is: list[int]


# -- methods are bound -------------------------------------------------------------------------------------------------


class Client:
    """A class with guarded methods."""

    @breaker
    async def ask(self, prompt: str) -> int:
        return len(prompt)

    @blocking
    def compute(self, x: int) -> float:
        return float(x)

    @classmethod
    @breaker
    async def build(cls, name: str) -> Client:
        return cls()

    @staticmethod
    @blocking
    def parse(text: str) -> int:
        return int(text)


reveal_type(Client().ask)  # is: def (prompt: str) -> Coroutine[Any, Any, int]
reveal_type(Client().compute)  # is: def (x: int) -> float
reveal_type(Client.build)  # is: def (name: str) -> Coroutine[Any, Any, Client]
reveal_type(Client.parse)  # is: def (text: str) -> int
Client().compute("a")  # type: ignore[arg-type]


# -- single calls ------------------------------------------------------------------------------------------------------


async def calls(callback: Callable[[str], int]) -> None:
    """`execute` gives what the function gives, awaited where it must be."""
    reveal_type(await breaker.execute(ask, "a", temperature=2.0))  # is: list[str]
    reveal_type(await breaker.execute(compute, 1))  # is: float
    reveal_type(await breaker.call(callback, "a"))  # is: int
    reveal_type(await breaker.execute(lambda: 1))  # is: int
    reveal_type(await breaker.execute(lambda: ask("a")))  # is: list[str]
    coroutine = breaker.execute(ask, "a")
    reveal_type(coroutine)  # type: ignore[unused-coroutine]  # is: Coroutine[Any, Any, list[str]]
    await coroutine
    reveal_type(asyncio.create_task(breaker.execute(ask, "a")))  # is: Task[list[str]]
    reveal_type(blocking.execute(compute, 1, y=3))  # is: float
    reveal_type(blocking.call(callback, "a"))  # is: int
    await breaker.execute(compute, "a")  # type: ignore[call-overload]
    blocking.execute(compute, z=1)  # type: ignore[call-arg]


# -- blocks, permits and looking ---------------------------------------------------------------------------------------


async def blocks() -> None:
    """What blocks and permits hand over."""
    async with breaker as entered:
        reveal_type(entered)  # is: CircuitBreaker
    with blocking as entered_too:
        reveal_type(entered_too)  # is: resilio.sync.CircuitBreaker
    with breaker.acquire() as permit:
        reveal_type(permit.success())  # is: None
    with breaker.isolate() as nothing:
        reveal_type(nothing)  # is: None
    with breaker:  # type: ignore[attr-defined]
        pass
    async with blocking:  # type: ignore[attr-defined]
        pass


reveal_type(breaker.state)  # is: CircuitState
reveal_type(breaker.snapshot().retry_after)  # is: float | None
reveal_type(breaker.snapshot().counts)  # is: Mapping[str, float]


def handle(error: CircuitBreakerOpenError) -> CircuitState:
    """What a rejection has."""
    reveal_type(error.breaker)  # is: str
    reveal_type(error.retry_after)  # is: float | None
    return breaker.state


# -- settings ----------------------------------------------------------------------------------------------------------

CircuitBreaker(failure_threshold="3")  # type: ignore[arg-type]
CircuitBreaker(recovery_timeout=lambda failed: 2.0**failed, record=(OSError, ValueError), ignore=KeyError)
CircuitBreaker(record=lambda error: "500" in str(error), failure_result=lambda answer: answer is None)
circuit_breaker(recovery_time=30)  # type: ignore[call-arg]
