"""A delay learnt from what calls usually take."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from crowds import in_threads
from hypothesis import given
from hypothesis import strategies as st

from resilio import Hedge, Hedged, LatencyQuantile, subscribe
from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

durations = st.floats(0, 100) | st.sampled_from([0.0, 1.0, 2.0])


@given(st.lists(durations, max_size=80), st.floats(0.01, 0.9999), st.integers(2, 20), st.data())
def test_it_is_the_quantile_of_the_last_successes(
    learnt: list[float], quantile: float, calls: int, data: st.DataObject
) -> None:
    """As sorting the last so many says, at every step; nothing before the warm-up is over."""
    warm_up = data.draw(st.integers(1, calls))
    delay = LatencyQuantile(quantile, calls=calls, warm_up=warm_up)
    for count in range(len(learnt) + 1):
        if count:
            delay.learn(learnt[count - 1])
        window = sorted(learnt[max(count - calls, 0) : count])
        assert delay() == (window[int(quantile * len(window))] if len(window) >= warm_up else None)


@given(st.lists(durations, min_size=20, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
@pytest.mark.slow("Hypothesis with hundreds of latencies each")
def test_at_most_the_share_beyond_the_quantile_takes_longer(learnt: list[float], quantile: float) -> None:
    """One minus the quantile is the extra load."""
    delay = LatencyQuantile(quantile, calls=1000, warm_up=1)
    for duration in learnt:
        delay.learn(duration)
    late = sum(duration > (delay() or 0.0) for duration in learnt)
    assert late <= (1 - quantile) * len(learnt) + 1e-9


def test_memory_is_bounded() -> None:
    """Of a hundred thousand calls it keeps the last thousand."""
    delay = LatencyQuantile(0.95)
    for count in range(100_000):
        delay.learn(count % 1013)
    assert len(delay._sorted) == len(delay._latest) == 1000


def test_threads_teach_it_together() -> None:
    """Neither of its two lists loses a call."""
    delay = LatencyQuantile(0.5, calls=500, warm_up=1)

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(500):
            delay.learn(dice.random())
            assert delay() is not None

    in_threads(work)
    assert sorted(delay._latest) == delay._sorted
    assert len(delay._sorted) == 500


@pytest.mark.anyio
@pytest.mark.slow("1 500 calls on a virtual clock")
async def test_no_more_is_hedged_than_was_allowed(virtual_clock: VirtualClock) -> None:
    """A tenth of the calls is slow and a tenth may be hedged: it stays at that, although hedges hide the slow ones."""
    dice = random.Random(7)
    hedge = Hedge(LatencyQuantile(0.9, calls=300, warm_up=100))
    hedged: list[Hedged] = []

    async def ask() -> None:
        await clock.sleep(dice.uniform(50, 100) if dice.random() < 0.1 else dice.uniform(1, 2))

    with subscribe(hedged.append, Hedged):
        for _ in range(1500):
            await hedge.execute(ask)
    assert 0.05 < len(hedged) / 1400 < 0.15


def test_a_quantile_shows_itself() -> None:
    """To people."""
    assert repr(LatencyQuantile(0.95)) == "LatencyQuantile(0.95)"


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"quantile": 0}, ValueError, "quantile must be a number, above 0 and at most 0.9999, not 0"),
        ({"quantile": 1}, ValueError, "quantile must be a number, above 0 and at most 0.9999, not 1"),
        ({"quantile": 0.5, "calls": 1}, ValueError, "calls must be a whole number, at least 2, not 1"),
        ({"quantile": 0.5, "calls": 10, "warm_up": 11}, ValueError, "warm_up must be a whole number, at least 1 and"),
        ({"quantile": 0.5, "warm_up": 0}, ValueError, "warm_up must be a whole number, at least 1 and at most 1000"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, float], kind: type[Exception], said: str) -> None:
    """By the parameter's name, with the value and what is allowed."""
    with pytest.raises(kind) as caught:
        LatencyQuantile(**arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(said)
