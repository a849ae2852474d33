"""What happens during a day, gathered from resilio's events and the endpoint's own words."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resilio import (
    CallRejected,
    CircuitState,
    CircuitStateChanged,
    LetterKept,
    LetterReplayed,
    NotificationSent,
    RetryScheduled,
    TimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio import Event


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of the timeline: what happened, how many seconds after the start, and how it is coloured."""

    at: float
    text: str
    style: str


class Story:
    """The timeline and the counts. ``hear`` is the listener to subscribe.

    Args:
        tell: Called with each moment as it happens.

    Attributes:
        moments: The timeline so far.
        counts: ``retries``, ``timeouts``, ``rejected``, ``live``, ``dead letters``, ``notified``, ``replayed``.
        by_phase: The same counts for each phase of the day, in order.
        phase: The phase of the day.
        circuit: The circuit's state.
        exchanges: The last messages and their replies.
    """

    def __init__(self, tell: Callable[[Moment], object] = lambda _: None) -> None:
        self._begun = time.monotonic()
        self._tell = tell
        self.moments: list[Moment] = []
        self.counts: Counter[str] = Counter()
        self.by_phase: dict[str, Counter[str]] = {}
        self.phase = "not yet begun"
        self.circuit = CircuitState.CLOSED
        self.exchanges: deque[tuple[str, str]] = deque(maxlen=3)
        self._opened_at = self._retry_at = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    @property
    def tries_again_in(self) -> float:
        """Seconds until an open circuit tries again."""
        return max(0.0, self._retry_at - self.elapsed)

    def begin_phase(self, name: str) -> None:
        """The endpoint's day goes on."""
        self.phase = name
        self.by_phase[name] = Counter()
        self.note(f"endpoint: {name}", "bold")

    def count(self, what: str) -> None:
        """Something happened that is only counted, but its first time is told."""
        if not self.counts[what] and what in _FIRST_TIMES:
            self.note(*_FIRST_TIMES[what])
        self.counts[what] += 1
        self.by_phase.setdefault(self.phase, Counter())[what] += 1

    def note(self, text: str, style: str = "") -> None:
        """Add a line to the timeline."""
        moment = Moment(self.elapsed, text, style)
        self.moments.append(moment)
        self._tell(moment)

    def hear(self, event: Event) -> None:
        """Take in one of resilio's events."""
        match event:
            case CircuitStateChanged():
                self._hear_circuit(event)
            case CallRejected():
                self.count("rejected")
            case RetryScheduled():
                self.count("retries")
            case TimedOut():
                self.count("timeouts")
            case NotificationSent():
                self.count("notified")
            case LetterKept():
                self.count("dead letters")
            case LetterReplayed():
                self.count("replayed")

    def _hear_circuit(self, event: CircuitStateChanged) -> None:
        self.circuit = event.after
        if event.after is CircuitState.HALF_OPEN:
            self.note("circuit half-open: one probe goes through", "yellow")
        elif event.after is CircuitState.CLOSED:
            self.note(f"circuit closed, after {self.elapsed - self._opened_at:.1f} s", "green")
        else:
            self._retry_at = self.elapsed + (event.retry_after or 0.0)
            reason = event.error.partition(" for url")[0].removesuffix(": ")
            if event.before is CircuitState.HALF_OPEN:
                self.count("failed probes")
                self.note(f"circuit stays open, the probe failed: {reason}", "red")
            else:
                self.count("opened")
                self._opened_at = self.elapsed
                self.note(f"circuit opened: {reason}", "red")


_FIRST_TIMES = {
    "retries": ("first retry", "cyan"),
    "timeouts": ("first timeout", "cyan"),
    "dead letters": ("first dead letter", "magenta"),
}
