"""When a fault strikes: the schedules of `resilio.testing.faults`.

A rule's schedules stand in a row, and each one counts only the calls that the one before it let through::

    faults.on(fetch).after(3).first(2).raises(ConnectionError)       # calls 4 and 5
    faults.on(fetch).between(10, 40).every(2).raises(ConnectionError)  # every second call of those thirty seconds

A schedule is a frozen value that decides and nothing else; the counting is done by the rule that holds it.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from resilio._core import durations
from resilio._core.colour import Colour, colour_of, name_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

PASS = "."  # noqa: S105 -- a letter of the pattern, no password
_TOKEN = re.compile(r"([A-Za-z.])(\d*)")
_LONGEST_PATTERN = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A call as a schedule sees it.

    Attributes:
        number: Its number among the calls that reached the schedule, from 1.
        elapsed: Seconds since the injector's time zero.
        dice: This call's own randomness, for this rule alone.
        answers: What each ``while_`` function said for this call.
    """

    number: int
    elapsed: float
    dice: random.Random
    answers: Mapping[While, bool]


class Schedule(ABC):
    """Tells which of the calls that reach it go on to the rule's action."""

    __slots__ = ()

    @abstractmethod
    def admits(self, call: Sight) -> bool:
        """Tell whether ``call`` goes on."""


@dataclass(frozen=True, slots=True)
class Nth(Schedule):
    """The calls with these numbers, counted from 1."""

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.numbers:
            msg = "nth() needs at least one call number, such as nth(2, 5)"
            raise ValueError(msg)
        for each in self.numbers:
            durations.whole("nth", each, at_least=1)

    def admits(self, call: Sight) -> bool:
        return call.number in self.numbers

    def __str__(self) -> str:
        return f"nth({', '.join(map(str, self.numbers))})"


@dataclass(frozen=True, slots=True)
class First(Schedule):
    """The first so many calls."""

    count: int

    def __post_init__(self) -> None:
        durations.whole("first", self.count, at_least=1)

    def admits(self, call: Sight) -> bool:
        return call.number <= self.count

    def __str__(self) -> str:
        return f"first({self.count})"


@dataclass(frozen=True, slots=True)
class Every(Schedule):
    """Every n-th call: ``every(3)`` is the calls 3, 6, 9 and so on."""

    step: int

    def __post_init__(self) -> None:
        durations.whole("every", self.step, at_least=1)

    def admits(self, call: Sight) -> bool:
        return call.number % self.step == 0

    def __str__(self) -> str:
        return f"every({self.step})"


@dataclass(frozen=True, slots=True)
class After(Schedule):
    """All calls but the first so many."""

    count: int

    def __post_init__(self) -> None:
        durations.whole("after", self.count, at_least=0)

    def admits(self, call: Sight) -> bool:
        return call.number > self.count

    def __str__(self) -> str:
        return f"after({self.count})"


@dataclass(frozen=True, slots=True)
class Rate(Schedule):
    """Each call with this probability, decided by the call's own dice."""

    probability: float

    def __post_init__(self) -> None:
        durations.number("rate", self.probability, at_least=0, at_most=1)

    def admits(self, call: Sight) -> bool:
        return call.dice.random() < self.probability

    def __str__(self) -> str:
        return f"rate({self.probability:g})"


@dataclass(frozen=True, slots=True)
class Between(Schedule):
    """The calls that start in this span of time, in seconds since time zero; the end is not part of it."""

    start: float
    end: float

    @classmethod
    def checked(cls, start: durations.Duration, end: durations.Duration) -> Between:
        """Build it from what a user wrote; ``end`` may be infinite.

        Raises:
            ValueError: The span is empty, or not made of durations.
        """
        begin = durations.seconds("start", start)
        finish = durations.seconds("end", end, finite=False)
        if finish <= begin:
            msg = f"between({begin:g}, {finish:g}) holds no moment: the end must be later than the start"
            raise ValueError(msg)
        return cls(begin, finish)

    def admits(self, call: Sight) -> bool:
        return self.start <= call.elapsed < self.end

    def __str__(self) -> str:
        return f"between({self.start:g}, {self.end:g})"


@dataclass(frozen=True, slots=True, eq=False)
class While(Schedule):
    """The calls for which a function says so. It is asked once for every call of the target, outside every lock."""

    condition: Callable[[], bool]

    def __post_init__(self) -> None:
        if colour_of(self.condition) is not Colour.PLAIN:
            msg = f"while_() asks a plain function, not the {colour_of(self.condition).value} {name_of(self.condition)}"
            raise TypeError(msg)

    def ask(self) -> bool:
        """What the function says now."""
        return bool(self.condition())

    def admits(self, call: Sight) -> bool:
        return call.answers[self]

    def __str__(self) -> str:
        return f"while_({name_of(self.condition)})"


# -- schedules that also say which action ------------------------------------------------------------------------------


class Chooser(ABC):
    """Ends a rule's row of schedules and names the letter of the action for each call; `PASS` for none."""

    __slots__ = ()

    @property
    @abstractmethod
    def letters(self) -> frozenset[str]:
        """The letters that it may answer, without `PASS`."""

    @abstractmethod
    def choose(self, call: Sight) -> str:
        """The letter for ``call``."""


@dataclass(frozen=True, slots=True)
class Pattern(Chooser):
    """One letter a call, as in ``"FF.S3.2H"``; past its end all calls pass, unless it starts over."""

    text: str
    cycle: bool
    steps: str

    @classmethod
    def parsed(cls, text: str, *, cycle: bool) -> Pattern:
        """Read a pattern: a letter or ``.`` for each call, a number after it repeats it, spaces mean nothing.

        Raises:
            ValueError: It is empty, or has something else in it; the message shows where.
        """
        steps: list[str] = []
        rest = text.replace(" ", "")
        where, length = 0, 0
        while where < len(rest):
            token = _TOKEN.match(rest, where)
            if token is None or (token[2] and int(token[2]) == 0):
                msg = (
                    f"pattern {text!r}: {rest[where:]!r} is no step; "
                    "write a letter or '.' for each call, and a number from 1 after it to repeat it, as in 'F3.S'"
                )
                raise ValueError(msg)
            count = int(token[2] or 1)
            length += count
            if length > _LONGEST_PATTERN:
                msg = f"pattern {text!r} is longer than {_LONGEST_PATTERN} calls; use after() and first() for that"
                raise ValueError(msg)
            steps.append(token[1] * count)
            where = token.end()
        if not steps:
            msg = "pattern must name at least one call, as in 'FF.S', not be empty"
            raise ValueError(msg)
        return cls(text, cycle, "".join(steps))

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(self.steps) - {PASS}

    def choose(self, call: Sight) -> str:
        index = (call.number - 1) % len(self.steps) if self.cycle else call.number - 1
        return self.steps[index] if index < len(self.steps) else PASS

    def __str__(self) -> str:
        return f"pattern({self.text!r}{', cycle=True' if self.cycle else ''})"


@dataclass(frozen=True, slots=True)
class Weights(Chooser):
    """One letter a call, drawn with these weights by the call's own dice."""

    weights: tuple[tuple[str, float], ...]
    bounds: tuple[float, ...] = field(repr=False)

    @classmethod
    def checked(cls, weights: Mapping[str, float]) -> Weights:
        """Build it from what a user wrote.

        Raises:
            ValueError: A key is no letter, a weight is negative, or there is nothing to choose from.
        """
        for letter, weight in weights.items():
            check_letters([letter], "weights")
            durations.number(f"weights[{letter!r}]", weight, at_least=0)
        total = math.fsum(weights.values())
        if total <= 0:
            msg = f"weights must have at least one weight above 0, as in {{'F': 1, '.': 9}}, not {dict(weights)!r}"
            raise ValueError(msg)
        chosen = {letter: weight for letter, weight in weights.items() if weight > 0}
        return cls(tuple(chosen.items()), tuple(accumulate(chosen.values())))

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(letter for letter, _ in self.weights) - {PASS}

    def choose(self, call: Sight) -> str:
        drawn = call.dice.random() * self.bounds[-1]
        return self.weights[bisect_right(self.bounds, drawn, hi=len(self.bounds) - 1)][0]

    def __str__(self) -> str:
        return f"weights({dict(self.weights)!r})"


def check_letters(letters: Iterable[str], name: str) -> None:
    """Raise for what cannot be a step of a pattern.

    Raises:
        ValueError: One of ``letters`` is neither one ASCII letter nor ``.``.
    """
    for each in letters:
        if not isinstance(each, str) or _TOKEN.fullmatch(each) is None:
            msg = f"{name} takes single letters and '.', not {each!r}"
            raise ValueError(msg)
