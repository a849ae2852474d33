"""One instance of every policy under four event loops (asyncio, uvloop, trio) and four plain threads at once.

Everything is counted exactly, everybody who waits is woken, and nothing belongs to the loop that came first.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from crowds import LOOPS, in_threads

import resilio.sync
from resilio import (
    AdaptiveLimiter,
    AdaptiveThrottle,
    BackoffStrategy,
    Bulkhead,
    CircuitBreaker,
    ConsecutiveFailures,
    CountWindow,
    FailureRate,
    Fallback,
    Hedge,
    LatencyQuantile,
    Pipeline,
    Policy,
    RateLimiter,
    RetryBudget,
    RetryExhaustedError,
    SlowCallRate,
    Timeout,
    TimeWindow,
    standard_pipeline,
)
from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow("eight threads, four of them with an event loop, take turns very often")

TASKS, EACH = 20, 5
THREADS = 4
CALLS = (len(LOOPS) + THREADS) * TASKS * EACH
DOOMED = CALLS // EACH
"""Every last call of a task fails, however often it is tried."""
MANY = 100 * CALLS


class Dependency:
    """Counts what reaches it, whatever the colour of the call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reached = 0
        self.inside = 0
        self.most = 0

    def _enter(self) -> None:
        with self._lock:
            self.reached += 1
            self.inside += 1
            self.most = max(self.most, self.inside)

    def _leave(self) -> None:
        with self._lock:
            self.inside -= 1

    async def ask(self, number: int) -> int:
        """Answer, or fail for the last of a task's numbers."""
        self._enter()
        try:
            await anyio.lowlevel.checkpoint()
            return _answer(number)
        finally:
            self._leave()

    def ask_blocking(self, number: int) -> int:
        """The same without an event loop."""
        self._enter()
        try:
            return _answer(number)
        finally:
            self._leave()


def _answer(number: int) -> int:
    if number == EACH - 1:
        raise ConnectionError
    return number


def crowd(policy: Policy, dependency: Dependency) -> Counter[str]:
    """Let everybody call through ``policy`` at once; what the calls came to, by class or as ``answers``."""
    ask, ask_blocking = policy(dependency.ask), policy(dependency.ask_blocking)
    ended: list[str] = []  # appending is atomic

    async def task() -> None:
        for number in range(EACH):
            try:
                await ask(number)
            except (ConnectionError, RetryExhaustedError) as error:
                ended.append(type(error).__name__)
            else:
                ended.append("answers")

    async def loop() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(TASKS):
                tasks.start_soon(task)

    def thread(place: int) -> None:
        if place < len(LOOPS):
            backend, options = LOOPS[place]
            anyio.run(loop, backend=backend, backend_options=options)
            return
        for number in list(range(EACH)) * TASKS:
            try:
                ask_blocking(number)
            except (ConnectionError, RetryExhaustedError) as error:
                ended.append(type(error).__name__)
            else:
                ended.append("answers")

    in_threads(thread, len(LOOPS) + THREADS)
    assert dependency.inside == 0
    return Counter(ended)


FAILED = {"answers": CALLS - DOOMED, "ConnectionError": DOOMED}
EXHAUSTED = {"answers": CALLS - DOOMED, "RetryExhaustedError": DOOMED}
ANSWERED = {"answers": CALLS}


@dataclass(frozen=True)
class Case:
    """A policy, what the calls through it come to, how many reach the dependency, and what it has counted."""

    policy: Any
    ended: dict[str, int]
    reached: int
    counted: Callable[[Any], object] = lambda policy: None
    expected: object = None


def cases() -> dict[str, Case]:
    """Every policy once, with something in it that many callers must share."""
    budget = RetryBudget(0, min_per_second=100, ttl=3600)
    rates = FailureRate(1.0, window=CountWindow(MANY), minimum_calls=MANY) | SlowCallRate(
        1.0, slower_than=60, window=TimeWindow(3600), minimum_calls=MANY
    )
    breaker = CircuitBreaker(trip=ConsecutiveFailures(MANY))
    counts = {
        "calls": CALLS,
        "failure_rate": DOOMED / CALLS,
        "calls_2": CALLS,
        "slow_call_rate_2": 0.0,
    }
    return {
        "breaker": Case(breaker, FAILED, CALLS, lambda it: it.snapshot().failed, DOOMED),
        "breaker with windows": Case(
            CircuitBreaker(trip=rates), FAILED, CALLS, lambda it: it.snapshot().counts, counts
        ),
        "retry": Case(
            BackoffStrategy(max_retries=2, base_delay=0, budget=budget),
            EXHAUSTED,
            CALLS + 2 * DOOMED,
            lambda it: it.budget.balance,
            360_000 - 2 * DOOMED,
        ),
        "timeout": Case(Timeout(60), FAILED, CALLS),
        "bulkhead": Case(Bulkhead(3, max_queue=CALLS), FAILED, CALLS, lambda it: (it.running, it.waiting), (0, 0)),
        "rate limiter": Case(RateLimiter(20_000, burst=1), FAILED, CALLS, lambda it: it.waiting, 0),
        "adaptive limiter": Case(
            AdaptiveLimiter(initial=2, maximum=4, max_queue=CALLS),
            FAILED,
            CALLS,
            lambda it: (it.running, it.waiting),
            (0, 0),
        ),
        "adaptive throttle": Case(
            AdaptiveThrottle(max_rejection=0, window=3600),
            FAILED,
            CALLS,
            lambda it: it._calls.totals(clock.monotonic()),
            (CALLS, DOOMED, 0),
        ),
        "hedge": Case(
            Hedge(60, budget=RetryBudget(0.5, min_per_second=0, ttl=3600)),
            FAILED,
            CALLS,
            lambda it: it._budget.balance,
            CALLS / 2,
        ),
        "hedge that learns": Case(
            Hedge(LatencyQuantile(0.99, calls=MANY, warm_up=MANY)),
            FAILED,
            CALLS,
            lambda it: len(it._given._latest),
            CALLS - DOOMED,
        ),
        "fallback": Case(Fallback("Meow?"), ANSWERED, CALLS),
        "pipeline": Case(
            Pipeline(
                Fallback("Meow?"),
                BackoffStrategy(max_retries=1, base_delay=0),
                CircuitBreaker(trip=ConsecutiveFailures(MANY)),
                Bulkhead(3, max_queue=CALLS),
                Timeout(60),
            ),
            ANSWERED,
            CALLS + DOOMED,
            lambda it: (it.policies[2].snapshot().failed, it.policies[3].running, it.policies[3].waiting),
            (2 * DOOMED, 0, 0),
        ),
        "standard pipeline": Case(
            standard_pipeline(max_retries=1, base_delay=0, trip=ConsecutiveFailures(MANY)),
            EXHAUSTED,
            CALLS + DOOMED,
            lambda it: (it.policies[0].running, it.policies[3].snapshot().failed),
            (0, 2 * DOOMED),
        ),
    }


@pytest.mark.parametrize("name", list(cases()))
def test_everything_is_counted_and_everybody_is_woken(name: str) -> None:
    """Each call ends as it must, each attempt reaches the dependency once, and the policy has counted all of them."""
    case, dependency = cases()[name], Dependency()
    assert crowd(case.policy, dependency) == case.ended
    assert dependency.reached == case.reached
    assert case.counted(case.policy) == case.expected


@pytest.mark.parametrize("name", ["bulkhead", "adaptive limiter", "pipeline"])
def test_no_more_are_inside_than_may_be(name: str) -> None:
    """Wherever they come from."""
    dependency = Dependency()
    crowd(cases()[name].policy, dependency)
    assert 1 < dependency.most <= 4


@pytest.mark.parametrize("name", list(cases()))
def test_a_policy_outlives_its_loops(name: str) -> None:
    """Used up by one loop after the other, and then by none: nothing is attached to the first."""
    policy, dependency = cases()[name].policy, Dependency()
    ask = policy(dependency.ask)
    for backend, options in LOOPS * 2:
        assert anyio.run(ask, 0, backend=backend, backend_options=options) == 0
    assert policy(dependency.ask_blocking)(0) == 0
    assert dependency.reached == len(LOOPS) * 2 + 1


def test_every_policy_is_here() -> None:
    """Whoever adds a policy adds it above."""
    tried = {type(case.policy).__name__ for case in cases().values()}
    public = (getattr(resilio.sync, name) for name in resilio.sync.__all__)
    there = {each.__name__ for each in public if isinstance(each, type) and issubclass(each, Policy)}
    assert tried == there
