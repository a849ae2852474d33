"""Telling which kind of function one has in hand."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import pytest

from resilio._core.colour import (
    Colour,
    colour_of,
    innermost,
    is_awaitable,
    is_unfinished,
    name_of,
    refuse_lazy,
    refuse_to_decorate,
    refuse_unless_plain,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def plain(number: int = 1) -> int:  # noqa: D103 -- the names of these six say it all
    return number


async def coroutine(number: int = 1) -> int:  # noqa: D103
    return number


def generator() -> Iterator[int]:  # noqa: D103
    yield 1


async def async_generator() -> AsyncIterator[int]:  # noqa: D103
    yield 1


@contextlib.contextmanager
def manager() -> Iterator[int]:  # noqa: D103
    yield 1


@contextlib.asynccontextmanager
async def async_manager() -> AsyncIterator[int]:  # noqa: D103
    yield 1


class Kitten:
    """One of each as a method."""

    def plain(self) -> int:
        return 1

    async def coroutine(self) -> int:
        return 1

    @classmethod
    async def of_class(cls) -> int:
        return 1

    @staticmethod
    async def of_nobody() -> int:
        return 1


class CallsPlain:
    """An object that is called."""

    def __call__(self) -> int:
        return 1


class CallsCoroutine:
    """An object that is called and awaited."""

    async def __call__(self) -> int:
        return 1


SHAPES = [
    (plain, Colour.PLAIN),
    (coroutine, Colour.COROUTINE),
    (generator, Colour.GENERATOR),
    (async_generator, Colour.ASYNC_GENERATOR),
    (lambda: 1, Colour.PLAIN),
    (len, Colour.PLAIN),
    ("".join, Colour.PLAIN),
    (Kitten().plain, Colour.PLAIN),
    (Kitten().coroutine, Colour.COROUTINE),
    (Kitten.of_class, Colour.COROUTINE),
    (Kitten.of_nobody, Colour.COROUTINE),
    (CallsPlain(), Colour.PLAIN),
    (CallsCoroutine(), Colour.COROUTINE),
    (functools.partial(coroutine, 1), Colour.COROUTINE),
    (functools.partial(functools.partial(plain), 1), Colour.PLAIN),
    (functools.partial(CallsCoroutine()), Colour.COROUTINE),
    (functools.partial(Kitten().coroutine), Colour.COROUTINE),
    (functools.partial(async_generator), Colour.ASYNC_GENERATOR),
]


@pytest.mark.parametrize(("fn", "colour"), SHAPES)
def test_every_callable_shape_shows_its_colour(fn: Callable[..., object], colour: Colour) -> None:
    """Functions, methods, partials and callable objects are told apart."""
    assert colour_of(fn) is colour


@pytest.mark.parametrize("fn", [None, 1, "plain", coroutine])
def test_what_is_not_callable_is_refused(fn: object) -> None:
    """A value is no function; neither is the coroutine that calling one gives."""
    if fn is coroutine:
        fn = coroutine()
        with contextlib.closing(fn), pytest.raises(TypeError, match="expected a callable, not <coroutine"):
            colour_of(fn)
    else:
        with pytest.raises(TypeError, match="expected a callable, not"):
            colour_of(fn)


@pytest.mark.parametrize("fn", [manager, async_manager, functools.partial(manager)])
def test_a_function_that_gives_a_context_manager_is_refused(fn: object) -> None:
    """A wrapper would not see the block, so the refusal says what to do."""
    with pytest.raises(TypeError, match="returns a context manager, whose block a wrapper does not see"):
        colour_of(fn)


def test_the_innermost_function_is_found_below_every_layer() -> None:
    """Partials, bound methods and callable objects are looked through."""
    assert innermost(functools.partial(functools.partial(plain))) is plain
    assert innermost(Kitten().coroutine) is Kitten.coroutine
    assert innermost(functools.partial(CallsCoroutine())) is CallsCoroutine.__call__
    assert innermost(Kitten) is Kitten


def test_names_are_those_a_reader_would_look_for() -> None:
    """Module and qualified name, without `builtins`; what has no name goes by its type."""
    module = __name__
    assert name_of(plain) == f"{module}.plain"
    assert name_of(Kitten().coroutine) == f"{module}.Kitten.coroutine"
    assert name_of(functools.partial(plain, 1)) == f"{module}.plain"
    assert name_of(CallsPlain()) == f"{module}.CallsPlain.__call__"
    assert name_of(len) == "len"
    assert name_of(3) == "int"


def test_what_must_still_be_awaited_is_recognised() -> None:
    """A coroutine is awaitable, a value is not."""
    pending = coroutine()
    with contextlib.closing(pending):
        assert is_awaitable(pending)
    assert not is_awaitable(1)


@pytest.mark.parametrize("fn", [generator, async_generator, manager, async_manager])
def test_a_lazy_result_is_refused(fn: Callable[[], object]) -> None:
    """A generator or a context manager that came back has not run yet, so nothing was guarded."""
    with pytest.raises(TypeError, match="which would run unguarded; decorate the generator function itself"):
        refuse_lazy(lambda: fn(), fn())  # noqa: PLW0108 -- the shape that hides its colour


def test_a_refused_generator_is_closed() -> None:
    """Nothing is left running behind a refusal."""
    pending = generator()
    with pytest.raises(TypeError):
        refuse_lazy(generator, pending)
    assert list(pending) == []


def test_a_ready_result_is_not_refused() -> None:
    """Values, lists and coroutines pass."""
    pending = coroutine()
    with contextlib.closing(pending):
        for result in (1, None, [1], iter([1]), pending):
            refuse_lazy(plain, result)


def test_a_class_is_not_decorated() -> None:
    """Decorating a class would guard its construction alone; functions pass."""
    with pytest.raises(TypeError, match=r"cannot decorate the class Kitten; decorate its methods"):
        refuse_to_decorate(Kitten)
    refuse_to_decorate(plain)


@pytest.mark.parametrize("fn", [coroutine, generator, async_generator, manager, async_manager])
def test_what_has_yet_to_run_is_unfinished(fn: Callable[[], object]) -> None:
    """Coroutines, generators and context managers have done nothing yet; asking twice gives the same answer."""
    pending = fn()
    assert is_unfinished(pending)
    assert is_unfinished(pending)
    if hasattr(pending, "close"):
        pending.close()


@pytest.mark.parametrize("result", [None, 1, "text", [1], object(), Kitten(), iter([1])])
def test_what_has_run_is_finished(result: object) -> None:
    """Values of any type are, also the second time they are met."""
    assert not is_unfinished(result)
    assert not is_unfinished(result)


def test_a_predicate_must_be_able_to_answer_at_once() -> None:
    """An async predicate would say yes to everything: it is refused, as is what cannot be called."""
    refuse_unless_plain("record", plain)
    refuse_unless_plain("record", isinstance)
    for fn in (coroutine, generator, async_generator, CallsCoroutine(), functools.partial(coroutine)):
        with pytest.raises(TypeError, match=r"^record must be a plain function, neither async nor a generator, not "):
            refuse_unless_plain("record", fn)
    with pytest.raises(TypeError, match=r"^record must be callable, not 3$"):
        refuse_unless_plain("record", 3)
