"""What a rule may do about it: bounded, and written down.

An action runs at most ``max_runs`` times in ``per`` seconds, never twice at once, with ``cooldown`` seconds between
runs, and no longer than ``timeout``. Whatever became of it is a `RecoveryRecord` and a `RecoveryAttempted` event.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread

from resilio._core import clock, durations, events
from resilio._core.colour import Colour, colour_of, is_awaitable, name_of
from resilio._core.events import Event
from resilio.alerting.media import cut
from resilio.alerting.outlet import described, say, text_of
from resilio.policies.circuit_machine import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from resilio._core.durations import Duration
    from resilio.policies.circuit import CircuitSnapshot

__all__ = (
    "RecoveryAction",
    "RecoveryAttempted",
    "RecoveryOutcome",
    "RecoveryRecord",
    "replay_dead_letters",
    "reset_circuit",
)


class RecoveryOutcome(StrEnum):
    """What became of an action."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It is not the time for it."""
    LIMITED = "limited"
    """It ran too often already, or runs just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRecord:
    """One line of the audit.

    Attributes:
        at: When, UTC.
        rule: The rule that asked for it.
        action: The action's name.
        outcome: What became of it.
        says: What it returned, why it failed, or why it did not run.
        seconds: How long it took.
    """

    at: datetime
    rule: str
    action: str
    outcome: RecoveryOutcome
    says: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryAttempted(Event):
    """A rule's action ran, or should have.

    Attributes:
        record: What became of it.
    """

    record: RecoveryRecord


class RecoveryAction:
    """Something to do while a rule fires.

    Args:
        run: A function without arguments, async or plain; a plain one runs in a worker thread.
        name: What the audit calls it; the function's name by default.
        when: Says why it should not run now, or returns None; a plain, quick function.
        max_runs: At most so many runs in ``per`` seconds.
        per: See there.
        cooldown: Seconds between the end of a run and the next one.
        timeout: Seconds for a run. A plain function goes on behind our back when they have passed.

    Safe to share between rules, threads and event loops: the bounds hold for all of them together.
    """

    __slots__ = (
        *("_ended", "_is_running", "_lock", "_run", "_runs", "_when"),
        *("cooldown", "max_runs", "name", "per", "timeout"),
    )

    def __init__(
        self,
        run: Callable[[], object],
        *,
        name: str | None = None,
        when: Callable[[], str | None] | None = None,
        max_runs: int = 3,
        per: Duration = 3600.0,
        cooldown: Duration = 60.0,
        timeout: Duration = 60.0,
    ) -> None:
        if not callable(run):
            msg = f"run must be a function without arguments, not {run!r}"
            raise TypeError(msg)
        self._run = run
        self._when = when
        self.name: str = name or name_of(run)
        self.max_runs: int = durations.whole("max_runs", max_runs, at_least=1)
        self.per: float = durations.seconds("per", per, above=0)
        self.cooldown: float = durations.seconds("cooldown", cooldown)
        self.timeout: float = durations.seconds("timeout", timeout, above=0)
        self._lock = threading.Lock()
        self._runs: deque[float] = deque()
        self._ended = float("-inf")
        self._is_running = False

    def __repr__(self) -> str:
        return f"<RecoveryAction {self.name} max_runs={self.max_runs} per={self.per:g}>"

    async def attempt(self, rule: str) -> RecoveryRecord:
        """Run if it may, and say what became of it. Never raises an ``Exception``; cancellation passes through."""
        began, at = clock.monotonic(), clock.utcnow()
        outcome, says = await self._attempt(began)
        record = RecoveryRecord(
            at=at,
            rule=rule,
            action=self.name,
            outcome=outcome,
            says=cut(says, 1000),
            seconds=clock.monotonic() - began,
        )
        if outcome is RecoveryOutcome.FAILED:
            say("recovery action %s of rule %s failed: %s", self.name, rule, record.says)
        if events.listeners:
            events.emit(RecoveryAttempted(record=record))
        return record

    async def _attempt(self, now: float) -> tuple[RecoveryOutcome, str]:
        try:
            reason = None if self._when is None else self._when()
        except Exception as error:
            return RecoveryOutcome.FAILED, described(error)
        if reason is not None:
            return RecoveryOutcome.SKIPPED, text_of(reason)
        limit = self._take(now)
        if limit is not None:
            return RecoveryOutcome.LIMITED, limit
        try:
            with anyio.fail_after(self.timeout):
                return RecoveryOutcome.DONE, text_of(await self._call())
        except Exception as error:
            return RecoveryOutcome.FAILED, described(error)
        finally:
            with self._lock:
                self._is_running = False
                self._ended = clock.monotonic()

    def _take(self, now: float) -> str | None:
        with self._lock:
            while self._runs and now - self._runs[0] >= self.per:
                self._runs.popleft()
            if self._is_running:
                return "it is running"
            if now - self._ended < self.cooldown:
                return f"it ran less than {self.cooldown:g} s ago"
            if len(self._runs) >= self.max_runs:
                return f"it ran {self.max_runs} times in {self.per:g} s"
            self._runs.append(now)
            self._is_running = True
            return None

    async def _call(self) -> object:
        if colour_of(self._run) is Colour.PLAIN:
            result = await anyio.to_thread.run_sync(self._run, abandon_on_cancel=True)
        else:
            result = self._run()
        return await result if is_awaitable(result) else result


class _Replays(Protocol):
    async def reprocess_all(self, *, limit: int | None = None) -> Any: ...


class _Circuit(Protocol):
    def snapshot(self) -> CircuitSnapshot: ...

    def reset(self) -> None: ...


def replay_dead_letters(
    queue: _Replays,
    *,
    breaker: _Circuit | None = None,
    closed_for: Duration = 60.0,
    limit: int = 100,
    **bounds: Any,
) -> RecoveryAction:
    """An action that replays dead letters; with a ``breaker``, once its circuit has been closed for a while.

    Args:
        queue: A `DeadLetterQueue` with a reprocessor.
        breaker: The `CircuitBreaker` before what the letters failed at.
        closed_for: Seconds for which it must have been closed.
        limit: How many letters a run replays at most.
        bounds: ``max_runs``, ``per``, ``cooldown``, ``timeout`` of `RecoveryAction`.
    """
    wait = durations.seconds("closed_for", closed_for)
    most = durations.whole("limit", limit, at_least=1)

    async def replay() -> object:
        return await queue.reprocess_all(limit=most)

    def not_yet() -> str | None:
        if breaker is None:
            return None
        snapshot = breaker.snapshot()
        if snapshot.state is not CircuitState.CLOSED:
            return f"circuit {snapshot.name} is {snapshot.state}"
        if snapshot.changed_at is None:
            return None
        age = (clock.utcnow() - snapshot.changed_at).total_seconds()
        return None if age >= wait else f"circuit {snapshot.name} has been closed for {age:.0f} s only"

    return RecoveryAction(replay, name="replay_dead_letters", when=not_yet, **bounds)


def reset_circuit(breaker: _Circuit, **bounds: Any) -> RecoveryAction:
    """An action that closes a circuit by hand, so that the next call tries.

    Args:
        breaker: Its `CircuitBreaker`.
        bounds: ``max_runs``, ``per``, ``cooldown``, ``timeout`` of `RecoveryAction`.
    """

    async def reset() -> str:
        breaker.reset()
        return f"circuit {breaker.snapshot().name} was reset"

    return RecoveryAction(reset, name="reset_circuit", **bounds)
