"""What is never a failure."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from resilio._core.cancellation import is_interruption


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_the_interpreters_endings_are_interruptions(error: BaseException) -> None:
    """Cancellation, Ctrl-C, exit and a closed generator are."""
    assert is_interruption(error)


@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), OSError(), ExceptionGroup("", [ValueError()])])
def test_ordinary_errors_are_not(error: BaseException) -> None:
    """An `Exception` never is, nor a group of them."""
    assert not is_interruption(error)


def test_another_base_exception_is_not() -> None:
    """A base exception of somebody's own says nothing about cancellation."""

    class Odd(BaseException):
        pass

    assert not is_interruption(Odd())


def test_a_group_is_one_as_soon_as_one_member_is() -> None:
    """Cancellation is found at any depth of a group."""
    deep = BaseExceptionGroup("outer", [ValueError(), BaseExceptionGroup("inner", [asyncio.CancelledError()])])
    assert is_interruption(deep)


@pytest.mark.anyio
async def test_the_backends_own_cancellation_is_one() -> None:
    """What asyncio and trio raise into a cancelled task is recognised."""
    seen: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as error:
            seen.append(error)
            raise
    assert [is_interruption(error) for error in seen] == [True]
