"""Every way to make a call through a breaker, behind one interface, so that one test speaks for all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

import resilio
import resilio.sync
from resilio import CircuitBreakerOpenError, CircuitState
from resilio.policies.circuit_breaker import CircuitBreakerBase

AnyBreaker: TypeAlias = CircuitBreakerBase
Work: TypeAlias = Callable[[], object]


class DownError(Exception):
    """The dependency is down."""


@dataclass(frozen=True)
class Form:
    """One way to call: which of the two breakers it belongs to, and how it runs a piece of work."""

    name: str
    build: Callable[..., AnyBreaker]
    call: Callable[[Any, Work], Coroutine[Any, Any, object]]

    def __str__(self) -> str:
        return self.name

    async def succeed(self, breaker: AnyBreaker) -> None:
        """Make a call that succeeds."""
        assert await self.call(breaker, lambda: "fine") == "fine"

    async def fail(self, breaker: AnyBreaker, *, times: int = 1) -> DownError:
        """Make a call that fails; return the last error, which is the work's own."""
        for _ in range(times):
            error = DownError("the dependency is down")
            with pytest.raises(DownError) as caught:
                await self.call(breaker, lambda: throw(error))  # noqa: B023 -- it is called before the loop goes on
            assert caught.value is error
        return error

    async def rejected(self, breaker: AnyBreaker) -> CircuitBreakerOpenError:
        """Make a call that the circuit rejects; return the rejection. The work is not reached."""
        with pytest.raises(CircuitBreakerOpenError) as caught:
            await self.call(breaker, lambda: pytest.fail("the work was reached"))
        return caught.value


def throw(error: BaseException) -> Any:
    """Raise ``error`` where only an expression may stand."""
    raise error


async def _decorated(breaker: AnyBreaker, work: Work) -> object:
    @breaker
    async def guarded() -> object:
        return work()

    return await guarded()


async def _decorated_plain(breaker: AnyBreaker, work: Work) -> object:
    @breaker
    def guarded() -> object:
        return work()

    return guarded()


async def _decorated_stream(breaker: AnyBreaker, work: Work) -> object:
    @breaker
    async def guarded() -> AsyncGenerator[object, None]:
        yield work()

    (item,) = [item async for item in guarded()]
    return item


async def _decorated_generator(breaker: AnyBreaker, work: Work) -> object:
    @breaker
    def guarded() -> Generator[object, None, None]:
        yield work()

    (item,) = guarded()
    return item


async def _decorated_lambda(breaker: AnyBreaker, work: Work) -> object:
    async def asynchronous() -> object:
        return work()

    return await breaker(lambda: asynchronous())()  # noqa: PLW0108 -- a lambda is the point


async def _execute(breaker: resilio.CircuitBreaker, work: Work) -> object:
    async def asynchronous() -> object:
        return work()

    return await breaker.execute(asynchronous)


async def _execute_plain(breaker: resilio.CircuitBreaker, work: Work) -> object:
    return await breaker.execute(work)


async def _block(breaker: resilio.CircuitBreaker, work: Work) -> object:
    async with breaker:
        return work()


async def _permit(breaker: AnyBreaker, work: Work) -> object:
    permit = breaker.acquire()
    try:
        result = work()
    except BaseException as error:
        permit.failure(error)
        raise
    permit.success()
    return result


async def _permit_block(breaker: AnyBreaker, work: Work) -> object:
    with breaker.acquire():
        return work()


async def _blocking_execute(breaker: resilio.sync.CircuitBreaker, work: Work) -> object:
    return breaker.execute(work)


async def _blocking_block(breaker: resilio.sync.CircuitBreaker, work: Work) -> object:
    with breaker:
        return work()


_ASYNC, _BLOCKING = resilio.CircuitBreaker, resilio.sync.CircuitBreaker

FORMS = (
    Form("async-decorator", _ASYNC, _decorated),
    Form("async-decorator-of-plain", _ASYNC, _decorated_plain),
    Form("async-decorator-of-stream", _ASYNC, _decorated_stream),
    Form("async-decorator-of-lambda", _ASYNC, _decorated_lambda),
    Form("async-execute", _ASYNC, _execute),
    Form("async-execute-of-plain", _ASYNC, _execute_plain),
    Form("async-block", _ASYNC, _block),
    Form("async-permit", _ASYNC, _permit),
    Form("blocking-decorator", _BLOCKING, _decorated_plain),
    Form("blocking-decorator-of-coroutine", _BLOCKING, _decorated),
    Form("blocking-decorator-of-generator", _BLOCKING, _decorated_generator),
    Form("blocking-execute", _BLOCKING, _blocking_execute),
    Form("blocking-block", _BLOCKING, _blocking_block),
    Form("blocking-permit", _BLOCKING, _permit_block),
)

every_form = pytest.mark.parametrize("form", FORMS, ids=str)


# -- calls that take a while -------------------------------------------------------------------------------------------

AsyncWork: TypeAlias = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Waiting:
    """One way to make a call whose work awaits something."""

    name: str
    call: Callable[[resilio.CircuitBreaker, AsyncWork], Coroutine[Any, Any, object]]

    def __str__(self) -> str:
        return self.name


async def _awaiting_decorated(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    @breaker
    async def guarded() -> object:
        return await work()

    return await guarded()


async def _awaiting_stream(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    @breaker
    async def guarded() -> AsyncGenerator[object, None]:
        yield "first"
        yield await work()

    return [item async for item in guarded()][-1]


async def _awaiting_lambda(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    return await breaker(lambda: work())()  # noqa: PLW0108 -- a lambda is the point


async def _awaiting_execute(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    return await breaker.execute(work)


async def _awaiting_block(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    async with breaker:
        return await work()


async def _awaiting_permit(breaker: resilio.CircuitBreaker, work: AsyncWork) -> object:
    with breaker.acquire():
        return await work()


WAITING = (
    Waiting("decorator", _awaiting_decorated),
    Waiting("decorator-of-stream", _awaiting_stream),
    Waiting("decorator-of-lambda", _awaiting_lambda),
    Waiting("execute", _awaiting_execute),
    Waiting("block", _awaiting_block),
    Waiting("permit", _awaiting_permit),
)

every_waiting_form = pytest.mark.parametrize("form", WAITING, ids=str)


def tripped(breaker: CircuitBreakerBase) -> None:
    """Open a circuit that opens at its first failure."""
    breaker.acquire().failure(DownError())


def state_of(breaker: CircuitBreakerBase) -> CircuitState:
    """The breaker's state; a type checker takes a property for unchanging once it has been compared."""
    return breaker.state
