from __future__ import annotations

import functools
import importlib
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from resilio import BackoffStrategy, Bulkhead, CircuitBreaker, RateLimiter
from resilio._core import clock, dice
from resilio.policies import registry
from resilio.policies.circuit_breaker import Permit
from resilio.testing.machines import BreakerMachine, BulkheadMachine, LimiterMachine, PolicyMachine, RetryMachine

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio._core.waiter import Waiter

SHORT = settings(max_examples=10, stateful_step_count=25, deadline=None)
LONG = settings(
    max_examples=300, stateful_step_count=40, deadline=None, database=None, derandomize=True, phases=[Phase.generate]
)
MACHINES = [BreakerMachine, BulkheadMachine, LimiterMachine, RetryMachine]

pytestmark = pytest.mark.slow("Hypothesis plays many games")


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_the_policies_of_this_package_win_every_game(machine: type[PolicyMachine]) -> None:
    """With settings that Hypothesis draws, each policy does what its model does."""
    run_state_machine_as_test(machine, settings=SHORT)


@pytest.mark.parametrize(
    "machine",
    [
        BreakerMachine.for_settings(failure_threshold=2, recovery_timeout=10),
        BreakerMachine.for_settings(policy=CircuitBreaker, half_open_max_calls=3, success_threshold=2),
        BulkheadMachine.for_settings(max_concurrent=2, max_queue=2, max_wait=1),
        LimiterMachine.for_settings(rate=100, per=60, burst=5, max_wait=2),
        RetryMachine.for_settings(max_retries=3, jitter=True, max_duration=20),
    ],
    ids=lambda machine: machine.__name__,
)
def test_a_machine_plays_with_the_settings_it_is_given(machine: type[PolicyMachine]) -> None:
    """`for_settings` makes a machine for a user's own settings; those that are left out have their defaults."""
    run_state_machine_as_test(machine, settings=SHORT)


class OurBreaker(BreakerMachine):
    """A subclass as a user writes it."""

    policy_settings = {**BreakerMachine.defaults, "failure_threshold": 3}  # noqa: RUF012 -- as a user would

    @staticmethod
    def policy(**given: Any) -> CircuitBreaker:
        return CircuitBreaker(name="ours", **given)


TestOurBreaker = OurBreaker.TestCase
TestOurBreaker.settings = SHORT


# -- broken on purpose -------------------------------------------------------------------------------------------------


def late_to_trip(failure_threshold: int, **given: Any) -> CircuitBreaker:
    """Opens one failure too late."""
    return CircuitBreaker(failure_threshold=failure_threshold + 1, **given)


def impatient(recovery_timeout: float, **given: Any) -> CircuitBreaker:
    """Ends its breaks a little too early."""
    return CircuitBreaker(recovery_timeout=recovery_timeout * 0.999, **given)


def stampeding(half_open_max_calls: int, success_threshold: int, **given: Any) -> CircuitBreaker:
    """Lets everybody through when half open."""
    wide = max(half_open_max_calls, success_threshold) + 1
    return CircuitBreaker(half_open_max_calls=wide, success_threshold=success_threshold, **given)


class CountsCancellation(CircuitBreaker):
    """Takes a cancelled call for a failed one."""

    def acquire(self) -> Permit:
        permit = super().acquire()

        class Counting(Permit):
            def __init__(self) -> None:
                """Without a ticket of its own."""

            def success(self) -> None:
                permit.success()

            def failure(self, error: BaseException | None = None) -> None:
                permit.failure(error)

            def release(self) -> None:
                permit.failure(ConnectionError())

        return Counting()


class CountsLateResults(CircuitBreaker):
    """Books each result with the ticket of the present period, whenever the call began."""

    def acquire(self) -> Permit:
        permit = super().acquire()
        machine = self._circuit.machine

        class Late(Permit):
            def __init__(self) -> None:
                """Without a ticket of its own."""

            def success(self) -> None:
                permit.success()

            def failure(self, error: BaseException | None = None) -> None:
                if machine.flow:
                    permit._ticket = machine.flow
                permit.failure(error)

            def release(self) -> None:
                permit.release()

        return Late()


class LastFirst(OrderedDict[Any, None]):
    """A queue that is left by whoever came last."""

    def popitem(self, last: bool = True) -> tuple[Any, None]:  # noqa: FBT001, FBT002 -- as `OrderedDict` has it
        return super().popitem(last=not last)


class Unfair(Bulkhead):
    """Calls whoever came last."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._places._queue = LastFirst()


class LosesPlaces(Bulkhead):
    """Forgets the place of a waiter that is cancelled in the moment in which it gets one."""

    def _left_queue(self, waiter: Waiter) -> bool:
        super()._left_queue(waiter)
        return True


def crowded(max_concurrent: int, **given: Any) -> Bulkhead:
    """Has a place too many."""
    return Bulkhead(max_concurrent + 1, **given)


def generous(burst: int | None, rate: float, **given: Any) -> RateLimiter:
    """Lets one call too many through after a quiet time."""
    return RateLimiter(rate, burst=1 + (burst or max(int(rate), 1)), **given)


def patient(max_wait: float | None, **given: Any) -> RateLimiter:
    """Lets calls wait for longer than they want to."""
    return RateLimiter(max_wait=None if max_wait is None else max_wait * 2 + 1, **given)


class ForgetsTheLine(RateLimiter):
    """Does not call the next one when the first in line is cancelled."""

    def _step_out(self, waiter: Waiter) -> None:
        with self._lock:
            self._line.pop(waiter, None)


def stubborn(max_retries: int, **given: Any) -> BackoffStrategy:
    """Makes one attempt too many."""
    return BackoffStrategy(max_retries=max_retries + 1, **given)


def metronomic(jitter: str | None, **given: Any) -> BackoffStrategy:
    """Has no jitter where it should, and the other way round."""
    return BackoffStrategy(jitter="full" if jitter is None else None, **given)


def deaf(max_retry_after: float, **given: Any) -> BackoffStrategy:
    """Does not wait for as long as the server asks."""
    return BackoffStrategy(max_retry_after=max_retry_after / 2, **given)


class RetriesCancellation(BackoffStrategy):
    """Takes cancellation for a failure."""

    def guard_coroutine(self, fn: Any) -> Any:
        @functools.wraps(fn)
        async def careless(*args: Any) -> Any:
            try:
                return await fn(*args)
            except Exception:
                raise
            except BaseException as error:
                raise ConnectionError from error

        return super().guard_coroutine(careless)


def remembering(**given: Any) -> BackoffStrategy:
    """Counts the attempts of all calls together."""

    class Remembering(BackoffStrategy):
        failed = 0

        def wants(self, error: Exception) -> bool:
            Remembering.failed += isinstance(error, ConnectionError)
            return super().wants(error) and Remembering.failed <= 6

    return Remembering(**given)


@pytest.mark.parametrize(
    ("machine", "broken"),
    [
        *(
            (BreakerMachine, each)
            for each in (late_to_trip, impatient, stampeding, CountsCancellation, CountsLateResults)
        ),
        *((BulkheadMachine, each) for each in (Unfair, LosesPlaces, crowded)),
        *((LimiterMachine, each) for each in (generous, patient, ForgetsTheLine)),
        *((RetryMachine, each) for each in (stubborn, metronomic, deaf, RetriesCancellation, remembering)),
    ],
)
def test_a_policy_that_is_broken_on_purpose_loses(machine: type[PolicyMachine], broken: Callable[..., Any]) -> None:
    """The machine finds what is wrong with a policy."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine.for_settings(policy=broken), settings=LONG)


# -- around a game -----------------------------------------------------------------------------------------------------


def test_a_setting_that_the_model_does_not_know_is_refused_by_name() -> None:
    """A machine does not pretend to check what it has no model of."""
    with pytest.raises(TypeError, match=r"the model of BreakerMachine knows .*failure_threshold.*, not trip"):
        BreakerMachine.for_settings(trip=None)


def test_a_game_leaves_the_process_as_it_was() -> None:
    """Clock, dice and named circuits are back in place when a game is over, also when it was lost."""
    before = (clock.current(), dice._rolled[-1], registry.circuits)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(BulkheadMachine.for_settings(policy=crowded), settings=LONG)
    assert (clock.current(), dice._rolled[-1], registry.circuits) == before


def test_without_hypothesis_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no Hypothesis is told to install it."""
    for name in [name for name in sys.modules if name.startswith("resilio.testing.machines")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"resilio\.testing\.machines needs Hypothesis: pip install hypothesis"
    ):
        importlib.import_module("resilio.testing.machines")
