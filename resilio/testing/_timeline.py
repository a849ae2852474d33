"""The line of time that loops and threads share under a virtual clock, and the rule by which it moves.

Time stands still while anybody has something to do. When nobody has, it moves in one jump to the earliest instant that
somebody waits for. "Nobody" is hard to see from outside: a loop may have bytes on the way to it, sent by a thread that
has fallen asleep since. So the rule is *look, poll, look again*: a loop asks whether all others rest (`Timeline.calm`),
polls its sockets, and only then asks for the jump (`Timeline.jump`), which is refused if anything stirred in between.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Set


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
        """Make the loop look at the time again, if it blocks on its sockets. Called from any thread."""


class Sleeper(Protocol):
    """A thread asleep on the line."""

    until: float

    def is_due(self, now: float) -> bool:
        """Tell whether it is about to wake: its time has come, or what it waits for has happened."""


class Timeline:
    """Virtual seconds since the clock came into force. Safe from any thread.

    Args:
        others_rest: Tells whether no thread has anything to do; those given (asleep, or running an idle loop) are left
            out of the question.
    """

    def __init__(self, others_rest: Callable[[Set[int]], bool]) -> None:
        self.elapsed = 0.0
        self.jumps: list[float] = []
        self.moved = threading.Condition(threading.RLock())
        self._others_rest = others_rest
        self._holds = 0
        self._round = 0
        self._loops: list[Loop] = []
        self._asleep: dict[int, Sleeper] = {}

    # -- who takes part ------------------------------------------------------------------------------------------------

    def join(self, loop: Loop) -> None:
        """Take ``loop`` in."""
        with self.moved:
            self._loops.append(loop)
            self.stir()

    def part(self, loop: Loop) -> None:
        """Let ``loop`` go."""
        with self.moved:
            self._loops.remove(loop)
            self.stir()

    def lie_down(self, thread: int, sleeper: Sleeper) -> None:
        """Count ``thread`` as asleep."""
        with self.moved:
            self._asleep[thread] = sleeper
            self.stir()

    def get_up(self, thread: int) -> None:
        """Count ``thread`` as awake again."""
        with self.moved:
            del self._asleep[thread]
            self.stir()

    def hold(self, change: int) -> None:
        """Take (+1) or give back (-1) one hold; no jump happens while one is out."""
        with self.moved:
            self._holds += change
            self.stir()

    @property
    def has_loops(self) -> bool:
        """Whether an event loop lives on the line; then loops alone move it, as they see sockets too."""
        return bool(self._loops)

    def nobody_else(self, loop: Loop) -> bool:
        """Tell whether nobody but ``loop`` waits for time to pass."""
        with self.moved:
            return not self._asleep and self._loops == [loop]

    # -- moving --------------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Say that something happened: what was seen so far no longer proves that everyone rests."""
        with self.moved:
            self._round += 1
            self.moved.notify_all()
            for loop in self._loops:
                loop.nudge()

    def calm(self) -> int | None:
        """The present round if everyone rests as far as one can see, else None."""
        with self.moved:
            if self._anyone_busy():
                self._round += 1
                return None
            return self._round

    def jump(self, seen: int) -> bool:
        """Move to the earliest awaited instant, if nothing stirred since round ``seen``; tell whether time moved."""
        with self.moved:
            idle = [loop for loop in self._loops if loop.until is not None]
            if self._round != seen or any(loop.polled != seen for loop in idle) or self._anyone_busy():
                return False
            waiting = [loop.until for loop in idle if loop.until is not None]
            target = min([*waiting, *(sleeper.until for sleeper in self._asleep.values())], default=math.inf)
            if target == math.inf:
                return False
            self._move(target)
            return True

    def advance(self, seconds: float) -> None:
        """Move by ``seconds`` here and now, whoever works."""
        with self.moved:
            self._move(self.elapsed + seconds)

    def _move(self, target: float) -> None:
        if target > self.elapsed:
            self.jumps.append(round(target - self.elapsed, 9))
            self.elapsed = target
        self.stir()

    def _anyone_busy(self) -> bool:
        now = self.elapsed
        return (
            self._holds > 0
            or any(sleeper.is_due(now) for sleeper in self._asleep.values())
            or any(loop.until is not None and loop.until <= now for loop in self._loops)
            or not self._others_rest(
                self._asleep.keys() | {loop.thread for loop in self._loops if loop.until is not None}
            )
        )
