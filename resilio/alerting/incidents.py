"""What becomes of findings: incidents that are pending, fire, and are resolved, as in Prometheus and Alertmanager.

No clock, no I/O: whoever holds the book says what was found, and when, and is told whom to tell.

- An incident is *pending* from when it is found first, and *fires* once it was found each time for the rule's ``for_``.
- It goes on firing for ``keep_firing`` after it was found last; then it is *resolved*.
- Incidents of a rule with the same values of its ``group_by`` labels are told together, again every ``repeat`` while
  they fire, and once when the last of them is resolved.
- What is muted, by a silence or by another rule that inhibits it, is not told; if it still fires afterwards, it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from resilio.alerting.conditions import Finding
    from resilio.alerting.rules import AlertRule

__all__ = ("Incident", "IncidentBook", "IncidentState", "Word")

_MOST_INCIDENTS: Final = 1000

Key = tuple[tuple[str, str], ...]


class IncidentState(StrEnum):
    """How far an incident is."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident at one moment.

    Attributes:
        rule: The rule's name.
        labels: Which of several.
        state: How far it is.
        summary: What was found last.
        since: When it was found first, UTC.
        muted: Whether a silence or another rule keeps it from being told.
    """

    rule: str
    labels: Mapping[str, str]
    state: IncidentState
    summary: str
    since: datetime
    muted: bool


@dataclass(slots=True)
class _Entry:
    finding: Finding
    began: float
    since: datetime
    last_found: float
    state: IncidentState = IncidentState.PENDING
    told: bool = False


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
    """The incidents of some rules. Not safe across threads: whoever holds it takes care of that."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[tuple[str, Key], _Group] = {}

    def note(self, rule: AlertRule, findings: Iterable[Finding], now: float, at: datetime) -> None:
        """Take note of what ``rule`` found now; what it found before and not now may be over."""
        found: set[Key] = set()
        for finding in findings:
            key = _key(finding.labels)
            if len(found) >= _MOST_INCIDENTS:
                break
            found.add(key)
            group = self._groups.setdefault((rule.name, _group_key(rule, finding.labels)), _Group())
            entry = group.entries.get(key)
            if entry is None or entry.state is IncidentState.RESOLVED:
                told = entry is not None and entry.told  # its end was never told: nobody needs to know
                entry = group.entries[key] = _Entry(finding, began=now, since=at, last_found=now, told=told)
            entry.finding, entry.last_found = finding, now
            if entry.state is IncidentState.PENDING and now - entry.began >= rule.for_:
                entry.state = IncidentState.FIRING
        for (name, _), group in self._groups.items():
            if name == rule.name:
                _let_end(group, rule, found, now)

    def is_firing(self, rule: str) -> bool:
        """Whether anything of that rule fires."""
        return any(
            entry.state is IncidentState.FIRING
            for (name, _), group in self._groups.items()
            if name == rule
            for entry in group.entries.values()
        )

    def words(self, rule: AlertRule, now: float, is_muted: Callable[[Mapping[str, str]], bool]) -> list[Word]:
        """What is to be told now about ``rule``."""
        words = []
        for (name, group_key), group in self._groups.items():
            if name != rule.name:
                continue
            heard = [entry for entry in group.entries.values() if not is_muted(entry.finding.labels)]
            firing = [entry for entry in heard if entry.state is IncidentState.FIRING]
            over = [entry for entry in heard if entry.state is IncidentState.RESOLVED and entry.told]
            is_news = bool(over) or any(not entry.told for entry in firing)
            is_due = bool(firing) and group.told_at is not None and now - group.told_at >= rule.repeat
            if is_news or is_due:
                words.append(
                    Word(
                        rule,
                        group_key,
                        tuple(entry.finding for entry in firing),
                        tuple(entry.finding for entry in over),
                        is_repeated=not is_news,
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
            entry = group.entries.get(_key(finding.labels))
            if entry is not None and entry.state is IncidentState.RESOLVED:
                del group.entries[_key(finding.labels)]

    def tidy(self) -> None:
        """Forget what is over and was told, or never was."""
        for group in self._groups.values():
            for key in [key for key, e in group.entries.items() if e.state is IncidentState.RESOLVED and not e.told]:
                del group.entries[key]
        self._groups = {key: group for key, group in self._groups.items() if group.entries}

    def incidents(self, is_muted: Callable[[str, Mapping[str, str]], bool]) -> list[Incident]:
        """All of them, as they are now."""
        return [
            Incident(
                rule=name,
                labels=dict(entry.finding.labels),
                state=entry.state,
                summary=entry.finding.summary,
                since=entry.since,
                muted=is_muted(name, entry.finding.labels),
            )
            for (name, _), group in self._groups.items()
            for entry in group.entries.values()
        ]


def _let_end(group: _Group, rule: AlertRule, found: set[Key], now: float) -> None:
    for key, entry in list(group.entries.items()):
        if key in found:
            continue
        if entry.state is IncidentState.PENDING:
            if entry.told:  # it came back, but not for long enough: still to be told as over
                entry.state = IncidentState.RESOLVED
            else:
                del group.entries[key]
        elif entry.state is IncidentState.FIRING and now - entry.last_found >= rule.keep_firing:
            entry.state = IncidentState.RESOLVED


def _key(labels: Mapping[str, str]) -> Key:
    return tuple(sorted(labels.items()))


def _group_key(rule: AlertRule, labels: Mapping[str, str]) -> Key:
    return tuple((name, labels.get(name, "")) for name in rule.group_by)
