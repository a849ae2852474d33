"""What a fault does to a call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from resilio._core import clock
from resilio._core.cancellation import is_interruption
from resilio.testing.faults import FaultInjector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from resilio.testing.faults import FaultRule
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio


class Ledger:
    """Something with an effect that a lost reply does not undo."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def write(self, entry: bytes) -> bytes:
        self.entries.append(entry)
        return b"wrote " + entry

    async def awrite(self, entry: bytes) -> bytes:
        await clock.sleep(0)
        return self.write(entry)

    def refuse(self, entry: bytes) -> bytes:
        raise ValueError(entry)

    async def arefuse(self, entry: bytes) -> bytes:
        raise ValueError(entry)


@pytest.fixture
def faults() -> Iterator[FaultInjector]:
    """An injector of its own for each test, checked at the end."""
    with FaultInjector(seed=7) as injector:
        yield injector


@pytest.fixture
def ledger() -> Ledger:
    """A ledger with nothing in it."""
    return Ledger()


def test_raises_does_not_call(faults: FaultInjector, ledger: Ledger) -> None:
    """The error stands for the whole call, and says which call it was."""
    faults.on(ledger.write).raises(OSError)
    with pytest.raises(OSError, match=r"^injected into call 1 of .*Ledger\.write$"):
        ledger.write(b"a")
    assert ledger.entries == []


def test_raises_takes_an_object_a_class_or_a_factory(faults: FaultInjector, ledger: Ledger) -> None:
    """An object is raised as it is; a class and a factory make a fresh one each time."""
    boom = ValueError("boom")
    faults.on(ledger.write).nth(1, 2).raises(boom)
    faults.on(ledger.write).nth(3).raises(lambda: OSError(28, "no space left"))
    faults.on(ledger.write).nth(4).raises(asyncio.IncompleteReadError(b"", 5))
    depths = []
    for _ in range(2):
        with pytest.raises(ValueError, match="boom") as caught:
            ledger.write(b"a")
        assert caught.value is boom
        depths.append(len(caught.traceback))
    assert depths[0] == depths[1], "the traceback of the shared object grows"
    with pytest.raises(OSError, match="no space left"):
        ledger.write(b"a")
    with pytest.raises(asyncio.IncompleteReadError):
        ledger.write(b"a")


class NoMessageError(Exception):
    """An error class that takes nothing."""

    def __init__(self) -> None:
        super().__init__("fixed")


class PickyError(Exception):
    """An error class that needs its own arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(code)


def test_raises_refuses_what_makes_no_error(faults: FaultInjector, ledger: Ledger) -> None:
    """A class that needs arguments, a class that is no error, and a factory of something else are named."""
    faults.on(ledger.write).nth(1).raises(NoMessageError)
    with pytest.raises(NoMessageError, match="fixed"):
        ledger.write(b"a")
    with pytest.raises(TypeError, match="raises: PickyError needs arguments of its own"):
        faults.on(ledger.write).raises(PickyError)
    with pytest.raises(TypeError, match="raises must be given an exception"):
        faults.on(ledger.write).raises(int)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="raises must be given an exception"):
        faults.on(ledger.write).raises("boom")  # type: ignore[arg-type]
    faults.on(ledger.write).raises(lambda: "boom")  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"should make an exception for call 2 of .*write, and made 'boom'"):
        ledger.write(b"a")


async def test_delays_let_other_tasks_run(virtual_clock: VirtualClock, ledger: Ledger) -> None:
    """Two delayed async calls wait side by side, and then do their work."""
    with FaultInjector() as faults:
        faults.on(ledger.awrite).delays(timedelta(seconds=3))
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.awrite, b"a")
            group.start_soon(ledger.awrite, b"b")
        assert virtual_clock.elapsed == 3
        assert sorted(ledger.entries) == [b"a", b"b"]


def test_delays_block_plain_code(virtual_clock: VirtualClock, faults: FaultInjector, ledger: Ledger) -> None:
    """A plain call waits on its thread, by the project's clock."""
    faults.on(ledger.write).delays(2.5)
    assert ledger.write(b"a") == b"wrote a"
    assert virtual_clock.elapsed == 2.5


def test_delays_may_be_drawn(virtual_clock: VirtualClock, faults: FaultInjector, ledger: Ledger) -> None:
    """A distribution draws from the call's own dice, and the log tells what it drew."""
    faults.on(ledger.write).delays(lambda dice: dice.choice([1.0, 2.0]))
    for _ in range(12):
        ledger.write(b"a")
    drawn = [each.action for each in faults.log]
    assert set(drawn) == {"delays(1)", "delays(2)"}
    assert virtual_clock.elapsed == sum(float(each[7:-1]) for each in drawn)


def test_a_delay_must_be_a_duration(faults: FaultInjector, ledger: Ledger) -> None:
    """A fixed delay is checked when it is written, a drawn one when it is drawn."""
    with pytest.raises(ValueError, match="delay must be seconds"):
        faults.on(ledger.write).delays(-1)
    faults.on(ledger.write).delays(lambda _: float("nan"))
    with pytest.raises(ValueError, match=r"the delay drawn from .* must be seconds"):
        ledger.write(b"a")


def test_a_delay_and_then_an_error(virtual_clock: VirtualClock, faults: FaultInjector, ledger: Ledger) -> None:
    """Actions of one rule happen in the order in which they are written."""
    faults.on(ledger.write).nth(2).delays(30).raises(TimeoutError)
    ledger.write(b"a")
    with pytest.raises(TimeoutError):
        ledger.write(b"b")
    assert virtual_clock.elapsed == 30
    assert ledger.entries == [b"a"]


async def test_a_hang_ends_only_when_cancelled(virtual_clock: VirtualClock, ledger: Ledger) -> None:
    """An async call that hangs gives way to its caller's timeout, and the callee never runs."""
    with FaultInjector() as faults:
        faults.on(ledger.awrite).hangs()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(86400):
                await ledger.awrite(b"a")
        assert virtual_clock.elapsed == 86400
        assert ledger.entries == []


async def test_a_hang_may_have_a_limit(virtual_clock: VirtualClock, ledger: Ledger) -> None:
    """Past its limit a hang says so, in async code too."""
    with FaultInjector() as faults:
        faults.on(ledger.awrite).hangs(limit=60)
        with pytest.raises(TimeoutError, match=r"the injected hang in call 1 of .* reached its limit of 60 s"):
            await ledger.awrite(b"a")
        assert virtual_clock.elapsed == 60


def test_a_hang_of_plain_code_needs_a_limit(virtual_clock: VirtualClock, faults: FaultInjector, ledger: Ledger) -> None:
    """Nobody could end it otherwise: that is refused where it is written."""
    with pytest.raises(TypeError, match=r"cannot do hangs\(\) to a plain function: .* give hangs\(limit=seconds\)"):
        faults.on(ledger.write).hangs()
    faults.on(ledger.write).hangs(limit=10)
    with pytest.raises(TimeoutError):
        ledger.write(b"a")
    assert virtual_clock.elapsed == 10


async def test_returns_replaces_the_call(faults: FaultInjector, ledger: Ledger) -> None:
    """The value is the result, and the callee does not run."""
    faults.on(ledger.awrite).returns(None)
    faults.on(ledger.write).returns(b"nothing")
    assert await ledger.awrite(b"a") is None
    assert ledger.write(b"a") == b"nothing"
    assert ledger.entries == []


async def test_mangles_and_truncates_change_the_result(faults: FaultInjector, ledger: Ledger) -> None:
    """The callee runs; its result comes back changed."""
    faults.on(ledger.awrite).nth(1).mangles(bytes.swapcase)
    faults.on(ledger.awrite).nth(2).truncates(3)
    assert [await ledger.awrite(b"a") for _ in range(3)] == [b"WROTE A", b"wro", b"wrote a"]
    assert len(ledger.entries) == 3


def test_truncates_says_what_it_cannot_cut(faults: FaultInjector) -> None:
    """A number has no first three elements."""

    @faults.wrap
    def count() -> int:
        return 42

    faults.on(count).truncates(3)
    with pytest.raises(TypeError, match=r"truncates\(3\) cuts bytes, strings and lists; call 1 of .* returned 42"):
        count()


async def test_drops_ack_does_the_work_and_loses_the_reply(faults: FaultInjector, ledger: Ledger) -> None:
    """The caller sees a broken connection, and the effect is there all the same."""
    faults.on(ledger.awrite).first(1).drops_ack()
    with pytest.raises(ConnectionResetError, match="injected into call 1"):
        await ledger.awrite(b"a")
    await ledger.awrite(b"a")
    assert ledger.entries == [b"a", b"a"], "the retry did the work twice, as it would in life"


async def test_drops_ack_loses_an_error_too(faults: FaultInjector, ledger: Ledger) -> None:
    """What was lost is the cause of what the caller sees, in either colour."""
    faults.on(ledger.refuse).drops_ack(TimeoutError)
    faults.on(ledger.arefuse).drops_ack(TimeoutError)
    with pytest.raises(TimeoutError) as caught:
        ledger.refuse(b"a")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(TimeoutError) as caught:
        await ledger.arefuse(b"a")
    assert isinstance(caught.value.__cause__, ValueError)


async def test_the_callees_own_errors_come_through(faults: FaultInjector, ledger: Ledger) -> None:
    """An action that has nothing to say to an error lets it pass, and is not in the log."""
    faults.on(ledger.arefuse).mangles(len).truncates(2)
    with pytest.raises(ValueError, match="a"):
        await ledger.arefuse(b"a")
    assert not faults.log


async def test_cancels_throws_the_backends_own_cancellation(faults: FaultInjector, ledger: Ledger) -> None:
    """The error is the one that the event loop uses, and the callee does not run."""
    faults.on(ledger.awrite).cancels()
    with pytest.raises(anyio.get_cancelled_exc_class()) as caught:
        await ledger.awrite(b"a")
    assert is_interruption(caught.value)
    assert ledger.entries == []
    await anyio.lowlevel.checkpoint()  # nothing of it is left behind


async def test_cancels_a_scope_around_the_call(faults: FaultInjector, ledger: Ledger) -> None:
    """The cancellation arrives at the call, as if its caller had been cancelled while it waited."""
    cleaned_up = []
    with anyio.CancelScope() as scope:
        faults.on(ledger.awrite).nth(2).cancels(scope)
        await ledger.awrite(b"a")
        try:
            await ledger.awrite(b"b")
        finally:
            cleaned_up.append(True)
        pytest.fail("the scope was to be cancelled")
    assert scope.cancelled_caught
    assert cleaned_up
    assert ledger.entries == [b"a"]


async def test_cancels_under_a_shield_lets_the_call_go_on(faults: FaultInjector, ledger: Ledger) -> None:
    """A shielded call is not reached, as it would not be in life."""
    with anyio.CancelScope() as scope:
        faults.on(ledger.awrite).cancels(scope)
        with anyio.CancelScope(shield=True):
            await ledger.awrite(b"a")
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert ledger.entries == [b"a"]


def test_cancels_is_refused_where_nothing_can_be_cancelled(faults: FaultInjector, ledger: Ledger) -> None:
    """Plain code has no cancellation, and a scope must have a ``cancel``."""
    with pytest.raises(TypeError, match="code without an event loop cannot be cancelled"):
        faults.on(ledger.write).cancels()
    with pytest.raises(TypeError, match="something with a cancel"):
        faults.on(ledger.awrite).cancels(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda rule: rule.truncates(-1), "truncates must be a whole number, at least 0"),
        (lambda rule: rule.mangles("upper"), "mangles must be given a function of the result, not 'upper'"),
        (lambda rule: rule.hangs(limit=-1), "limit must be seconds"),
        (lambda rule: rule.raises(OSError, after_items=1), "breaks a stream in the middle"),
        (lambda rule: rule.drops_ack(7), "drops_ack must be given an exception"),
    ],
)
def test_an_action_that_cannot_be_is_refused_by_name(
    faults: FaultInjector, ledger: Ledger, build: Callable[[FaultRule], object], complaint: str
) -> None:
    """Every argument is checked where it is written, and the refused rule does nothing."""
    with pytest.raises((TypeError, ValueError), match=complaint):
        build(faults.on(ledger.write))
    assert ledger.write(b"a") == b"wrote a"
    assert not faults.log
