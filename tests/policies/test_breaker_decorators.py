"""A decorated function is still itself: its kind, its name, its signature, and its place in a class."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import resilio
import resilio.sync
from resilio import CircuitBreaker, CircuitBreakerOpenError, circuit_breaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.anyio


async def coroutine(x: int, *rest: str, y: float = 2.0, **more: bool) -> str:
    """Say something."""
    return f"{x} {rest} {y} {more}"


def plain(x: int, /, y: float = 2.0) -> str:
    """Say something else."""
    return f"{x} {y}"


async def stream(x: int) -> AsyncIterator[int]:
    """Count."""
    yield x


def generator(x: int) -> Iterator[int]:
    """Count as well."""
    yield x


KINDS = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
    inspect.isfunction,
)
every_function = pytest.mark.parametrize("fn", [coroutine, plain, stream, generator], ids=lambda fn: fn.__name__)
either_colour = pytest.mark.parametrize("module", [resilio, resilio.sync], ids=lambda module: module.__name__)


@either_colour
@every_function
def test_the_kind_of_function_is_kept(module: Any, fn: Callable[..., Any]) -> None:
    """Frameworks that ask what kind of function they have get the answer they had before."""
    guarded = module.CircuitBreaker()(fn)
    assert [ask(guarded) for ask in KINDS] == [ask(fn) for ask in KINDS]


@either_colour
@every_function
def test_name_docstring_and_signature_are_kept(module: Any, fn: Callable[..., Any]) -> None:
    """functools.wraps has been at work."""
    guarded = module.circuit_breaker(failure_threshold=3)(fn)
    assert (guarded.__name__, guarded.__qualname__) == (fn.__name__, fn.__qualname__)
    assert (guarded.__doc__, guarded.__module__) == (fn.__doc__, fn.__module__)
    assert guarded.__wrapped__ is fn
    assert inspect.signature(guarded) == inspect.signature(fn)
    assert guarded.__annotations__ == fn.__annotations__


def test_a_partial_gets_the_name_of_what_it_calls() -> None:
    """Callables without a name have one when they are guarded, for logs and task names."""
    assert CircuitBreaker()(functools.partial(plain, 1)).__name__ == "plain"


@either_colour
def test_the_decorator_is_the_class_under_another_name(module: Any) -> None:
    """`@circuit_breaker(...)` reads well above a function, and has the same settings and the same help."""
    assert module.circuit_breaker is module.CircuitBreaker
    assert isinstance(circuit_breaker(failure_threshold=3), CircuitBreaker)


def test_one_breaker_may_decorate_many_functions() -> None:
    """They share its circuit."""
    breaker = CircuitBreaker(failure_threshold=2)

    @breaker
    def one() -> None:
        raise ConnectionError

    @breaker
    def another() -> None:
        raise TimeoutError

    with pytest.raises(ConnectionError):
        one()
    with pytest.raises(TimeoutError):
        another()
    with pytest.raises(CircuitBreakerOpenError):
        one()


class Client:
    """A class with guarded methods of every kind."""

    breaker = CircuitBreaker(failure_threshold=1)

    def __init__(self, name: str) -> None:
        self.name = name

    @breaker
    async def coroutine(self, greeting: str) -> str:
        """Greet."""
        return f"{greeting} {self.name}"

    @breaker
    def plain(self, greeting: str) -> str:
        return f"{greeting} {self.name}"

    @breaker
    async def stream(self, greeting: str) -> AsyncIterator[str]:
        yield f"{greeting} {self.name}"

    @breaker
    def generator(self, greeting: str) -> Iterator[str]:
        yield f"{greeting} {self.name}"

    @classmethod
    @breaker
    async def inner_class_method(cls, greeting: str) -> str:
        return f"{greeting} {cls.__name__}"

    @breaker
    @classmethod
    def outer_class_method(cls, greeting: str) -> str:
        return f"{greeting} {cls.__name__}"

    @staticmethod
    @breaker
    async def inner_static_method(greeting: str) -> str:
        return f"{greeting} nobody"

    @breaker
    @staticmethod
    def outer_static_method(greeting: str) -> str:
        return f"{greeting} nobody"

    @property
    @breaker
    def is_known(self) -> bool:
        return bool(self.name)


class Child(Client):
    """A class that inherits them."""


async def test_methods_are_bound_to_their_instance() -> None:
    """`self` arrives, in each kind of method."""
    client = Client("cat")
    assert await client.coroutine("hello") == "hello cat"
    assert client.plain("hello") == "hello cat"
    assert [item async for item in client.stream("hello")] == ["hello cat"]
    assert list(client.generator("hello")) == ["hello cat"]
    assert client.is_known
    assert await Client.coroutine(client, "hello") == "hello cat"


async def test_class_and_static_methods_work_in_either_order() -> None:
    """Above or below `@classmethod` and `@staticmethod`, and in subclasses."""
    for owner in (Client, Client("cat"), Child, Child("kitten")):
        kind = owner if isinstance(owner, type) else type(owner)
        assert await owner.inner_class_method("hello") == f"hello {kind.__name__}"
        assert owner.outer_class_method("hello") == f"hello {kind.__name__}"
        assert await owner.inner_static_method("hello") == "hello nobody"
        assert owner.outer_static_method("hello") == "hello nobody"


def test_a_guarded_method_is_still_a_method() -> None:
    """It binds as functions do, and shows its signature without `self`."""
    bound = Client("cat").coroutine
    assert inspect.ismethod(bound)
    assert inspect.iscoroutinefunction(bound)
    assert list(inspect.signature(bound).parameters) == ["greeting"]
    assert bound.__doc__ == "Greet."


async def test_a_guarded_stream_passes_on_what_is_sent_and_thrown_in() -> None:
    """An async generator keeps `asend`, `athrow` and `aclose`."""
    closed: list[bool] = []

    @CircuitBreaker()
    async def echo() -> Any:
        said: Any = "ready"
        try:
            while True:
                try:
                    said = yield said
                except KeyError as error:
                    said = f"caught {error}"
        finally:
            closed.append(True)

    stream = echo()
    assert await anext(stream) == "ready"
    assert await stream.asend("one") == "one"
    assert await stream.athrow(KeyError("thrown")) == "caught 'thrown'"
    await stream.aclose()
    assert closed == [True]


def test_a_guarded_generator_passes_on_everything_too() -> None:
    """A generator keeps `send`, `throw`, `close` and its return value."""

    @resilio.sync.CircuitBreaker()
    def echo() -> Any:
        said: Any = "ready"
        while said != "end":
            try:
                said = yield said
            except KeyError as error:
                said = f"caught {error}"
        return "returned"

    generator = echo()
    assert next(generator) == "ready"
    assert generator.send("one") == "one"
    assert generator.throw(KeyError("thrown")) == "caught 'thrown'"
    with pytest.raises(StopIteration) as caught:
        generator.send("end")
    assert caught.value.value == "returned"
