"""An adaptive throttle: a client sends less to a backend that refuses much of what it is sent."""

from __future__ import annotations

import logging
import random
from collections import deque
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from crowds import THREADS, in_threads, on_loops
from hypothesis import given
from hypothesis import strategies as st
from ways import Flaky, Way, every_call

import resilio.sync
from resilio import AdaptiveThrottle, RateLimited, RateLimitExceededError, subscribe
from resilio._core import clock, dice
from resilio.errors import is_transient
from resilio.policies.description import Description
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from resilio.policies.adaptive_throttle import AdaptiveThrottleBase

pytestmark = pytest.mark.anyio


class Rolls(random.Random):
    """Dice that show one number."""

    def __init__(self, shown: float) -> None:
        super().__init__()
        self._shown = shown

    def random(self) -> float:
        return self._shown


@contextmanager
def rolling(shown: float) -> Iterator[None]:
    """Let every roll show ``shown``: 0 refuses whenever anything may be refused, just below 1 never does."""
    with dice.loaded(Rolls(shown)):
        yield


NEVER = 0.999999


def call(throttle: AdaptiveThrottleBase, outcomes: str) -> str:
    """Make calls that succeed (``s``), are refused by the backend (``r``) or fail otherwise (``f``), all let through.

    Returns:
        ``s``, ``r`` and ``f`` again, and ``-`` for those that were refused here.
    """
    guarded = throttle(_backend)
    seen = ""
    for outcome in outcomes:
        try:
            guarded(outcome)
        except RateLimitExceededError:
            seen += "-"
        except (ConnectionError, ValueError):
            seen += outcome
        else:
            seen += outcome
    return seen


def _backend(outcome: str) -> None:
    if outcome == "r":
        raise ConnectionError
    if outcome == "f":
        raise ValueError(outcome)


def share(requests: int, accepts: int, k: float = 2.0) -> float:
    """The formula of the SRE book."""
    return max(0.0, (requests - k * accepts) / (requests + 1))


# -- the formula -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "accepted", "refused"), [(2, 0, 0), (2, 10, 10), (2, 10, 11), (2, 0, 5), (1, 9, 1), (1.5, 100, 80), (3, 1, 1)]
)
def test_the_share_is_the_books(k: float, accepted: int, refused: int) -> None:
    """max(0, (requests - k * accepts) / (requests + 1))."""
    throttle = resilio.sync.AdaptiveThrottle(k=k)
    with rolling(NEVER):
        call(throttle, "s" * accepted + "r" * refused)
    assert throttle.rejection == pytest.approx(share(accepted + refused, accepted, k))


def test_a_healthy_backend_gets_everything() -> None:
    """Not even loaded dice refuse a call: nothing is rolled for."""
    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(0):
        assert call(throttle, "s" * 50 + "sr" * 25) == "s" * 50 + "sr" * 25


@pytest.mark.parametrize(("roll", "seen"), [(0.4999, "-"), (0.5, "s")])
def test_a_call_is_refused_if_the_roll_is_below_the_share(roll: float, seen: str) -> None:
    """A share of a half refuses every roll below a half."""
    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(NEVER):
        call(throttle, "r")
    assert throttle.rejection == 0.5
    with rolling(roll):
        assert call(throttle, "s") == seen


def test_calls_refused_here_count_as_calls() -> None:
    """As in the book: who asks in vain has asked. Otherwise the share would not follow the demand."""
    throttle = resilio.sync.AdaptiveThrottle(max_rejection=0.99)
    with rolling(NEVER):
        call(throttle, "s" * 10 + "r" * 20)
    with rolling(0):
        assert call(throttle, "s" * 10) == "-" * 10
    assert throttle.rejection == pytest.approx(share(40, 10))


@pytest.mark.parametrize("cap", [0.9, 0.5, 0.0])
def test_the_share_is_capped_so_that_probes_go_on(cap: float) -> None:
    """However long the outage, one call in ten finds out whether it is over."""
    throttle = resilio.sync.AdaptiveThrottle(max_rejection=cap)
    with dice.loaded(random.Random(1)):
        seen = call(throttle, "r" * 5000)
    assert throttle.rejection == cap
    assert seen[500:].count("r") / 4500 == pytest.approx(1 - cap, abs=0.02)


def test_it_recovers_by_its_probes(virtual_clock: VirtualClock) -> None:
    """When the backend is back, ever more calls go through, until all do."""
    throttle = resilio.sync.AdaptiveThrottle(window=60)
    shares = []

    def minute(outcome: str) -> None:
        seen = ""
        for _ in range(600):
            virtual_clock.advance(0.1)
            seen += call(throttle, outcome)
        shares.append(seen.count("-") / 600)

    with dice.loaded(random.Random(1)):
        minute("s")
        minute("r")
        minute("r")
        for _ in range(8):
            minute("s")
    assert shares[0] == 0
    assert 0.8 < shares[2] < 0.95
    assert shares[2] > shares[3]
    assert shares[-1] == 0


def test_the_backend_sees_little_more_than_it_accepts() -> None:
    """With k=2 it is sent about twice what it takes, whatever the demand."""
    throttle = resilio.sync.AdaptiveThrottle(max_rejection=0.99)
    chance = random.Random(2)
    with dice.loaded(random.Random(1)):
        seen = "".join(call(throttle, "s" if chance.random() < 0.1 else "r") for _ in range(8000))
    sent, accepted = 8000 - seen.count("-"), seen.count("s")
    assert sent < 4000  # half of the demand, at the very least, is kept from it
    assert share(8000, accepted) == pytest.approx(1 - sent / 8000, abs=0.05)


# -- the window --------------------------------------------------------------------------------------------------------


def test_calls_are_forgotten_to_the_instant(virtual_clock: VirtualClock) -> None:
    """After exactly `window` seconds, also when nobody calls."""
    throttle = resilio.sync.AdaptiveThrottle(window=60)
    with rolling(NEVER):
        call(throttle, "rrr")
    virtual_clock.advance(59.75)
    assert throttle.rejection == pytest.approx(0.75)
    virtual_clock.advance(0.25)
    assert throttle.rejection == 0


def test_an_idle_hour_leaves_nothing(virtual_clock: VirtualClock) -> None:
    """The first call after it is let through, whatever the dice."""
    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(NEVER):
        call(throttle, "r" * 100)
    virtual_clock.advance(3600)
    with rolling(0):
        assert call(throttle, "s") == "s"


@pytest.mark.slow("Hypothesis makes up a hundred histories")
@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from("srf"), st.floats(0, 0.999)), max_size=60),
    st.sampled_from([1.0, 1.5, 2.0]),
    st.sampled_from([0.5, 0.9]),
)
def test_it_does_what_the_plainest_sum_says(history: list[tuple[int, str, float]], k: float, cap: float) -> None:
    """A list of the last two minutes' calls, and the formula."""
    with VirtualClock() as virtual:
        throttle = resilio.sync.AdaptiveThrottle(k=k, max_rejection=cap)
        calls, now = deque[tuple[int, bool]](), 0
        for pause, outcome, roll in history:
            now += pause
            virtual.advance(pause)
            while calls and calls[0][0] <= now - 120:
                calls.popleft()
            refused = min(share(len(calls), sum(accepted for _, accepted in calls), k), cap)
            assert throttle.rejection == pytest.approx(refused)
            with rolling(roll):
                seen = call(throttle, outcome)
            assert seen == ("-" if roll < refused else outcome)
            calls.append((now, seen in "sf"))


# -- what counts -------------------------------------------------------------------------------------------------------


@every_call
def test_every_call_counts_once(way: Way) -> None:
    """In every form: a success as accepted, a transient failure as refused, another failure as an answer."""
    throttle = way.names.AdaptiveThrottle(k=1)
    with rolling(NEVER):
        assert way.call(throttle, Flaky("meow")) == "meow"
        for error in (ConnectionError, ConnectionError, ValueError):
            with pytest.raises(error):
                way.call(throttle, Flaky(error))
    assert throttle.rejection == pytest.approx(share(4, 2, 1))


@every_call
def test_a_refused_call_is_not_made(way: Way, virtual_clock: VirtualClock) -> None:
    """It fails at once; error and event say why."""
    throttle, fn = way.names.AdaptiveThrottle(), Flaky("meow")
    told: list[RateLimited] = []
    with rolling(NEVER), pytest.raises(ConnectionError):
        way.call(throttle, Flaky(ConnectionError))
    with rolling(0), subscribe(told.append, RateLimited), pytest.raises(RateLimitExceededError) as caught:
        way.call(throttle, fn)
    assert (fn.calls, virtual_clock.elapsed) == (0, 0)
    assert str(caught.value) == "the backend refuses much of what it is sent, so 50% of calls are refused here"
    assert (caught.value.code, caught.value.context["rejection"]) == ("throttled", 0.5)
    assert caught.value.retry_after is None
    assert [(each.limiter, each.retry_after) for each in told] == [("AdaptiveThrottle", None)]


@every_call
def test_an_interruption_says_nothing(way: Way) -> None:
    """Ctrl-C is no refusal, and no answer either."""
    throttle = way.names.AdaptiveThrottle(k=1)
    with pytest.raises(KeyboardInterrupt):
        way.call(throttle, Flaky(KeyboardInterrupt()))
    assert throttle.rejection == 0
    with rolling(NEVER), pytest.raises(ConnectionError):
        way.call(throttle, Flaky(ConnectionError))
    assert throttle.rejection == 0.5  # of one call, not of two


async def test_a_cancelled_call_says_nothing(virtual_clock: VirtualClock) -> None:
    """Neither to the count nor to who cancelled it."""
    throttle = AdaptiveThrottle(k=1)

    async def hang() -> None:
        await clock.sleep(3600)

    async def block() -> None:
        async with throttle:
            await clock.sleep(3600)

    for waits in (throttle(hang), block):
        with anyio.move_on_after(1) as scope:
            await waits()
        assert scope.cancelled_caught
    assert throttle._calls.totals(clock.monotonic()).calls == 0


def test_what_counts_as_refused_can_be_said() -> None:
    """`record` is asked about each error; those it does not mean are answers."""
    throttle = resilio.sync.AdaptiveThrottle(k=1, record=lambda error: isinstance(error, ValueError))
    with rolling(NEVER):
        call(throttle, "rrrf")
    assert throttle.rejection == pytest.approx(share(4, 3, 1))


def test_a_predicate_that_fails_does_not_replace_the_error(caplog: pytest.LogCaptureFixture) -> None:
    """The call's own error is raised; the failure is logged and counts as refused."""

    def broken(error: BaseException) -> bool:
        raise LookupError

    throttle = resilio.sync.AdaptiveThrottle(record=broken)
    with rolling(NEVER), caplog.at_level(logging.ERROR, logger="resilio"), pytest.raises(ValueError, match="its own"):
        throttle.execute(Flaky(ValueError("its own")))
    assert throttle.rejection == 0.5
    assert "record of an adaptive throttle failed" in caplog.text


def test_a_listener_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal is the same."""

    def raising(event: RateLimited) -> None:
        raise LookupError

    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(NEVER):
        call(throttle, "r")
    with rolling(0), subscribe(raising, RateLimited), caplog.at_level(logging.CRITICAL + 1, logger="resilio"):
        assert call(throttle, "s") == "-"


# -- blocks and streams ------------------------------------------------------------------------------------------------


async def test_a_block_counts(virtual_clock: VirtualClock) -> None:
    """`async with throttle:` is a call, and is refused as one."""
    throttle = AdaptiveThrottle()
    with rolling(NEVER), pytest.raises(ConnectionError):
        async with throttle:
            raise ConnectionError
    with rolling(0), pytest.raises(RateLimitExceededError):
        async with throttle:
            pytest.fail("the block ran")
    assert throttle.rejection == pytest.approx(share(2, 0))


def test_a_blocking_block_counts() -> None:
    """`with throttle:` too."""
    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(NEVER), pytest.raises(ConnectionError), throttle:
        raise ConnectionError
    with rolling(0), pytest.raises(RateLimitExceededError), throttle:
        pytest.fail("the block ran")
    with rolling(NEVER), throttle:
        pass
    assert throttle.rejection == pytest.approx(share(3, 1))


async def test_a_stream_counts_by_its_start() -> None:
    """The backend has accepted when the first item is there; what the consumer does with it is not its doing."""
    throttle = AdaptiveThrottle(k=1)

    @throttle
    async def stream(outcome: str) -> AsyncGenerator[int]:
        _backend(outcome)
        yield 1
        raise ConnectionError

    async with aclosing(stream("s")) as items:
        assert await anext(items) == 1
        assert throttle._calls.totals(clock.monotonic()) == (1, 0, 0)
        with pytest.raises(ConnectionError):
            await anext(items)
    with pytest.raises(ConnectionError):
        await anext(stream("r"))
    assert throttle._calls.totals(clock.monotonic()) == (2, 1, 0)


def test_a_generator_counts_by_its_start() -> None:
    """Without an event loop as well."""
    throttle = resilio.sync.AdaptiveThrottle(k=1)

    @throttle
    def items(outcome: str) -> Generator[int]:
        _backend(outcome)
        yield 1
        raise ConnectionError

    with closing(items("s")) as opened:
        assert next(opened) == 1
        with pytest.raises(ConnectionError):
            next(opened)
    with pytest.raises(ConnectionError):
        next(items("r"))
    assert throttle._calls.totals(clock.monotonic()) == (2, 1, 0)


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.slow("eight threads take turns very often")
def test_threads_count_exactly() -> None:
    """Eight threads, ten thousand calls each: none is lost, none is counted twice."""
    throttle = resilio.sync.AdaptiveThrottle(max_rejection=0, window=3600)

    in_threads(lambda number: call(throttle, "srf" * 3333 + "s"))
    assert throttle._calls.totals(clock.monotonic()) == (THREADS * 10_000, THREADS * 3333, 0)


@pytest.mark.slow("four event loops")
def test_event_loops_count_exactly() -> None:
    """asyncio, uvloop and trio at once; refusals here are counted as well."""
    throttle, seen = AdaptiveThrottle(window=3600), list[str]()

    @throttle
    async def down() -> None:
        await anyio.lowlevel.checkpoint()
        raise ConnectionError

    async def task() -> None:
        for _ in range(20):
            try:
                await down()
            except RateLimitExceededError:
                seen.append("here")
            except ConnectionError:
                seen.append("there")

    async def main(_: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(25):
                tasks.start_soon(task)

    on_loops(main)
    assert len(seen) == 2000
    assert set(seen) == {"here", "there"}
    assert throttle._calls.totals(clock.monotonic()) == (2000, 2000, 0)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_throttle_shows_itself() -> None:
    """To people, and as a value."""
    throttle = resilio.sync.AdaptiveThrottle()
    with rolling(NEVER):
        call(throttle, "r")
    assert repr(throttle) == "<AdaptiveThrottle refusing 50%>"
    settings = (("k", 2.0), ("window", 120.0), ("max_rejection", 0.9), ("record", is_transient))
    assert AdaptiveThrottle().describe() == throttle.describe() == Description("AdaptiveThrottle", settings)
    assert AdaptiveThrottle(k=3).describe() != throttle.describe()


async def _async_predicate(error: BaseException) -> bool:
    return True


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"k": 0.9}, ValueError, "k must be a number, at least 1, not 0.9"),
    ({"k": "2"}, TypeError, "k must be a number, at least 1, not '2' (str)"),
    ({"window": 0}, ValueError, "window must be seconds or a timedelta, above 0, not 0"),
    ({"max_rejection": 1}, ValueError, "max_rejection must be a number, at least 0 and at most 0.99, not 1"),
    ({"max_rejection": -0.1}, ValueError, "max_rejection must be a number, at least 0 and at most 0.99, not -0.1"),
    ({"record": ValueError}, TypeError, "record must be a predicate of an error, not the class ValueError"),
    ({"record": _async_predicate}, TypeError, "record must be a plain function, neither async nor a generator"),
    ({"record": None}, TypeError, "record must be"),
]


@pytest.mark.parametrize("build", [AdaptiveThrottle, resilio.sync.AdaptiveThrottle], ids=["async", "blocking"])
@pytest.mark.parametrize(("arguments", "kind", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_wrong_settings_are_refused(
    build: Callable[..., Any], arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    """By name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build(**arguments)
    assert str(caught.value).startswith(said)
