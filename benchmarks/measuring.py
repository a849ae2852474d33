"""The stopwatch: contestants take turns in many short rounds, and are compared within each round.

A machine that others use as well slows down, for milliseconds or for seconds, and whoever runs just then would pay for
it. Three things against that.

- The contestants of a row take turns in many short rounds, each round in another order; a contestant's number for a
  round is the median of a few repetitions.
- How many times longer one takes than another is the median of that ratio over the rounds: neighbours in time, as
  likely disturbed the one as the other. The time itself, which no other run will repeat, is a contestant's best tenth
  of the rounds; how far the middle round is above it is printed as noise.
- The clock counts the processor's time of this process, all its threads together: it stands still while another process
  runs. Only a contestant that gives the processor up, to sleep or to wait for another thread, is timed by the clock on
  the wall, and marked.

The garbage collector rests while the clock runs, and works between the rounds.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import statistics
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

Batch: TypeAlias = "Callable[[int], Awaitable[Lap]]"
"""Runs an operation so many times and tells what that took."""

Turn: TypeAlias = "list[Lap]"
"""What a contestant's repetitions in one round took, each per operation."""

_OFTEN = 0.01  # waits per operation; a contestant that never waits has none but by accident


@dataclass(frozen=True, slots=True)
class Lap:
    """What some operations took.

    Attributes:
        processor: Seconds of the processor's time.
        wall: Seconds on the wall.
        waits: How often the processor was given up.
    """

    processor: float
    wall: float = 0.0
    waits: float = 0.0

    def __truediv__(self, count: float) -> Lap:
        return Lap(self.processor / count, self.wall / count, self.waits / count)

    @staticmethod
    def total(laps: Iterable[Lap]) -> Lap:
        """All of them together."""
        parts = [(each.processor, each.wall, each.waits) for each in laps]
        return Lap(*(sum(column) for column in zip(*parts, strict=True)))


class Stopwatch:
    """Runs from its making."""

    __slots__ = ("_processor", "_waits", "_wall")

    def __init__(self) -> None:
        self._waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        self._wall = perf_counter()
        self._processor = process_time()

    def read(self) -> Lap:
        """What has gone by."""
        processor, wall = process_time(), perf_counter()
        waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        return Lap(processor - self._processor, wall - self._wall, waits - self._waits)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: How often each contestant has its turn.
        repetitions: How many repetitions make a turn, of which the median counts.
        seconds: About how long a repetition takes.
        long_rounds: `rounds` where a single repetition takes long, and is all there is of a turn.
        most: The most operations in a repetition, whatever the time.
    """

    rounds: int
    repetitions: int
    seconds: float
    long_rounds: int
    most: int = 1_000_000

    def for_long(self) -> Effort:
        """The effort for operations that take a good part of a second."""
        return replace(self, rounds=self.long_rounds, repetitions=1)


FULL = Effort(rounds=100, repetitions=3, seconds=0.0006, long_rounds=15)
QUICK = Effort(rounds=20, repetitions=3, seconds=0.0004, long_rounds=3)
SMOKE = Effort(rounds=1, repetitions=1, seconds=0.0, long_rounds=1, most=2)


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something to be timed."""

    name: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an operation took.

    Attributes:
        name: Whose operation.
        rounds: Seconds per operation, one number a round.
        waits: Whether it gave the processor up, and was timed by the wall.
        is_difference: Whether the numbers are what was left above a floor. That is small beside what it is left from,
            so that the middle of the rounds counts, and the smallest of them is only the luckiest.
    """

    name: str
    rounds: tuple[float, ...]
    waits: bool = False
    is_difference: bool = False

    @property
    def seconds(self) -> float:
        """Seconds per operation."""
        if self.is_difference:
            return statistics.median(self.rounds)
        return sorted(self.rounds)[len(self.rounds) // 10]

    @property
    def noise(self) -> float:
        """How much longer the middle round took, as a share; of differences, how far the rounds are apart."""
        if self.is_difference:
            middle = self.seconds
            return statistics.median(abs(each - middle) for each in self.rounds) / abs(middle) if middle else 0.0
        return statistics.median(self.rounds) / self.seconds - 1 if self.seconds > 0 else 0.0

    def times(self, other: Timing) -> float | None:
        """How many times longer this took than ``other``, measured in the same rounds; None if that has no meaning."""
        if self.is_difference:
            return self.seconds / other.seconds if other.seconds > 0 else None
        pairs = [mine / theirs for mine, theirs in zip(self.rounds, other.rounds, strict=True) if theirs > 0]
        return statistics.median(pairs) if pairs else None


async def measure(
    contestants: Sequence[Contestant], effort: Effort, *, count: int | None = None, floor: Contestant | None = None
) -> list[Timing]:
    """Let the ``contestants`` take turns.

    Args:
        contestants: Their names differ.
        effort: How long.
        count: Operations in each repetition; None for as many as fill the effort's seconds, found out for each.
        floor: Has a turn before each of the others' turns, and its number is taken off theirs.
    """
    counts = {each.name: min(count or await _fitting(each.batch, effort), effort.most) for each in contestants}
    laps: dict[str, list[Turn]] = {each.name: [] for each in contestants}
    floors: dict[str, list[Turn]] = {each.name: [] for each in contestants}
    gc.collect()
    gc.freeze()  # what is here already stays, and need not be looked through again after every round
    try:
        for number in range(effort.rounds):
            for each in random.Random(number).sample(contestants, len(contestants)):  # no two are neighbours for ever
                if floor is not None:
                    floors[each.name].append(await _turn(floor.batch, counts[each.name], effort))
                laps[each.name].append(await _turn(each.batch, counts[each.name], effort))
            gc.collect()
    finally:
        gc.unfreeze()
    return [_timing(name, turns, floors[name]) for name, turns in laps.items()]


async def _turn(batch: Batch, count: int, effort: Effort) -> Turn:
    return [await _timed(batch, count) / count for _ in range(effort.repetitions)]


async def _timed(batch: Batch, count: int) -> Lap:
    await asyncio.sleep(0)  # the loop tidies up what the last one left: cancelled timers, finished tasks
    gc.disable()
    try:
        return await batch(count)
    finally:
        gc.enable()


async def _fitting(batch: Batch, effort: Effort) -> int:
    """How many operations take about the effort's seconds; finding out is the warm-up as well."""
    count = 1
    while True:
        lap = await _timed(batch, count)
        seconds = max(lap.processor, lap.wall)
        if seconds >= effort.seconds or count >= effort.most:
            return count
        count = min(max(count * 2, int(count * effort.seconds / max(seconds, 1e-9))), effort.most)


def _timing(name: str, turns: list[Turn], floors: list[Turn]) -> Timing:
    waits = statistics.median(lap.waits for turn in turns for lap in turn) > _OFTEN
    numbers = [_middle(turn, by_wall=waits) for turn in turns]
    if not floors:
        return Timing(name, tuple(numbers), waits)
    beneath = [_middle(turn, by_wall=waits) for turn in floors]
    left = tuple(number - under for number, under in zip(numbers, beneath, strict=True))
    return Timing(name, left, waits, is_difference=True)


def _middle(turn: Turn, *, by_wall: bool) -> float:
    return statistics.median(lap.wall if by_wall else lap.processor for lap in turn)
