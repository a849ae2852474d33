"""The line of time that loops and threads share under a virtual clock, and the rule by which it moves.

Time stands still while anybody has something to do. When nobody has, it moves in one jump to the earliest instant that
somebody waits for. "Nobody" is hard to see from outside: a loop may have bytes on the way to it, sent by a thread that
has fallen asleep since. So the rule is *look, poll, look again*: a loop asks whether all others rest (`Timeline.calm`),
polls its sockets, and only then asks for the jump (`Timeline.jump`), which is refused if anything stirred in between.

Instants are seconds since the clock came into force.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet


class Loop(Protocol):
    """An event loop that lives on the line.

    Attributes:
        thread: The thread that runs it.
        until: When idle, the instant its earliest timer is due (infinite without one); None while it works.
        polled: The round in which it last found its sockets silent.
    """

    thread: int
    until: float | None
    polled: int | None

    def nudge(self) -> None:
        """Make the loop look again, if it waits for its sockets. Called from any thread."""


class Sleeper(Protocol):
    """A thread asleep on the line.

    Attributes:
        until: The instant at which it wakes; infinite when only an event can wake it.
    """

    until: float

    def is_due(self, now: float) -> bool:
        """Tell whether it is about to wake: its time has come, or what it waits for has happened."""

    def wake(self) -> None:
        """Make it look again. Called with the line's lock held."""


class Timeline:
    """Virtual seconds since the clock came into force. Safe from any thread.

    Args:
        others_rest: Tells whether no thread has anything to do; those given (asleep, or running an idle loop) are left
            out of the question.

    Attributes:
        elapsed: The present instant.
        jumps: The length of each jump made so far.
        lock: Held while the line is looked at or changed.
    """

    def __init__(self, others_rest: Callable[[AbstractSet[int]], bool]) -> None:
        self.elapsed = 0.0
        self.jumps: list[float] = []
        self.lock = threading.RLock()
        self._others_rest = others_rest
        self._holds = 0
        self._round = 0
        self._loops: list[Loop] = []
        self._asleep: dict[int, Sleeper] = {}

    # -- who takes part ------------------------------------------------------------------------------------------------

    def join(self, loop: Loop) -> None:
        """Take ``loop`` in."""
        with self.lock:
            self._loops.append(loop)
            self._nudge_loops()

    def part(self, loop: Loop) -> None:
        """Let ``loop`` go."""
        with self.lock:
            self._loops.remove(loop)
            self.stir()

    def lie_down(self, thread: int, sleeper: Sleeper) -> None:
        """Count ``thread`` as asleep."""
        with self.lock:
            self._asleep[thread] = sleeper
            self._nudge_loops()

    def get_up(self, thread: int) -> None:
        """Count ``thread`` as awake again."""
        with self.lock:
            del self._asleep[thread]
            self.stir()

    def hold(self, change: int) -> None:
        """Take (+1) or give back (-1) one hold; no jump happens while one is out."""
        with self.lock:
            self._holds += change
            self.stir()

    def watched_by_loop(self) -> bool:
        """Tell whether an idle loop watches the line. Then loops alone move it: they see their sockets too."""
        return any(loop.until is not None for loop in self._loops)

    def nobody_but(self, loop: Loop) -> bool:
        """Tell whether nobody but ``loop`` waits for time to pass."""
        with self.lock:
            return not self._asleep and self._loops == [loop]

    # -- moving --------------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Say that something happened: what was seen so far no longer proves that everyone rests."""
        with self.lock:
            self._round += 1

    def calm(self) -> int | None:
        """The present round if everyone rests as far as one can see, else None."""
        with self.lock:
            if self._anyone_busy():
                self._round += 1
                return None
            return self._round

    def jump(self, seen: int) -> bool:
        """Move to the earliest awaited instant, if nothing stirred since round ``seen``; tell whether time moved."""
        with self.lock:
            idle = {loop: loop.until for loop in self._loops if loop.until is not None}
            if self._round != seen or any(loop.polled != seen for loop in idle):
                return False
            if idle and self._anyone_busy():  # without a loop, nobody let go of the lock to poll sockets
                return False
            target = min([*idle.values(), *(sleeper.until for sleeper in self._asleep.values())], default=math.inf)
            if target == math.inf:
                return False
            self._move(target)
            return True

    def advance(self, seconds: float) -> None:
        """Move by ``seconds`` here and now, whoever works."""
        with self.lock:
            self._move(self.elapsed + seconds)
            self._nudge_loops()

    def wake_all(self) -> None:
        """Make every sleeping thread look again."""
        with self.lock:
            for sleeper in self._asleep.values():
                sleeper.wake()

    def _move(self, target: float) -> None:
        length = round(target - self.elapsed, 9)
        if length > 0:  # else two sums of floats that mean the same instant
            self.jumps.append(length)
        self.elapsed = max(self.elapsed, target)
        self.stir()
        for sleeper in self._asleep.values():
            if sleeper.until <= target:
                sleeper.wake()

    def _nudge_loops(self) -> None:
        self.stir()
        for loop in self._loops:
            loop.nudge()

    def _anyone_busy(self) -> bool:
        now = self.elapsed
        return (
            self._holds > 0
            or any(loop.until is not None and loop.until <= now for loop in self._loops)
            or not self._others_rest(
                self._asleep.keys() | {loop.thread for loop in self._loops if loop.until is not None}
            )
            # Last: a thread that rests now, or has ended, may just have set the event that a sleeper waits for.
            or any(sleeper.is_due(now) for sleeper in self._asleep.values())
        )


def real_time() -> float:
    """Real seconds on a scale of their own. Libraries that freeze ``time`` for a test leave this clock alone."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def aligned(now: float) -> float:
    """The first instant at or after ``now`` from which whole seconds, and halves and quarters, are counted exactly.

    An origin like 1023.123456789 rounds differently before and after 1024: an outage of ten seconds would be a little
    shorter on a machine that happened to start a quarter of an hour ago.
    """
    return math.ceil(now * 1024) / 1024


def pauses() -> Iterator[float]:
    """Real seconds to wait between two looks at whether everyone rests: short at first, then longer."""
    pause = 0.00005
    while True:
        yield pause
        pause = min(2 * pause, 0.002)
