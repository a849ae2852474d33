"""The windows of trip rules against the plainest model there is: a list of all calls."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilio import CountWindow, TimeWindow
from resilio.policies.windows import SLOTS, Totals, WindowCount

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

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
    if now + later - 60 >= now:  # and not later >= 60: a sum of floats is rounded
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


# -- edges -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expiry", ["when read", "when written"])
@pytest.mark.parametrize(("later", "held"), [(0.0, 3), (59.75, 3), (60.0, 1), (60.25, 1), (64.0, 0), (3600.0, 0)])
def test_a_time_window_ends_to_the_instant(expiry: str, later: float, held: int) -> None:
    """A call is in it for less than its length: exactly that long ago is outside, however one comes to look."""
    count = TimeWindow(60).count()
    count.add(1000.0, True)
    count.add(1000.0, True)
    count.add(1004.0, False)
    now = 1000.0 + later
    if expiry == "when written":
        count.add(now, False, True)
        assert (count.calls - 1, count.slow) == (held, 1)
        return
    assert count.totals(now).calls == held


@pytest.mark.parametrize(("age", "held"), [(59.75, 2), (60.0, 0)])
def test_a_saved_call_is_as_old_as_it_is(age: float, held: int) -> None:
    """The edge is the same for a window that another process filled."""
    count = TimeWindow(60).count()
    count.load([[age, 2, 1, 0]], 5.0)
    assert count.totals(5.0).calls == held


@pytest.mark.parametrize("window", [CountWindow(3), TimeWindow(60)], ids=repr)
def test_failed_and_slow_are_forgotten_apart(window: CountWindow | TimeWindow) -> None:
    """A call that is both leaves both counts, one that is neither leaves none."""
    count = window.count()
    for number, (failed, slow) in enumerate([(True, True), (True, False), (False, True)]):
        count.add(1000.0 + 20 * number, failed, slow)
    assert count.totals(1040.0) == (3, 2, 2)
    count.add(1060.0, False)
    assert count.totals(1060.0) == (3, 1, 1)
    count.add(1080.0, False)
    assert count.totals(1080.0) == (3, 0, 1)
    count.add(1100.0, False)
    assert count.totals(1100.0) == (3, 0, 0)


# -- cost --------------------------------------------------------------------------------------------------------------


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python ``work`` runs: a measure that no other program on the machine can disturb."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def full(window: CountWindow | TimeWindow, calls: int, rate: float) -> WindowCount:
    """A count that has seen so many calls, a third of them bad, ``rate`` of them a second."""
    count = window.count()
    for number in range(calls):
        count.add(number / rate, number % 3 == 0, number % 3 == 1)
    return count


def test_a_call_costs_the_same_in_a_count_window_of_any_length() -> None:
    """Writing to and reading from a window of 100 000 runs as many lines as one of 10."""
    costs = set()
    for length in (10, 1000, 100_000):
        count = full(CountWindow(length), length, 1.0)
        costs.add(
            (
                max(lines_run(lambda: count.add(0.0, True)) for _ in range(10)),  # noqa: B023 -- it runs at once
                lines_run(lambda: count.totals(0.0)),  # noqa: B023 -- see above
            )
        )
    assert len(costs) == 1


@pytest.mark.parametrize("rate", [0.5, 10, 1000])
def test_a_call_costs_the_same_in_a_time_window_of_any_length(rate: float) -> None:
    """However long it is and however many calls are in it: a call pays for one that expires, and reading likewise."""
    for seconds in (10, 1000, 100_000):
        count = full(TimeWindow(seconds), min(int(seconds * rate * 2), 3000), rate)
        now = 3000 / rate
        total = 0
        for _ in range(1000):
            now += 1 / rate
            total += lines_run(lambda: count.add(now, True))  # noqa: B023 -- it runs at once
            total += lines_run(lambda: count.totals(now))  # noqa: B023 -- see above
        assert total < 40 * 1000


def test_an_hour_of_silence_costs_no_more_than_the_window_can_hold() -> None:
    """The first call after it finds everything too old, and does not look at each."""
    count = full(TimeWindow(60), 20_000, 400)
    assert lines_run(lambda: count.add(3600.0, True)) < 40


@pytest.mark.parametrize("rate", [0.1, 4.3, 1e6])
def test_a_time_window_has_as_many_sums_as_it_has_slots(rate: float) -> None:
    """And one more at most, for the slot that is about to leave."""
    count = full(TimeWindow(60), 5000, rate)
    assert len(count._slots) <= SLOTS + 1  # type: ignore[attr-defined]


def test_a_count_window_takes_a_byte_a_call() -> None:
    """As its documentation says."""
    assert size_of(full(CountWindow(100_000), 300_000, 1.0)) < 100_100
