"""The arithmetic of the toxics, without a socket."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio.testing.proxy_pieces import Ending, Piece
from resilio.testing.toxics import (
    Bandwidth,
    BlackHole,
    Corrupt,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Toxic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HARMLESS = st.one_of(
    st.builds(Latency, st.floats(0, 9), jitter=st.floats(0, 9)),
    st.builds(Bandwidth, st.floats(0.5, 1e6)),
    st.integers(1, 50).flatmap(
        lambda size: st.builds(Slicer, st.just(size), variation=st.integers(0, size - 1), delay=st.floats(0, 2))
    ),
    st.builds(SlowClose, st.floats(0, 9)),
    st.just(ResetPeer(1.0)),
    st.just(LimitData(10_000_000)),
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Piece]:
    """A stream as it arrives: chunks at times that never go back, and its end."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=200), max_size=8))
    pauses = draw(st.lists(st.floats(0, 5), min_size=len(chunks) + 1, max_size=len(chunks) + 1))
    now, pieces = 100.0, []
    for chunk, pause in zip([*chunks, b""], pauses, strict=True):
        now += pause
        pieces.append(Piece(chunk, now, None if chunk else Ending.EOF))
    return pieces


def through(toxics: Iterable[Toxic], pieces: Iterable[Piece], seed: str = "7/1/1") -> list[Piece]:
    """What comes out of the toxics, one after another."""
    for toxic in toxics:
        stage = toxic.stage(seed)
        pieces = [out for piece in pieces for out in stage.feed(piece)]
    return list(pieces)


def content(pieces: Iterable[Piece]) -> bytes:
    """All the bytes of the pieces."""
    return b"".join(piece.data for piece in pieces)


@given(arrivals(), st.lists(HARMLESS, max_size=4))
def test_what_harms_no_data_keeps_every_byte(pieces: list[Piece], toxics: list[Toxic]) -> None:
    """However toxics are combined: the same bytes, one end and that at the end, and nothing before it arrived."""
    out = through(toxics, pieces)
    assert content(out) == content(pieces)
    assert [piece.ending for piece in out] == [None] * (len(out) - 1) + [Ending.EOF]
    arrived = [piece.due for piece in pieces for _ in piece.data]
    for piece in out[:-1]:
        assert piece.due >= arrived[0]
        del arrived[: len(piece.data)]


@given(arrivals(), st.floats(0, 9))
def test_latency_counts_from_arrival(pieces: list[Piece], delay: float) -> None:
    """Each chunk is late by the delay, and none waits for the one before it."""
    assert [piece.due for piece in through([Latency(delay)], pieces)] == [piece.due + delay for piece in pieces]


@given(arrivals(), st.floats(0, 2), st.floats(0, 5))
def test_jitter_stays_within_its_bounds(pieces: list[Piece], delay: float, jitter: float) -> None:
    """Either way by at most the jitter, and never back in time."""
    for before, after in zip(pieces, through([Latency(delay, jitter=jitter)], pieces), strict=True):
        assert max(0.0, delay - jitter) - 1e-9 <= after.due - before.due <= delay + jitter + 1e-9


def test_jitter_is_drawn_by_the_place_in_the_stream() -> None:
    """A chunk that comes in two parts does not change the delays of those after it."""
    toxic = Latency(1.0, jitter=0.5)
    whole = through([toxic], [Piece(b"ab", 0.0), Piece(b"cd", 0.0)])
    parts = through([toxic], [Piece(b"a", 0.0), Piece(b"b", 0.0), Piece(b"cd", 0.0)])
    assert whole[-1] == parts[-1]
    assert whole[0].due != whole[1].due


@given(arrivals(), st.floats(0.5, 1e4))
def test_bandwidth_is_never_exceeded(pieces: list[Piece], rate: float) -> None:
    """Between any two moments no more bytes are due than the rate allows, and the line is never idle for nothing."""
    out = [piece for piece in through([Bandwidth(rate)], pieces) if piece.data]
    for start in range(len(out)):
        carried = 0
        for piece in out[start:]:
            carried += len(piece.data)
            span = piece.due - (out[start].due - len(out[start].data) / rate)
            assert carried <= rate * span + 1e-6 * carried + 1e-6
    if out:
        free, needed = pieces[0].due, 0.0
        for piece in pieces:
            free = max(free, piece.due) + len(piece.data) / rate
            needed = free if piece.data else needed
        assert out[-1].due == pytest.approx(needed)


def cuts(pieces: Iterable[Piece]) -> set[int]:
    """The places in the stream at which a new piece begins."""
    found, offset = set(), 0
    for piece in pieces:
        found.add(offset)
        offset += len(piece.data)
    return found


@given(arrivals(), st.integers(1, 30), st.data())
def test_a_slicer_cuts_where_it_cuts(pieces: list[Piece], size: int, data: st.DataObject) -> None:
    """The cuts lie at the same places however the stream arrives, besides those that it arrived with."""
    toxic = Slicer(size, variation=data.draw(st.integers(0, size - 1)))
    whole = [Piece(content(pieces), 0.0)]
    out = through([toxic], pieces[:-1])
    assert cuts(out) == cuts(pieces[:-1]) | (cuts(through([toxic], whole)) if content(pieces) else set())
    assert all(0 < len(piece.data) <= size + toxic.variation for piece in out)


def test_slices_are_apart_by_the_delay() -> None:
    """The first goes at once, each later one after the delay, also across chunks."""
    out = through([Slicer(2, delay=0.5)], [Piece(b"abcde", 10.0), Piece(b"fg", 10.1), Piece(b"", 10.1, Ending.EOF)])
    assert [(piece.data, round(piece.due, 9)) for piece in out] == [
        (b"ab", 10.0),
        (b"cd", 10.5),
        (b"e", 11.0),
        (b"f", 11.5),
        (b"g", 12.0),
        (b"", 12.5),
    ]


@given(arrivals(), st.floats(0.01, 1))
def test_corruption_flips_single_bits_at_places_of_the_stream(pieces: list[Piece], rate: float) -> None:
    """At most one bit a byte, the length stays, and how the stream was cut does not matter."""
    toxic = Corrupt(rate)
    out = content(through([toxic], pieces))
    before = content(pieces)
    assert len(out) == len(before)
    assert all((was ^ now).bit_count() <= 1 for was, now in zip(before, out, strict=True))
    assert out == content(through([toxic], [Piece(before, 0.0)]))
    if rate == 1:
        assert all((was ^ now).bit_count() == 1 for was, now in zip(before, out, strict=True))


@pytest.mark.parametrize("rate", [1e-300, 0.001, 0.2, 1.0])
def test_corruption_strikes_that_share_of_the_bytes(rate: float) -> None:
    """Over a hundred thousand bytes the share is what was asked for."""
    flipped = sum(map(bool, content(through([Corrupt(rate)], [Piece(bytes(100_000), 0.0)]))))
    assert abs(flipped - 100_000 * rate) <= 5 * math.sqrt(100_000 * rate * (1 - rate))


@given(arrivals(), st.integers(0, 300), st.sampled_from(["close", "reset"]))
def test_limit_passes_that_many_bytes_and_ends(pieces: list[Piece], limit: int, then: Any) -> None:
    """Not a byte more, and the ending says who did it; a shorter stream passes whole."""
    out = through([LimitData(limit, then=then)], pieces)
    before = content(pieces)
    assert content(out) == before[:limit]
    if before and len(before) >= limit:
        assert out[-1].ending is Ending(then)
        assert out[-1].reason.startswith(f"LimitData({limit}")
    else:
        assert out[-1].ending is Ending.EOF


def test_slow_close_delays_the_end_alone() -> None:
    """Data is not touched."""
    out = through([SlowClose(3)], [Piece(b"a", 1.0), Piece(b"", 2.0, Ending.EOF)])
    assert [piece.due for piece in out] == [1.0, 5.0]


def test_a_black_hole_keeps_the_end_for_later() -> None:
    """Data is lost; the end of the data comes when the toxic leaves."""
    stage = BlackHole().stage("seed")
    assert not [*stage.feed(Piece(b"a", 1.0)), *stage.feed(Piece(b"", 2.0, Ending.EOF))]
    assert list(stage.leave(9.0)) == [Piece(b"", 9.0, Ending.EOF)]
    assert not list(BlackHole().stage("seed").leave(9.0))


BAD: list[tuple[Callable[[], Toxic], str]] = [
    (lambda: Latency(-1), "delay must be seconds or a timedelta, at least 0, not -1"),
    (lambda: Latency(1, jitter=math.nan), "jitter must be seconds"),
    (lambda: Latency(1, buffer=0), "buffer must be a whole number, at least 1"),
    (lambda: Bandwidth(0), "rate must be a number, above 0, not 0"),
    (lambda: Slicer(0), "size must be a whole number, at least 1"),
    (lambda: Slicer(4, variation=4), "variation must be a whole number, at least 0 and at most 3, not 4"),
    (lambda: Slicer(4, delay=-1), "delay must be seconds"),
    (lambda: SlowClose(-1), "delay must be seconds"),
    (lambda: BlackHole(-1), "timeout must be seconds"),
    (lambda: ResetPeer(-1), "after must be seconds"),
    (lambda: LimitData(-1), "limit must be a whole number, at least 0"),
    (lambda: LimitData(1, then="explode"), "then must be 'close' or 'reset', not 'explode'"),  # type: ignore[arg-type]
    (lambda: Corrupt(0), "rate must be a number, above 0 and at most 1"),
    (lambda: Corrupt(2), "rate must be a number, above 0 and at most 1"),
    (lambda: ResetPeer(direction="sideways"), "direction must be 'upstream', 'downstream' or 'both', not 'sideways'"),  # type: ignore[arg-type]
    (lambda: ResetPeer(toxicity=1.1), "toxicity must be a number, at least 0 and at most 1"),
]


@pytest.mark.parametrize(("build", "complaint"), BAD)
def test_a_toxic_that_cannot_be_is_refused_by_name(build: Callable[[], Toxic], complaint: str) -> None:
    """Every argument is checked when the toxic is made."""
    with pytest.raises(ValueError, match=complaint):
        build()


def test_toxics_are_values() -> None:
    """They compare by what they say, take a ``timedelta``, and read as they are written."""
    assert Latency(timedelta(seconds=2)) == Latency(2.0)
    assert str(Latency(2, jitter=0.5)) == "Latency(2, jitter=0.5)"
    assert str(BlackHole(timeout=5, direction="both", toxicity=0.5)) == (
        "BlackHole(timeout=5, direction='both', toxicity=0.5)"
    )
    assert str(LimitData(10, then="reset")) == "LimitData(10, then='reset')"
    assert str(Corrupt(0.25)) == "Corrupt(0.25)"
    with pytest.raises(AttributeError):
        Latency(1).delay = 2  # type: ignore[misc]
