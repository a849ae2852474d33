"""What can be wrong with a network: the toxics of `resilio.testing.chaos_proxy`.

A toxic is a frozen value; what it does to one direction of one connection is its *stage*. A stage is plain arithmetic:
it takes the pieces of data as they arrive, each with the time at which it is due, and returns pieces. It never waits,
so what it does can be reasoned about, and tested, without a socket.

The names and meanings are toxiproxy's where it has them; `Corrupt` is new.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from typing import TYPE_CHECKING, Literal, get_args

from resilio._core import durations
from resilio.testing.proxy_pieces import Deadline, Direction, Ending, Piece, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic(ABC):
    """What every toxic has.

    Args:
        direction: Which way it works: ``"upstream"``, ``"downstream"`` or ``"both"``.
        toxicity: The share of connections that it works on, from 0 to 1; the proxy's seed and the connection's number
            decide which ones.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    direction: Direction = "downstream"
    toxicity: float = 1.0

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            msg = f"direction must be 'upstream', 'downstream' or 'both', not {self.direction!r}"
            raise ValueError(msg)
        durations.number("toxicity", self.toxicity, at_least=0, at_most=1)
        self._check()

    @abstractmethod
    def _check(self) -> None:
        """Check the toxic's own arguments."""

    @abstractmethod
    def stage(self, seed: str) -> Stage:
        """Begin work on one direction of one connection, of which ``seed`` is the identity."""

    def _seconds(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, durations.seconds(name, getattr(self, name)))

    def __str__(self) -> str:
        said = []
        for field in sorted(fields(self), key=lambda each: each.name in {"direction", "toxicity"}):
            value = getattr(self, field.name)
            text = f"{value:g}" if isinstance(value, float) else repr(value)
            if field.default is MISSING:
                said.append(text)
            elif value != field.default:
                said.append(f"{field.name}={text}")
        return f"{type(self).__name__}({', '.join(said)})"


# -- when data comes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Latency(Toxic):
    """Everything arrives later. Each chunk waits from when it came, so the connection carries as much as before.

    Args:
        delay: Seconds.
        jitter: Seconds by which the delay varies, either way and evenly; order is kept, and no delay is below 0.
        buffer: Bytes that may be under way in one direction; past that the sender has to wait, as on a line whose
            bandwidth-delay product is full.
    """

    delay: durations.Duration
    _: KW_ONLY
    jitter: durations.Duration = 0.0
    buffer: int = 1 << 20

    def _check(self) -> None:
        self._seconds("delay", "jitter")
        durations.whole("buffer", self.buffer, at_least=1)

    def stage(self, seed: str) -> Stage:
        return _Late(self, seed)


class _Late(Stage):
    def __init__(self, toxic: Latency, seed: str) -> None:
        self.buffer = toxic.buffer
        self._delay = durations.seconds("delay", toxic.delay)
        self._jitter = durations.seconds("jitter", toxic.jitter)
        self._seed = seed
        self._offset = 0

    def feed(self, piece: Piece) -> Iterator[Piece]:
        delay = self._delay
        if self._jitter:
            # By the place in the stream: how TCP cuts what comes later does not change what is drawn here.
            dice = random.Random(f"{self._seed}/{self._offset}")  # noqa: S311 -- seeded on purpose
            delay = max(0.0, delay + dice.uniform(-self._jitter, self._jitter))
        self._offset += len(piece.data)
        yield piece._replace(due=piece.due + delay)


@dataclass(frozen=True, slots=True)
class Bandwidth(Toxic):
    """The line carries only so much.

    Args:
        rate: Bytes per second.
    """

    rate: float

    def _check(self) -> None:
        durations.number("rate", self.rate, above=0)

    def stage(self, seed: str) -> Stage:  # noqa: ARG002 -- nothing is drawn
        return _Narrow(self.rate)


class _Narrow(Stage):
    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._portion = max(1, int(rate / 20))  # what passes in a twentieth of a second
        self._free = -math.inf

    def feed(self, piece: Piece) -> Iterator[Piece]:
        if not piece.data:
            yield piece._replace(due=max(piece.due, self._free))
        for start in range(0, len(piece.data), self._portion):
            part = piece.data[start : start + self._portion]
            self._free = max(self._free, piece.due) + len(part) / self._rate
            yield piece._replace(data=part, due=self._free)


@dataclass(frozen=True, slots=True)
class Slicer(Toxic):
    """Data arrives in small slices, as a reader that counts on whole messages does not expect.

    Args:
        size: Bytes in a slice.
        variation: Bytes by which a slice may be larger or smaller, evenly; less than ``size``.
        delay: Seconds between two slices.
    """

    size: int
    _: KW_ONLY
    variation: int = 0
    delay: durations.Duration = 0.0

    def _check(self) -> None:
        durations.whole("size", self.size, at_least=1)
        durations.whole("variation", self.variation, at_least=0, at_most=self.size - 1)
        self._seconds("delay")

    def stage(self, seed: str) -> Stage:
        return _Sliced(self, random.Random(seed))  # noqa: S311 -- seeded on purpose


class _Sliced(Stage):
    def __init__(self, toxic: Slicer, dice: random.Random) -> None:
        self._smallest, self._largest = toxic.size - toxic.variation, toxic.size + toxic.variation
        self._delay = durations.seconds("delay", toxic.delay)
        self._dice = dice
        self._left = 0  # of the slice that the last chunk ended in: the cuts lie where they lie however data comes
        self._next = -math.inf

    def feed(self, piece: Piece) -> Iterator[Piece]:
        if not piece.data:
            yield piece._replace(due=max(piece.due, self._next))
        start = 0
        while start < len(piece.data):
            self._left = self._left or self._dice.randint(self._smallest, self._largest)
            part = piece.data[start : start + self._left]
            start += len(part)
            self._left -= len(part)
            due = max(piece.due, self._next)
            self._next = due + self._delay
            yield piece._replace(data=part, due=due)


@dataclass(frozen=True, slots=True)
class SlowClose(Toxic):
    """The end of the data arrives later than its last byte.

    Args:
        delay: Seconds.
    """

    delay: durations.Duration

    def _check(self) -> None:
        self._seconds("delay")

    def stage(self, seed: str) -> Stage:  # noqa: ARG002 -- nothing is drawn
        return _SlowToClose(durations.seconds("delay", self.delay))


class _SlowToClose(Stage):
    def __init__(self, delay: float) -> None:
        self._delay = delay

    def feed(self, piece: Piece) -> Iterator[Piece]:
        yield piece if piece.ending is None else piece._replace(due=piece.due + self._delay)


# -- whether data comes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlackHole(Toxic):
    """Nothing arrives any more: data is dropped until the toxic is removed (toxiproxy's ``timeout``).

    Args:
        timeout: Seconds after which the connection is closed; None: never.
    """

    timeout: durations.Duration | None = None

    def _check(self) -> None:
        if self.timeout is not None:
            self._seconds("timeout")

    def stage(self, seed: str) -> Stage:  # noqa: ARG002 -- nothing is drawn
        timeout = durations.optional(durations.seconds, "timeout", self.timeout)
        return _Swallowed(None if timeout is None else Deadline(timeout, Ending.CLOSE))


class _Swallowed(Stage):
    def __init__(self, deadline: Deadline | None) -> None:
        self.deadline = deadline
        self._ended: Piece | None = None

    def feed(self, piece: Piece) -> Iterator[Piece]:
        if piece.ending is not None:
            self._ended = piece
        yield from ()

    def leave(self, now: float) -> Iterator[Piece]:
        if self._ended is not None:  # otherwise the other side would never learn of it
            yield self._ended._replace(due=max(now, self._ended.due))


@dataclass(frozen=True, slots=True)
class ResetPeer(Toxic):
    """The connection breaks: both sides get a real RST, which reads as "connection reset by peer".

    Args:
        after: Seconds from when the toxic was added, or the connection made; until then data passes.
    """

    after: durations.Duration = 0.0

    def _check(self) -> None:
        self._seconds("after")

    def stage(self, seed: str) -> Stage:  # noqa: ARG002 -- nothing is drawn
        stage = Stage()
        stage.deadline = Deadline(durations.seconds("after", self.after), Ending.RESET)
        return stage


@dataclass(frozen=True, slots=True)
class LimitData(Toxic):
    """The connection ends after so many bytes, in the middle of whatever they are.

    Args:
        limit: Bytes that pass.
        then: ``"close"`` or ``"reset"``.
    """

    limit: int
    _: KW_ONLY
    then: Literal["close", "reset"] = "close"

    def _check(self) -> None:
        durations.whole("limit", self.limit, at_least=0)
        if self.then not in {"close", "reset"}:
            msg = f"then must be 'close' or 'reset', not {self.then!r}"
            raise ValueError(msg)

    def stage(self, seed: str) -> Stage:  # noqa: ARG002 -- nothing is drawn
        return _Limited(self)


class _Limited(Stage):
    def __init__(self, toxic: LimitData) -> None:
        self._left = toxic.limit
        self._last = Piece(b"", 0.0, Ending(toxic.then), str(toxic))
        self._over = False

    def feed(self, piece: Piece) -> Iterator[Piece]:
        if self._over:
            return
        part = piece.data[: self._left]
        self._left -= len(part)
        if part or piece.ending is not None:
            yield piece._replace(data=part)
        if piece.data and self._left == 0:
            self._over = True
            yield self._last._replace(due=piece.due)


# -- what data comes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corrupt(Toxic):
    """Some bytes arrive with one bit flipped.

    Args:
        rate: The share of bytes, above 0 and up to 1. Which ones depends on the seed and their place in the stream,
            not on how the stream was cut.
    """

    rate: float

    def _check(self) -> None:
        durations.number("rate", self.rate, above=0, at_most=1)

    def stage(self, seed: str) -> Stage:
        return _Corrupted(self.rate, random.Random(seed))  # noqa: S311 -- seeded on purpose


class _Corrupted(Stage):
    def __init__(self, rate: float, dice: random.Random) -> None:
        self._scale = None if rate == 1 else max(1 / math.log1p(-rate), -1e300)
        self._dice = dice
        self._skip = self._gap()

    def feed(self, piece: Piece) -> Iterator[Piece]:
        if self._skip >= len(piece.data):
            self._skip -= len(piece.data)
            yield piece
            return
        data = bytearray(piece.data)
        while self._skip < len(data):
            data[self._skip] ^= 1 << self._dice.randrange(8)
            self._skip += 1 + self._gap()
        self._skip -= len(data)
        yield piece._replace(data=bytes(data))

    def _gap(self) -> int:
        """How many bytes stay whole before the next flip: a geometric draw, so one draw a flip, not one a byte."""
        return 0 if self._scale is None else int(math.log1p(-self._dice.random()) * self._scale)
