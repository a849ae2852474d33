"""How cost grows: with layers, with a window's size, with those who wait, with those who listen."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import resilio
from benchmarks import drivers, work
from benchmarks.measuring import Contestant, Lap, Stopwatch, measure
from benchmarks.peers import standard_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.drivers import Operation
    from benchmarks.measuring import Batch, Effort, Timing

SIZES = (10, 100, 1_000, 10_000, 100_000)
CROWDS = (1, 10, 100, 1_000, 10_000)
AUDIENCES = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Growth:
    """One question about growth.

    Attributes:
        key: After ``--row``.
        title: For people; what grows comes last.
        xs: The sizes that are compared.
        lines: Whose cost, with what builds the batch for a size; it reports seconds for each call.
        labels: What the sizes are called, if their numbers do not say.
        is_long: Whether a single repetition takes long.
    """

    key: str
    title: str
    xs: tuple[int, ...]
    lines: dict[str, Callable[[int], Batch]]
    labels: tuple[str, ...] = ()
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class GrowthResult:
    """A question's answer: each line's timings, in the order of the sizes."""

    growth: Growth
    lines: dict[str, tuple[Timing, ...]]

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON can carry it."""
        return {
            "key": self.growth.key,
            "title": self.growth.title,
            "xs": self.growth.xs,
            "labels": self.growth.labels,
            "lines": {
                name: [{"ns": round(each.seconds * 1e9, 1), "noise": round(each.noise, 4)} for each in timings]
                for name, timings in self.lines.items()
            },
        }


async def run_growth(growth: Growth, effort: Effort) -> GrowthResult:
    """Measure all sizes of all lines in the same rounds."""
    contestants = [Contestant(f"{line} {x}", build(x)) for line, build in growth.lines.items() for x in growth.xs]
    timings = iter(await _measure(growth, contestants, effort))
    return GrowthResult(growth, {line: tuple(next(timings) for _ in growth.xs) for line in growth.lines})


async def _measure(growth: Growth, contestants: list[Contestant], effort: Effort) -> list[Timing]:
    if growth.is_long:
        return await measure(contestants, effort.for_long(), count=1)
    return await measure(contestants, effort)


# -- layers ------------------------------------------------------------------------------------------------------------

_LAYERS = ("fallback", "+ retry", "+ breaker", "+ bulkhead", "+ timeout")


def _pipeline(depth: int) -> Batch:
    policies: tuple[resilio.Policy, ...] = (
        resilio.Fallback(None),
        resilio.BackoffStrategy(max_retries=3, base_delay=0, retry_exceptions=ConnectionError),
        resilio.CircuitBreaker(),
        resilio.Bulkhead(10),
        resilio.Timeout(10),
    )
    return drivers.awaited(resilio.Pipeline(*policies[:depth])(work.answer()))


def _breakers(depth: int) -> Batch:
    return drivers.awaited(resilio.Pipeline(*(resilio.CircuitBreaker() for _ in range(depth)))(work.answer()))


def _empty_wrappers(depth: int) -> Batch:
    fn = work.answer()
    for _ in range(depth):
        fn = _wrapped(fn)
    return drivers.awaited(fn)


def _wrapped(fn: Operation) -> Operation:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await fn(*args, **kwargs)

    return wrapper


# -- windows -----------------------------------------------------------------------------------------------------------


def _window_of(window: Callable[[int], resilio.CountWindow | resilio.TimeWindow], size: int) -> Batch:
    chosen = window(size)
    trip = resilio.FailureRate(0.5, window=chosen, minimum_calls=10) | resilio.SlowCallRate(
        0.5, slower_than=5.0, window=chosen, minimum_calls=10
    )
    breaker = resilio.CircuitBreaker(trip=trip)
    for _ in range(size):
        breaker.acquire().success()  # a window that is full, for an empty one has nothing to forget
    return drivers.awaited(breaker(work.answer()))


# -- those who wait ----------------------------------------------------------------------------------------------------


_WAITERS = 1_000
"""So many at least make a repetition, in crowds."""


def _crowd(policy: Callable[[int], Callable[[Operation], Operation]], size: int) -> Batch:
    run = drivers.in_tasks(policy(size)(work.pause()))

    async def batch(count: int) -> Lap:
        crowds = max(count * _WAITERS // size, 1)
        return Lap.total([await run(size) for _ in range(crowds)]) / (crowds * size / count)

    return batch


def _bulkhead(size: int) -> Callable[[Operation], Operation]:
    return resilio.Bulkhead(1, max_queue=size)


def _rate_limiter(size: int) -> Callable[[Operation], Operation]:  # noqa: ARG001 -- its line has no limit
    return resilio.RateLimiter(1_000_000, burst=1)


def _semaphore(size: int) -> Callable[[Operation], Operation]:  # noqa: ARG001 -- its line has no limit
    return functools.partial(standard_library.bulkhead, places=1)


def _nothing(size: int) -> Callable[[Operation], Operation]:  # noqa: ARG001 -- nobody waits
    return lambda fn: fn


# -- errors ------------------------------------------------------------------------------------------------------------


def _tracked(size: int, *, known: bool) -> Batch:
    tracker = resilio.ErrorTracker()
    report = tracker.track_error(ValueError("no cat"))
    numbers = itertools.count()
    for number in itertools.islice(numbers, size):
        tracker.track_report(dataclasses.replace(report, fingerprint=f"v1:{number:016x}"))

    async def batch(count: int) -> Lap:
        number = 0 if known else next(numbers)
        reports = [dataclasses.replace(report, fingerprint=f"v1:{number:016x}") for _ in range(count)]
        if not known:
            reports = [dataclasses.replace(each, fingerprint=f"v1:{next(numbers):016x}") for each in reports]
        watch = Stopwatch()
        for each in reports:
            tracker.track_report(each)
        return watch.read()

    return batch


# -- those who listen --------------------------------------------------------------------------------------------------


def _audience(size: int) -> Batch:
    run = drivers.awaited(resilio.CircuitBreaker()(work.answer()))

    async def batch(count: int) -> Lap:
        subscriptions = [resilio.subscribe(_listen, resilio.CallSucceeded) for _ in range(size)]
        try:
            return await run(count)
        finally:
            for each in subscriptions:
                each.cancel()

    return batch


def _listen(event: resilio.CallSucceeded) -> None:
    """Hear it and do nothing."""


GROWTHS = (
    Growth(
        "layers",
        "one call through more and more layers",
        (1, 2, 3, 4, 5),
        {"pipeline": _pipeline, "breakers only": _breakers, "empty wrappers": _empty_wrappers},
        labels=_LAYERS,
    ),
    Growth(
        "windows",
        "one call through a slow-call breaker, by the window's size in calls or seconds",
        SIZES,
        {
            "CountWindow": functools.partial(_window_of, resilio.CountWindow),
            "TimeWindow": functools.partial(_window_of, resilio.TimeWindow),
        },
    ),
    Growth(
        "waiters",
        "one waiter's way through, task included, by how many wait",
        CROWDS,
        {
            "Bulkhead(1)": functools.partial(_crowd, _bulkhead),
            "RateLimiter": functools.partial(_crowd, _rate_limiter),
            "asyncio.Semaphore(1)": functools.partial(_crowd, _semaphore),
            "nothing": functools.partial(_crowd, _nothing),
        },
        is_long=True,
    ),
    Growth("listeners", "one call through a breaker, by how many listen", AUDIENCES, {"breaker": _audience}),
    Growth(
        "errors",
        "one error counted by the tracker, by how many different ones came before",
        (100, 1_000, 10_000, 100_000),
        {"known": functools.partial(_tracked, known=True), "new": functools.partial(_tracked, known=False)},
    ),
)
