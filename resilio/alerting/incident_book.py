"""What becomes of findings: incidents that are pending, fire, and are resolved, as in Prometheus and Alertmanager.

No clock, no I/O: whoever holds the book says what was found, and when, and is told whom to tell.

- An incident is *pending* from when it is found first, and *fires* once it was found each time for the rule's ``for_``.
- It goes on firing for ``keep_firing`` after it was found last; then it is *resolved*.
- Incidents of a rule with the same values of its ``group_by`` labels are told together, once the first of them has
  fired for ``group_wait``; again every ``repeat`` while they fire, and once when the last of them is resolved.
- What is muted, by a silence or by another rule that inhibits it, is not told; if it still fires afterwards, it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from resilio._core.state_file import time_of
from resilio.alerting.conditions import Finding
from resilio.alerting.incidents import Incident, IncidentState, incident_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from resilio.alerting.rules import AlertRule
    from resilio.errors import ErrorSeverity

__all__ = ("IncidentBook", "Word")

_MOST_INCIDENTS: Final = 1000

Key = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Entry:
    finding: Finding
    severity: ErrorSeverity
    since: datetime
    began: float
    last_found: float
    updated_at: datetime
    state: IncidentState = IncidentState.PENDING
    fired: float | None = None
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    told: bool = False

    def fire(self, now: float, at: datetime) -> None:
        self.state, self.fired, self.fired_at = IncidentState.FIRING, now, at

    def end(self, at: datetime) -> None:
        self.state, self.ended_at = IncidentState.RESOLVED, at

    def shown(self, rule: str) -> Incident:
        return Incident(
            id=incident_id(rule, self.finding.labels, self.since),
            rule=rule,
            severity=self.severity,
            labels=dict(self.finding.labels),
            state=self.state,
            summary=self.finding.summary,
            details=dict(self.finding.details),
            since=self.since,
            updated_at=self.updated_at,
            fired_at=self.fired_at,
            ended_at=self.ended_at,
            told=self.told,
        )


@dataclass(slots=True)
class _Group:
    entries: dict[Key, _Entry] = field(default_factory=dict)
    told_at: float | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """What is to be told about one group of a rule: what fires, and what is resolved."""

    rule: AlertRule
    group: Key
    firing: tuple[Finding, ...]
    resolved: tuple[Finding, ...]
    is_repeated: bool


class IncidentBook:
    """The incidents of some rules, and so many of those that are over. Not safe across threads."""

    __slots__ = ("_groups", "_history")

    def __init__(self, *, history: int = 1000) -> None:
        self._groups: dict[tuple[str, Key], _Group] = {}
        self._history: deque[Incident] = deque(maxlen=history)

    def note(self, rule: AlertRule, findings: Iterable[Finding], now: float, at: datetime) -> list[Incident]:
        """Take note of what ``rule`` found now; what it found before and not now may be over.

        Returns:
            The incidents that are new, or in another state than before.
        """
        before = self._states(rule.name)
        found: set[Key] = set()
        for finding in findings:
            key = _key(finding.labels)
            if len(found) >= _MOST_INCIDENTS:
                break
            found.add(key)
            group = self._groups.setdefault((rule.name, _group_key(rule, finding.labels)), _Group())
            entry = group.entries.get(key)
            if entry is None or entry.state is IncidentState.RESOLVED:
                told = False
                if entry is not None:  # its end was never told: nobody needs to know
                    told = entry.told
                    self._history.append(entry.shown(rule.name))
                entry = _Entry(finding, rule.severity, since=at, began=now, last_found=now, updated_at=at, told=told)
                group.entries[key] = entry
            entry.finding, entry.severity = finding, rule.severity
            entry.last_found, entry.updated_at = now, at
            if entry.state is IncidentState.PENDING and now - entry.began >= rule.for_:
                entry.fire(now, at)
        for (name, _), group in self._groups.items():
            if name == rule.name:
                _let_end(group, rule, found, now, at)
        return [
            entry.shown(rule.name)
            for key, entry in self._entries(rule.name)
            if before.get(key) != (entry.since, entry.state)
        ]

    def _states(self, rule: str) -> dict[Key, tuple[datetime, IncidentState]]:
        return {key: (entry.since, entry.state) for key, entry in self._entries(rule)}

    def _entries(self, rule: str) -> Iterator[tuple[Key, _Entry]]:
        return (pair for (name, _), group in self._groups.items() if name == rule for pair in group.entries.items())

    def is_firing(self, rule: str) -> bool:
        """Whether anything of that rule fires."""
        return any(entry.state is IncidentState.FIRING for _, entry in self._entries(rule))

    def words(self, rule: AlertRule, now: float, is_muted: Callable[[Mapping[str, str]], bool]) -> list[Word]:
        """What is to be told now about ``rule``."""
        words = []
        for (name, group_key), group in self._groups.items():
            if name != rule.name:
                continue
            heard = [entry for entry in group.entries.values() if not is_muted(entry.finding.labels)]
            firing = [entry for entry in heard if entry.state is IncidentState.FIRING]
            over = [entry for entry in heard if entry.state is IncidentState.RESOLVED and entry.told]
            waited = max((now - (entry.fired or 0.0) for entry in firing if not entry.told), default=-1.0)
            is_news = bool(over) or waited >= rule.group_wait
            is_due = bool(firing) and group.told_at is not None and now - group.told_at >= rule.repeat
            if is_news or is_due:
                words.append(
                    Word(
                        rule,
                        group_key,
                        tuple(entry.finding for entry in firing),
                        tuple(entry.finding for entry in over),
                        is_repeated=not over and all(entry.told for entry in firing),
                    )
                )
        return words

    def told(self, word: Word, now: float) -> None:
        """Take note that somebody heard ``word``."""
        group = self._groups[word.rule.name, word.group]
        group.told_at = now
        for finding in word.firing:
            entry = group.entries.get(_key(finding.labels))
            if entry is not None:
                entry.told = True
        for finding in word.resolved:
            key = _key(finding.labels)
            entry = group.entries.get(key)
            if entry is not None and entry.state is IncidentState.RESOLVED:
                self._history.append(group.entries.pop(key).shown(word.rule.name))

    def tidy(self) -> None:
        """Forget what is over and was told, or never was; the history has it."""
        for (name, _), group in self._groups.items():
            for key in [key for key, e in group.entries.items() if e.state is IncidentState.RESOLVED and not e.told]:
                self._history.append(group.entries.pop(key).shown(name))
        self._groups = {key: group for key, group in self._groups.items() if group.entries}

    # -- looking ---------------------------------------------------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """All of them that are not over, or not told to be, as they are now."""
        return [entry.shown(name) for (name, _), group in self._groups.items() for entry in group.entries.values()]

    def history(self) -> list[Incident]:
        """Those that are over, latest first."""
        return list(reversed(self._history))

    # -- keeping ---------------------------------------------------------------------------------------------------

    def to_dict(self, now: float, at: datetime) -> dict[str, object]:
        """As JSON can carry it; ``now`` and ``at`` are the same moment on both clocks."""
        return {
            "incidents": [
                {
                    **entry.shown(name).to_dict(),
                    "group_told_at": None if group.told_at is None else _at(group.told_at, now, at).isoformat(),
                }
                for (name, _), group in self._groups.items()
                for entry in group.entries.values()
            ],
            "history": [each.to_dict() for each in self._history],
        }

    def restore(self, saved: Mapping[str, Any], rules: Iterable[AlertRule], now: float, at: datetime) -> None:
        """Take up what `to_dict` told; incidents of a rule that there is no more become history.

        Raises:
            KeyError, TypeError, ValueError: It did not tell that.
        """
        known = {rule.name: rule for rule in rules}
        history = [Incident.from_dict(each) for each in saved["history"]]
        groups: dict[tuple[str, Key], _Group] = {}
        for each in saved["incidents"]:
            incident = Incident.from_dict(each)
            rule = known.get(incident.rule)
            if rule is None:
                history.append(replace(incident, state=IncidentState.RESOLVED, ended_at=at))
                continue
            group = groups.setdefault((rule.name, _group_key(rule, incident.labels)), _Group())
            if each["group_told_at"] is not None:
                group.told_at = _when(time_of(each["group_told_at"]), now, at)
            group.entries[_key(incident.labels)] = _entry(incident, now, at)
        self._groups = groups
        self._history.extend(history)


def _let_end(group: _Group, rule: AlertRule, found: set[Key], now: float, at: datetime) -> None:
    for key, entry in list(group.entries.items()):
        if key in found:
            continue
        if entry.state is IncidentState.PENDING:
            if entry.told:  # it came back, but not for long enough: still to be told as over
                entry.end(at)
            else:
                del group.entries[key]
        elif entry.state is IncidentState.FIRING and now - entry.last_found >= rule.keep_firing:
            entry.end(at)


def _entry(incident: Incident, now: float, at: datetime) -> _Entry:
    return _Entry(
        Finding(summary=incident.summary, labels=incident.labels, details=incident.details),
        incident.severity,
        since=incident.since,
        began=_when(incident.since, now, at),
        last_found=_when(incident.updated_at, now, at),
        updated_at=incident.updated_at,
        state=incident.state,
        fired=None if incident.fired_at is None else _when(incident.fired_at, now, at),
        fired_at=incident.fired_at,
        ended_at=incident.ended_at,
        told=incident.told,
    )


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))


def _group_key(rule: AlertRule, labels: Mapping[str, str]) -> Key:
    return tuple((name, labels.get(name, "")) for name in rule.group_by)


# What outlives the process is told in UTC; within it, the monotonic clock counts. A time of day that lies ahead (the
# clock was set back) counts as now.


def _at(when: float, now: float, at: datetime) -> datetime:
    return at - timedelta(seconds=now - when)


def _when(time: datetime, now: float, at: datetime) -> float:
    return now - max((at - time).total_seconds(), 0.0)
