"""The pytest plugin: fixtures that hand out the tools of this room. It imports nothing but pytest when it loads."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from resilio.testing.virtual_clock import VirtualClock

_CLOCK = pytest.StashKey["VirtualClock"]()


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> Iterator[VirtualClock]:
    """Time that jumps: sleeps, timeouts and deadlines of this test take no real time."""
    from resilio.testing.virtual_clock import VirtualClock  # noqa: PLC0415 -- loaded when asked for

    with VirtualClock() as clock:
        request.node.stash[_CLOCK] = clock
        yield clock


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    clock = item.stash.get(_CLOCK, None)
    if clock is None or not isinstance(item, pytest.Function):
        return (yield)
    holder, name = (item.obj.hypothesis, "inner_test") if hasattr(item.obj, "hypothesis") else (item, "obj")
    present = getattr(holder, name)
    test = getattr(present, "_anyio_original_func", present)
    if not inspect.iscoroutinefunction(test):
        return (yield)

    @functools.wraps(test)
    async def on_the_clock(*args: Any, **kwargs: Any) -> Any:
        with clock.loop():
            return await test(*args, **kwargs)

    setattr(holder, name, on_the_clock)
    try:
        return (yield)
    finally:
        setattr(holder, name, present)
