"""What this package leaves to others, together with ours: HTTP mocking to respx, the wall clock to time-machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest
import respx
import time_machine

from resilio import BackoffStrategy, CircuitBreaker, CircuitStateChanged, DeadLetterQueue, Pipeline, Timeout
from resilio.testing import match

if TYPE_CHECKING:
    from collections.abc import Iterator

    from resilio.testing import DeadLetters, EventRecorder, FaultInjector, VirtualClock

pytestmark = pytest.mark.anyio

URL = "https://rates.test/usd"


async def rate(client: httpx.AsyncClient) -> float:
    """A rate, as code under test asks for it."""
    answer = (await client.get(URL)).raise_for_status()
    return float(answer.json()["rate"])


# -- respx says what the server answers, we say how the world around it behaves ----------------------------------------


async def test_a_retry_meets_the_answers_that_respx_gives(
    virtual_clock: VirtualClock, resilio_events: EventRecorder
) -> None:
    """Errors, statuses and Retry-After of a mocked server, waited for in virtual time."""
    answers: list[httpx.Response | Exception | type[Exception]] = [
        httpx.ConnectError("refused"),
        httpx.Response(429, headers={"Retry-After": "30"}),
        httpx.Response(200, json={"rate": 1.25}),
    ]
    strategy = BackoffStrategy(base_delay=1, jitter=None)
    with respx.mock(assert_all_called=True) as router:
        route = router.get(URL).mock(side_effect=answers)
        async with httpx.AsyncClient() as client:
            assert await strategy.execute(rate, client) == 1.25
        assert route.call_count == 3
    assert virtual_clock.jumps == (1, 30)
    resilio_events.assert_attempts(rate, 3)


async def test_faults_strike_a_client_whose_answers_are_mocked(
    virtual_clock: VirtualClock, faults: FaultInjector, resilio_events: EventRecorder
) -> None:
    """What respx mocks passes a client's timeouts by; an injected hang in front of it does not."""
    with respx.mock() as router:
        route = router.get(URL).respond(json={"rate": 1.25})
        async with httpx.AsyncClient() as client:
            faults.on(client.get).between(10, 40).hangs()
            breaker = CircuitBreaker(name="rates", failure_threshold=2, recovery_timeout=15)
            ask = Pipeline(breaker, Timeout(3))(rate)
            answers: list[float | str] = []
            for _ in range(12):
                try:
                    answers.append(await ask(client))
                except Exception as error:
                    answers.append(type(error).__name__)
                await anyio.sleep(5)
    assert answers[:2] == answers[-2:] == [1.25, 1.25]
    assert {*answers} == {1.25, "OperationTimeoutError", "CircuitBreakerOpenError"}
    assert route.call_count == answers.count(1.25)
    resilio_events.assert_sequence(
        match(CircuitStateChanged, after="open"), ..., match(CircuitStateChanged, after="closed")
    )


# -- time-machine says which day it is, our clock how long things take -------------------------------------------------


@pytest.fixture
def new_years_eve() -> Iterator[datetime]:
    """A minute before a new year, and no later."""
    moment = datetime(2030, 12, 31, 23, 59, tzinfo=UTC)
    with time_machine.travel(moment, tick=False):
        yield moment


async def test_the_day_is_time_machines_and_the_waiting_is_ours(
    new_years_eve: datetime, virtual_clock: VirtualClock, dead_letters: DeadLetters
) -> None:
    """A frozen wall clock freezes no sleep; the package's timestamps begin on its day and go on in virtual time."""
    await anyio.sleep(3600)
    await DeadLetterQueue().send_to_dlq("hello", {})
    assert virtual_clock.elapsed == 3600
    assert datetime.now(UTC) == new_years_eve
    assert time.time() == new_years_eve.timestamp()
    assert dead_letters.letters[0].first_failed_at == new_years_eve + timedelta(hours=1)


async def test_a_day_in_the_past_or_future_ends_no_wait(virtual_clock: VirtualClock) -> None:
    """Deadlines and breaks go by the monotonic clock: moving the day opens and closes nothing."""
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
    with pytest.raises(ZeroDivisionError):
        await breaker.execute(lambda: 1 / 0)
    for year in (1999, 2050):
        with time_machine.travel(datetime(year, 1, 1, tzinfo=UTC)):
            assert breaker.state == "OPEN"
            with anyio.move_on_after(1) as scope:
                await anyio.sleep(5)
            assert scope.cancelled_caught
    assert virtual_clock.elapsed == 2
    await anyio.sleep(58)
    assert breaker.state == "HALF_OPEN"
