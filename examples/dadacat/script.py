"""The endpoint's scripted day: which faults it meets, when, and which request meets which."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Fault(StrEnum):
    """What may happen to a request instead of an answer in good time."""

    STALL = "stalled"
    RESET = "reset"
    ERROR = "error 500"
    LIMIT = "limited 429"


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the day.

    Attributes:
        name: As it is shown.
        share: Its part of the day, 0 to 1.
        latency: The shortest and the longest time to an answer, in seconds.
        faults: How often each fault happens, 0 to 1 each and together.
        down: Nobody listens: connections are refused, and those that were open are reset.
    """

    name: str
    share: float
    latency: tuple[float, float] = (0.02, 0.08)
    faults: Mapping[Fault, float] = field(default_factory=dict)
    down: bool = False


DAY = (
    Phase("healthy", 0.14),
    Phase("slow", 0.14, latency=(0.2, 0.6), faults={Fault.STALL: 0.20}),
    Phase("connection resets", 0.10, faults={Fault.RESET: 0.35}),
    Phase("server errors", 0.10, faults={Fault.ERROR: 0.35}),
    Phase("rate limits", 0.12, faults={Fault.LIMIT: 0.30}),
    Phase("outage", 0.18, down=True),
    Phase("healthy again", 0.22),
)

STALL_SECONDS = 5.0
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Treatment:
    """What one request meets: it waits ``latency`` seconds, then gets an answer or the ``fault``."""

    latency: float
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Script:
    """A day of ``seconds``. Two scripts of one seed treat the n-th request of a phase alike."""

    seed: int
    seconds: float
    day: tuple[Phase, ...] = DAY

    def timetable(self) -> Iterator[tuple[Phase, float]]:
        """The phases in order, each with its length in seconds."""
        for phase in self.day:
            yield phase, phase.share * self.seconds

    def treatment(self, phase: Phase, number: int) -> Treatment:
        """What the ``number``-th request of ``phase`` meets."""
        rng = random.Random(f"{self.seed}/{phase.name}/{number}")
        latency = rng.uniform(*phase.latency)
        roll = rng.random()
        for fault, ratio in phase.faults.items():
            if roll < ratio:
                return Treatment(STALL_SECONDS if fault is Fault.STALL else latency, fault)
            roll -= ratio
        return Treatment(latency, None)
