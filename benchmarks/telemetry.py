"""``python -m benchmarks.telemetry``: what it costs to be measured, in one run.

A call through a closed circuit, and one that an open circuit rejects: as they are, after `instrument()` where no SDK is
installed (OpenTelemetry's own no-op provider stands for that), and with the SDK. Then what one scrape costs.

Numbers are the processor's time of this process, the best tenth of many rounds, in which the contestants take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from time import process_time
from typing import TYPE_CHECKING

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from rich.console import Console
from rich.table import Table

from resilio import CircuitBreaker, CircuitBreakerOpenError
from resilio.telemetry import instrument, prometheus_app, uninstrument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.metrics import MeterProvider as AnyProvider

CIRCUITS = 100


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, more noise")
    quick = parser.parse_args().quick
    rounds, calls = (20, 2_000) if quick else (100, 10_000)
    table = Table(title=f"what being measured costs (CPython {sys.version.split()[0]})")
    for heading in ("what", "nothing", "no SDK", "with the SDK"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, call in (("a call, circuit closed, ns", closed()), ("a rejection, ns", rejected())):
        timings = asyncio.run(take_turns(call, rounds, calls))
        table.add_row(name, *(f"{each * 1e9:,.0f}" for each in timings))
    table.add_row(f"a scrape of {CIRCUITS} circuits, ms", "", "", f"{scraping(rounds) * 1e3:.1f}")
    Console().print(table)
    return 0


def closed() -> Callable[[], Awaitable[object]]:
    """A call that succeeds."""

    @CircuitBreaker(name="closed")
    async def succeed() -> None: ...

    return succeed


def rejected() -> Callable[[], Awaitable[object]]:
    """A call that is not let through, and whose caller catches that."""
    breaker = CircuitBreaker(name="open", failure_threshold=1, recovery_timeout=3_600)
    breaker.acquire().failure(ConnectionError())

    @breaker
    async def never() -> None: ...

    async def call() -> None:
        try:
            await never()
        except CircuitBreakerOpenError:
            return

    return call


async def take_turns(call: Callable[[], Awaitable[object]], rounds: int, calls: int) -> list[float]:
    """Seconds a call takes: bare, with a provider that does nothing, with one that measures."""
    providers: list[AnyProvider | None] = [None, NoOpMeterProvider(), MeterProvider(shutdown_on_exit=False)]
    numbers: list[list[float]] = [[] for _ in providers]
    for _ in range(rounds):
        for provider, seen in zip(providers, numbers, strict=True):
            if provider is not None:
                instrument(meter_provider=provider)
            gc.collect()
            began = process_time()
            for _ in range(calls):
                await call()
            seen.append((process_time() - began) / calls)
            uninstrument()
    return [best_tenth(seen) for seen in numbers]


def scraping(rounds: int) -> float:
    """Seconds to write the text of a scrape."""
    kept = [CircuitBreaker(name=f"circuit-{number}") for number in range(CIRCUITS)]
    app = prometheus_app()
    numbers = []
    for _ in range(rounds):
        began = process_time()
        app.render()
        numbers.append(process_time() - began)
    app.close()
    del kept
    return best_tenth(numbers)


def best_tenth(numbers: list[float]) -> float:
    """What is reached when nothing else disturbs."""
    return sorted(numbers)[len(numbers) // 10]


if __name__ == "__main__":
    sys.exit(main())
