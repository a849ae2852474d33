"""The README's pipeline through a day: healthy, slow, down, healthy again; in virtual time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import resilio.sync
from resilio import (
    BackoffStrategy,
    CallRejected,
    CircuitBreaker,
    CircuitState,
    CircuitStateChanged,
    Fallback,
    FellBack,
    Pipeline,
    RetryScheduled,
    RetrySucceeded,
    TimedOut,
    Timeout,
    subscribe,
)
from resilio._core import clock

if TYPE_CHECKING:
    from resilio.testing.virtual_clock import VirtualClock

pytestmark = pytest.mark.anyio

CATNAP = "Meow? (DadaCat is taking a catnap.)"
HANGS_FROM, DOWN_FROM, BACK_FROM, END = 100, 200, 400, 600


class Model:
    """A dependency with a scripted day; it counts who reaches it."""

    def __init__(self, virtual: VirtualClock) -> None:
        self.virtual = virtual
        self.reached: list[float] = []

    @property
    def now(self) -> float:
        """Seconds since the day began."""
        return self.virtual.elapsed

    def visit(self) -> float:
        """How long this call takes; an error while down."""
        self.reached.append(self.now)
        if DOWN_FROM <= self.now < BACK_FROM:
            raise ConnectionRefusedError("nobody home")
        return 3600.0 if HANGS_FROM <= self.now < DOWN_FROM else 0.5

    async def ask(self, question: str) -> str:
        """Answer a question."""
        await anyio.sleep(self.visit())
        return f"Re: {question}"

    def ask_blocking(self, question: str) -> str:
        """Answer a question in blocking code."""
        clock.sleep_blocking(self.visit())
        return f"Re: {question}"

    def visits(self, start: float, end: float) -> int:
        """How many calls reached it then."""
        return sum(start <= moment < end for moment in self.reached)


def protected(names: Any, name: str) -> Any:
    """The pipeline."""
    return names.Pipeline(
        names.Fallback(CATNAP),
        names.BackoffStrategy(max_retries=3, base_delay=0.5, max_delay=4, jitter=None),
        names.CircuitBreaker(name=name, failure_threshold=5, recovery_timeout=30),
        names.Timeout(5),
    )


async def test_every_message_is_answered_once_and_the_model_is_left_in_peace(virtual_clock: VirtualClock) -> None:
    """Five clients, a message every three seconds each."""
    model = Model(virtual_clock)
    pipeline = protected(resilio, "outage")
    ask = pipeline(model.ask)
    replies: Counter[tuple[int, int]] = Counter()
    answers: list[tuple[float, float, str]] = []
    told: Counter[str] = Counter()
    states: list[tuple[float, CircuitState]] = []

    async def client(number: int) -> None:
        await anyio.sleep(number / 2)
        message = 0
        while virtual_clock.elapsed < END:
            asked = virtual_clock.elapsed
            answer = await ask(f"{number}/{message}")
            replies[number, message] += 1
            answers.append((asked, virtual_clock.elapsed, answer))
            assert answer in (f"Re: {number}/{message}", CATNAP)
            message += 1
            await anyio.sleep(3)

    def listen(event: object) -> None:
        told[type(event).__name__] += 1
        if isinstance(event, CircuitStateChanged):
            states.append((virtual_clock.elapsed, event.after))

    with subscribe(listen):
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(client, number)

    assert set(replies.values()) == {1}
    # Healthy: everything is answered for real, at once, and nothing was retried.
    assert all(
        answer != CATNAP and ended - asked == pytest.approx(0.5) for asked, ended, answer in answers if ended < 100
    )
    # No client ever waits longer than three attempts that time out and the waits between them.
    assert max(ended - asked for asked, ended, _ in answers) <= 3 * 5 + 0.5 + 1 + 2 + 5
    # Down: all are answered by the cat, most at once, and few calls reach the model.
    down = [(asked, ended, answer) for asked, ended, answer in answers if asked >= DOWN_FROM and ended < BACK_FROM]
    assert len(down) > 300
    assert {answer for *_, answer in down} == {CATNAP}
    assert sum(ended == asked for asked, ended, _ in down) > 0.95 * len(down)
    assert model.visits(DOWN_FROM, BACK_FROM) <= (BACK_FROM - DOWN_FROM) / 30 + 1
    # Back: at the latest one break later everything is answered for real again.
    assert all(answer != CATNAP for asked, _, answer in answers if asked >= BACK_FROM + 31)
    assert states[0][1] is CircuitState.OPEN
    assert HANGS_FROM <= states[0][0] <= HANGS_FROM + 10
    assert states[-1][1] is CircuitState.CLOSED
    assert BACK_FROM <= states[-1][0] <= BACK_FROM + 31
    # What was told adds up.
    assert told["FellBack"] == sum(answer == CATNAP for *_, answer in answers)
    assert told["CallFailed"] + told["CallSucceeded"] <= len(model.reached)
    assert {TimedOut.__name__, CallRejected.__name__, RetryScheduled.__name__} <= set(told)


@pytest.mark.slow("a day in threads")
def test_blocking_code_lives_through_the_same_day(virtual_clock: VirtualClock) -> None:
    """One client, a message every two seconds."""
    model = Model(virtual_clock)
    ask = protected(resilio.sync, "blocking outage")(model.ask_blocking)
    answers: list[tuple[float, str]] = []
    while virtual_clock.elapsed < END:
        answers.append((virtual_clock.elapsed, ask(str(len(answers)))))
        clock.sleep_blocking(2)
    clock.sleep_blocking(7200)  # until the threads that were left behind have ended
    assert [answer for asked, answer in answers if asked < 99] == [f"Re: {n}" for n in range(40)]
    assert {answer for asked, answer in answers if DOWN_FROM <= asked < BACK_FROM - 1} == {CATNAP}
    assert model.visits(DOWN_FROM, BACK_FROM) <= (BACK_FROM - DOWN_FROM) / 30 + 1
    assert all(answer != CATNAP for asked, answer in answers if asked >= BACK_FROM + 31)


async def test_a_short_hiccup_is_hidden_from_everybody(virtual_clock: VirtualClock) -> None:
    """Two failures in a row are retried; nobody falls back and no circuit opens."""
    breaker = CircuitBreaker(failure_threshold=5)
    pipeline = Pipeline(Fallback(CATNAP), BackoffStrategy(max_retries=3, base_delay=0.5), breaker, Timeout(5))
    calls = 0

    @pipeline
    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls % 3:
            raise ConnectionResetError
        return "meow"

    told: Counter[str] = Counter()
    with subscribe(lambda event: told.update([type(event).__name__]), FellBack, RetrySucceeded, CircuitStateChanged):
        assert [await ask() for _ in range(100)] == ["meow"] * 100
    assert told == {"RetrySucceeded": 100}
    assert breaker.state is CircuitState.CLOSED
