"""A breaker, played against a model of the contract: its states, its count, its probes, its manual control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from resilio.errors import CircuitBreakerOpenError
from resilio.policies.circuit_breaker import CircuitBreaker, CircuitBreakerBase, Permit
from resilio.policies.circuit_machine import CircuitState
from resilio.testing.machines.machine import NUMBERS, PolicyMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CLOSE = 1e-6
_ENDS = _SUCCESS, _FAILURE, _NEITHER = ("success", "failure", "neither")
_LATER = "later"
_BREAK_OVER, _BREAK_ALMOST_OVER, _PROBE_LOST = ("break over", "break almost over", "probe lost")
_ISOLATE, _END_ISOLATION = ("isolate", "end isolation")
_FORCED = {
    "force_open": CircuitState.FORCED_OPEN,
    "disable": CircuitState.DISABLED,
    "metrics_only": CircuitState.METRICS_ONLY,
}
_PASSING = (CircuitState.CLOSED, CircuitState.DISABLED, CircuitState.METRICS_ONLY)


class BreakerModel:
    """What a circuit that counts consecutive failures should do, in the plainest words. Times in seconds."""

    def __init__(
        self,
        *,
        failure_threshold: int,
        recovery_timeout: float,
        half_open_max_calls: int,
        success_threshold: int,
        half_open_timeout: float,
    ) -> None:
        self.threshold: int = failure_threshold
        self.break_length: float = recovery_timeout
        self.most_probes: int = half_open_max_calls
        self.wanted: int = success_threshold
        self.patience: float = half_open_timeout
        self.automatic: CircuitState = CircuitState.CLOSED
        self.manual: CircuitState | None = None
        self.isolations: int = 0
        self.period: int = 0  # results of an earlier period are dropped
        self.failures: int = 0
        self.break_over: float = 0.0
        self.probes: dict[int, float] = {}  # call -> when it counts as lost
        self.good: int = 0
        self.bad: int = 0

    def state(self, now: float) -> CircuitState:
        if self.isolations:
            return CircuitState.FORCED_OPEN
        if self.manual is None and self.automatic is CircuitState.OPEN and now >= self.break_over:
            return CircuitState.HALF_OPEN
        return self.manual or self.automatic

    def admits(self, call: int, now: float) -> bool:
        """Tell whether a call gets through, and note it if it is a probe."""
        state = self.state(now)
        if state in _PASSING:
            return True
        if state is not CircuitState.HALF_OPEN:
            return False
        if self.automatic is CircuitState.OPEN:
            self.change(CircuitState.HALF_OPEN)
        if not self.has_room():
            self.probes = {each: lost_at for each, lost_at in self.probes.items() if now < lost_at}
        if not self.has_room():
            return False
        self.probes[call] = now + self.patience
        return True

    def has_room(self) -> bool:
        undecided = max(self.most_probes, self.wanted) - self.good - self.bad
        return len(self.probes) < min(self.most_probes, undecided)

    def retry_after(self, now: float) -> float | None:
        """Seconds until a call may get through, as a rejection says it."""
        state = self.state(now)
        if state is CircuitState.OPEN:
            return self.break_over - now
        if state is CircuitState.HALF_OPEN and self.probes:
            return max(min(self.probes.values()) - now, 0.0)
        return None

    def ends(self, call: int, period: int, now: float, *, failed: bool | None) -> None:
        """Note how a call ended; None: it says nothing about the dependency."""
        if call in self.probes:
            del self.probes[call]
            self.good += failed is False
            self.bad += failed is True
            if self.good >= self.wanted:
                self.failures = 0
                self.change(CircuitState.CLOSED)
            elif self.bad > max(self.most_probes, self.wanted) - self.wanted:
                self.open(now)
        elif period == self.period and failed is not None and self.state(now) is CircuitState.CLOSED:
            self.failures = self.failures + 1 if failed else 0
            if self.failures >= self.threshold:
                self.open(now)

    def open(self, now: float) -> None:
        self.break_over = now + self.break_length
        self.change(CircuitState.OPEN)

    def change(self, automatic: CircuitState) -> None:
        """Begin another period: whoever was let through before has no say in it."""
        self.automatic = automatic
        self.period += 1
        self.probes.clear()
        self.good = self.bad = 0

    def force(self, state: CircuitState | None) -> None:
        """What `reset` (None) and its like ask for."""
        self.manual = state
        self.failures = 0
        self.change(CircuitState.CLOSED if state is None else self.automatic)

    def isolate(self, count: int) -> None:
        if self.isolations == 1 and count < 0 and self.automatic is CircuitState.CLOSED:
            self.failures = 0
        self.isolations += count
        self.change(self.automatic)


def _same(told: float | None, expected: float | None) -> bool:
    if told is None or expected is None:
        return told is expected
    return abs(told - expected) < _CLOSE


_SETTINGS: st.SearchStrategy[Mapping[str, Any]] = st.fixed_dictionaries(
    {
        "failure_threshold": st.integers(1, 4),
        "recovery_timeout": st.sampled_from([0.5, 30.0]),
        "half_open_max_calls": st.integers(1, 3),
        "success_threshold": st.integers(1, 3),
        "half_open_timeout": st.sampled_from([0.25, 30.0, 100.0]),
    }
)


_MOVES = st.one_of(
    st.tuples(st.just("call"), st.lists(st.sampled_from((*_ENDS, _LATER)), min_size=1)),
    st.tuples(st.just("end_call"), st.tuples(NUMBERS, st.sampled_from(_ENDS))),
    st.tuples(st.just("fail"), st.integers(-1, 1)),
    st.tuples(st.just("recover"), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 1.0, 2.0, _BREAK_OVER, _BREAK_ALMOST_OVER, _PROBE_LOST])),
)


class _Call(NamedTuple):
    """A call that was let through; `period` is the one of the model in which it began."""

    number: int
    period: int
    permit: Permit


class BreakerMachine(PolicyMachine):
    """Plays calls, their outcomes, manual control and time against a breaker.

    The model knows consecutive failures; a breaker with another trip rule is a game of its own. What a failed call
    raises is `failure`, which the breaker must count.
    """

    policy: ClassVar[Callable[..., CircuitBreakerBase]] = CircuitBreaker
    failure: ClassVar[Callable[[], Exception]] = ConnectionError
    defaults: ClassVar[Mapping[str, Any]] = {
        "failure_threshold": 5,
        "recovery_timeout": 60.0,
        "half_open_max_calls": 1,
        "success_threshold": 1,
        "half_open_timeout": 60.0,
    }

    @initialize(drawn=_SETTINGS, is_controlled=st.booleans())
    def begin(self, drawn: Mapping[str, Any], *, is_controlled: bool) -> None:
        """Make the breaker and its model; in one half of the games nobody takes the circuit into their own hands."""
        settings = self.settings_for(drawn)
        self.breaker: CircuitBreakerBase = self.make(settings)
        self.model: BreakerModel = BreakerModel(**settings)
        self.is_controlled: bool = is_controlled
        self.calls: int = 0
        self.open_calls: list[_Call] = []
        self.isolated: list[Any] = []

    @rule(move=_MOVES)
    def play(self, move: tuple[str, Any]) -> None:
        """Calls begin and end, the circuit opens and recovers, time passes."""
        # One rule, not one for each: of many rules Hypothesis leaves some out of each game, and then little happens.
        what, how = move
        getattr(self, f"_{what}")(how)

    def _call(self, ends: list[str]) -> None:
        """Calls begin, one after the other, and end at once or later."""
        for end in ends:
            self.calls += 1
            call = self._begun()
            if call is not None and end == _LATER:
                self.open_calls.append(call)
            elif call is not None:
                self._ended(call, end)

    def _end_call(self, how: tuple[int, str]) -> None:
        """A call ends that began some moves ago."""
        which, end = how
        if self.open_calls:
            self._ended(self.open_calls.pop(which % len(self.open_calls)), end)

    def _fail(self, more: int) -> None:
        """As many calls fail as a closed circuit stands; or one more, or one less."""
        self._call([_FAILURE] * (self.model.threshold + more))

    def _recover(self, less: int) -> None:
        """The break passes, and as many calls succeed as a half-open circuit wants; or one less."""
        self._wait(_BREAK_OVER)
        self._call([_SUCCESS] * (self.model.wanted - less))

    def _wait(self, until: float | str) -> None:
        """Time passes: a share of a break, or until a certain moment."""
        now, model = self.clock.now, self.model
        if isinstance(until, float):
            self.clock.now += until * model.break_length
        elif until == _PROBE_LOST:
            self.clock.now = max(now, min(model.probes.values(), default=now))
        else:
            self.clock.now = max(now, model.break_over - (0.0 if until == _BREAK_OVER else 0.001))

    @precondition(lambda self: self.is_controlled)
    @rule(what=st.sampled_from(("reset", *_FORCED, _ISOLATE, _END_ISOLATION)))
    def control(self, what: str) -> None:
        """Somebody takes the circuit into their own hands, or out of them."""
        if what == _ISOLATE:
            block = self.breaker.isolate()
            block.__enter__()
            self.isolated.append(block)
            self.model.isolate(+1)
        elif what == _END_ISOLATION:
            if self.isolated:
                self.isolated.pop().__exit__(None, None, None)
                self.model.isolate(-1)
        else:
            getattr(self.breaker, what)()
            self.model.force(_FORCED.get(what))

    def _begun(self) -> _Call | None:
        admitted = self.model.admits(self.calls, self.clock.now)
        rejection: CircuitBreakerOpenError | None = None
        try:
            permit = self.breaker.acquire()
        except CircuitBreakerOpenError as error:
            rejection = error
        if rejection is None:
            assert admitted, f"call {self.calls} was let through"
            return _Call(self.calls, self.model.period, permit)
        assert not admitted, f"call {self.calls} was rejected: {rejection}"
        told, expected = rejection.retry_after, self.model.retry_after(self.clock.now)
        assert _same(told, expected), f"call {self.calls} was told to come back in {told} s, not in {expected} s"
        return None

    def _ended(self, call: _Call, end: str) -> None:
        if end == _SUCCESS:
            call.permit.success()
        elif end == _FAILURE:
            call.permit.failure(type(self).failure())
        else:
            call.permit.release()
        failed = None if end == _NEITHER else end == _FAILURE
        self.model.ends(call.number, call.period, self.clock.now, failed=failed)

    @invariant()
    def the_breaker_is_in_the_state_of_the_model(self) -> None:
        """The state that a call would meet is that of the model."""
        if hasattr(self, "model"):
            expected = self.model.state(self.clock.now)
            assert self.breaker.state is expected, f"{self.breaker.state} and not {expected}"
