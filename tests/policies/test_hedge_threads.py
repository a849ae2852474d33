"""A hedge around blocking calls: each in a thread, and nobody waits for the slower ones."""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from resilio import Hedged, LatencyQuantile, RetryBudget, subscribe
from resilio._core import clock
from resilio.sync import Hedge

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock


class Asked:
    """A function whose calls each take so many seconds and end in their own way; see `started` and `ended`.

    Args:
        answers: Seconds, and what is then returned, or raised if it is an error; one pair for each call.

    Attributes:
        started: When each call began, in seconds from the first one.
        ended: The numbers of the calls that have ended, in that order.
        decided: When the race was decided, in seconds from its start.
    """

    def __init__(self, *answers: tuple[float, object]) -> None:
        self._answers = answers
        self._instants: list[float] = []
        self.ended: list[int] = []
        self.decided = 0.0

    @property
    def started(self) -> list[float]:
        return [round(instant - self._instants[0], 6) for instant in self._instants]

    def __call__(self) -> Any:
        number = len(self._instants)
        self._instants.append(clock.monotonic())
        seconds, answer = self._answers[number]
        clock.sleep_blocking(seconds)
        self.ended.append(number)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def race(hedge: Hedge, ask: Asked) -> Any:
    """What the hedge comes to, and in ``ask.decided`` when. All calls have ended by then: no thread is left."""
    began = clock.monotonic()
    try:
        return hedge.execute(ask)
    finally:
        ask.decided = round(clock.monotonic() - began, 6)
        clock.sleep_blocking(200)


class Response:
    """A result that holds something until it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        """Let go."""
        self.closed += 1


def test_a_late_answer_is_asked_for_again(virtual_clock: VirtualClock) -> None:
    """After the delay; the first answer counts, and nobody waits for the other call."""
    ask = Asked((10, "late"), (1, "soon"))
    assert race(Hedge(2), ask) == "soon"
    assert (ask.started, ask.decided, ask.ended) == ([0, 2], 3, [1, 0])


def test_an_answer_in_time_is_not_asked_for_again(virtual_clock: VirtualClock) -> None:
    """One call."""
    ask = Asked((1, "meow"))
    assert Hedge(2)(ask)() == "meow"
    assert ask.started == [0]


def test_hedges_follow_each_other(virtual_clock: VirtualClock) -> None:
    """Each after its delay, up to `max_hedges`, and one event tells of each."""
    told: list[Hedged] = []
    ask = Asked((100, 0), (100, 1), (100, 2), (1, 3))
    with subscribe(told.append, Hedged):
        assert race(Hedge(2, max_hedges=3), ask) == 3
    assert ask.started == [0, 2, 4, 6]
    assert [each.calls for each in told] == [2, 3, 4]


def test_a_late_result_is_closed(virtual_clock: VirtualClock) -> None:
    """By the thread that brings it; the winner's is left alone."""
    late, soon = Response(), Response()
    assert race(Hedge(2), Asked((10, late), (1, soon))) is soon
    assert (late.closed, soon.closed) == (1, 0)


def test_a_closing_that_fails_is_logged(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Its thread ends as any other."""

    class Broken(Response):
        def close(self) -> None:
            raise OSError("already gone")

    with caplog.at_level(logging.ERROR, logger="resilio"):
        assert race(Hedge(2), Asked((10, Broken()), (1, "soon"))) == "soon"
    assert "already gone" in caplog.text


@pytest.mark.parametrize(("first", "second"), [(5, 1), (3, 5)], ids=["it fails last", "it fails first"])
def test_when_all_fail_the_first_calls_error_is_raised(
    first: float, second: float, virtual_clock: VirtualClock
) -> None:
    """Whichever failed last."""
    error = ConnectionError("the first")
    with pytest.raises(ConnectionError) as caught:
        race(Hedge(2), Asked((first, error), (second, ConnectionError("the second"))))
    assert caught.value is error


@pytest.mark.parametrize("failing", [0, 1])
def test_one_success_is_enough(failing: int, virtual_clock: VirtualClock) -> None:
    """A call that fails while another one is under way decides nothing."""
    answers: list[tuple[float, object]] = [(5, "meow"), (5, "meow")]
    answers[failing] = (3, ConnectionError())
    assert race(Hedge(2), Asked(*answers)) == "meow"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_exception_ends_the_race_as_it_is(
    kind: type[BaseException], place: int, virtual_clock: VirtualClock
) -> None:
    """At once, although another call is under way; that one's failure comes too late to matter."""
    answers: list[tuple[float, object]] = [(100, ConnectionError()), (100, ConnectionError())]
    ending = kind("over")
    answers[place] = (5, ending)
    ask = Asked(*answers)
    with pytest.raises(kind) as caught:
        race(Hedge(2), ask)
    assert caught.value is ending
    assert ask.decided == 5 + 2 * place


def test_ctrl_c_ends_the_wait(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call goes on by itself, and what it brings is closed."""
    late = Response()

    def interrupted(*_: object) -> bool:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "wait_blocking", interrupted)
    with pytest.raises(KeyboardInterrupt):
        race(Hedge(2), Asked((10, late)))
    assert late.closed == 1


def test_a_budget_limits_the_hedges(virtual_clock: VirtualClock) -> None:
    """Each call pays in, each hedge takes out."""
    hedge = Hedge(1, max_hedges=5, budget=RetryBudget(percent=0.5, min_per_second=0, ttl=1000))
    for hedges in (0, 1, 0, 1):
        ask = Asked(*[(10, "meow")] * 6)
        race(hedge, ask)
        assert len(ask.started) == 1 + hedges


def test_the_delay_is_learnt(virtual_clock: VirtualClock) -> None:
    """From what the callers waited, once the warm-up is over; failures teach nothing."""
    delay = LatencyQuantile(0.5, warm_up=3)
    hedge = Hedge(delay)
    for seconds in (1, 2, 3):
        race(hedge, Asked((seconds, "meow")))
    with pytest.raises(ConnectionError):
        race(hedge, Asked((0.1, ConnectionError())))
    ask = Asked((100, "late"), (1, "soon"))
    assert race(hedge, ask) == "soon"
    assert ask.started == [0, 2]
    assert sorted(delay._sorted) == pytest.approx([1, 2, 3, 3])


def test_calls_see_their_callers_context(virtual_clock: VirtualClock) -> None:
    """A copy of it."""
    variable = ContextVar("variable", default="nobody's")
    seen: list[str] = []

    def ask() -> None:
        seen.append(variable.get())
        variable.set("a call's")
        clock.sleep_blocking(3)

    variable.set("the caller's")
    Hedge(1).execute(ask)
    clock.sleep_blocking(200)
    assert seen == ["the caller's", "the caller's"]
    assert variable.get() == "the caller's"


def test_no_thread_is_left(virtual_clock: VirtualClock) -> None:
    """When the last call has ended, all threads have."""
    before = threading.active_count()
    race(Hedge(1, max_hedges=3), Asked((50, 0), (50, 1), (50, 2), (1, 3)))
    for each in threading.enumerate():
        if each.name == "resilio-call":
            assert each.daemon
            each.join()
    assert threading.active_count() == before
