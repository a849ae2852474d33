"""How runs look in a terminal: the load on the dependency as columns, and below it who was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.cli.simulation.outcome import Outcome
    from resilio.cli.simulation.scenario import Scenario

__all__ = ("chart", "comparison", "percent", "reading")

T = TypeVar("T")

_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_HEIGHT: Final = 4
_MARGIN: Final = 8
_GOOD: Final = 0.99
_FAIR: Final = 0.5
_MUCH: Final = 1.5


def percent(share: float | None) -> str:
    """A share as people read it; 99.96 % is not yet 100 %.

    >>> percent(0.9996), percent(1.0), percent(None)
    ('99.9 %', '100 %', '-')
    """
    if share is None:
        return "-"
    return "100 %" if share == 1.0 else f"{int(share * 1000) / 10:.1f} %"


def comparison(outcomes: Sequence[Outcome]) -> Table:
    """The numbers, side by side; the best of each column in green."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column("policies", overflow="fold")
    for heading in ("answered", "in outage", "load ×", "peak ×", "recovers", "99 % within"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = {
        "rate": _best([each.success_rate for each in outcomes], largest=True),
        "during": _best([each.outage_success_rate for each in outcomes], largest=True),
        "load": _best([each.amplification for each in outcomes]),
        "peak": _best([each.peak_load for each in outcomes]),
        "recovery": _best([each.recovery for each in outcomes]),
    }
    for each in outcomes:
        recovery = "never" if each.recovery is None else f"{each.recovery:g} s"
        table.add_row(
            Text(each.name),
            _cell(percent(each.success_rate), each.success_rate, best["rate"]),
            _cell(percent(each.outage_success_rate), each.outage_success_rate, best["during"]),
            _cell(_times(each.amplification), each.amplification, best["load"]),
            _cell(_times(each.peak_load), each.peak_load, best["peak"]),
            Text(recovery, style="red") if each.recovery is None else _cell(recovery, each.recovery, best["recovery"]),
            "-" if each.slowest is None else f"{each.slowest:.2f} s",
        )
    return table


def _best(values: Sequence[float | None], *, largest: bool = False) -> float | None:
    known = [each for each in values if each is not None]
    if len(known) < 2 or len(set(known)) == 1:  # noqa: PLR2004 -- nothing to compare
        return None
    return max(known) if largest else min(known)


def _cell(text: str, value: float | None, best: float | None) -> Text:
    return Text(text, style="bold green" if best is not None and value == best else "")


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def chart(scenario: Scenario, outcomes: Sequence[Outcome], width: int) -> Group:
    """One picture for each set of policies, all on one scale."""
    columns = max(min(width - _MARGIN - 1, int(scenario.duration)), 20)
    top = max(1.0, *(load for each in outcomes for load in each.load))
    parts: list[Text] = []
    for each in outcomes:
        head = Text(f"\n{each.name}", style="bold")
        if each.name != each.settings:
            head.append(f"  {each.settings}", style="not bold dim")
        parts += [head, *_load(each.load, columns, top), _answers(each.success, columns)]
    parts.append(_axis(scenario, columns))
    return Group(*parts)


def _load(load: Sequence[float], columns: int, top: float) -> list[Text]:
    values = [max(part, default=0.0) for part in _parts(load, columns)]
    lines = []
    for row in range(_HEIGHT, 0, -1):
        label = f"{top * row / _HEIGHT:.1f}×" if row in (_HEIGHT, _HEIGHT // 2) else ""
        line = Text(f"{label:>{_MARGIN - 2}} │" if row != 1 else f"{'load':>{_MARGIN - 2}} │", style="dim")
        for value in values:
            eighths = round(value / top * _HEIGHT * 8) - (row - 1) * 8
            style = "red" if value > _MUCH else "blue"
            line.append(_EIGHTHS[min(max(eighths, 0), 8)], style=f"not dim {style}")
        lines.append(line)
    return lines


def _answers(success: Sequence[float | None], columns: int) -> Text:
    line = Text(f"{'users':>{_MARGIN - 2}} │", style="dim")
    for part in _parts(success, columns):
        judged = [each for each in part if each is not None]
        share = sum(judged) / len(judged) if judged else None
        # Signs besides colours: not everybody sees red and green apart, and a log file has none.
        if share is None:
            line.append(" ")
        elif share >= _GOOD:
            line.append("━", style="not dim green")
        elif share >= _FAIR:
            line.append("╍", style="not dim yellow")
        else:
            line.append("·", style="not dim bold red")
    return line


def _axis(scenario: Scenario, columns: int) -> Text:
    scale = columns / scenario.duration
    begin, end = round(scenario.before * scale), max(round(scenario.end * scale), round(scenario.before * scale) + 1)
    room = end - begin
    name = f" {scenario.outage} " if room > len(scenario.outage) + 4 else ""
    bar = f"├{name:─^{room - 2}}┤" if room > 1 else "│"
    line = Text(" " * (_MARGIN + begin))
    line.append(bar, style="red")
    start, stop, total = f"{scenario.before:g} s", f"{scenario.end:g} s", f"{scenario.duration:g} s"
    ticks = f"{' ' * begin}{start}"
    ticks = f"{ticks:<{max(end - 1, len(ticks) + 1)}}{stop}"
    ticks = f"{ticks:<{max(columns - len(total), len(ticks) + 1)}}{total}"
    line.append(f"\n{' ' * _MARGIN}{ticks}", style="dim")
    return line


def _parts(values: Sequence[T], columns: int) -> list[Sequence[T]]:
    size = len(values) / columns
    return [values[int(place * size) : max(int((place + 1) * size), int(place * size) + 1)] for place in range(columns)]


def reading(outcomes: Sequence[Outcome]) -> list[str]:
    """What the numbers say, in sentences."""
    told = []
    eager = [each for each in outcomes if (each.amplification or 0.0) > _MUCH]
    if eager:
        most = max(each.amplification or 0.0 for each in eager)
        told.append(
            f"{_names(eager)}: during the outage a request becomes up to {most:.1f} calls. A budget bounds that."
        )
    if stuck := [each for each in outcomes if each.recovery is None]:
        told.append(
            f"{_names(stuck)}: not well again within the time that was looked at. Either retries keep the dependency "
            "down by themselves, or --after is too short."
        )
    measured = [each for each in outcomes if each.amplification is not None]
    if len(measured) > 1:
        calm = min(measured, key=lambda each: each.amplification or 0.0)
        kind = max(measured, key=lambda each: each.success_rate)
        told.append(f"Gentlest to the dependency: {calm.name}, {calm.amplification:.2f} calls a request.")
        told.append(f"Most requests answered: {kind.name}, {percent(kind.success_rate)}.")
    return told


def _names(outcomes: Sequence[Outcome]) -> str:
    return " and ".join(each.name for each in outcomes)
