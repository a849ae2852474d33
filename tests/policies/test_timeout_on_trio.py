"""Whose cancellation is it, on trio? A timeout and its scopes nest in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from timeout_forms import call
from ways import on

from resilio import OperationTimeoutError, Timeout

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


def test_a_trio_scope_around_it_wins(virtual_clock: VirtualClock) -> None:
    """`trio.move_on_after` with less time."""

    async def main() -> bool:
        with trio.move_on_after(3) as scope:
            await call(5)
        return scope.cancelled_caught

    assert on("trio", main)
    assert virtual_clock.elapsed == 3


def test_a_trio_scope_with_more_time_leaves_it_alone(virtual_clock: VirtualClock) -> None:
    """`trio.fail_after`."""

    async def main() -> None:
        with trio.fail_after(9):
            await call(5)

    with pytest.raises(OperationTimeoutError):
        on("trio", main)
    assert virtual_clock.elapsed == 5


def test_a_nursery_inside_of_it_raises_what_remains(virtual_clock: VirtualClock) -> None:
    """A child that answers its cancellation by an error: the error is raised, in its group."""

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    async def main() -> None:
        await call(5, work)

    with pytest.raises(ExceptionGroup) as caught:
        on("trio", main)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


def test_blocks_and_trio_scopes_nest_in_any_order(virtual_clock: VirtualClock) -> None:
    """Ours are trio's own scopes: its stack of scopes stays in order."""

    async def main() -> None:
        async with Timeout(20):
            with trio.move_on_after(10):
                async with Timeout(5):
                    await trio.sleep(1)
                    raise LookupError

    with pytest.raises(LookupError):
        on("trio", main)
