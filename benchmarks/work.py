"""What is protected: the functions behind the policies. Every contestant gets one of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

FAILURES = 2
"""How often `flaky` fails before it answers."""


DEPTH = 10
"""Through so many functions the error of `deep_failure` comes."""

KIBIBYTE = ("Failed to connect to data source at 10.0.0.1 port 8080 after 3 attempts: timed out. " * 13)[:1024]
"""Prose without a secret in it."""


def answer() -> Operation:
    """An async function that answers at once."""

    async def work(number: int) -> int:
        return number

    return work


def answer_blocking() -> Operation:
    """A plain function that answers at once."""

    def work(number: int) -> int:
        return number

    return work


def failure() -> Operation:
    """An async function that fails."""

    async def work(number: int) -> int:
        raise ConnectionError(number)

    return work


def deep_failure() -> Operation:
    """An async function that fails ten functions down."""

    def deeper(left: int) -> None:
        if left == 1:
            msg = "no route to 10.0.0.1"
            raise ConnectionError(msg)
        deeper(left - 1)

    async def work(number: int) -> int:
        deeper(DEPTH - 1)
        return number

    return work


def deep_failure_caught() -> Operation:
    """The same, whose error nobody looks at."""
    fail = deep_failure()

    async def work(number: int) -> int:
        try:
            await fail(number)
        except ConnectionError:
            return number
        return -1

    return work


def flaky() -> Operation:
    """An async function that fails twice and answers the third time, over and over."""
    calls = 0

    async def work(number: int) -> int:
        nonlocal calls
        calls += 1
        if calls % (FAILURES + 1):
            raise ConnectionError(number)
        return number

    return work


def pause() -> Operation:
    """An async function that lets every other task run before it answers."""

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    return work


async def check_answer(operation: Operation) -> None:
    """See that the operation gives back what it is given, three times over."""
    for _ in range(3):
        await _expect(await operation(1))


async def check_plain_answer(operation: Operation) -> None:
    """`check_answer` for a blocking operation."""
    for _ in range(3):
        await _expect(operation(1))


async def check_rejection(operation: Operation) -> None:
    """Fail until the circuit is open, and see that it is: what is raised is then no longer the work's own error."""
    for _ in range(20):
        try:
            await operation(1)
        except ConnectionError:
            continue
        except Exception:
            return
    msg = "still not open after 20 failures"
    raise AssertionError(msg)


async def _expect(result: Any) -> None:
    if result != 1:
        msg = f"answered {result!r}, not 1"
        raise AssertionError(msg)
