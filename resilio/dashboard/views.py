"""What each page shows, put together from all processes: the same for the first look and for each live update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from resilio._core import clock
from resilio.dashboard.collector import merged_groups
from resilio.dashboard.operations import queue_troubles
from resilio.dashboard.recorder import MINUTES
from resilio.errors import ErrorSeverity
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resilio.dashboard.collector import Collector
    from resilio.dashboard.fleet import Fleet
    from resilio.dashboard.replays import Replays
    from resilio.dashboard.requests import LetterQuery
    from resilio.dashboard.rows import Glance, GroupRow, ReplayRow

__all__ = ("PAGE", "VIEWS", "Values", "Views")

Values = dict[str, Any]

PAGE: Final = 50
"""How many rows a page shows."""

VIEWS: Final = ("overview", "errors", "circuits", "circuit", "letters", "alerts", "health", "replay")
"""The views that are updated live."""

_OPEN: Final = frozenset({"OPEN", "FORCED_OPEN", "HALF_OPEN"})
_TOP: Final = 5
_SAMPLES: Final = 5
_CHANGES: Final = 40
_HISTORY: Final = 20
_A_WHILE: Final = 0.2
_PATIENCE: Final = 15


class Views:
    """Puts together what is shown. Safe from any thread and any event loop.

    Args:
        collector: What this process has.
        fleet: What the other processes wrote.
        replays: The replays of this process.
    """

    def __init__(self, collector: Collector, fleet: Fleet, replays: Replays) -> None:
        self._collector = collector
        self._fleet = fleet
        self._replays = replays

    async def of(self, view: str, name: str = "") -> Values:
        """What the live part of a view shows; ``name`` says which circuit or replay."""
        if view == "circuit":
            return self.circuit(name)
        if view == "replay":
            return await self.replay(name)
        if view == "errors":
            return self.error_totals()
        if view == "circuits":
            return self.circuits()
        found: Values = await {
            "overview": self.overview, "letters": self.letter_counts, "alerts": self.alerts, "health": self.health
        }[view]()  # fmt: skip
        return found

    # -- overview ------------------------------------------------------------------------------------------------------

    async def overview(self) -> Values:
        """All of it at a glance."""
        await self._collector.health()
        glances = self._fleet.glances(most_groups=20)
        stats, trouble = await self._stats()
        circuits = [each for glance in glances for each in glance.circuits]
        health = [each for glance in glances for each in glance.health]
        incidents = [each for glance in glances for each in glance.incidents]
        return self._common(glances) | {
            "has": self._has(glances),
            "stats": stats,
            "trouble": trouble,
            "unwell": [each for each in health if not each.healthy],
            "checks": len(health),
            "rate": sum(each.last_minutes for each in glances) / 5,
            "total": sum(each.total for each in glances),
            "circuits": len(circuits),
            "open": [each for each in circuits if each.state in _OPEN],
            "firing": [each for each in incidents if each.state == "firing"],
            "top": merged_groups(glances)[:_TOP],
            "changes": self._changes(glances)[:6],
            "series": series(glances),
        }

    def _has(self, glances: Sequence[Glance]) -> dict[str, bool]:
        sources = self._collector.sources
        return {
            "tracker": any(each.has_tracker for each in glances),
            "queue": sources.queue is not None,
            "alerts": sources.alerts is not None,
            "health": bool(sources.health_checks),
        }

    def _common(self, glances: Sequence[Glance]) -> Values:
        return {"processes": [each.process for each in glances], "here": glances[0].process.process}

    async def _stats(self) -> tuple[Any, str]:
        try:
            with queue_troubles():
                return await self._collector.stats(fresh=False), ""
        except HTTPException as error:
            return None, error.detail

    # -- errors --------------------------------------------------------------------------------------------------------

    def error_totals(self) -> Values:
        """How many errors there were, and how many are different."""
        return self._totals(self._fleet.glances(most_groups=1))

    def _totals(self, glances: Sequence[Glance]) -> Values:
        return self._common(glances) | {
            "has_tracker": any(each.has_tracker for each in glances),
            "total": sum(each.total for each in glances),
            "unique": max(each.unique for each in glances),
            "rate": sum(each.last_minutes for each in glances) / 5,
        }

    def errors(self, wanted: Mapping[str, str], page: int) -> Values:
        """The groups that are wanted, a page of them."""
        glances = self._fleet.glances(most_groups=1)
        is_alone = len(glances) == 1
        # When errors came is looked up for those that are shown, unless something depends on it for all.
        glances[0].groups = self._collector.groups(traced=not is_alone or bool(wanted.get("status")))
        groups = merged_groups(glances)
        shown = [each for each in groups if _is_wanted(each, wanted)]
        order = wanted.get("sort", "")
        if order in _ORDERS:
            shown.sort(key=_ORDERS[order])
        begin = (page - 1) * PAGE
        page_of = shown[begin : begin + PAGE]
        return self._totals(glances) | {
            "groups": [self._collector.traced(each) for each in page_of] if is_alone else page_of,
            "matching": len(shown),
            "known": len(groups),
            "page_number": page,
            "pages": max(1, -(-len(shown) // PAGE)),
            "wanted": {name: value for name, value in wanted.items() if value},
            "severities": [str(each) for each in ErrorSeverity],
            "categories": sorted({each.category for each in groups}),
        }

    async def error(self, fingerprint: str) -> Values:
        """One group with its samples and its letters."""
        glances = self._fleet.glances()
        group = next((each for each in merged_groups(glances) if each.fingerprint == fingerprint), None)
        if group is None:
            raise HTTPException(404, "There is no such error, or not any more: only the most frequent ones are kept.")
        tracker, queue = self._collector.sources.tracker, self._collector.sources.queue
        reports = (
            [] if tracker is None else [each for each in tracker.recent_reports() if each.fingerprint == fingerprint]
        )
        letters, trouble = [], ""
        if queue is not None:
            try:
                with queue_troubles():
                    letters = await queue.peek(10, group=fingerprint)
            except HTTPException as error:
                trouble = error.detail
        return self._common(glances) | {
            "group": group,
            "samples": [redact(each.to_dict()) for each in reports[: -_SAMPLES - 1 : -1]],
            "letters": letters,
            "trouble": trouble,
        }

    # -- circuits ------------------------------------------------------------------------------------------------------

    def circuits(self) -> Values:
        """The circuits of all processes."""
        glances = self._fleet.glances(most_groups=1)
        return self._common(glances) | {
            "circuits": [each for glance in glances for each in glance.circuits],
            "changes": self._changes(glances)[:_CHANGES],
        }

    def circuit(self, name: str) -> Values:
        """One circuit, in each process that has it."""
        glances = self._fleet.glances(most_groups=1)
        rows = [each for glance in glances for each in glance.circuits if each.name == name]
        if not rows:
            raise HTTPException(404, f"There is no circuit called {name!r}.")
        own = [each for each in self._collector.recorder.changes() if each.circuit == name]
        for each in own:
            each.process = self._collector.process_id
        others = [each for each in self._changes(glances[1:]) if each.circuit == name]
        changes = sorted((*own, *others), key=lambda each: each.at, reverse=True)
        return self._common(glances) | {"name": name, "rows": rows, "changes": changes[:_CHANGES]}

    @staticmethod
    def _changes(glances: Sequence[Glance]) -> list[Any]:
        found = [each for glance in glances for each in glance.changes]
        return sorted(found, key=lambda each: each.at, reverse=True)

    # -- letters, replays ----------------------------------------------------------------------------------------------

    async def letter_counts(self) -> Values:
        """How many letters there are, by status."""
        stats, trouble = await self._stats()
        return {"stats": stats, "trouble": trouble, "has_queue": self._collector.sources.queue is not None}

    async def letters(self, query: LetterQuery, after: str) -> Values:
        """A page of letters, oldest first."""
        counts = await self.letter_counts()
        queue = self._collector.sources.queue
        letters: list[Any] = []
        if queue is not None and not counts["trouble"]:
            with queue_troubles():
                letters = await queue.peek(PAGE + 1, after=after or None, where=query.filter)
        return counts | {
            "letters": letters[:PAGE],
            "next_after": letters[PAGE - 1].id if len(letters) > PAGE else "",
            "after": after,
            "wanted": query,
            "can_replay": queue is not None and queue.can_replay,
            "replays": self._replays.rows()[:_TOP],
            "here": self._collector.process_id,
        }

    async def replay(self, replay_id: str) -> Values:
        """One replay: of this process with its letters, of another one without.

        A replay that has just begun in another process is waited for until that one has written of it.
        """
        patience = _PATIENCE if self._fleet.directory is not None else 0
        for _ in range(patience):
            if self._replays.find(replay_id) is not None or self._elsewhere(replay_id) is not None:
                break
            await clock.sleep(_A_WHILE)
        found = self._replays.find(replay_id)
        if found is not None:
            row = found.row()
            row.process = self._collector.process_id
            return {"replay": row, "is_here": True}
        row_there = self._elsewhere(replay_id)
        if row_there is not None:
            return {"replay": row_there, "is_here": False}
        raise HTTPException(404, "No replay of that name is known; it may belong to another process, or be long over.")

    def _elsewhere(self, replay_id: str) -> ReplayRow | None:
        found = (row for glance in self._fleet.others() for row in glance.replays if row.id == replay_id)
        return next(found, None)

    # -- alerts, health ------------------------------------------------------------------------------------------------

    async def alerts(self) -> Values:
        """Incidents of all processes; silences and channels of this one."""
        glances = self._fleet.glances(most_groups=1)
        sources = self._collector.sources
        return self._common(glances) | {
            "has_alerts": sources.alerts is not None,
            "incidents": [each for glance in glances for each in glance.incidents],
            "history": [] if sources.alerts is None else sources.alerts.history()[:_HISTORY],
            "audit": [] if sources.alerts is None else list(reversed(sources.alerts.audit()))[:_HISTORY],
        }

    async def alert_desk(self) -> Values:
        """The same with what can be done about it: silences and channels, of this process."""
        sources = self._collector.sources
        return await self.alerts() | {
            "rules": [] if sources.alerts is None else [each.name for each in sources.alerts.rules],
            "silences": [] if sources.alerts is None else sources.alerts.silences(expired=True)[:_HISTORY],
            "channels": [] if sources.notifier is None else list(sources.notifier.stats().channels.items()),
        }

    async def health(self) -> Values:
        """What the health checks of all processes find."""
        await self._collector.health()
        glances = self._fleet.glances(most_groups=1)
        return self._common(glances) | {
            "health": [each for glance in glances for each in glance.health],
            "has_checks": bool(self._collector.sources.health_checks),
        }


_ORDERS: Final[dict[str, Any]] = {
    "last": lambda each: -each.last_seen,
    "first": lambda each: -each.first_seen,
    "severity": lambda each: -ErrorSeverity(each.severity).rank,
}


def _is_wanted(group: GroupRow, wanted: Mapping[str, str]) -> bool:
    text = wanted.get("text", "").casefold()
    return all(not wanted.get(name) or getattr(group, name) == wanted[name] for name in _FIELDS) and (
        not text or any(text in str(getattr(group, name)).casefold() for name in _TEXTS)
    )


_FIELDS: Final = ("status", "severity", "category")
_TEXTS: Final = ("error_type", "error_message", "operation", "location", "code", "fingerprint")


def series(glances: Sequence[Glance]) -> dict[str, list[int]]:
    """The last hour by the minute, of all processes together: ``at`` in seconds since 1970, and counts."""
    end = max(each.minutes_end for each in glances)
    return {
        "at": [minute * 60 for minute in range(end - MINUTES + 1, end + 1)],
        **{
            name: [sum(counts) for counts in zip(*(_until(each, name, end) for each in glances), strict=True)]
            for name in ("minutes", "letters", "rejections")
        },
    }


def _until(glance: Glance, name: str, end: int) -> list[int]:
    counts: list[int] = getattr(glance, name)
    padded = [*counts, *([0] * min(end - glance.minutes_end, MINUTES))]
    return [*([0] * MINUTES), *padded][-MINUTES:]
