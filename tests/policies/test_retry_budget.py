"""Retry budgets: retries and hedges may add a share to the load of calls, and no more."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from crowds import THREADS, in_threads, on_loops
from hypothesis import given
from hypothesis import strategies as st
from ways import Flaky, Way, every_way

import resilio.sync
from resilio import (
    BackoffStrategy,
    Hedge,
    Hedged,
    Pipeline,
    RetryBudget,
    RetryExhaustedError,
    RetryGivenUp,
    RetryScheduled,
    subscribe,
)
from resilio._core import clock
from resilio.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

every_counted_way = pytest.mark.parametrize(
    "way", [way for way in every_way.args[1] if way.form not in {"for", "async for"}], ids=str
)
"""All in which the strategy sees a call; a loop of attempts is one as well, but its first attempt is the caller's."""


def granted(budget: RetryBudget, asked: int = 1000) -> int:
    """How many retries in a row it grants now."""
    return next((given for given in range(asked) if not budget.withdraw()), asked)


# -- the sum -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "calls", "retries"), [(0.2, 4, 0), (0.2, 5, 1), (0.2, 9, 1), (0.1, 100, 10), (0.3, 10, 3), (2, 3, 6)]
)
def test_calls_pay_for_a_share_of_retries(percent: float, calls: int, retries: int) -> None:
    """Exactly the share, whatever 0.1 * 100 is in binary."""
    budget = RetryBudget(percent, min_per_second=0)
    for _ in range(calls):
        budget.deposit()
    assert budget.balance == pytest.approx(percent * calls)
    assert granted(budget) == retries


@pytest.mark.parametrize(("floor", "ttl", "retries"), [(10, 10, 100), (0.5, 10, 5), (0.05, 10, 0), (0, 10, 0)])
def test_a_quiet_client_can_retry_at_all(floor: float, ttl: float, retries: int) -> None:
    """So many a second, without any call: over the time for which a call counts."""
    assert granted(RetryBudget(0.2, floor, ttl)) == retries


def test_share_and_floor_add_up() -> None:
    """As in finagle: the floor comes on top."""
    budget = RetryBudget(0.5, min_per_second=1, ttl=2)
    for _ in range(6):
        budget.deposit()
    assert granted(budget) == 5


def test_a_share_of_nothing_leaves_the_floor() -> None:
    """However many calls there are."""
    budget = RetryBudget(0, min_per_second=1, ttl=3)
    for _ in range(1000):
        budget.deposit()
    assert granted(budget) == 3


def test_a_refusal_takes_nothing() -> None:
    """Asking in vain does not make it worse."""
    budget = RetryBudget(0.5, min_per_second=0)
    budget.deposit()
    assert [budget.withdraw() for _ in range(5)] == [False] * 5
    budget.deposit()
    assert budget.withdraw()


def test_calls_and_retries_are_forgotten_to_the_instant(virtual_clock: VirtualClock) -> None:
    """Both count for `ttl` seconds, and are forgotten when one only looks."""
    budget = RetryBudget(1, min_per_second=0, ttl=10)
    budget.deposit()
    budget.deposit()
    virtual_clock.advance(5)
    assert budget.withdraw()
    virtual_clock.advance(4.75)
    assert budget.balance == 1
    virtual_clock.advance(0.25)
    assert budget.balance == -1  # the calls are gone, the retry is not
    budget.deposit()
    assert not budget.withdraw()
    virtual_clock.advance(5)
    assert budget.balance == 1


def test_an_idle_hour_leaves_the_floor(virtual_clock: VirtualClock) -> None:
    """No more, no less."""
    budget = RetryBudget(0.5, min_per_second=2, ttl=5)
    for _ in range(100):
        budget.deposit()
    granted(budget)
    virtual_clock.advance(3600)
    assert granted(budget) == 10


@pytest.mark.slow("Hypothesis makes up a hundred histories")
@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=80),
    st.sampled_from([Fraction(1, 5), Fraction(1, 2), Fraction(1), Fraction(1, 10)]),
    st.integers(0, 3),
)
def test_it_grants_what_the_plainest_sum_does(history: list[tuple[int, bool]], percent: Fraction, floor: int) -> None:
    """A list of all calls and retries of the last ten seconds, added up in fractions."""
    with VirtualClock() as virtual:
        budget = RetryBudget(float(percent), min_per_second=floor / 10, ttl=100)
        calls, retries, now = deque[int](), deque[int](), 0
        for pause, is_call in history:
            now += pause
            virtual.advance(pause)
            while calls and calls[0] <= now - 100:
                calls.popleft()
            while retries and retries[0] <= now - 100:
                retries.popleft()
            if is_call:
                budget.deposit()
                calls.append(now)
            else:
                may = len(calls) * percent + floor * 10 - len(retries) >= 1
                assert budget.withdraw() is may
                if may:
                    retries.append(now)


def test_it_takes_no_more_room_for_more_calls() -> None:
    """A million calls leave what a thousand leave."""
    budget = RetryBudget(ttl=10)
    sizes = []
    for calls in (1000, 20_000):
        with VirtualClock() as virtual:
            for _ in range(calls):
                virtual.advance(20 / calls)
                budget.deposit()
        sizes.append(sum(map(sys.getsizeof, budget._calls._slots)))
    assert sizes[1] <= sizes[0] * 1.1


# -- in a retry --------------------------------------------------------------------------------------------------------


@every_way
def test_a_refused_retry_is_refused_before_the_wait(way: Way, virtual_clock: VirtualClock) -> None:
    """Nobody waits for what will not be: the budget is asked before the sleep."""
    fn = Flaky(ConnectionError)
    strategy = way.names.BackoffStrategy(base_delay=60, jitter=None, budget=RetryBudget(0, min_per_second=0))
    with pytest.raises(RetryExhaustedError):
        way.call(strategy, fn)
    assert (fn.calls, virtual_clock.elapsed) == (1, 0)


@every_way
def test_a_refused_retry_shows_in_an_event_and_on_the_error(way: Way, virtual_clock: VirtualClock) -> None:
    """Both say that it was the budget, after how many attempts, and the error is the last one's."""
    fn = Flaky(ConnectionError)
    budget = RetryBudget(0, min_per_second=0.2, ttl=10)
    told: list[Any] = []
    with subscribe(told.append, RetryGivenUp, RetryScheduled), pytest.raises(RetryExhaustedError) as caught:
        way.call(way.names.BackoffStrategy(max_retries=9, base_delay=1, jitter=None, budget=budget), fn)
    assert fn.waits == [1, 2]
    assert caught.value.attempts == 3
    assert caught.value.context["reason"] == "budget"
    assert isinstance(caught.value.last_exception, ConnectionError)
    assert caught.value.__cause__ is caught.value.last_exception
    assert [type(each) for each in told] == [RetryScheduled, RetryScheduled, RetryGivenUp]
    assert (told[-1].reason, told[-1].attempt) == ("budget", 3)


def test_with_reraise_the_event_alone_tells(virtual_clock: VirtualClock) -> None:
    """The last error is raised as it is."""
    told: list[RetryGivenUp] = []
    strategy = resilio.sync.BackoffStrategy(budget=RetryBudget(0, min_per_second=0), reraise=True)
    with subscribe(told.append, RetryGivenUp), pytest.raises(ConnectionError, match="call 1"):
        strategy.execute(Flaky(ConnectionError))
    assert [each.reason for each in told] == ["budget"]


@every_counted_way
@pytest.mark.parametrize("outcome", ["meow", ValueError])
def test_every_call_pays_in(way: Way, outcome: object) -> None:
    """Those that succeed at once, and those that fail in a way not worth a retry: that is where the share is from."""
    budget = RetryBudget(0.5, min_per_second=0)
    strategy = way.names.BackoffStrategy(budget=budget)
    for _ in range(4):
        try:
            way.call(strategy, Flaky(outcome))
        except ValueError:
            continue
    assert budget.balance == 2


@every_way
def test_only_a_retry_that_follows_is_paid_for(way: Way, virtual_clock: VirtualClock) -> None:
    """Neither success, nor an error not worth a retry, nor the end of the attempts takes anything."""
    budget = RetryBudget(0, min_per_second=1, ttl=10)
    strategy = way.names.BackoffStrategy(max_retries=2, base_delay=0, budget=budget)
    assert way.call(strategy, Flaky("meow")) == "meow"
    with pytest.raises(ValueError, match="call 1"):
        way.call(strategy, Flaky(ValueError))
    assert budget.balance == 10
    with pytest.raises(RetryExhaustedError) as caught:
        way.call(strategy, Flaky(ConnectionError))
    assert caught.value.context["reason"] == "attempts"
    assert budget.balance == 8


@pytest.mark.slow("a thousand calls and their waits")
async def test_in_an_outage_the_load_grows_by_the_share_and_no_more(virtual_clock: VirtualClock) -> None:
    """A hundred clients whose every call fails: 1.2 attempts a call in place of 6."""
    budget = RetryBudget(0.2, min_per_second=0, ttl=3600)
    strategy = BackoffStrategy(max_retries=5, base_delay=0.1, budget=budget)
    attempts = 0

    async def down() -> None:
        nonlocal attempts
        attempts += 1
        raise ConnectionError

    async def client() -> None:
        for _ in range(10):
            await clock.sleep(1)
            with pytest.raises(RetryExhaustedError):
                await strategy.execute(down)

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(client)
    assert attempts == 1200


# -- shared with a hedge -----------------------------------------------------------------------------------------------


async def test_hedges_and_retries_draw_on_one_budget(virtual_clock: VirtualClock) -> None:
    """What one has spent the other has not, and both pay in."""
    budget = RetryBudget(0.5, min_per_second=0, ttl=3600)
    hedge, strategy = Hedge(1, budget=budget), BackoffStrategy(base_delay=1, jitter=None, budget=budget)
    told: list[Hedged] = []

    async def slow() -> None:
        await clock.sleep(3)

    with subscribe(told.append, Hedged):
        await hedge.execute(slow)
        assert budget.balance == 0.5
        await strategy.execute(int)
        await hedge.execute(slow)  # the second call of the hedge and one of the retry: enough for one
        assert (len(told), budget.balance) == (1, 0.5)
        with pytest.raises(RetryExhaustedError) as caught:
            await strategy.execute(Flaky(ConnectionError))
        assert caught.value.attempts == 2
        assert (caught.value.context["reason"], budget.balance) == ("budget", 0)
        await hedge.execute(slow)
        assert len(told) == 1


def test_blocking_hedges_and_retries_draw_on_one_budget(virtual_clock: VirtualClock) -> None:
    """The same object serves both worlds."""
    budget = RetryBudget(1, min_per_second=0, ttl=3600)
    hedge = resilio.sync.Hedge(1, budget=budget)
    strategy = resilio.sync.BackoffStrategy(base_delay=1, jitter=None, budget=budget)
    hedge.execute(clock.sleep_blocking, 2)
    with pytest.raises(RetryExhaustedError) as caught:
        strategy.execute(Flaky(ConnectionError))
    assert caught.value.attempts == 2
    assert budget.balance == 0


async def test_a_lambda_pays_a_hedge_once(virtual_clock: VirtualClock) -> None:
    """That what it returns must be awaited makes no second call of it."""
    budget = RetryBudget(1, min_per_second=0)

    async def quick() -> str:
        return "meow"

    assert await Hedge(60, budget=budget)(lambda: quick())() == "meow"  # noqa: PLW0108 -- a lambda is the point
    assert budget.balance == 1


async def test_within_each_other_each_counts_what_it_sees(virtual_clock: VirtualClock) -> None:
    """A hedge inside of a retry sees every attempt as a call: half the share comes to the same load."""
    budget = RetryBudget(0.1, min_per_second=0, ttl=3600)
    pipeline = Pipeline(BackoffStrategy(budget=budget), Hedge(60, budget=budget))
    for _ in range(10):
        await pipeline.execute(int)
    assert budget.balance == pytest.approx(2)


# -- many at once ------------------------------------------------------------------------------------------------------


@pytest.mark.slow("eight threads take turns very often")
def test_threads_grant_exactly_the_share() -> None:
    """Eight threads pay in and draw out at once: nothing is lost, nothing is granted twice."""
    budget = RetryBudget(0.5, min_per_second=0, ttl=3600)
    drawn = [0] * THREADS

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(2000):
            budget.deposit()
            if dice.random() < 0.7:
                drawn[number] += budget.withdraw()

    in_threads(work)
    assert sum(drawn) + granted(budget, 10_000) == THREADS * 1000


@pytest.mark.slow("four event loops")
def test_event_loops_and_threads_share_one_budget() -> None:
    """Retries of asyncio, uvloop, trio and plain threads together add the share, to the attempt."""
    budget = RetryBudget(0.25, min_per_second=0, ttl=3600)
    attempts: list[int] = []
    blocking = resilio.sync.BackoffStrategy(max_retries=5, base_delay=0, budget=budget)
    strategy = BackoffStrategy(max_retries=5, base_delay=0, budget=budget)

    def down() -> None:
        attempts.append(1)
        raise ConnectionError

    def in_a_thread(_: int) -> None:
        for _ in range(100):
            with pytest.raises(RetryExhaustedError):
                blocking.execute(down)

    async def task() -> None:
        with pytest.raises(RetryExhaustedError):
            await strategy.execute(down)

    async def on_a_loop(_: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(task)

    threads = threading.Thread(target=in_threads, args=(in_a_thread, 4))
    threads.start()
    on_loops(on_a_loop)
    threads.join(60)
    assert len(attempts) + granted(budget) == 800 + 200


# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_defaults_are_finagles() -> None:
    """A fifth of the calls of ten seconds, and ten a second."""
    budget = RetryBudget()
    assert (budget.percent, budget.min_per_second, budget.ttl) == (0.2, 10, 10)
    assert repr(budget) == "<RetryBudget percent=0.2 min_per_second=10 ttl=10>"


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: RetryBudget(-0.1), ValueError, "percent must be a number, at least 0 and at most 1000, not -0.1"),
    (lambda: RetryBudget(float("nan")), ValueError, "percent must be a number"),
    (lambda: RetryBudget("0.2"), TypeError, "percent must be a number"),  # type: ignore[arg-type]
    (lambda: RetryBudget(True), TypeError, "percent must be a number"),
    (lambda: RetryBudget(min_per_second=-1), ValueError, "min_per_second must be a number, at least 0, not -1"),
    (lambda: RetryBudget(ttl=0), ValueError, "ttl must be seconds or a timedelta, above 0, not 0"),
]


@pytest.mark.parametrize(("build", "kind", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_wrong_settings_are_refused(build: Callable[[], Any], kind: type[Exception], said: str) -> None:
    """By name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        build()
    assert str(caught.value).startswith(said)
