"""Printing: a table a row, tables of growth, and the summary that says what is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.results import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmarks.counts import CountResult
    from benchmarks.growth import GrowthResult
    from benchmarks.measuring import Timing
    from benchmarks.results import RowResult

_STYLES = {Kind.OURS: "bold green", Kind.LIMIT: "cyan", Kind.BARE: "dim", Kind.REFERENCE: "dim", Kind.PEER: ""}
_VERDICTS = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "–"}
_LONG = 1e-3


def print_row(console: Console, result: RowResult) -> None:
    """Print one row: everybody who took part, the fastest first, and who did not."""
    table = Table(title=result.row.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", min_width=18)
    for heading in ("time", "noise", "× bare", "× limit", "× fastest peer"):
        table.add_column(heading, justify="right", min_width=9)
    for kind, timing in result.ranked():
        table.add_row(
            f"{timing.name} (waits)" if timing.waits else timing.name,
            duration(timing.seconds),
            f"{timing.noise:.0%}",
            ratio(result.to_bare(timing)),
            ratio(result.to_limit(timing)),
            ratio(result.to_fastest(timing)),
            style=_STYLES[kind],
        )
    console.print(table)
    if result.row.goals:
        goals = ", ".join(str(goal) for goal in result.row.goals)
        console.print(f"to reach: {goals} → {_VERDICTS[result.is_reached]}", highlight=False)
    for reason, names in _by_reason(result.missing).items():
        console.print(f"{', '.join(names)}: {reason}", style="dim", highlight=False, markup=False)
    console.print()


def print_growth(console: Console, result: GrowthResult) -> None:
    """Print one question about growth: a line each, a column a size."""
    growth = result.growth
    table = Table(title=growth.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", min_width=18)
    for label in growth.labels or tuple(f"{x:,}".replace(",", " ") for x in growth.xs):
        table.add_column(label, justify="right", min_width=9)
    table.add_column("last ÷ first", justify="right", min_width=9)
    for name, timings in result.lines.items():
        grown = ratio(timings[-1].times(timings[0]))
        table.add_row(name, *(duration(each.seconds) for each in timings), grown)
    console.print(table)
    console.print()


def print_summary(console: Console, results: Sequence[RowResult]) -> None:
    """Print a line for each row: ours, the limit, the fastest peer, and whether what is to be reached is."""
    table = Table(title="Summary", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("row", overflow="fold")
    headings = ("resilio", "noise", "× bare", "limit", "× limit", "fastest peer", "× peer", "to reach", "reached")
    for heading in headings:
        table.add_column(heading, justify="right" if heading != "to reach" else "left")
    for result in results:
        peer = result.fastest_peer
        table.add_row(
            result.row.title,
            _duration(result.ours),
            "–" if result.ours is None else f"{result.ours.noise:.0%}",
            ratio(result.to_bare(result.ours)),
            _duration(result.limit),
            ratio(result.to_limit(result.ours)),
            "–" if peer is None else f"{peer.name} {duration(peer.seconds)}",
            ratio(result.to_fastest(result.ours)),
            ", ".join(str(goal) for goal in result.row.goals),
            _VERDICTS[result.is_reached] if result.row.goals else "",
        )
    console.print(table)
    console.print(
        "All in one run. A time is the best tenth of many rounds, noise is how much longer the middle one took, and a "
        "ratio is the median of the ratios within the rounds. 'bare' is the unprotected call, 'limit' the least code "
        "that does the row's work at all.",
        style="dim",
    )


def print_counts(console: Console, results: Sequence[CountResult]) -> None:
    """Print what is counted and not timed."""
    table = Table(title="Counted", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("what", overflow="fold")
    for heading in ("number", "to reach", "reached"):
        table.add_column(heading, justify="right")
    for result in results:
        unit = result.count.unit
        table.add_row(
            result.title, f"{result.number:.3g} {unit}", f"≤ {result.count.most:g} {unit}", _VERDICTS[result.is_reached]
        )
    console.print(table)


def duration(seconds: float) -> str:
    """Nanoseconds, or milliseconds if it is that long."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= _LONG else f"{seconds * 1e9:,.0f} ns".replace(",", " ")


def _duration(timing: Timing | None) -> str:
    return "–" if timing is None else duration(timing.seconds)


def ratio(number: float | None) -> str:
    """A ratio to two places, or a dash."""
    return "–" if number is None else f"{number:.2f}"


def _by_reason(missing: dict[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        reasons.setdefault(reason, []).append(name)
    return reasons
