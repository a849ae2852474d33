from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.__main__ import main
from benchmarks.counts import COUNTS, Count, run_count
from benchmarks.drivers import awaited
from benchmarks.goals import AheadOfPeers, TimesLimit, Within
from benchmarks.growth import GROWTHS, run_growth
from benchmarks.measuring import QUICK, SMOKE, Contestant, Lap, Stopwatch, Timing, measure
from benchmarks.peers import DISTRIBUTIONS, Field, Peer
from benchmarks.results import Kind, RowResult
from benchmarks.rows import ROWS, Row, StartUpRow
from benchmarks.running import run_row

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.drivers import Operation
    from benchmarks.growth import Growth

CALLS = [row for row in ROWS if isinstance(row, Row)]
START_UPS = [row for row in ROWS if isinstance(row, StartUpRow)]


def _row(key: str) -> Row:
    return next(row for row in CALLS if row.key == key)


def _names(result: RowResult, kind: Kind) -> set[str]:
    return {timing.name for each, timing in result.timings if each is kind}


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.key)
def test_row_times_probe_package_and_every_peer_or_says_why_not(row: Row) -> None:
    """A row has a timing of the probe and of resilio, and each peer has a timing or a reason."""
    result = asyncio.run(run_row(row, Field(), SMOKE))
    assert result.ours is not None
    assert result.limit is not None
    timed = _names(result, Kind.PEER)
    assert timed | set(result.missing) == set(DISTRIBUTIONS.values())
    assert timed.isdisjoint(result.missing)
    assert not [reason for reason in result.missing.values() if reason.startswith("does not do it")]
    if not row.is_above_none:  # what is left above none may be nothing
        assert all(timing.seconds > 0 for _, timing in result.timings)
        assert result.to_limit(result.limit) == 1.0


@pytest.mark.slow("starts interpreters")
@pytest.mark.parametrize("row", START_UPS, ids=lambda row: row.key)
def test_start_up_rows_time_new_processes(row: StartUpRow) -> None:
    """What happens once in a process is timed in a process of its own."""
    result = asyncio.run(run_row(row, Field(peers=()), SMOKE))
    assert result.ours is not None
    assert result.ours.seconds > 0


@pytest.mark.parametrize("growth", GROWTHS, ids=lambda growth: growth.key)
def test_growth_has_a_timing_for_every_size(growth: Growth) -> None:
    """A question about growth is answered for each line at each size."""
    small = replace(growth, xs=growth.xs[:2], labels=growth.labels[:2])
    result = asyncio.run(run_growth(small, SMOKE))
    assert set(result.lines) == set(growth.lines)
    assert all(len(timings) == 2 for timings in result.lines.values())
    assert all(timing.seconds > 0 for timings in result.lines.values() for timing in timings)


def test_command_prints_tables_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints each row and a summary, and its JSON holds the same, with date, machine and versions."""
    path = tmp_path / "out" / "run.json"
    asked = [
        "--smoke",
        "--row",
        "breaker_closed",
        "--row",
        "retry_two",
        "--row",
        "listeners",
        "--row",
        "storm",
        "--json",
        str(path),
    ]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    for text in (
        _row("breaker_closed").title,
        _row("retry_two").title,
        "last ÷ first",
        "Summary",
        str(TimesLimit(1.3)),
    ):
        assert text in printed

    run = json.loads(path.read_text(encoding="utf-8"))
    assert set(run) == {"date", "machine", "python", "versions", "rows", "growth", "counts"}
    assert "anyio" in run["versions"]
    assert [row["key"] for row in run["rows"]] == ["breaker_closed", "retry_two"]
    for row in run["rows"]:
        assert {"bare", "limit", "resilio"} <= {each["kind"] for each in row["contestants"]}
        for each in row["contestants"]:
            assert set(each) == {"name", "kind", "ns", "noise", "waits", "to_bare", "to_limit", "to_fastest_peer"}
    (storm,) = run["counts"]
    assert (storm["key"], storm["reached"]) == ("storm", True)
    assert 1 < storm["number"] <= 20
    assert [growth["key"] for growth in run["growth"]] == ["listeners"]
    assert [len(points) for points in run["growth"][0]["lines"].values()] == [len(run["growth"][0]["xs"])]


def test_what_is_counted_says_whether_it_is_reached() -> None:
    """A number is compared with what it may be at most; its title says of how many."""

    async def found(size: int) -> float:
        return size / 10

    count = Count("some", "of {size} things", 20_000, "things", 100, found)
    few, many = (asyncio.run(run_count(count, share=share)) for share in (0.05, 1.0))
    assert (few.is_reached, few.title, few.as_json()["number"]) == (True, "of 1 000 things", 100)
    assert (many.is_reached, many.title) == (False, "of 20 000 things")


@pytest.mark.slow("makes two thousand reports")
def test_the_trackers_memory_is_counted() -> None:
    """A hundredth of the errors takes some of it, and is within it."""
    (memory,) = (each for each in COUNTS if each.key == "tracker_memory")
    result = asyncio.run(run_count(memory, share=0.01))
    assert 0.1 < result.number < 8


def test_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that does not exist is refused with the names of those that do."""
    with pytest.raises(SystemExit) as ended:
        main(["--row", "nonsense"])
    assert ended.value.code == 2
    assert "breaker_closed" in capsys.readouterr().err


# -- who takes part ----------------------------------------------------------------------------------------------------


def _peer(name: str, **adapters: Any) -> Peer:
    module = ModuleType(name)
    vars(module).update(adapters)
    return Peer(name, module)


def test_peer_that_does_something_else_is_named_and_not_timed() -> None:
    """A peer whose answer is wrong gets no timing, however fast it is."""

    def wrong(fn: Operation) -> Operation:
        async def guarded(number: int) -> int:
            return number + 1

        return guarded

    result = asyncio.run(run_row(_row("retry_none"), Field(peers=(_peer("wrong", retry_none=wrong),)), SMOKE))
    assert _names(result, Kind.PEER) == set()
    assert result.missing["wrong"].startswith("does not do it: AssertionError: answered 2")


def test_peer_that_never_opens_is_not_timed_as_rejecting() -> None:
    """Passing the work's own error on is no rejection."""
    result = asyncio.run(
        run_row(_row("breaker_open"), Field(peers=(_peer("never", breaker_open=lambda fn: fn),)), SMOKE)
    )
    assert "still not open" in result.missing["never"]


def test_peer_without_the_feature_says_so_in_its_own_words() -> None:
    """The reason is the peer module's own, where it gives one."""
    peers = (_peer("plain"), _peer("particular", LACKS={"bulkhead": "needs a server"}), Peer("gone", None))
    result = asyncio.run(run_row(_row("bulkhead"), Field(peers=peers), SMOKE))
    assert result.missing == {
        "plain": "has no such thing",
        "particular": "needs a server",
        "gone": "not installed",
    }


# -- the stopwatch -----------------------------------------------------------------------------------------------------


def test_contestant_that_sleeps_is_timed_by_the_wall() -> None:
    """Sleeping costs no processor time, and counts all the same."""

    async def batch(count: int) -> Lap:
        watch = Stopwatch()
        for _ in range(count):
            time.sleep(0.002)  # noqa: ASYNC251 -- gives the processor up
        return watch.read()

    async def answer(number: int) -> int:
        return number

    asleep, awake = asyncio.run(measure([Contestant("asleep", batch), Contestant("awake", awaited(answer))], SMOKE))
    assert asleep.waits
    assert asleep.seconds >= 0.002
    assert not awake.waits


def test_disturbed_rounds_do_not_count() -> None:
    """A time is that of the best tenth of the rounds, and the others show as noise."""
    calls = 0

    async def batch(count: int) -> Lap:
        nonlocal calls
        calls += 1
        return Lap(count * (1.0 if calls % 6 == 0 else 5.0))

    effort = replace(QUICK, rounds=60, repetitions=1)
    (timing,) = asyncio.run(measure([Contestant("only", batch)], effort, count=1))
    assert timing.seconds == 1.0
    assert timing.noise == pytest.approx(4.0)


def test_ratio_is_taken_within_the_rounds() -> None:
    """Rounds that slow two contestants alike do not touch their ratio, nor do single slips."""
    double = Timing("double", (2.0, 10.0, 4.0, 8.0, 90.0))
    single = Timing("single", (1.0, 5.0, 2.0, 4.0, 1.0))
    assert double.times(single) == 2.0


def test_difference_is_taken_from_the_turn_before() -> None:
    """Above a floor, what counts is the middle of the differences between neighbours."""
    clock = 0.0

    def rising(name: str, step: float) -> Contestant:
        async def batch(count: int) -> Lap:
            nonlocal clock
            clock += 1.0
            return Lap(count * (clock + step))

        return Contestant(name, batch)

    contestants = [rising("quarter", -0.75), rising("half", -0.5)]
    effort = replace(QUICK, rounds=9, repetitions=1)
    quarter, half = asyncio.run(measure(contestants, effort, count=1, floor=rising("floor", 0)))
    assert (quarter.seconds, quarter.noise, half.seconds) == (0.25, 0.0, 0.5)
    assert half.times(quarter) == 2.0


# -- goals -------------------------------------------------------------------------------------------------------------


def _result(*timings: tuple[Kind, float]) -> RowResult:
    return RowResult(
        _row("breaker_closed"),
        tuple((kind, Timing(kind.value, (seconds,))) for kind, seconds in timings),
    )


def test_goals_are_reached_missed_or_left_open() -> None:
    """A goal compares with the probe, the fastest peer or the clock, and says nothing where there is none."""
    result = _result((Kind.LIMIT, 1.0), (Kind.OURS, 1.3), (Kind.PEER, 2.0), (Kind.PEER, 3.0))
    assert TimesLimit(1.3).is_reached(result) is True
    assert TimesLimit(1.2).is_reached(result) is False
    assert AheadOfPeers().is_reached(result) is True
    assert AheadOfPeers(0.5).is_reached(result) is False
    assert Within(1.3).is_reached(result) is True
    assert Within(1.2).is_reached(result) is False
    alone = _result((Kind.OURS, 1.3))
    assert TimesLimit(1.3).is_reached(alone) is None
    assert AheadOfPeers().is_reached(alone) is None


def test_row_is_reached_if_all_its_goals_are() -> None:
    """One missed goal misses the row, and one that cannot be judged leaves it open."""
    assert _result((Kind.LIMIT, 1.0), (Kind.OURS, 1.2), (Kind.PEER, 2.0)).is_reached is True
    assert _result((Kind.LIMIT, 1.0), (Kind.OURS, 1.2), (Kind.PEER, 1.1)).is_reached is False
    assert _result((Kind.LIMIT, 1.0), (Kind.OURS, 1.2)).is_reached is None
    assert _result((Kind.LIMIT, 1.0), (Kind.OURS, 1.4)).is_reached is False
