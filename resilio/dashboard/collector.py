"""Looks at what this process has: its tracker, circuits, alerts, health and replays, as plain rows."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from resilio._core import clock, dice
from resilio.dashboard.circuits import CircuitDesk
from resilio.dashboard.recorder import MINUTES, Recorder, this_minute
from resilio.dashboard.rows import Glance, GroupRow, HealthRow, IncidentRow, ProcessRow
from resilio.reporting.redaction import redact
from resilio.reporting.trace import TRACE_SECONDS, TRACE_SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.alerting.alerts import Alerts
    from resilio.alerting.health_checks import HealthCheck
    from resilio.alerting.notifier import AdminNotifier
    from resilio.dashboard.replays import Replays
    from resilio.deadletters.queue import DeadLetterQueue
    from resilio.deadletters.store import DeadLetterStats
    from resilio.reporting.error_groups import ErrorGroup
    from resilio.reporting.tracker import ErrorTracker

__all__ = ("Collector", "Sources", "error_status", "merged_groups")

_RECENT_MINUTES: Final = 5
_NEW_SECONDS: Final = 3600.0
_HEALTH_STAYS: Final = 2.0
_STATS_STAY: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a dashboard was given to show; whatever is None has a page that says so."""

    tracker: ErrorTracker | None = None
    queue: DeadLetterQueue | None = None
    notifier: AdminNotifier | None = None
    alerts: Alerts | None = None
    health_checks: Sequence[HealthCheck] = ()


class Collector:
    """Looks at this process. Safe from any thread and any event loop."""

    def __init__(self, sources: Sources, replays: Replays) -> None:
        self.sources: Sources = sources
        self.circuits: CircuitDesk = CircuitDesk()
        self.recorder: Recorder = Recorder()
        self._replays = replays
        self._started = clock.utcnow().timestamp()
        self._host = socket.gethostname()[:100]
        self._pid = 0
        self._process_id = ""
        self._mark = dice.randbytes(3).hex()
        self._health: tuple[float, list[HealthRow]] | None = None
        self._stats: tuple[float, DeadLetterStats] | None = None

    @property
    def process_id(self) -> str:
        """Names this process among all that share a directory."""
        if self._pid != os.getpid():  # it was forked
            self._pid = os.getpid()
            self._process_id = f"{self._host}-{self._pid}-{self._mark}"
        return self._process_id

    def process(self) -> ProcessRow:
        """Who this is."""
        return ProcessRow(
            process=self.process_id,
            host=self._host,
            pid=os.getpid(),
            started=self._started,
            at=clock.utcnow().timestamp(),
            is_here=True,
        )

    def glance(self, *, most_groups: int | None = None) -> Glance:
        """All that can be told without waiting; health is what was found last."""
        last = this_minute()
        process = self.process()
        tracker = self.sources.tracker
        glance = Glance(
            process=process,
            minutes=[0] * MINUTES,
            letters=self.recorder.letters(last),
            rejections=self.recorder.rejections(last),
            minutes_end=last,
            has_tracker=tracker is not None,
            circuits=self.circuits.rows(),
            changes=self.recorder.changes()[:100],
            incidents=self.incidents(),
            health=[] if self._health is None else list(self._health[1]),
            replays=self._replays.rows(),
        )
        if tracker is not None:
            summary = tracker.get_error_summary()
            timeline = tracker.timeline()
            glance.total, glance.unique = summary["total_errors"], summary["unique_errors"]
            glance.last_minutes = tracker.count_errors(_RECENT_MINUTES)
            glance.minutes = [count for _, count in timeline][-MINUTES:]
            glance.minutes_end = int(timeline[-1][0] // 60)
            glance.groups = self.groups(most_groups)
        for row in (*glance.circuits, *glance.changes, *glance.incidents, *glance.health, *glance.groups):
            row.process = process.process
        for replay in glance.replays:
            replay.process = process.process
        return glance

    # -- errors --------------------------------------------------------------------------------------------------------

    def groups(self, most: int | None = None, *, traced: bool = True) -> list[GroupRow]:
        """The groups of errors that the tracker tells apart, most frequent first; with when they came if ``traced``."""
        tracker = self.sources.tracker
        rows = [] if tracker is None else [self._group(each) for each in tracker.top_errors(most)]
        return [self.traced(each) for each in rows] if traced else rows

    def group(self, fingerprint: str) -> GroupRow | None:
        """One group; None if the tracker does not know it, or not any more."""
        tracker = self.sources.tracker
        found = None if tracker is None else tracker.group(fingerprint)
        return None if found is None else self.traced(self._group(found))

    def traced(self, row: GroupRow) -> GroupRow:
        """A row with what `groups` left out: when its errors came, and so its status."""
        tracker = self.sources.tracker
        timeline = [] if tracker is None else tracker.group_timeline(row.fingerprint)
        now = clock.utcnow().timestamp()
        row.trace = [count for _, count in timeline] or [0] * TRACE_SLOTS
        row.trace_end = int(now // TRACE_SECONDS)
        row.status = error_status(row.trace, row.first_seen, now)
        return row

    def _group(self, group: ErrorGroup) -> GroupRow:
        return GroupRow(
            process=self.process_id,
            fingerprint=group.fingerprint,
            count=group.count,
            error_type=group.error_type,
            error_message=group.error_message,
            category=group.category,
            code=group.code,
            severity=str(group.severity),
            operation=group.operation,
            location=group.location,
            first_seen=group.first_seen.timestamp(),
            last_seen=group.last_seen.timestamp(),
            last_error_id=group.last_error_id,
        )

    # -- alerts, health, letters ---------------------------------------------------------------------------------------

    def incidents(self) -> list[IncidentRow]:
        """What is pending or fires in this process."""
        alerts = self.sources.alerts
        if alerts is None:
            return []
        return [
            IncidentRow(
                process=self.process_id,
                rule=each.rule,
                state=str(each.state),
                severity=str(each.severity),
                summary=each.summary,
                labels={str(name): str(value) for name, value in each.labels.items()},
                since=each.since.timestamp(),
                told=each.told,
                muted=each.muted,
            )
            for each in alerts.incidents()
        ]

    async def health(self) -> list[HealthRow]:
        """What the health checks find, at most two seconds ago."""
        now = clock.monotonic()
        if self._health is not None and now - self._health[0] < _HEALTH_STAYS:
            return list(self._health[1])
        found: dict[str, HealthRow] = {}

        async def look(check: HealthCheck) -> None:
            healthy, details = await check.look()
            told = redact(details)
            found[check.component] = HealthRow(
                process=self.process_id,
                component=check.component,
                healthy=healthy,
                details=told if isinstance(told, dict) else {},
                at=clock.utcnow().timestamp(),
            )

        async with anyio.create_task_group() as tasks:
            for check in self.sources.health_checks:
                tasks.start_soon(look, check)
        rows = [found[each.component] for each in self.sources.health_checks]
        self._health = (now, rows)
        return list(rows)

    async def stats(self, *, fresh: bool = True) -> DeadLetterStats | None:
        """What lies in the queue; None without one. Unless ``fresh``, as it was at most a second ago.

        Raises:
            DeadLetterQueueError: The store cannot be used.
        """
        if self.sources.queue is None:
            return None
        now = clock.monotonic()
        if not fresh and self._stats is not None and now - self._stats[0] < _STATS_STAY:
            return self._stats[1]
        found = await self.sources.queue.stats()
        self._stats = (now, found)
        return found


def error_status(trace: list[int], first_seen: float, now: float) -> str:
    """What an operator wants to know of an error first: ``new``, ``returning``, ``active`` or ``quiet``.

    Returning is what was there before, was not for an hour, and is again.
    """
    half = len(trace) // 2
    lately, before = sum(trace[half:]), sum(trace[:half])
    if now - first_seen < _NEW_SECONDS:
        return "new"
    if lately and not before:
        return "returning"
    return "active" if lately else "quiet"


def merged_groups(glances: Sequence[Glance]) -> list[GroupRow]:
    """The groups of several processes, those with one fingerprint as one; most frequent first."""
    if len(glances) == 1:
        return glances[0].groups
    merged: dict[str, GroupRow] = {}
    for row in (each for glance in glances for each in glance.groups):
        known = merged.get(row.fingerprint)
        merged[row.fingerprint] = row if known is None else _joined(known, row)
    return sorted(merged.values(), key=lambda each: each.count, reverse=True)


def _joined(one: GroupRow, other: GroupRow) -> GroupRow:
    later = one if one.last_seen >= other.last_seen else other
    end = max(one.trace_end, other.trace_end)
    trace = [sum(pair) for pair in zip(_until(one, end), _until(other, end), strict=True)]
    first = min(one.first_seen, other.first_seen)
    fields = later.to_dict()
    fields |= {
        "count": one.count + other.count,
        "first_seen": first,
        "trace": trace,
        "trace_end": end,
        "processes": one.processes + other.processes,
        "status": error_status(trace, first, clock.utcnow().timestamp()),
    }
    return GroupRow(**fields)


def _until(row: GroupRow, end: int) -> list[int]:
    padded = [*row.trace, *([0] * min(end - row.trace_end, TRACE_SLOTS))]
    return [*([0] * TRACE_SLOTS), *padded][-TRACE_SLOTS:]
