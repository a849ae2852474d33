"""The documented table of legal transitions is complete: nothing else happens, and all of it does."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

import pytest
from breaker_forms import DownError, state_of

from resilio import CircuitBreaker, CircuitBreakerOpenError, CircuitState, CircuitStateChanged, subscribe
from resilio.policies import circuit_machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.testing.virtual_clock import VirtualClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FORCED_OPEN, DISABLED, METRICS_ONLY = CircuitState.FORCED_OPEN, CircuitState.DISABLED, CircuitState.METRICS_ONLY

BREAK = 10


class Rig:
    """One breaker that opens at the first failure, and everything that can be done to it."""

    def __init__(self, virtual_clock: VirtualClock) -> None:
        self.breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=BREAK)
        self._clock = virtual_clock
        self._blocks = [self.breaker.isolate() for _ in range(3)]
        self._entered = 0
        self.actions: dict[str, Callable[[], object]] = {
            "call succeeds": lambda: self.breaker.acquire().success(),
            "call fails": lambda: self.breaker.acquire().failure(DownError()),
            "call is ignored": lambda: self.breaker.acquire().release(),
            "call goes on": self.breaker.acquire,
            "break passes": lambda: self._clock.advance(BREAK),
            "reset": self.breaker.reset,
            "force_open": self.breaker.force_open,
            "disable": self.breaker.disable,
            "metrics_only": self.breaker.metrics_only,
            "isolate": self._isolate,
            "end isolation": self._end_isolation,
        }

    def do(self, action: str) -> bool:
        """Do it; tell whether it was a call that the circuit rejected."""
        try:
            self.actions[action]()
        except CircuitBreakerOpenError:
            return True
        return False

    def _isolate(self) -> None:
        if self._entered < 2:
            self._blocks[self._entered].__enter__()
            self._entered += 1

    def _end_isolation(self) -> None:
        if self._entered:
            self._entered -= 1
            self._blocks[self._entered].__exit__(None, None, None)
            self._blocks[self._entered] = self.breaker.isolate()

    @property
    def signature(self) -> object:
        """All that decides what comes next."""
        machine = self.breaker._circuit.machine
        snapshot = self.breaker.snapshot()
        is_full = bool(machine._probes)
        return machine._automatic, machine._manual, self._entered, snapshot.state, is_full


STATES: dict[str, tuple[str, ...]] = {
    "closed": (),
    "open": ("call fails",),
    "open, break over": ("call fails", "break passes"),
    "half-open": ("call fails", "break passes", "call is ignored"),
    "half-open, probing": ("call fails", "break passes", "call goes on"),
    "forced open": ("force_open",),
    "disabled": ("disable",),
    "metrics only": ("metrics_only",),
    "isolated": ("isolate",),
    "isolated twice": ("isolate", "isolate"),
    "isolated while open": ("call fails", "isolate"),
    "isolated while disabled": ("disable", "isolate"),
}

# What each action makes of each state; "rejected" beside it where the action is a call that is not let through.
REJECTED = "rejected"
CALLS = ("call succeeds", "call fails", "call is ignored", "call goes on")
CONTROLS = {"reset": CLOSED, "force_open": FORCED_OPEN, "disable": DISABLED, "metrics_only": METRICS_ONLY}

_of_calls = {
    "closed": (CLOSED, OPEN, CLOSED, CLOSED),
    "open": REJECTED,
    "open, break over": (CLOSED, OPEN, HALF_OPEN, HALF_OPEN),
    "half-open": (CLOSED, OPEN, HALF_OPEN, HALF_OPEN),
    "half-open, probing": REJECTED,
    "forced open": REJECTED,
    "disabled": (DISABLED,) * 4,
    "metrics only": (METRICS_ONLY,) * 4,
    "isolated": REJECTED,
    "isolated twice": REJECTED,
    "isolated while open": REJECTED,
    "isolated while disabled": REJECTED,
}


def put_into(state: str, virtual_clock: VirtualClock) -> Rig:
    """A breaker in that state."""
    rig = Rig(virtual_clock)
    for action in STATES[state]:
        assert not rig.do(action)
    return rig


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("state", STATES)
def test_what_a_call_makes_of_each_state(state: str, call: str, virtual_clock: VirtualClock) -> None:
    """Every way a call can end, in every state."""
    rig = put_into(state, virtual_clock)
    before, expected = state_of(rig.breaker), _of_calls[state]
    is_rejected = rig.do(call)
    if isinstance(expected, str):
        assert is_rejected
        assert state_of(rig.breaker) is before
    else:
        assert not is_rejected
        assert state_of(rig.breaker) is expected[CALLS.index(call)]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("state", STATES)
def test_what_a_control_makes_of_each_state(state: str, control: str, virtual_clock: VirtualClock) -> None:
    """Every manual control, in every state; under isolation it shows when the last block ends."""
    rig = put_into(state, virtual_clock)
    assert not rig.do(control)
    if "isolated" in state:
        assert state_of(rig.breaker) is FORCED_OPEN
        rig.do("end isolation")
        rig.do("end isolation")
    assert state_of(rig.breaker) is CONTROLS[control]


@pytest.mark.parametrize("state", [state for state in STATES if "isolated" not in state])
def test_an_isolation_gives_each_state_back(state: str, virtual_clock: VirtualClock) -> None:
    """isolate() rejects whatever the state was, and its end brings that state back."""
    rig = put_into(state, virtual_clock)
    before = state_of(rig.breaker)
    rig.do("isolate")
    assert state_of(rig.breaker) is FORCED_OPEN
    assert all(rig.do(call) for call in CALLS)
    rig.do("end isolation")
    assert state_of(rig.breaker) is before


@pytest.mark.parametrize("state", STATES)
def test_only_a_break_passes_with_time(state: str, virtual_clock: VirtualClock) -> None:
    """Time alone changes what a call would meet in one case: an open circuit whose break is over."""
    rig = put_into(state, virtual_clock)
    before = state_of(rig.breaker)
    virtual_clock.advance(BREAK)
    assert state_of(rig.breaker) is (HALF_OPEN if before is OPEN else before)


def documented() -> dict[tuple[str, str], str]:
    """The table in the module's docstring: (from, to) -> when."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", circuit_machine.__doc__ or "", flags=re.MULTILINE)
    pairs: dict[tuple[str, str], str] = {}
    for before, after, when in rows:
        if before == "from":
            continue
        befores = [str(each) for each in CircuitState] if before == "any" else [before]
        afters = [str(each) for each in CircuitState] if after.startswith("what it") else after.split(", ")
        for pair in ((each, other) for each in befores for other in afters if each != other):
            pairs[pair] = pairs.get(pair, "") + when
    return pairs


def test_the_documented_transitions_are_the_possible_ones(virtual_clock: VirtualClock) -> None:
    """Walking through everything that can be done in every situation meets each documented transition and no other."""
    seen: set[tuple[str, str]] = set()
    visited: set[object] = set()
    paths: deque[tuple[str, ...]] = deque([()])
    while paths:
        path = paths.popleft()
        rig = Rig(virtual_clock)
        for action in path[:-1]:
            rig.do(action)
        told: list[CircuitStateChanged] = []
        with subscribe(told.append, CircuitStateChanged):
            if path:
                rig.do(path[-1])
        seen.update((str(each.before), str(each.after)) for each in told)
        if rig.signature not in visited:
            visited.add(rig.signature)
            paths.extend((*path, action) for action in rig.actions)
    assert seen == set(documented())
    assert len(visited) > 30  # the walk did get about
