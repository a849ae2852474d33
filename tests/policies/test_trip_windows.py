"""The windows of trip rules against the plainest model there is: a list of all calls."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio import CountWindow, TimeWindow
from resilio.policies.windows import SLOTS, Totals, WindowCount

slow = pytest.mark.slow("Hypothesis makes up a hundred histories")
calls = st.tuples(st.floats(0, 40, allow_nan=False), st.booleans(), st.booleans())


def totals_of(marks: list[tuple[bool, bool]]) -> Totals:
    """What a window over just these calls holds."""
    return Totals(len(marks), sum(failed for failed, _ in marks), sum(slow for _, slow in marks))


@slow
@given(st.integers(1, 20), st.lists(calls, max_size=100))
def test_a_count_window_holds_the_last_calls(size: int, history: list[tuple[float, bool, bool]]) -> None:
    """Exactly the last N, after every call."""
    count, marks = CountWindow(size).count(), list[tuple[bool, bool]]()
    for _, failed, slow in history:
        count.add(0.0, failed, slow)
        marks.append((failed, slow))
        assert count.totals(0.0) == totals_of(marks[-size:])
        assert (count.calls, count.failed, count.slow) == count.totals(0.0)


@slow
@given(st.floats(1, 100), st.lists(calls, max_size=100))
def test_a_time_window_holds_the_calls_of_the_last_seconds(
    seconds: float, history: list[tuple[float, bool, bool]]
) -> None:
    """No call is kept too long, and none leaves early by more than a 256th of the window."""
    count, ended = TimeWindow(seconds).count(), list[tuple[float, bool, bool]]()
    now = 1000.0
    for pause, failed, slow in history:
        now += pause
        count.add(now, failed, slow)
        ended.append((now, failed, slow))
        held = count.totals(now)
        most = totals_of([marks for at, *marks in ended if at > now - seconds])  # type: ignore[misc]
        least = totals_of([marks for at, *marks in ended if at > now - seconds + seconds / SLOTS])  # type: ignore[misc]
        assert all(low <= mine <= high for low, mine, high in zip(least, held, most, strict=True))


@slow
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.booleans()), max_size=100))
def test_a_time_window_is_exact_while_calls_are_spread_out(history: list[tuple[int, bool, bool]]) -> None:
    """With calls further apart than a 256th of the window, to the call."""
    count, ended = TimeWindow(100).count(), list[tuple[int, bool, bool]]()
    now = 0
    for pause, failed, slow in history:
        now += pause
        count.add(now, failed, slow)
        ended.append((now, failed, slow))
        assert count.totals(now) == totals_of([(failed, slow) for at, failed, slow in ended if at > now - 100])


@slow
@given(st.lists(calls, max_size=50), st.floats(0, 200, allow_nan=False))
def test_windows_expire_when_they_are_read(history: list[tuple[float, bool, bool]], later: float) -> None:
    """Reading later gives what writing later would have left."""
    count = TimeWindow(60).count()
    now = 0.0
    for pause, failed, slow in history:
        now += pause
        count.add(now, failed, slow)
    held = count.totals(now + later)
    if later >= 60:
        assert held == (0, 0, 0)
    count.add(now + later, True)
    assert count.totals(now + later) == (held.calls + 1, held.failed + 1, held.slow)


@slow
@given(st.lists(calls, max_size=50))
def test_a_cleared_window_is_empty(history: list[tuple[float, bool, bool]]) -> None:
    """And goes on as a new one does."""
    for window in (CountWindow(7), TimeWindow(60)):
        count, fresh = window.count(), window.count()
        for pause, failed, slow in history:
            count.add(pause, failed, slow)
        count.clear()
        assert count.totals(100.0) == (0, 0, 0)
        for number in range(10):
            for each in (count, fresh):
                each.add(100.0 + number, number % 2 == 0, number % 3 == 0)
        assert count.totals(110.0) == fresh.totals(110.0)


def test_a_time_that_goes_back_a_little_loses_nothing() -> None:
    """Threads read the clock before they take the lock: the order may be off by a moment."""
    count = TimeWindow(60).count()
    for now in (100.0, 99.9, 100.1, 99.8):
        count.add(now, True)
    assert count.totals(100.1) == (4, 4, 0)
    assert count.totals(170.0) == (0, 0, 0)


def size_of(count: WindowCount) -> int:
    """Bytes of all that a window's count holds."""
    slots = getattr(count, "_slots", None)
    if slots is None:
        return sys.getsizeof(count._ring)  # type: ignore[attr-defined]
    return sys.getsizeof(slots) + sum(map(sys.getsizeof, slots))


@pytest.mark.parametrize("window", [CountWindow(500), TimeWindow(60)], ids=repr)
def test_a_window_does_not_grow_with_its_calls(window: CountWindow | TimeWindow) -> None:
    """Twenty thousand calls in it take no more room than two thousand."""
    few, many = window.count(), window.count()
    for number in range(2_000):
        few.add(number * 0.03, number % 2 == 0)
    for number in range(20_000):
        many.add(number * 0.003, number % 2 == 0)
    assert size_of(many) <= size_of(few) * 1.1
