"""The ways in which a policy can stand around a call, so that one test of a behaviour covers every one of them.

A test is a plain function; a way brings its own event loop, and puts it on the virtual clock where one is in force::

    @every_way
    def test_it(way: Way, virtual_clock: VirtualClock) -> None:
        fn = Flaky(ConnectionError(), "meow")
        assert way.call(way.names.BackoffStrategy(jitter=None), fn) == "meow"
"""

from __future__ import annotations

from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

import resilio
import resilio.sync
from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator

    from resilio import Policy

T = TypeVar("T")


class Flaky:
    """A function that goes through its outcomes, one a call: errors are raised, anything else is returned.

    Attributes:
        times: When it was called, in seconds on the clock in force.
    """

    def __init__(self, *outcomes: object) -> None:
        self._outcomes = list(outcomes)
        self.times: list[float] = []

    def __call__(self) -> Any:
        self.times.append(clock.monotonic())
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, type) and issubclass(outcome, BaseException):
            raise outcome(f"call {self.calls}")
        return outcome

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.times)

    @property
    def waits(self) -> list[float]:
        """The seconds between its calls."""
        return [round(later - earlier, 6) for earlier, later in zip(self.times, self.times[1:], strict=False)]


@contextmanager
def on_the_clock() -> Iterator[None]:
    """Put the running event loop on the virtual clock while the block runs, if one is in force."""
    now = clock.current()
    if isinstance(now, VirtualClock):
        with now.loop():
            yield
    else:
        yield


def on(backend: str, main: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run ``main(*args)`` on an event loop of ``backend``, on the virtual clock if one is in force."""

    async def run() -> T:
        with on_the_clock():
            return await main(*args)

    return anyio.run(run, backend=backend)


# -- on an event loop --------------------------------------------------------------------------------------------------


async def _async_function(policy: Policy, fn: Callable[[], Any]) -> Any:
    @policy
    async def guarded() -> Any:
        await anyio.lowlevel.checkpoint()
        return fn()

    return await guarded()


async def _async_method(policy: Policy, fn: Callable[[], Any]) -> Any:
    class Service:
        @policy
        async def guarded(self) -> Any:
            return fn()

    return await Service().guarded()


async def _lambda(policy: Policy, fn: Callable[[], Any]) -> Any:
    async def inner() -> Any:
        return fn()

    return await policy(lambda: inner())()  # noqa: PLW0108 -- the shape is the point


async def _execute(policy: Any, fn: Callable[[], Any]) -> Any:
    async def inner() -> Any:
        return fn()

    return await policy.execute(inner)


async def _execute_plain(policy: Any, fn: Callable[[], Any]) -> Any:
    return await policy.execute(fn)


async def _async_generator(policy: Policy, fn: Callable[[], Any]) -> Any:
    @policy
    async def stream() -> AsyncGenerator[Any]:
        yield fn()

    async with aclosing(stream()) as items:
        (only,) = [item async for item in items]
        return only


async def _async_for(policy: Any, fn: Callable[[], Any]) -> Any:
    async for attempt in policy:
        with attempt:
            result = fn()
            attempt.set_result(result)
    return result


# -- without an event loop ---------------------------------------------------------------------------------------------


def _plain_function(policy: Policy, fn: Callable[[], Any]) -> Any:
    return policy(fn)()


def _plain_method(policy: Policy, fn: Callable[[], Any]) -> Any:
    class Service:
        @policy
        def guarded(self) -> Any:
            return fn()

    return Service().guarded()


def _blocking_execute(policy: Any, fn: Callable[[], Any]) -> Any:
    return policy.execute(fn)


def _generator(policy: Policy, fn: Callable[[], Any]) -> Any:
    @policy
    def items() -> Generator[Any]:
        yield fn()

    with closing(items()) as opened:
        return next(iter(opened))


def _for(policy: Any, fn: Callable[[], Any]) -> Any:
    for attempt in policy:
        with attempt:
            result = fn()
            attempt.set_result(result)
    return result


_ASYNC: dict[str, Callable[[Any, Callable[[], Any]], Awaitable[Any]]] = {
    "async function": _async_function,
    "async method": _async_method,
    "lambda": _lambda,
    "execute": _execute,
    "execute of a plain function": _execute_plain,
    "async generator": _async_generator,
    "async for": _async_for,
}
# The shapes of a call are the same for both libraries; on trio these stand for all.
_ON_TRIO = ("async function", "execute of a plain function", "async generator", "async for")
_BLOCKING: dict[str, Callable[[Any, Callable[[], Any]], Any]] = {
    "plain function": _plain_function,
    "plain method": _plain_method,
    "blocking execute": _blocking_execute,
    "generator": _generator,
    "for": _for,
}


@dataclass(frozen=True)
class Way:
    """One form of a policy in one world.

    Attributes:
        form: How the policy meets the call.
        backend: The event loop's library; None for blocking code.
    """

    form: str
    backend: str | None

    @property
    def names(self) -> Any:
        """The module whose policies belong here."""
        return resilio.sync if self.backend is None else resilio

    def call(self, policy: Any, fn: Callable[[], Any]) -> Any:
        """Call ``fn`` under ``policy``; what it raises comes through as it is."""
        if self.backend is None:
            return _BLOCKING[self.form](policy, fn)
        # An event loop treats some exceptions in its own ways, and may hold results for a while: nothing passes
        # through it.
        outcome: list[tuple[Any, BaseException | None]] = []
        anyio.run(self._book, policy, fn, outcome, backend=self.backend)
        result, error = outcome.pop()
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    async def _book(self, policy: Any, fn: Callable[[], Any], outcome: list[tuple[Any, BaseException | None]]) -> None:
        try:
            with on_the_clock():
                outcome.append((await _ASYNC[self.form](policy, fn), None))
        except BaseException as error:
            outcome.append((None, error))

    def __str__(self) -> str:
        return f"{self.backend or 'blocking'}: {self.form}"


def _ways(*without: str) -> pytest.MarkDecorator:
    chosen = [Way(form, "asyncio") for form in _ASYNC if form not in without]
    chosen += [Way(form, "trio") for form in _ON_TRIO if form not in without]
    chosen += [Way(form, None) for form in _BLOCKING if form not in without]
    return pytest.mark.parametrize("way", chosen, ids=str)


every_way = _ways()
"""All of them, also the loops of attempts that only a retry has."""

every_call = _ways("async for", "for")
"""All in which a policy calls a function."""

every_result = _ways("async generator", "generator")
"""All in which a call of a retry comes to a result."""
