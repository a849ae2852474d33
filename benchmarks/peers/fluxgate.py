"""fluxgate: a breaker made of composable rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxgate import AsyncCircuitBreaker, CircuitBreaker
from fluxgate.retries import Cooldown
from fluxgate.trippers import FailureRate, FailureStreak, MinRequests, SlowRate
from fluxgate.windows import CountWindow, TimeWindow

from benchmarks import settings

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

IMPORT = "import fluxgate"
FIRST_BREAKER = "fluxgate.CircuitBreaker()"


def breaker_closed(fn: Operation) -> Operation:
    return AsyncCircuitBreaker(tripper=FailureStreak(settings.FAILURES), retry=Cooldown(settings.BREAK))(fn)


breaker_open = breaker_tasks = breaker_closed


def breaker_execute(fn: Operation) -> Operation:
    breaker = AsyncCircuitBreaker(tripper=FailureStreak(settings.FAILURES), retry=Cooldown(settings.BREAK))

    async def guarded(number: int) -> object:
        return await breaker.call(fn, number)

    return guarded


def breaker_blocking(fn: Operation) -> Operation:
    return CircuitBreaker(tripper=FailureStreak(settings.FAILURES), retry=Cooldown(settings.BREAK))(fn)


def breaker_rate(fn: Operation) -> Operation:
    return AsyncCircuitBreaker(
        window=CountWindow(settings.WINDOW),
        tripper=MinRequests(settings.FAILURES) & FailureRate(settings.RATIO),
        retry=Cooldown(settings.BREAK),
    )(fn)


def _slow_aware(window: CountWindow | TimeWindow) -> AsyncCircuitBreaker:
    return AsyncCircuitBreaker(
        window=window,
        tripper=MinRequests(settings.FAILURES)
        & (FailureRate(settings.RATIO) | SlowRate(settings.RATIO, threshold=settings.SLOW)),
        retry=Cooldown(settings.BREAK),
    )


def breaker_window(fn: Operation) -> Operation:
    return _slow_aware(CountWindow(settings.WINDOW))(fn)


def breaker_time_window(fn: Operation) -> Operation:
    return _slow_aware(TimeWindow(settings.SPAN))(fn)
