"""The plainest breaker there is: one thread, whole seconds, and nothing but lists.

It was written from the documentation, not from the code, so that the two can be held against each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Call:
    """A call that was let through: in which period it began, and whether it was a probe."""

    period: int
    is_probe: bool = False
    is_blind: bool = False
    began: int = 0


@dataclass
class Model:
    """What a circuit with consecutive failures should do."""

    threshold: int
    break_length: int
    grows: bool
    permits: int
    needed: int
    probe_timeout: int | None

    now: int = 0
    period: int = 0
    state: str = "CLOSED"
    manual: str | None = None
    isolations: int = 0
    failures: int = 0
    failed_probes: int = 0
    break_ends: int = 0
    last_break: int = 0
    probing: list[Call] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)
    booked_failures: int = 0
    rejections: int = 0
    history: list[str] = field(default_factory=lambda: ["CLOSED"])

    # -- what one sees ---------------------------------------------------------------------------------------------

    @property
    def shown(self) -> str:
        """The state that a call would meet now."""
        seen = self.in_force
        return "HALF_OPEN" if seen == "OPEN" and self.now >= self.break_ends else seen

    @property
    def in_force(self) -> str:
        """The state as of the last event."""
        return "FORCED_OPEN" if self.isolations else self.manual or self.state

    @property
    def wait(self) -> int | None:
        """Seconds until a call may be let through, where that depends on time alone."""
        if self.in_force == "OPEN":
            return max(0, self.break_ends - self.now)
        if self.in_force == "HALF_OPEN" and not self._room():
            return max(0, self.probing[0].began + self._patience - self.now)
        return None

    # -- calls -----------------------------------------------------------------------------------------------------

    def call(self) -> Call | None:
        """Begin a call; None if it is rejected."""
        if self.shown == "HALF_OPEN" and self.in_force == "OPEN":
            self._enter("HALF_OPEN")
        match self.in_force:
            case "CLOSED" | "METRICS_ONLY":
                return Call(self.period)
            case "DISABLED":
                return Call(self.period, is_blind=True)
            case "HALF_OPEN":
                if not self._room():
                    self.probing = [probe for probe in self.probing if self.now < probe.began + self._patience]
                if self._room():
                    probe = Call(self.period, is_probe=True, began=self.now)
                    self.probing.append(probe)
                    return probe
        self.rejections += 1
        return None

    def end(self, call: Call, outcome: str) -> None:
        """End a call with ``success``, ``failure`` or ``nothing``."""
        if call.is_blind or call.period != self.period:
            return
        if call.is_probe:
            if not any(probe is call for probe in self.probing):
                return
            self.probing = [probe for probe in self.probing if probe is not call]
        if outcome == "nothing":
            return
        failed = outcome == "failure"
        self.booked_failures += failed
        if call.is_probe:
            self.answers.append(not failed)
            self._judge()
        else:
            self.failures = self.failures + 1 if failed else 0
            if self.failures >= self.threshold and self.in_force == "CLOSED":
                self._break()

    # -- by hand ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Close, and forget everything but isolations."""
        self.manual, self.failures, self.failed_probes = None, 0, 0
        self._enter("CLOSED")

    def force(self, manual: str) -> None:
        """Hold a state until the next reset."""
        self.manual, self.failures = manual, 0
        self._enter(self.state)

    def isolate(self, change: int) -> None:
        """One block more, or one less."""
        self.isolations += change
        if not self.isolations and self.state == "CLOSED":
            self.failures = 0
        self._enter(self.state)

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _patience(self) -> int:
        return self.probe_timeout or self.last_break or 60

    @property
    def _round(self) -> int:
        return max(self.permits, self.needed)

    def _room(self) -> bool:
        return len(self.probing) < self.permits and len(self.probing) + len(self.answers) < self._round

    def _judge(self) -> None:
        if sum(self.answers) == self.needed:
            self.failures = self.failed_probes = 0
            self._enter("CLOSED")
        elif sum(self.answers) + self._round - len(self.answers) < self.needed:
            self.failed_probes += 1
            self._break()

    def _break(self) -> None:
        self.last_break = self.break_length * (self.failed_probes + 1 if self.grows else 1)
        self.break_ends = self.now + self.last_break
        self._enter("OPEN")

    def _enter(self, state: str) -> None:
        self.state = state
        self.period += 1
        self.probing, self.answers = [], []
        if self.in_force != self.history[-1]:
            self.history.append(self.in_force)
