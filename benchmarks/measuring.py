"""The stopwatch: contestants take turns, and what counts are the quietest of many short rounds.

A machine that others use as well slows down, for milliseconds or for seconds, and whoever runs just then would pay for
it. Three things against that.

- The contestants of a row take turns in many short rounds, each round in another order; a contestant's number for a
  round is the median of a few repetitions.
- The tenth of the rounds in which everybody together was fastest is kept, the same rounds for all. A contestant's time
  is the median of its numbers there, and what the other rounds show is printed as noise.
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
        seconds: Per operation, in the quiet rounds.
        noise: How much longer the middle one of all rounds was than that, as a share.
        waits: Whether it gave the processor up, and was timed by the wall.
    """

    name: str
    seconds: float
    noise: float
    waits: bool


async def measure(
    contestants: Sequence[Contestant], effort: Effort, *, count: int | None = None, floor: str | None = None
) -> list[Timing]:
    """Let the ``contestants`` take turns.

    Args:
        contestants: Their names differ.
        effort: How long.
        count: Operations in each repetition; None for as many as fill the effort's seconds, found out for each.
        floor: A contestant whose number is taken off the others', round by round; it gets no timing itself. What is
            left is small beside what it is left from, so that all rounds count, and noise is how far apart they are.
    """
    counts = {each.name: min(count or await _fitting(each.batch, effort), effort.most) for each in contestants}
    laps: dict[str, list[list[Lap]]] = {each.name: [] for each in contestants}
    gc.collect()
    gc.freeze()  # what is here already stays, and need not be looked through again after every round
    try:
        for turn in range(effort.rounds):
            for each in random.Random(turn).sample(contestants, len(contestants)):  # no two are neighbours for ever
                operations = counts[each.name]
                turns = [await _timed(each.batch, operations) / operations for _ in range(effort.repetitions)]
                laps[each.name].append(turns)
            gc.collect()
    finally:
        gc.unfreeze()

    waiting = {name: _waits(turns) for name, turns in laps.items()}
    rounds = {name: [_middle(turn, by_wall=waiting[name]) for turn in turns] for name, turns in laps.items()}
    if floor is not None:
        beneath = rounds.pop(floor)
        return [_difference(name, numbers, beneath, waits=waiting[name]) for name, numbers in rounds.items()]
    quiet = _quiet(rounds)
    return [_timing(name, numbers, quiet, waits=waiting[name]) for name, numbers in rounds.items()]


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


# -- what the laps say -------------------------------------------------------------------------------------------------


def _waits(turns: list[list[Lap]]) -> bool:
    return statistics.median(lap.waits for turn in turns for lap in turn) > _OFTEN


def _middle(turn: list[Lap], *, by_wall: bool) -> float:
    return statistics.median(lap.wall if by_wall else lap.processor for lap in turn)


def _quiet(rounds: dict[str, list[float]]) -> list[int]:
    """The tenth of the rounds in which all contestants together were nearest to their best."""
    best = {name: max(min(numbers), 1e-12) for name, numbers in rounds.items()}
    count = len(next(iter(rounds.values())))
    slowness = [sum(numbers[turn] / best[name] for name, numbers in rounds.items()) for turn in range(count)]
    return sorted(range(count), key=slowness.__getitem__)[: max(count // 10, min(count, 3))]


def _difference(name: str, numbers: list[float], floor: list[float], *, waits: bool) -> Timing:
    left = [number - beneath for number, beneath in zip(numbers, floor, strict=True)]
    middle = statistics.median(left)
    deviation = statistics.median(abs(each - middle) for each in left)
    return Timing(name, middle, deviation / abs(middle) if middle else 0.0, waits)


def _timing(name: str, numbers: list[float], quiet: list[int], *, waits: bool) -> Timing:
    seconds = statistics.median(numbers[turn] for turn in quiet)
    return Timing(name, seconds, statistics.median(numbers) / seconds - 1 if seconds > 0 else 0.0, waits)
