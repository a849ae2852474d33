"""What becomes of findings, whatever they are: the book alone, without a clock, and after any number of restarts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules_kit import Switch

from resilio import AlertRule, Finding, IncidentState
from resilio.alerting.incident_book import IncidentBook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
START = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("a1", "a2", "b1")


@dataclass(frozen=True)
class Step:
    """A check, so many seconds after the one before."""

    seconds: int
    found: frozenset[str]
    muted: frozenset[str]
    is_heard: bool
    is_restart: bool

    def mutes(self, labels: Mapping[str, str]) -> bool:
        return labels["name"] in self.muted


steps = st.lists(
    st.builds(
        Step,
        seconds=st.integers(1, 40),
        found=st.frozensets(st.sampled_from(NAMES)),
        muted=st.frozensets(st.sampled_from(NAMES), max_size=1),
        is_heard=st.sampled_from([True, True, True, False]),
        is_restart=st.booleans(),
    ),
    max_size=25,
)
rules = st.builds(
    lambda group_by, **waits: AlertRule("outage", Switch(), group_by=group_by, **waits),
    for_=st.sampled_from([0, 20]),
    keep_firing=st.sampled_from([0, 30]),
    group_wait=st.sampled_from([0, 25]),
    repeat=st.sampled_from([50, 10_000]),
    group_by=st.sampled_from([(), ("kind",)]),
)

Told = tuple[int, tuple[str, ...], tuple[str, ...], bool]


def run(rule: AlertRule, sequence: Sequence[Step], *, restarts: bool) -> tuple[list[Told], IncidentBook]:
    """What is told, and the book afterwards."""
    book, now, told = IncidentBook(), 1_000, list[Told]()
    for step in sequence:
        now += step.seconds
        at = START + timedelta(seconds=now)
        if restarts and step.is_restart:
            saved = json.loads(json.dumps(book.to_dict(float(now), at)))
            book = IncidentBook()
            book.restore(saved, [rule], float(now), at)
        found = [Finding(summary=name, labels={"name": name, "kind": name[0]}) for name in sorted(step.found)]
        book.note(rule, found, float(now), at)
        for word in book.words(rule, float(now), step.mutes):
            if step.is_heard:
                book.told(word, float(now))
                firing, over = (tuple(each.summary for each in part) for part in (word.firing, word.resolved))
                told.append((now, firing, over, word.is_repeated))
        book.tidy()
    return told, book


@pytest.mark.slow("a hundred sequences of checks")
@given(rules, steps)
def test_a_restart_changes_nothing(rule: AlertRule, sequence: list[Step]) -> None:
    """The same is told at the same time, and the same is known."""
    kept, one = run(rule, sequence, restarts=False)
    anew, other = run(rule, sequence, restarts=True)
    assert anew == kept
    assert sorted(map(repr, other.incidents())) == sorted(map(repr, one.incidents()))
    assert other.history() == one.history()


@pytest.mark.slow("a hundred sequences of checks")
@given(rules, steps)
def test_who_hears_of_an_incident_hears_of_its_end(rule: AlertRule, sequence: list[Step]) -> None:
    """And of no end whose beginning was not told; what is over is in the history, once."""
    told, book = run(rule, sequence, restarts=False)
    open_: set[str] = set()
    for _, firing, over, is_repeated in told:
        assert set(over) <= open_
        assert not is_repeated or (set(firing) <= open_ and not over)
        open_ = (open_ - set(over)) | set(firing)
    assert open_ == {each.summary for each in book.incidents() if each.told}
    assert len({each.id for each in book.history()}) == len(book.history())


@pytest.mark.slow("a hundred sequences of checks")
@given(rules, steps)
def test_an_incident_goes_through_its_states_in_order(rule: AlertRule, sequence: list[Step]) -> None:
    """Found, then firing after ``for_``, then over after ``keep_firing``: its times say so."""
    _, book = run(rule, sequence, restarts=True)

    for each in book.history():
        assert each.state is IncidentState.RESOLVED
        assert each.ended_at is not None
        if each.fired_at is None:
            assert each.told  # it was found again before its end was told, and not for long enough to fire again
        else:
            assert (each.fired_at - each.since).total_seconds() >= rule.for_
            assert (each.ended_at - each.updated_at).total_seconds() >= rule.keep_firing
    for each in book.incidents():
        assert each.state is not IncidentState.PENDING or each.fired_at is None
        assert each.fired_at is None or (each.fired_at - each.since).total_seconds() >= rule.for_
