from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from resilio import BackoffStrategy, CircuitBreaker, Pipeline, RetryScheduled, sync
from resilio._core import clock, dice
from resilio.testing import (
    BlockingChaos,
    Chaos,
    ChaosCall,
    ChaosInjected,
    ChaosWithheld,
    EventRecorder,
    match,
    no_waits,
)
from resilio.testing.fault_actions import delays, drops_ack, hangs, mangles, raises, returns, truncates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from resilio.testing import VirtualClock
    from resilio.testing.fault_actions import FaultAction

ON: dict[str, Any] = {"rate": 1, "enabled": True, "dry_run": False, "max_per_minute": 1000}


class Backend:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetch(self, page: str = "page") -> str:
        self.asked += 1
        return page

    def read(self, page: str = "page") -> str:
        self.asked += 1
        return page


# -- safe by default ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_it_does_nothing_unless_it_is_enabled(resilio_events: EventRecorder) -> None:
    """Not even ask its kill switch."""
    backend = Backend()
    chaos = Chaos(raises(ConnectionError), rate=1, kill_switch=lambda: pytest.fail("it was asked"))
    assert await chaos.execute(backend.fetch) == "page"
    assert backend.asked == 1
    resilio_events.assert_none()


@pytest.mark.anyio
async def test_a_dry_run_tells_what_it_would_do_and_does_nothing(resilio_events: EventRecorder) -> None:
    """Unless the user says otherwise, that is all."""
    chaos = Chaos(delays(30), raises(ConnectionError), rate=1, enabled=True, name="friday")
    backend = Backend()
    assert await chaos.execute(backend.fetch) == "page"
    resilio_events.assert_sequence(
        match(ChaosInjected, chaos="friday", action="delays(30)", dry_run=True),
        match(ChaosInjected, chaos="friday", action="raises(ConnectionError)", dry_run=True),
    )


@pytest.mark.anyio
async def test_it_strikes_when_it_is_told_to(resilio_events: EventRecorder) -> None:
    """Each injection is told, with the operation."""
    backend = Backend()
    chaos = Chaos(raises(ConnectionError), **ON)
    with pytest.raises(ConnectionError, match=r"injected into a call of .*Backend\.fetch"):
        await chaos.execute(backend.fetch)
    assert backend.asked == 0
    resilio_events.assert_sequence(
        match(ChaosInjected, operation=lambda name: name.endswith("Backend.fetch"), dry_run=False)
    )


@pytest.mark.anyio
async def test_it_can_be_switched_at_any_time() -> None:
    """On, off, and from a dry run to the real thing, in functions that are decorated already."""
    chaos = Chaos(returns("nonsense"), rate=1)
    fetch = chaos(Backend().fetch)
    found = [await fetch()]
    chaos.enabled = True
    found.append(await fetch())
    chaos.dry_run = False
    found.append(await fetch())
    chaos.enabled = False
    found.append(await fetch())
    assert found == ["page", "page", "nonsense", "page"]


# -- who decides -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_kill_switch_is_asked_first() -> None:
    """Before the scope and the dice; what is true means no chaos."""
    asked: list[str] = []
    killed = [False, True]

    def kill_switch() -> bool:
        asked.append("kill_switch")
        return killed.pop(0)

    def scope(_call: ChaosCall) -> bool:
        asked.append("scope")
        return True

    fetch = Chaos(returns("nonsense"), **ON, kill_switch=kill_switch, scope=scope)(Backend().fetch)
    assert [await fetch(), await fetch()] == ["nonsense", "page"]
    assert asked == ["kill_switch", "scope", "kill_switch"]


@pytest.mark.anyio
@pytest.mark.parametrize("asked", ["kill_switch", "scope"])
async def test_a_function_that_raises_means_no_chaos(asked: str, resilio_events: EventRecorder) -> None:
    """The call goes on as if there were none, and the failure is told."""

    def broken(*_: object) -> bool:
        raise LookupError("flags are down")

    functions: dict[str, Any] = {asked: broken}
    assert await Chaos(returns("nonsense"), **ON, **functions).execute(Backend().fetch) == "page"
    resilio_events.assert_sequence(match(ChaosWithheld, asked=asked, error="LookupError: flags are down"))
    resilio_events.assert_none(ChaosInjected)


@pytest.mark.anyio
async def test_the_scope_sees_the_call() -> None:
    """Its operation and arguments, however it is called."""
    seen: list[ChaosCall] = []

    def only_staff(call: ChaosCall) -> bool:
        seen.append(call)
        return "staff" in call.args or call.kwargs.get("page") == "staff"

    backend = Backend()
    chaos = Chaos(returns("nonsense"), **ON, scope=only_staff)
    fetch = chaos(backend.fetch)
    found = [await fetch("user"), await fetch("staff"), await fetch(page="staff")]
    found += [await chaos.execute(backend.fetch, "staff"), await Pipeline(chaos).execute(backend.fetch, "user")]
    async with Chaos(delays(0), **ON, scope=only_staff):
        pass
    assert found == ["user", "nonsense", "nonsense", "nonsense", "user"]
    assert [call.args for call in seen] == [("user",), ("staff",), (), ("staff",), ("user",), ()]
    assert [call.operation.rpartition(".")[2] for call in seen] == ["fetch"] * 5 + ["block"]
    assert seen[2].kwargs == {"page": "staff"}


def test_the_rate_is_a_share_of_the_calls_and_the_same_dice_give_the_same_calls() -> None:
    """Drawn from the package's own dice."""

    def struck(seed: int, rate: float) -> list[int]:
        chaos = BlockingChaos(returns("nonsense"), **{**ON, "rate": rate})
        with dice.loaded(random.Random(seed)):
            return [number for number in range(1000) if chaos.execute(str, number) == "nonsense"]

    assert struck(1, 0.1) == struck(1, 0.1) != struck(2, 0.1)
    assert 50 < len(struck(1, 0.1)) < 150
    assert struck(1, 0) == []
    assert len(struck(1, 1)) == 1000


def test_no_more_calls_are_struck_in_a_minute_than_the_cap_allows(virtual_clock: VirtualClock) -> None:
    """In any sixty seconds, not in each minute of the clock."""
    chaos = BlockingChaos(returns("struck"), **{**ON, "max_per_minute": 3})
    struck_at = []
    for _ in range(300):
        if chaos.execute(str) == "struck":
            struck_at.append(virtual_clock.elapsed)
        clock.sleep_blocking(1)
    assert struck_at == [0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 181, 182, 240, 241, 242]


def test_a_dry_run_keeps_to_the_cap(resilio_events: EventRecorder) -> None:
    """What it tells is what would happen."""
    chaos = BlockingChaos(raises(ConnectionError), rate=1, enabled=True, max_per_minute=3)
    for _ in range(10):
        chaos.execute(str)
    assert len(resilio_events.of(ChaosInjected)) == 3


# -- what it does ------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("actions", "asked", "expected"),
    [
        ((delays(5), raises(ConnectionError)), 0, ConnectionError),
        ((hangs(limit=5),), 0, TimeoutError),
        ((returns("nonsense"),), 0, "nonsense"),
        ((delays(5), mangles(str.upper)), 1, "PAGE"),
        ((truncates(2),), 1, "pa"),
        ((drops_ack(),), 1, ConnectionResetError),
    ],
    ids=["delays and raises", "hangs", "returns", "mangles", "truncates", "drops the answer"],
)
async def test_each_action_strikes_async_and_blocking_calls_alike(
    virtual_clock: VirtualClock, actions: tuple[FaultAction, ...], asked: int, expected: object
) -> None:
    """The callee is asked or not, time passes or not, and the answer is an error or a value."""
    backend = Backend()
    found: list[object] = []
    try:
        found.append(await Chaos(*actions, **ON).execute(backend.fetch))
    except Exception as error:
        found.append(type(error))
    elapsed = virtual_clock.elapsed
    try:
        found.append(await anyio.to_thread.run_sync(BlockingChaos(*actions, **ON).execute, backend.read))
    except Exception as error:
        found.append(type(error))
    assert found == [expected, expected]
    assert backend.asked == 2 * asked
    assert elapsed == (5 if any("5" in str(each) for each in actions) else 0)
    assert virtual_clock.elapsed == 2 * elapsed


@pytest.mark.anyio
async def test_streams_are_struck_in_the_middle() -> None:
    """Of an async and of a plain generator."""

    async def stream() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    def numbers() -> Iterator[int]:
        yield from range(5)

    chaos = Chaos(raises(ConnectionError, after_items=2), **ON)
    items, plain_items = chaos(stream)(), chaos(numbers)()
    assert [await anext(items), await anext(items), next(plain_items), next(plain_items)] == [0, 1, 0, 1]
    with pytest.raises(ConnectionError):
        await anext(items)
    with pytest.raises(ConnectionError):
        next(plain_items)
    chaos.enabled = False
    assert [number async for number in chaos(stream)()] == list(chaos(numbers)()) == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_a_block_is_struck_before_it_begins(virtual_clock: VirtualClock) -> None:
    """It waits and fails; nothing of it runs."""
    async with Chaos(delays(3), **ON):
        assert virtual_clock.elapsed == 3
    with pytest.raises(ConnectionError):
        async with Chaos(raises(ConnectionError), **ON):
            pytest.fail("the block ran")


def test_a_blocking_block_is_struck_before_it_begins(virtual_clock: VirtualClock) -> None:
    """The same without an event loop."""
    with BlockingChaos(delays(3), **ON):
        assert virtual_clock.elapsed == 3
    with pytest.raises(TimeoutError), BlockingChaos(hangs(limit=4), **ON):
        pytest.fail("the block ran")
    assert virtual_clock.elapsed == 7


@pytest.mark.anyio
async def test_a_plain_function_that_returns_a_coroutine_is_struck_where_it_is_awaited(
    virtual_clock: VirtualClock,
) -> None:
    """It shows its colour when it is called; from then on chaos waits on the event loop, and decides once a call."""
    backend = Backend()
    chaos = Chaos(delays(5), mangles(str.upper), rate=1, dry_run=False, max_per_minute=1000)
    fetch: Callable[[], Any] = chaos(lambda: backend.fetch())  # noqa: PLW0108 -- the shape that is tested
    assert await fetch() == "page"
    chaos.enabled = True
    async with anyio.create_task_group() as group:  # a blocked loop would let nobody else run
        group.start_soon(anyio.sleep, 5)
        assert await fetch() == "PAGE"
    assert virtual_clock.elapsed == 5
    assert backend.asked == 2


@pytest.mark.anyio
async def test_policies_around_it_cope(virtual_clock: VirtualClock, resilio_events: EventRecorder) -> None:
    """Innermost in a pipeline, it is what a retry retries and a breaker counts."""
    backend = Backend()
    chaos = Chaos(raises(ConnectionError), **{**ON, "max_per_minute": 2})
    breaker = CircuitBreaker(failure_threshold=3)
    fetch = Pipeline(BackoffStrategy(max_retries=3), breaker, chaos)(backend.fetch)
    assert await fetch() == "page"
    assert backend.asked == 1
    resilio_events.assert_sequence(ChaosInjected, RetryScheduled, ChaosInjected, RetryScheduled)
    resilio_events.assert_attempts("fetch", 3)
    assert breaker.snapshot().failed == 2


@pytest.mark.anyio
async def test_switching_waits_off_leaves_injected_delays(virtual_clock: VirtualClock) -> None:
    """They are what the dependency does, not what a policy does."""
    with no_waits():
        await Chaos(delays(5), **ON).execute(Backend().fetch)
        async with Chaos(delays(5), **ON):
            pass
    assert virtual_clock.elapsed == 10


@pytest.mark.anyio
async def test_cancellation_passes_through_an_injected_hang(virtual_clock: VirtualClock) -> None:
    """A hang ends when whoever waits for it gives up."""
    with anyio.move_on_after(7) as scope:
        await Chaos(hangs(), **ON).execute(Backend().fetch)
    assert scope.cancelled_caught
    assert virtual_clock.elapsed == 7


def test_it_goes_into_a_blocking_pipeline() -> None:
    """Of either kind; a decorator takes the colour of what it wraps."""
    for kind in (Chaos, BlockingChaos):
        with pytest.raises(ConnectionError):
            sync.Pipeline(kind(raises(ConnectionError), **ON)).execute(str)
        assert kind(returns("nonsense"), **ON)(Backend().read)() == "nonsense"


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "settings", "error", "message"),
    [
        ((), {}, TypeError, "at least one action"),
        ((ConnectionError,), {}, TypeError, "takes actions such as fault_actions.raises"),
        ((returns(1),), {"rate": 1.5}, ValueError, "rate must be a number, at least 0 and at most 1"),
        ((returns(1),), {"rate": True}, TypeError, "rate must be a number"),
        ((returns(1),), {"enabled": "yes"}, TypeError, "enabled must be True or False"),
        ((returns(1),), {"dry_run": None}, TypeError, "dry_run must be True or False"),
        ((returns(1),), {"max_per_minute": 0}, ValueError, "max_per_minute must be a whole number, at least 1"),
        ((returns(1),), {"kill_switch": True}, TypeError, "kill_switch must be callable"),
        ((returns(1),), {"scope": Backend.fetch}, TypeError, "scope must be a plain function"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    actions: tuple[Any, ...], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message says which one, and what is allowed."""
    with pytest.raises(error, match=message):
        Chaos(*actions, **{"rate": 0.1, **settings})


def test_an_action_that_cannot_be_done_to_a_function_is_refused_when_it_is_decorated() -> None:
    """Not at noon, in production, at the first strike."""
    with pytest.raises(
        TypeError, match=r"cannot do hangs\(\) to .*read: without an event loop nobody could end a hang"
    ):
        Chaos(hangs(), rate=1)(Backend().read)
    with pytest.raises(TypeError, match=r"cannot do raises\(.*after_items=2\) to .*fetch"):
        Chaos(raises(OSError, after_items=2), rate=1)(Backend().fetch)

    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"cannot do returns\(5\) to .*stream"):
        Chaos(returns(5), rate=1)(stream)


@pytest.mark.anyio
async def test_what_a_call_or_a_block_cannot_suffer_is_refused_whether_it_strikes_or_not() -> None:
    """Also while chaos is disabled, so that it shows on the first day."""
    with pytest.raises(TypeError, match="to a call"):
        await Chaos(raises(OSError, after_items=2), rate=0).execute(Backend().fetch)
    with pytest.raises(TypeError, match=r"cannot do mangles\(str.upper\) to a block: a block has no result"):
        async with Chaos(mangles(str.upper), rate=0):
            pass


def test_a_blocking_block_refuses_a_hang_without_an_end() -> None:
    """Nobody could end it."""
    with pytest.raises(TypeError, match="to a block"), BlockingChaos(hangs(), rate=0):
        pass


# -- around it ---------------------------------------------------------------------------------------------------------


def test_it_describes_itself() -> None:
    """As every policy does."""
    chaos = Chaos(delays(1), raises(OSError), rate=0.25, scope=bool)
    assert repr(chaos) == "<Chaos disabled, delays(1).raises(OSError) at 0.25>"
    assert dict(chaos.describe().settings) == {
        "name": "chaos",
        "actions": ("delays(1)", "raises(OSError)"),
        "rate": 0.25,
        "enabled": False,
        "dry_run": True,
        "kill_switch": None,
        "scope": "bool",
        "max_per_minute": 10,
    }
    chaos.enabled = True
    assert "dry run" in repr(chaos)
    chaos.dry_run = False
    assert "enabled" in repr(chaos)


@pytest.mark.slow("starts an interpreter")
def test_production_does_not_load_test_tools() -> None:
    """Importing it imports neither pytest nor Hypothesis, nor what only fixtures need."""
    code = (
        "import sys; from resilio.testing import BlockingChaos, Chaos; import resilio.testing.fault_actions; "
        "print([name for name in ('pytest', '_pytest', 'hypothesis', 'unittest.mock') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == "[]"
