"""What fault injection did, and when, in seconds since its time zero."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from resilio._core import clock, events

_LENGTH = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjected(events.Event):
    """A fault that happened to a call.

    Attributes:
        target: The function's name, or the import path that was given.
        call: The call's number, from 1, counted for this target.
        rule: The number of the rule among those of the target, from 1.
        action: What was done, such as ``raises(ConnectionError)``.
        elapsed: Seconds since the injector's time zero, on the project's clock.
    """

    target: str
    call: int
    rule: int
    action: str
    elapsed: float

    def __str__(self) -> str:
        return f"{self.elapsed:10.3f} s  call {self.call} of {self.target}: {self.action} (rule {self.rule})"


class FaultLog:
    """The faults that happened, oldest first, at most the last 100 000. Safe to use from any thread."""

    __slots__ = ("_entries", "_lock", "_origin")

    def __init__(self) -> None:
        self._entries: deque[FaultInjected] = deque(maxlen=_LENGTH)
        self._lock = threading.Lock()
        self._origin: float | None = None

    def start(self, *, again: bool = True) -> None:
        """Make this moment time zero, or only if there is none yet."""
        if again or self._origin is None:
            self._origin = clock.monotonic()

    def elapsed(self) -> float:
        """Seconds since time zero; 0 before there is one."""
        return 0.0 if self._origin is None else clock.monotonic() - self._origin

    def add(self, *, target: str, call: int, rule: int, action: str) -> None:
        """Note a fault that happened now, and emit it."""
        entry = FaultInjected(target=target, call=call, rule=rule, action=action, elapsed=self.elapsed())
        with self._lock:
            self._entries.append(entry)
        if events.listeners:
            events.emit(entry)

    def entries(self) -> tuple[FaultInjected, ...]:
        """The faults so far."""
        with self._lock:
            return tuple(self._entries)

    def clear(self) -> None:
        """Forget all, time zero too."""
        with self._lock:
            self._entries.clear()
            self._origin = None
