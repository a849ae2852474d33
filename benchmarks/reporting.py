"""``python -m benchmarks.reporting``: what it costs to report an error, beside sentry-sdk, in one run.

- `handle()` for an error that came through ten functions, logging included, beside sentry's ``capture_exception`` with
  a transport that throws everything away: our own work and theirs, no network.
- the tracker: what each of a million errors costs it. What it takes in memory, `benchmarks.counts` says.
- redaction for each KiB of text, and a fingerprint of 100 KB of hostile text.

Numbers are the processor's time of this process, the best tenth of many rounds, in which the contestants take turns.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import sys
from time import process_time
from typing import TYPE_CHECKING

import structlog
from rich.console import Console
from rich.table import Table

from resilio.reporting.fingerprint import fingerprint
from resilio.reporting.redaction import redact
from resilio.sync import ErrorHandler, ErrorTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEPTH = 10
GOAL = 10  # times cheaper than sentry

PROSE = "Failed to connect to data source at 10.0.0.1 port 8080 after 3 attempts: timed out. "
HOSTILE = "a." * 50_000


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reporting", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds, more noise")
    quick = parser.parse_args().quick
    rounds = 20 if quick else 100
    console = Console()
    structlog.configure(processors=[_discard], cache_logger_on_first_use=True)

    table = Table(title=f"reporting an error at depth {DEPTH} (CPython {sys.version.split()[0]})")
    table.add_column("what")
    table.add_column("µs", justify="right")
    table.add_column("sentry ÷ this", justify="right")
    contestants = {"handle()": handling(log=True), "handle() without log lines": handling(log=False)}
    capture = capturing()
    if capture is not None:
        contestants["sentry_sdk.capture_exception()"] = capture
    contestants["raising and catching alone"] = lambda: raised(lambda _: None)
    timings = take_turns(contestants, rounds)
    theirs = timings.get("sentry_sdk.capture_exception()")
    for name, numbers in timings.items():
        ratio = (
            "" if theirs is None else f"{statistics.median(a / b for a, b in zip(theirs, numbers, strict=True)):.1f}"
        )
        table.add_row(name, f"{best(numbers) * 1e6:.0f}", ratio)
    console.print(table)
    if theirs is None:
        console.print("sentry-sdk is not installed", style="yellow")
    else:
        times = statistics.median(a / b for a, b in zip(theirs, timings["handle()"], strict=True))
        console.print(
            f"goal: at least {GOAL} times cheaper than sentry-sdk: {'reached' if times >= GOAL else 'missed'}"
        )

    others = Table(title="the rest")
    others.add_column("what")
    others.add_column("", justify="right")
    kibibyte = (PROSE * 13)[:1024]
    small = take_turns({"redaction": lambda: redact(kibibyte)}, rounds)
    others.add_row("redaction of 1 KiB of prose", f"{best(small['redaction']) * 1e6:.0f} µs")
    hostile = ValueError(HOSTILE)
    slow = take_turns({"fingerprint": lambda: fingerprint(hostile)}, rounds)
    others.add_row("fingerprint of 100 KB of 'a.'", f"{best(slow['fingerprint']) * 1e3:.3f} ms")
    count, seconds = tracking(100_000 if quick else 1_000_000)
    others.add_row(f"tracker, {count:,} reports, each", f"{seconds * 1e6:.1f} µs")
    console.print(others)
    return 0


def handling(*, log: bool) -> Callable[[], None]:
    """Our handler, with a tracker, without a notifier."""
    handler = ErrorHandler(log=log)
    return lambda: raised(lambda error: handler.handle(error, "fetch", source="crm", attempt=3))


def capturing() -> Callable[[], None] | None:
    """Sentry's client as it comes, but for what would send; None if it is not installed."""
    try:
        import sentry_sdk  # noqa: PLC0415 -- a peer, which need not be there
        from sentry_sdk.transport import Transport  # noqa: PLC0415
    except ImportError:
        return None

    class Nowhere(Transport):
        def capture_envelope(self, envelope: object) -> None:
            """Throw it away."""

    sentry_sdk.init(dsn="http://key@127.0.0.1/1", transport=Nowhere)
    return lambda: raised(sentry_sdk.capture_exception)


def raised(report: Callable[[BaseException], object], depth: int = DEPTH) -> None:
    """Raise an error through so many functions, and report it where it is caught."""
    try:
        _deeper(depth - 1)
    except ConnectionError as error:
        report(error)


def _deeper(left: int) -> None:
    if left > 1:
        _deeper(left - 1)
    else:
        msg = "no route to 10.0.0.1"
        raise ConnectionError(msg)


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of one call of each, for each round."""
    counts = {name: _fitting(call) for name, call in contestants.items()}
    numbers: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in random.Random(number).sample(list(contestants), len(contestants)):
            numbers[name].append(_timed(contestants[name], counts[name]))
        gc.collect()
    return numbers


def _fitting(call: Callable[[], object]) -> int:
    call()  # what is imported and read once is nobody's cost
    count = 1
    while _timed(call, count) * count < 0.005:  # noqa: PLR2004 -- seconds of one turn
        count *= 2
    return count


def _timed(call: Callable[[], object], count: int) -> float:
    gc.disable()
    try:
        began = process_time()
        for _ in range(count):
            call()
        return (process_time() - began) / count
    finally:
        gc.enable()


def best(numbers: list[float]) -> float:
    """The best tenth."""
    return sorted(numbers)[len(numbers) // 10]


def tracking(count: int) -> tuple[int, float]:
    """How many reports, and seconds for each: a few frequent errors among many rare ones."""
    handler = ErrorHandler(log=False)
    reports = [handler.handle(ValueError(str(number)), fingerprint=str(number)) for number in range(2_000)]
    tracker = ErrorTracker()
    chance = random.Random(1)
    drawn = [reports[min(int(chance.expovariate(0.01)), 1_999)] for _ in range(10_000)]
    began = process_time()
    for _ in range(count // len(drawn)):
        for report in drawn:
            tracker.track_report(report)
    return count, (process_time() - began) / count


def _discard(_logger: object, _method: str, _line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


if __name__ == "__main__":
    sys.exit(main())
