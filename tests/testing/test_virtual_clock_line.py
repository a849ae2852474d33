from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from resilio.testing._timeline import Timeline, aligned

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class FakeLoop:
    """A loop that polls its sockets when it is told to."""

    until: float | None = None
    polled: int | None = None
    thread: int = 1
    nudges: int = 0

    def nudge(self) -> None:
        self.nudges += 1


@dataclass(eq=False)
class FakeSleeper:
    """A thread asleep."""

    until: float
    woken: list[float] = field(default_factory=list)
    line: Timeline | None = None

    def is_due(self, now: float) -> bool:
        return self.until <= now

    def wake(self) -> None:
        assert self.line is not None
        self.woken.append(self.line.elapsed)


@pytest.fixture
def line() -> Timeline:
    """A line on which no thread is ever at work."""
    return Timeline(lambda _asleep: True)


def look_poll_jump(line: Timeline, loop: FakeLoop) -> bool:
    """What a loop does when it has nothing to do; tells whether time moved."""
    loop.polled = line.calm()
    return loop.polled is not None and line.jump(loop.polled)


def test_an_idle_loop_moves_to_its_timer(line: Timeline) -> None:
    """One loop alone, idle, its sockets silent: time moves to the instant it waits for."""
    loop = FakeLoop()
    line.join(loop)
    loop.until = 5.0
    assert look_poll_jump(line, loop)
    assert (line.elapsed, line.jumps) == (5, [5])


def test_a_working_loop_stops_time() -> None:
    """A loop that is not idle is judged by its thread: at work, it holds the other one back."""
    working = {2}
    line = Timeline(lambda asleep: not working - asleep)
    idle, busy = FakeLoop(until=5.0), FakeLoop(thread=2)
    line.join(idle)
    line.join(busy)
    assert line.calm() is None
    busy.until = math.inf
    busy.polled = line.calm()
    assert look_poll_jump(line, idle)


def test_what_stirs_after_the_look_forbids_the_jump(line: Timeline) -> None:
    """A loop that looked and polled may not jump if somebody lay down or got up since: bytes may be under way."""
    loop, sleeper = FakeLoop(until=5.0), FakeSleeper(7.0, line=line)
    line.join(loop)
    changes: list[Callable[[], None]] = [
        lambda: line.lie_down(9, sleeper),
        lambda: line.get_up(9),
        lambda: line.hold(+1),
        lambda: line.hold(-1),
        line.stir,
    ]
    for stir in changes:
        seen = loop.polled = line._round
        stir()
        assert not line.jump(seen)
    assert line.elapsed == 0
    assert look_poll_jump(line, loop)


def test_every_idle_loop_must_have_polled(line: Timeline) -> None:
    """With two loops, each must have found its sockets silent since the other last worked."""
    one, two = FakeLoop(until=5.0), FakeLoop(until=3.0)
    line.join(one)
    line.join(two)
    assert not look_poll_jump(line, one)
    assert look_poll_jump(line, two)
    assert line.elapsed == 3


def test_a_thread_about_to_wake_stops_time(line: Timeline) -> None:
    """Nobody jumps past a thread whose time has come until it got up."""
    early, late = FakeSleeper(3.0, line=line), FakeSleeper(5.0, line=line)
    line.lie_down(1, early)
    line.lie_down(2, late)
    seen = line.calm()
    assert seen is not None
    assert line.jump(seen)
    assert (line.elapsed, early.woken, late.woken) == (3, [3], [])
    assert line.calm() is None
    line.get_up(1)
    seen = line.calm()
    assert seen is not None
    assert line.jump(seen)
    assert (line.elapsed, late.woken) == (5, [5])


def test_with_nothing_to_wait_for_time_stands_still(line: Timeline) -> None:
    """Who waits only for others gives no instant to jump to."""
    loop = FakeLoop(until=math.inf)
    line.join(loop)
    assert not look_poll_jump(line, loop)
    assert line.nobody_but(loop)
    line.lie_down(9, FakeSleeper(math.inf, line=line))
    assert not look_poll_jump(line, loop)
    assert not line.nobody_but(loop)


def test_a_held_line_does_not_move(line: Timeline) -> None:
    """No look succeeds while a hold is out; `advance` moves all the same, and wakes who is due."""
    sleeper = FakeSleeper(5.0, line=line)
    loop = FakeLoop(until=math.inf)
    line.join(loop)
    line.lie_down(9, sleeper)
    line.hold(+1)
    line.hold(+1)
    line.hold(-1)
    assert line.calm() is None
    line.advance(7)
    assert (line.elapsed, line.jumps, sleeper.woken) == (7, [7], [7])


def test_those_who_wait_for_ever_are_told_of_who_comes(line: Timeline) -> None:
    """A loop that blocks on its sockets is nudged when somebody else begins to wait for time."""
    loop = FakeLoop(until=math.inf)
    line.join(loop)
    before = loop.nudges
    line.lie_down(9, FakeSleeper(5.0, line=line))
    line.join(FakeLoop())
    line.advance(1)
    assert loop.nudges == before + 3


def test_two_sums_that_mean_one_instant_are_one_jump(line: Timeline) -> None:
    """A difference below a nanosecond is no jump of its own."""
    one, two = FakeLoop(until=0.3), FakeLoop(until=0.1 + 0.2)
    line.join(one)
    line.join(two)
    one.polled = line.calm()
    assert look_poll_jump(line, two)
    line.part(one)
    two.until = 0.1 + 0.2
    look_poll_jump(line, two)
    assert line.jumps == [0.3]
    assert line.elapsed == 0.1 + 0.2


def test_an_event_set_by_a_thread_that_has_just_ended_stops_time() -> None:
    """The last worker sets what the sleeper waits for, and ends, while everyone is being looked at."""
    sleeper = FakeSleeper(5.0)

    def look(_asleep: object) -> bool:
        sleeper.until = 0.0
        return True

    line = Timeline(look)
    sleeper.line = line
    line.lie_down(2, sleeper)
    assert line.calm() is None


@pytest.mark.parametrize("real", [1020.123456789, 4.1, 32767.999, 1_000_000 / 3])
def test_seconds_are_whole_whenever_the_machine_was_started(real: float) -> None:
    """Also where the machine's own count passes a power of two, after which it has one binary digit less."""
    origin = aligned(real)
    assert real <= origin < real + 0.001
    assert [(origin + 0.5 + end) - (origin + 0.5) for end in range(5, 40_000, 5)] == list(range(5, 40_000, 5))
