"""One circuit: the state machine with its settings, its lock, the clock, and the events it tells.

Any number of breaker objects may stand before one circuit, in any number of threads and event loops. The lock is held
over plain code only, never across a call, an await, or a listener.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resilio._core import clock, durations, events
from resilio._core.cancellation import is_interruption
from resilio._core.colour import UnguardableError
from resilio._core.mishaps import log_exception
from resilio.errors import CircuitBreakerOpenError
from resilio.policies import nesting
from resilio.policies.circuit_events import CallFailed, CallRejected, CallSucceeded, CircuitEvent, CircuitStateChanged
from resilio.policies.circuit_machine import UNTRACKED, CircuitMachine, CircuitState, Outcome, Transition
from resilio.policies.rejections import cut_rejections, is_rejection_by, rejection_in
from resilio.policies.wording import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from resilio.policies.circuit_settings import CircuitSettings, ErrorFilter


_rejection = CircuitBreakerOpenError.rejection

Change = tuple[Transition, CircuitStateChanged]


@dataclass(frozen=True, slots=True)
class CircuitSnapshot:
    """A circuit at one moment.

    Attributes:
        name: The circuit's name.
        state: What a call would meet now.
        retry_after: Seconds until a call may be let through; None when that does not depend on time.
        counts: What the trip rule has counted, such as ``consecutive_failures``; of joined rules that count the same,
            the names of the later one end in its number, such as ``calls_2``.
        rejected: Calls rejected since the circuit was made.
        failed: Failures recorded since the circuit was made.
        failed_probes: Half-open rounds in a row that ended in a failure.
        transitions: Changes of state since the circuit was made.
        changed_at: When the state last changed, UTC; None if it never did.
        last_failure: The last recorded failure as text; empty if there was none.
    """

    name: str
    state: CircuitState
    retry_after: float | None
    counts: Mapping[str, float]
    rejected: int
    failed: int
    failed_probes: int
    transitions: int
    changed_at: datetime | None
    last_failure: str


class Circuit:
    """A circuit, shared by all breakers of its name. Safe from any thread and any event loop."""

    __slots__ = (
        "__weakref__",
        "_asks_break",
        "_changed_at",
        "_failed",
        "_last_failure",
        "_last_failure_text",
        "_lock",
        "_mark",
        "_rejected",
        "_untold",
        "machine",
        "name",
        "needs_duration",
        "settings",
    )

    def __init__(self, name: str, settings: CircuitSettings) -> None:
        self.name: str = name
        self.settings: CircuitSettings = settings
        self.needs_duration: bool = settings.trip.needs_duration
        recovery = settings.recovery_timeout
        self._asks_break = callable(recovery)
        self.machine: CircuitMachine = CircuitMachine(
            trip=settings.trip,
            break_length=math.inf if callable(recovery) else recovery,
            half_open_max_calls=settings.half_open_max_calls,
            success_threshold=settings.success_threshold,
            half_open_timeout=self._probe_timeout(0.0 if callable(recovery) else recovery),
        )
        # Re-entrant, because the garbage collector may run inside it and close a guarded stream that nobody reads any
        # more, which then gives its ticket back.
        self._lock = threading.RLock()
        self._last_failure: BaseException | None = None  # the cause of rejections; let go when none is counted
        self._last_failure_text = ""
        self._rejected = 0
        self._mark = id(self)  # names are not unique
        self._failed = 0
        self._changed_at: datetime | None = None
        self._untold: dict[int, deque[CircuitEvent]] = {}  # by thread, while it tells

    # -- a call ----------------------------------------------------------------------------------------------------

    def admit(self, *, nests: bool = True) -> int:
        """The ticket of a call that starts now.

        Args:
            nests: Whether what this context calls until the ticket is booked is part of the same call: then it is let
                through along with a probe.

        Raises:
            CircuitBreakerOpenError: The circuit does not let it through.
        """
        machine = self.machine
        if ticket := machine.flow:
            return ticket
        now = clock.monotonic()
        if now < machine.rejects_until:  # the short way out: nothing to decide, nothing to change but a count
            with self._lock:
                until, cause = machine.rejects_until, self._last_failure
                is_break = now < until < math.inf  # without an end, it is the state that says why
                self._rejected += is_break
            if is_break:
                if events.listeners:
                    self._tell(CallRejected(circuit=self.name, state=CircuitState.OPEN, retry_after=until - now))
                raise _rejection(self.name, until - now, self._mark) from cause
        with self._lock:
            admitted = UNTRACKED if nesting.is_inside(machine) else machine.admit(now)
            is_probe = admitted is not None and machine.is_under_way(admitted)
            if admitted is None:
                self._rejected += 1
                state, retry_after, cause = machine.state, machine.retry_after(now), self._last_failure
            changes = self._drain(now) if machine.transitions else None
        if changes:
            self._announce(changes, now)
        if admitted is None:
            if events.listeners:
                self._tell(CallRejected(circuit=self.name, state=state, retry_after=retry_after))
            raise rejection_in(state, self.name, retry_after, self._mark) from cause
        if is_probe and nests:
            nesting.enter(machine, admitted)
        return admitted

    def succeed(self, ticket: int, started: float) -> None:
        """Book the success of a call that began at ``started``, in monotonic seconds (0.0 where no rule asks)."""
        machine = self.machine
        now = clock.monotonic()
        if ticket and ticket == machine.flow and not events.listeners:  # the path that every call of a rate rule takes
            with self._lock:
                if ticket == machine.flow:
                    if not machine.meter.book(failed=False, now=now, duration=now - started):
                        if self._last_failure is not None:
                            self._forget_failure()
                        return
                    machine.open(now)
                changes = self._drain(now)
            self._announce(changes, now)
        else:
            self._book(ticket, Outcome.SUCCESS, now, started)

    def fail(self, ticket: int, error: BaseException | None, started: float) -> None:
        """Book what ended in ``error`` (or in a result that counts as failure: None): a failure, or nothing."""
        if error is not None and not self._is_failure(error):
            self.release(ticket)
        else:
            self._book(ticket, Outcome.FAILURE, clock.monotonic(), started, error)

    def release(self, ticket: int) -> None:
        """Give the ticket back without a word about the dependency."""
        if ticket != self.machine.flow:  # the closed period wants nothing back
            self._book(ticket, Outcome.IGNORED, clock.monotonic(), 0.0)

    def _book(
        self, ticket: int, outcome: Outcome, now: float, started: float, error: BaseException | None = None
    ) -> None:
        if ticket == UNTRACKED:
            return
        duration = now - started if self.needs_duration else 0.0
        text = told(error) if error is not None else ""
        nesting.leave(self.machine, ticket)
        with self._lock:
            wanted = self.machine.book(ticket, outcome, now, duration)
            if wanted and outcome is Outcome.FAILURE:
                self._failed += 1
                self._last_failure, self._last_failure_text = error, text
            elif wanted and outcome is Outcome.SUCCESS:
                self._forget_failure()
            changes = self._drain(now) if self.machine.transitions else None
        if error is not None and wanted:
            cut_rejections(self._mark, error)
        ended: CircuitEvent | None = None
        if events.listeners and wanted:
            if outcome is Outcome.FAILURE:
                ended = CallFailed(circuit=self.name, duration=duration, error=text)
            elif outcome is Outcome.SUCCESS:
                ended = CallSucceeded(circuit=self.name, duration=duration)
        if changes:
            self._announce(changes, now, ended)
        elif ended is not None:
            self._tell(ended)

    def _is_failure(self, error: BaseException) -> bool:
        if is_interruption(error) or is_rejection_by(self._mark, error) or isinstance(error, UnguardableError):
            return False
        try:
            return not _matches(error, self.settings.ignore) and _matches(error, self.settings.record)
        except Exception:
            # A predicate of the user's. The call's own error is on its way and must not be replaced by this one.
            log_exception("record or ignore of circuit %r failed; the call counts as a failure", self.name)
            return True

    # -- control ---------------------------------------------------------------------------------------------------

    def control(self, change: Callable[[CircuitMachine], None]) -> None:
        """Apply a manual change and tell of it."""
        with self._lock:
            change(self.machine)
            self._forget_failure()
            now = clock.monotonic()
            changes = self._drain(now)
        self._announce(changes, now)

    @property
    def state(self) -> CircuitState:
        """What a call would meet now."""
        with self._lock:
            return self.machine.state_at(clock.monotonic())

    def snapshot(self) -> CircuitSnapshot:
        """The circuit at this moment."""
        now = clock.monotonic()
        with self._lock:
            return CircuitSnapshot(
                name=self.name,
                state=self.machine.state_at(now),
                retry_after=self.machine.retry_after(now),
                counts=dict(self.machine.meter.reading(now)),
                rejected=self._rejected,
                failed=self._failed,
                failed_probes=self.machine.failed_probes,
                transitions=self.machine.transition_count,
                changed_at=self._changed_at,
                last_failure=self._last_failure_text,
            )

    def dump(self) -> dict[str, object]:
        """The machine's state for another process."""
        with self._lock:
            return self.machine.dump(clock.monotonic())

    @property
    def is_idle(self) -> bool:
        """Whether forgetting the circuit would change nothing but its counts: it is closed."""
        return self.machine.flow != UNTRACKED

    # -- inside ----------------------------------------------------------------------------------------------------

    def _forget_failure(self) -> None:
        # It holds frames, and these hold whatever they held: a circuit that counts no failure keeps none.
        if self.machine.state in _COUNTING and not self.machine.meter.holds_failures:
            self._last_failure = None

    def _drain(self, now: float) -> list[Change]:
        machine = self.machine
        if not machine.transitions:
            return []
        self._changed_at = clock.utcnow()
        changes = [
            (
                change,
                CircuitStateChanged(
                    circuit=self.name,
                    number=change.number,
                    before=change.before,
                    after=change.after,
                    retry_after=machine.retry_after(now) if change.after is CircuitState.OPEN else None,
                    error=self._last_failure_text,
                ),
            )
            for change in machine.transitions
        ]
        machine.transitions.clear()
        return changes

    def _tell(self, event: CircuitEvent) -> None:
        self._announce((), 0.0, event)

    def _announce(self, changes: Sequence[Change], now: float, cause: CircuitEvent | None = None) -> None:
        """Tell of ``changes``, and of what caused them before; ask how long a break lasts before telling of it.

        No lock is held here: listeners, and whoever says how long, are the user's code and may use this circuit. What
        they make it tell comes after what they were told, so that every listener hears of it in that order.
        """
        here = threading.get_ident()
        untold = self._untold.get(here)
        is_outermost = untold is None
        if untold is None:
            untold = self._untold[here] = deque()
        try:
            if cause is not None:
                untold.append(cause)
            for change, event in changes:
                place = len(untold)
                untold.append(event)
                if self._asks_break and change.began_break is not None:
                    length = self._ask_break(change.number, change.began_break, now)
                    untold[place] = replace(event, retry_after=length)
            while is_outermost and untold:
                events.emit(untold.popleft())
        finally:
            if is_outermost:
                del self._untold[here]

    def _ask_break(self, number: int, failed_probes: int, now: float) -> float:
        length = _DEFAULT_BREAK
        try:
            length = self._break_for(failed_probes)
        finally:  # whatever comes: until the length is known, the circuit stays open
            with self._lock:
                self.machine.set_break(number, now + length, self._probe_timeout(length))
        return length

    def _break_for(self, failed_probes: int) -> float:
        given = self.settings.recovery_timeout
        if not callable(given):
            return given
        try:
            return durations.seconds("what recovery_timeout returned", given(failed_probes))
        except Exception:
            # It runs while a call's own error is on its way: that error must not be replaced by this one.
            log_exception("recovery_timeout of circuit %r failed; the break lasts %g s", self.name, _DEFAULT_BREAK)
            return _DEFAULT_BREAK

    def _probe_timeout(self, break_length: float) -> float:
        # After a break of no length, a probe that is lost at once would let every caller through.
        return self.settings.half_open_timeout or break_length or _DEFAULT_BREAK


_DEFAULT_BREAK = 60.0
_COUNTING = frozenset({CircuitState.CLOSED, CircuitState.METRICS_ONLY})


def _matches(error: BaseException, wanted: ErrorFilter | Callable[[BaseException], bool]) -> bool:
    if isinstance(wanted, (type, tuple)):
        return isinstance(error, wanted)
    return bool(wanted(error))
