"""Counting errors in a fixed space."""

from __future__ import annotations

import gc
import random
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

import pytest

from resilio import ErrorSeverity, ErrorTracker, errors
from resilio._core import clock
from resilio.reporting.distinct import DistinctCount
from resilio.reporting.heavy_hitters import HeavyHitters
from resilio.reporting.latency import LatencySketch
from resilio.reporting.rings import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)

    def utcnow(self) -> datetime:
        return self.now

    def move(self, **length: float) -> None:
        self.now += timedelta(**length)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The clock that the tracker reads."""
    hand_clock = HandClock()
    monkeypatch.setattr(clock, "utcnow", hand_clock.utcnow)
    return hand_clock


def different(number: int) -> ValueError:
    """An error with a fingerprint of its own."""
    return ValueError("".join(chr(97 + int(digit)) for digit in str(number)))


def test_the_summary_is_the_references(hands: HandClock) -> None:
    """Totals, kinds, and the last ten."""
    tracker = ErrorTracker()
    for number in range(12):
        tracker.track_error(KeyError(number) if number % 3 else ValueError(number), {"n": number})
    summary = tracker.get_error_summary()
    assert summary["total_errors"] == 12
    assert summary["unique_errors"] == 2
    assert summary["error_types"] == {"ValueError": 4, "KeyError": 8}
    assert [each["context"]["n"] for each in summary["recent_errors"]] == list(range(2, 12))
    assert summary["severities"]["ERROR"] == 12
    assert [(each["error_type"], each["count"], each["excess"]) for each in summary["top_errors"]] == [
        ("KeyError", 8, 0),
        ("ValueError", 4, 0),
    ]
    assert summary["since"] == hands.now.isoformat()


def test_recent_errors_are_those_of_the_last_minutes(hands: HandClock) -> None:
    """Exactly, to the instant; with their level, to choose by."""
    tracker = ErrorTracker()
    for _ in range(10):
        tracker.track_error(errors.SystemError("disk", "db"))
        tracker.track_error(ValueError())
        hands.move(minutes=1)
    assert len(tracker.get_recent_errors(minutes=5)) == 10
    assert [each["level"] for each in tracker.get_recent_errors(minutes=1)] == ["CRITICAL", "ERROR"]
    assert tracker.count_errors(5, severity=ErrorSeverity.CRITICAL) == 5
    assert tracker.error_rate(5) == 2.0
    hands.move(seconds=0.001)
    assert tracker.count_errors(5, severity="CRITICAL") == 4
    with pytest.raises(ValueError, match="minutes must be"):
        tracker.get_recent_errors(minutes=-1)
    with pytest.raises(ValueError, match="'BAD'"):
        tracker.count_errors(severity="BAD")


def test_counts_go_on_where_the_reports_are_no_longer_kept(hands: HandClock) -> None:
    """Then by whole minutes within the hour and by whole hours within the week."""
    tracker = ErrorTracker(recent=10)
    report = tracker.track_error(ValueError())
    for _ in range(99):
        tracker.track_report(report)
    assert tracker.count_errors(1) == 100
    hands.move(minutes=30)
    tracker.track_error(KeyError())
    assert tracker.count_errors(60) == 101
    assert tracker.count_errors(10) == 1
    hands.move(hours=5)
    assert tracker.count_errors(60) == 0
    assert tracker.count_errors(24 * 60) == 101
    hands.move(days=8)
    assert tracker.count_errors(7 * 24 * 60) == 0
    assert tracker.get_error_summary()["total_errors"] == 101


def test_the_timeline_has_a_minute_for_a_minute(hands: HandClock) -> None:
    """An hour of minutes, a week of hours, zeros where nothing was."""
    tracker = ErrorTracker()
    tracker.track_error(ValueError())
    hands.move(minutes=2)
    tracker.track_error(errors.SystemError("x", "y"))
    minutes = tracker.timeline()
    assert [count for _, count in minutes[-4:]] == [0, 1, 0, 1]
    assert minutes[-1][0] == hands.now.timestamp()
    assert sum(count for _, count in tracker.timeline(by="hour")) == 2
    assert sum(count for _, count in tracker.timeline(severity="CRITICAL")) == 1
    with pytest.raises(ValueError, match="'minute' or 'hour'"):
        tracker.timeline(by="day")


def test_a_clock_that_is_set_back_breaks_nothing() -> None:
    """Counts of a minute that comes again go on from where they were or begin anew; none is negative or old."""
    ring = Ring(5, 60)
    for minute in (10, 11, 9, 10, 200, 10):
        ring.add(minute * 60.0, ErrorSeverity.ERROR)
        assert ring.count(minute * 60.0, 5) >= 1
    assert ring.count(10 * 60.0, 1) == 1
    assert ring.count(200 * 60.0, 5) in {0, 1}


def test_groups_know_their_first_and_last(hands: HandClock) -> None:
    """When, how bad, and by which report to find it."""
    tracker = ErrorTracker()
    began = hands.now
    first = tracker.track_error(ValueError(1))
    hands.move(minutes=3)
    last = tracker.track_error(ValueError(2), {"operation": "feed"})
    group = tracker.group(first.fingerprint)
    assert group is not None
    assert (group.count, group.excess, group.first_seen, group.last_seen) == (2, 0, began, hands.now)
    assert (group.last_error_id, group.operation, group.error_message) == (last.error_id, "feed", "2")
    assert last.first_seen == began
    assert tracker.first_seen("v1:unknown") is None
    assert tracker.group("v1:unknown") is None
    assert tracker.top_errors(1) == [group]


def size_of(thing: object) -> int:
    """Bytes of all that a thing holds on to, without the code that it refers to."""
    seen: set[int] = set()
    waiting = [thing]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each)
        waiting.extend(gc.get_referents(each))
    return total


@pytest.mark.slow("counts 300 000 different errors, one by one")
def test_300_000_different_errors_take_less_than_8_mib() -> None:
    """The total is exact, the number of different ones within five per cent."""
    tracker = ErrorTracker()
    report = tracker.track_error(different(0), {"operation": "feed", "cat": "Tzara"})
    for number in range(1, 298_000):
        print_, name = f"v1:{number:016x}", f"err-{number:016x}"
        tracker.track_report(replace(report, fingerprint=print_, error_id=name, error_message=f"no {number}"))
    for number in range(298_000, 300_000):
        tracker.track_error(different(number), {"operation": "feed", "cat": "Tzara"})
    summary = tracker.get_error_summary()
    assert 2**19 < size_of(tracker) < 8 * 2**20
    assert summary["total_errors"] == 300_000
    assert summary["error_types"] == {"ValueError": 300_000}
    assert abs(summary["unique_errors"] - 300_000) < 15_000


@pytest.mark.slow("makes a thousand long reports")
def test_long_reports_take_no_more() -> None:
    """Fewer of them are kept."""
    tracker = ErrorTracker()
    for number in range(1_000):
        tracker.track_error(ValueError("é" * 100_000), {str(n): f"{number}ö" * 5_000 for n in range(10)})
    assert len(tracker.recent_reports()) < 1_000
    assert sum(len(str(report.to_dict())) for report in tracker.recent_reports()) < 8 * 2**20
    assert tracker.get_error_summary()["total_errors"] == 1_000


def test_the_frequent_ones_stay_right_under_noise() -> None:
    """Twenty errors among a hundred thousand that come once: all found, in order, never counted too low."""
    chance = random.Random(7)
    truth = {f"real-{number}": 600 + 60 * number for number in range(20)}
    stream = [name for name, count in truth.items() for _ in range(count)] + [f"noise-{n}" for n in range(100_000)]
    chance.shuffle(stream)
    counters: HeavyHitters[None] = HeavyHitters(512)
    for name in stream:
        counters.add(name, None)
    top = counters.top(20)
    assert {each.key for each in top} == set(truth)
    for each in top:
        assert truth[each.key] <= each.count <= truth[each.key] + each.excess
        assert each.excess <= len(stream) / 512
    assert len(counters) == 512
    assert sum(each.count for each in counters.top()) == len(stream)  # every one is counted somewhere


def test_many_kinds_of_errors_are_bounded() -> None:
    """Classes and operations beyond the bounds are counted together, and the totals stay exact."""
    tracker = ErrorTracker()
    for number in range(600):
        tracker.track_error(type(f"Error{number}", (Exception,), {})())
        tracker.record_duration(f"operation {number}", 1.0)
    types = tracker.get_error_summary()["error_types"]
    assert len(types) == 501
    assert types["(others)"] == 100
    assert sum(types.values()) == 600
    assert len(tracker.operations()) == 257
    assert sum(each.count for each in tracker.operations()) == 600


def test_durations_have_percentiles() -> None:
    """Within five per cent, with failures counted."""
    tracker = ErrorTracker()
    for number in range(1, 1_001):
        tracker.record_duration("feed", number / 1_000, failed=number % 10 == 0)
    for percent, expected in ((50, 0.5), (95, 0.95), (99, 0.99), (100, 1.0)):
        assert tracker.percentile("feed", percent) == pytest.approx(expected, rel=0.06)
    stats = tracker.operation("feed")
    assert stats is not None
    assert (stats.count, stats.failures, stats.longest) == (1_000, 100, 1.0)
    assert tracker.percentile("unknown", 50) is None
    assert tracker.operation("unknown") is None
    with pytest.raises(ValueError, match="percent must be"):
        tracker.percentile("feed", 101)
    assert LatencySketch().quantile(0.5) == 0.0


def test_distinct_counts_are_exact_then_close() -> None:
    """A thousand exactly; a hundred thousand within five per cent; again and again counts once."""
    distinct = DistinctCount()
    for number in range(1_000):
        distinct.add(str(number))
        distinct.add(str(number))
    assert (distinct.count, distinct.is_exact) == (1_000, True)
    for number in range(100_000):
        distinct.add(str(number))
    assert not distinct.is_exact
    assert abs(distinct.count - 100_000) < 5_000


@pytest.mark.slow("makes two thousand reports, and writes a thousand of them")
def test_the_counts_outlive_the_process(tmp_path: Path, hands: HandClock) -> None:
    """Saved and read back, it goes on, and shows the last reports as before."""
    path = tmp_path / "errors.json"
    tracker = ErrorTracker(path=path)
    for number in range(2_000):
        tracker.track_error(different(number))
    for _ in range(5):
        tracker.track_error(errors.SystemError("disk", "db"))
    tracker.record_duration("feed", 2.0, failed=True)
    tracker.save()
    hands.move(minutes=5)
    again = ErrorTracker(path=path)
    before, after = tracker.get_error_summary(), again.get_error_summary()
    assert after == before
    assert again.recent_reports() == tracker.recent_reports()
    assert len(again.recent_reports()) == 1_000
    assert again.operations() == tracker.operations()
    assert again.timeline() == tracker.timeline()
    assert again.count_errors(60, severity="CRITICAL") == 5
    report = again.track_error(errors.SystemError("disk", "db"))
    group = again.group(report.fingerprint)
    assert group is not None
    assert group.count - group.excess <= 6 <= group.count
    assert path.stat().st_size < 3_000_000
    assert [each.name for each in tmp_path.iterdir()] == ["errors.json"]


def test_reports_are_read_back_whole(tmp_path: Path) -> None:
    """With causes, notes and context; counts of the last minutes stay exact."""
    path = tmp_path / "errors.json"
    tracker = ErrorTracker(path=path)
    error = ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    error.add_note("after lunch")
    error.__cause__ = errors.IntegrationError("no route", system="crm", operation="connect", attempts=[1, {"a": None}])
    tracker.replace_report(replace(tracker.track_error(error, {"password": "canary", "n": 1.5}), message_id="m-1"))
    tracker.save()
    again = ErrorTracker(path=path)
    assert again.recent_reports() == tracker.recent_reports()
    (report,) = again.recent_reports()
    assert (report.message_id, report.notes, len(report.causes)) == ("m-1", ("after lunch",), 3)
    assert again.count_errors(5) == 1
    assert "canary" not in path.read_text()


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """Of reports in a script that takes much room, the latest are saved."""
    path = tmp_path / "errors.json"
    tracker = ErrorTracker(path=path)
    report = tracker.track_error(ValueError("猫"))
    for number in range(1_000):
        tracker.track_report(replace(report, error_id=f"err-{number}", error_message="猫" * 2_000))
    tracker.save()
    assert path.stat().st_size < 5_000_000
    saved, kept = ErrorTracker(path=path).recent_reports(), tracker.recent_reports()
    assert 100 < len(saved) < len(kept)
    assert saved == kept[-len(saved) :]
    assert ErrorTracker(path=path, recent=10).recent_reports() == kept[-10:]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"format": "other"}', "\xff", '{"format": 1, "since": 2}']
)
def test_a_file_that_cannot_be_read_begins_at_zero(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And a warning says so."""
    path = tmp_path / "errors.json"
    path.write_text(content, "latin-1")
    tracker = ErrorTracker(path=path)
    assert tracker.get_error_summary()["total_errors"] == 0
    assert "begins at zero" in caplog.text
    tracker.track_error(ValueError())
    tracker.save()
    assert ErrorTracker(path=path).get_error_summary()["total_errors"] == 1


def test_saving_needs_a_path() -> None:
    """Given here or there."""
    with pytest.raises(ValueError, match="path must be given"):
        ErrorTracker().save()
    with pytest.raises(ValueError, match="groups must be"):
        ErrorTracker(groups=0)


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns far more often than they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow("eight threads that take turns all the time")
def test_threads_count_exactly(busy_threads: None) -> None:
    """Nothing is lost between them, while others look."""
    tracker = ErrorTracker(groups=8, recent=50)

    def work() -> None:
        for number in range(100):
            tracker.track_error(different(number))
            tracker.record_duration("feed", 0.1)
            tracker.get_error_summary()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary = tracker.get_error_summary()
    assert summary["total_errors"] == 800
    assert summary["error_types"] == {"ValueError": 800}
    assert sum(count for _, count in tracker.timeline()) == 800
    stats = tracker.operation("feed")
    assert stats is not None
    assert stats.count == 800


def test_a_group_tells_when_its_errors_came(hands: HandClock) -> None:
    """The timeline of a group has two hours in steps of five minutes, and ends now."""
    tracker = ErrorTracker()
    fingerprint = tracker.track_error(ValueError("a")).fingerprint
    hands.move(hours=1)
    for _ in range(3):
        tracker.track_error(ValueError("a"))
    hands.move(minutes=10)
    counts = [count for _, count in tracker.group_timeline(fingerprint)]
    assert len(counts) == 24
    assert counts[-3] == 3
    assert counts[-15] == 1
    assert sum(counts) == 4
    hands.move(hours=1)
    assert sum(count for _, count in tracker.group_timeline(fingerprint)) == 3
    assert tracker.group_timeline("nobody") == []
