"""The breaker against a model of it, through whatever Hypothesis thinks of."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from breaker_forms import DownError
from breaker_model import Call, Model
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitStateChanged, Permit, subscribe
from resilio._core import clock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class HandClock(clock.SystemClock):
    """Whole seconds, moved by hand, so that nothing is lost to rounding."""

    def __init__(self) -> None:
        self.now = 0

    def monotonic(self) -> float:
        return float(self.now)


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order, time passes, and somebody plays with the controls."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.open = ExitStack()
        self.open.enter_context(clock.installed(self.clock))
        self.told: list[CircuitStateChanged] = []
        self.open.enter_context(subscribe(self.told.append, CircuitStateChanged))
        self.isolations: list[AbstractContextManager[None]] = []

    @initialize(
        threshold=st.integers(1, 4),
        break_length=st.integers(0, 20),
        grows=st.booleans(),
        permits=st.integers(1, 4),
        needed=st.integers(1, 4),
        probe_timeout=st.none() | st.integers(1, 30),
    )
    def build(
        self, *, threshold: int, break_length: int, grows: bool, permits: int, needed: int, probe_timeout: int | None
    ) -> None:
        """A breaker and its model, with the same settings."""
        self.model = Model(threshold, break_length, grows, permits, needed, probe_timeout)
        self.breaker = CircuitBreaker(
            failure_threshold=threshold,
            recovery_timeout=(lambda failed: break_length * (failed + 1)) if grows else break_length,
            half_open_max_calls=permits,
            success_threshold=needed,
            half_open_timeout=probe_timeout,
            ignore=KeyError,
        )

    @rule(target=under_way)
    def begin(self) -> tuple[Permit, Call] | None:
        """A call comes: both let it through, or both reject it."""
        expected, wait = self.model.call(), self.model.wait
        if expected is None:
            with pytest.raises(CircuitBreakerOpenError) as caught:
                self.breaker.acquire()
            assert caught.value.retry_after == wait
            return None
        return self.breaker.acquire(), expected

    @rule(call=under_way, outcome=st.sampled_from(["success", "failure", "ignored", "cancelled", "released"]))
    def end(self, call: tuple[Permit, Call] | None, outcome: str) -> None:
        """A call ends, perhaps long after it began, and perhaps not for the first time."""
        if call is None:
            return
        permit, modelled = call
        if permit._ticket is not None:
            self.model.end(modelled, outcome if outcome in {"success", "failure"} else "nothing")
        match outcome:
            case "success":
                permit.success()
            case "failure":
                permit.failure(DownError())
            case "ignored":
                permit.failure(KeyError())
            case "cancelled":
                permit.failure(KeyboardInterrupt())
            case _:
                permit.release()

    @rule(seconds=st.integers(0, 40))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.now += seconds
        self.model.now += seconds

    @rule(off=st.sampled_from([-1, 0, 1]))
    def wait_until_something_happens(self, off: int) -> None:
        """To the very instant, or a second beside it: edges are where mistakes are."""
        self.wait(max(0, (self.model.wait or 0) + off))

    @rule(count=st.integers(1, 4))
    def fail_in_a_row(self, count: int) -> None:
        """Trips would be rare otherwise."""
        for _ in range(count):
            self.end(self.begin(), "failure")

    @rule(outcomes=st.lists(st.sampled_from(["success", "failure", "ignored"]), min_size=1, max_size=6))
    def probe(self, outcomes: list[str]) -> None:
        """An open circuit is waited for and tried."""
        if self.model.in_force == "OPEN":
            self.wait(self.model.wait or 0)
        for outcome in outcomes:
            if self.model.shown == "HALF_OPEN":
                self.end(self.begin(), outcome)

    @rule()
    def reset(self) -> None:
        """An operator resets."""
        self.breaker.reset()
        self.model.reset()

    @rule(control=st.sampled_from(["force_open", "disable", "metrics_only"]), call=st.booleans())
    def control(self, *, control: str, call: bool) -> None:
        """An operator takes over, somebody may call, and the operator gives back, or nothing else would be seen."""
        early = self.begin() if call else None
        getattr(self.breaker, control)()
        self.model.force({"force_open": "FORCED_OPEN", "disable": "DISABLED"}.get(control, "METRICS_ONLY"))
        self.both_tell_the_same()
        self.end(early, "failure")
        meanwhile = self.begin() if call else None
        self.both_tell_the_same()
        if self.clock.now % 8:
            self.reset()
        self.end(meanwhile, "failure")

    @rule()
    def isolate(self) -> None:
        """A block begins."""
        if len(self.isolations) < 3:
            self.isolations.append(self.breaker.isolate())
            self.isolations[-1].__enter__()
            self.model.isolate(+1)

    @rule(place=st.integers(0, 2))
    def end_isolation(self, place: int) -> None:
        """A block ends, in whatever order."""
        if self.isolations:
            self.isolations.pop(place % len(self.isolations)).__exit__(None, None, None)
            self.model.isolate(-1)

    @invariant()
    def both_tell_the_same(self) -> None:
        """After every step."""
        if not hasattr(self, "model"):
            return
        seen, model = self.breaker.snapshot(), self.model
        assert str(seen.state) == str(self.breaker.state) == model.shown
        assert seen.retry_after == model.wait
        assert seen.counts == {"consecutive_failures": model.failures}
        assert seen.failed_probes == model.failed_probes
        assert (seen.failed, seen.rejected) == (model.booked_failures, model.rejections)
        assert [str(each.after) for each in self.told] == model.history[1:]
        assert [each.number for each in self.told] == list(range(1, len(model.history)))
        assert seen.transitions == len(self.told)

    def teardown(self) -> None:
        for isolation in self.isolations:  # else the garbage collector would end them, and be heard
            isolation.__exit__(None, None, None)
        self.open.close()


@pytest.mark.slow("Hypothesis makes up a hundred lives of up to fifty steps")
def test_the_breaker_does_what_its_model_does() -> None:
    """Whatever happens in whatever order; a life that differs is printed with how to repeat it."""
    run_state_machine_as_test(
        BreakerMachine, settings=settings(max_examples=100, stateful_step_count=50, deadline=None, print_blob=True)
    )
