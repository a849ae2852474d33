"""``resilio simulate``: what would these settings do in an outage?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from resilio.cli.console import errors, output, say, write_json
from resilio.cli.simulation import engine, scenario_file
from resilio.cli.simulation.contender import STANDARD, Contender
from resilio.cli.simulation.outcome import Outcome, judge
from resilio.cli.simulation.plot import chart, comparison, reading
from resilio.cli.simulation.scenario import OutageKind, Scenario
from resilio.cli.simulation.svg import as_svg

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("simulate",)


@click.command()
@click.argument("outage", type=click.Choice([each.value for each in OutageKind]), required=False)
@click.option(
    "--policy",
    "-p",
    "policies",
    metavar="[NAME:]KEY=VALUE...",
    multiple=True,
    help="Policies to compare; again for each set. By default five usual ones.",
)
@click.option(
    "--file", "-f", metavar="TOML", type=click.Path(exists=True, dir_okay=False), help="A scenario to begin with."
)
@click.option("--clients", type=int, help="Processes that call.  [default: 50]")
@click.option("--rate", type=float, help="Requests a second that each of them has to serve.  [default: 0.5]")
@click.option("--together", is_flag=True, default=None, help="They all ask at the same moments, as timers do.")
@click.option("--before", type=float, metavar="SECONDS", help="When the outage begins.  [default: 10]")
@click.option("--length", type=float, metavar="SECONDS", help="How long it lasts.  [default: 40]")
@click.option("--after", type=float, metavar="SECONDS", help="How long is looked at afterwards.  [default: 70]")
@click.option("--fault-rate", type=float, metavar="SHARE", help="In a partial outage: what fails.  [default: 0.3]")
@click.option(
    "--slow-latency", type=float, metavar="SECONDS", help="When slow: how long an answer takes.  [default: 5]"
)
@click.option("--capacity", type=float, metavar="TIMES", help="What can be done, times the demand.  [default: 2]")
@click.option("--overload-capacity", type=float, metavar="TIMES", help="The same, in an overload.  [default: 0.7]")
@click.option("--queue", type=float, metavar="SECONDS", help="Calls that would wait longer are refused.  [default: 5]")
@click.option("--seed", type=int, help="What chance begins with; the same seed gives the same run.  [default: 1]")
@click.option("--svg", metavar="FILE", help="Write the picture to FILE as well.")
@click.option("--json", "as_json", is_flag=True, help="Everything as a JSON object, second by second.")
def simulate(*, policies: tuple[str, ...], file: str | None, svg: str | None, as_json: bool, **given: Any) -> None:
    """Play policies against an outage, in virtual time, to choose settings before production.

    OUTAGE is total (every call is refused; the default), partial (a share fails), slow, or overload (more demand than
    capacity). Clients call a simulated dependency through the real policies: what these do here, they do in production.

    \b
    A policy's keys, outermost first:
      retries=N  base=SECONDS  max=SECONDS  jitter=full|equal|decorrelated|none
      budget=SHARE[/PER_SECOND]   retries allowed for each call, such as 20%
      breaker=FAILURES/SECONDS    or SHARE/SECONDS, such as 5/30 or 50%/30
      timeout=SECONDS

    \b
    resilio simulate total
    resilio simulate overload -p "now: retries=5" -p "then: retries=3 budget=10%"
    """  # noqa: D301 -- a \b keeps click from filling a paragraph
    told, contenders = _told(file)
    told |= {name: value for name, value in given.items() if value is not None}
    try:
        scenario = Scenario(**told)
        contenders = [Contender.parse(each) for each in policies] or contenders
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    contenders = contenders or [Contender.parse(each) for each in STANDARD]
    outcomes = _play(scenario, contenders)
    if svg is not None:
        Path(svg).write_text(as_svg(scenario, outcomes), encoding="utf-8")
    if as_json:
        write_json({"scenario": scenario.to_dict(), "policies": [each.to_dict() for each in outcomes]}, indent=2)
        return
    _print(scenario, outcomes)
    if svg is not None:
        say(f"the picture is in {svg}")


def _told(file: str | None) -> tuple[dict[str, Any], list[Contender]]:
    if file is None:
        return {}, []
    try:
        return scenario_file.read(file)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--file'") from error


def _play(scenario: Scenario, contenders: Sequence[Contender]) -> list[Outcome]:
    outcomes = []
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=errors(),
        disable=not errors().is_terminal,
        transient=True,
    ) as progress:
        for contender in contenders:
            bar = progress.add_task(contender.name, total=scenario.duration)

            async def run(contender: Contender = contender, bar: Any = bar) -> engine.Record:
                return await engine.simulate(
                    scenario, contender, on_second=lambda second: progress.update(bar, completed=second)
                )

            outcomes.append(judge(scenario, contender, anyio.run(run)))
            progress.update(bar, completed=scenario.duration)
    return outcomes


def _print(scenario: Scenario, outcomes: Sequence[Outcome]) -> None:
    console = output()
    spread = "together" if scenario.together else "evenly spread"
    console.print(
        f"{scenario.clients} clients, {scenario.demand:g} requests a second, {spread}; "
        f"{scenario.outage} outage from {scenario.before:g} s to {scenario.end:g} s; "
        f"capacity {scenario.capacity:g} times the demand; seed {scenario.seed}"
    )
    console.print(chart(scenario, outcomes, console.width))
    console.print(comparison(outcomes))
    told = Table.grid(padding=(0, 1))
    for line in reading(outcomes):
        told.add_row("•", Text(line))
    console.print(told)
