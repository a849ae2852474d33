"""``python -m benchmarks``: measure, print, and write the results down."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import report
from benchmarks.counts import COUNTS, run_count
from benchmarks.growth import GROWTHS, run_growth
from benchmarks.measuring import FULL, QUICK, SMOKE
from benchmarks.peers import DISTRIBUTIONS, Field
from benchmarks.results import as_json, machine
from benchmarks.rows import ROWS
from benchmarks.running import run_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.growth import Growth
    from benchmarks.rows import Row, StartUpRow

_SMOKE_SHARE = 0.01
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line asks for."""
    asked = _parser().parse_args(arguments)
    console = Console(width=max(Console().width, 150)) if not sys.stdout.isatty() else Console()
    return asyncio.run(_run(asked, console))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    keys = [each.key for each in (*ROWS, *GROWTHS, *COUNTS)]
    parser.add_argument(
        "--row", action="append", choices=keys, metavar="NAME", help=f"only this one: {', '.join(keys)}"
    )
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_const", const=QUICK, dest="effort", help="a few seconds, more noise")
    effort.add_argument("--smoke", action="store_const", const=SMOKE, dest="effort", help="run everything once")
    parser.add_argument("--ours", action="store_true", help="without the peers")
    parser.add_argument("--json", type=Path, metavar="PATH", help=f"where to write; {RESULTS.name}/ for a full run")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="where to draw, as .svg or .png; likewise")
    parser.set_defaults(effort=FULL)
    return parser


async def _run(asked: argparse.Namespace, console: Console) -> int:
    field = Field(peers=()) if asked.ours else Field()
    rows: list[Row | StartUpRow] = [each for each in ROWS if not asked.row or each.key in asked.row]
    growths: list[Growth] = [each for each in GROWTHS if not asked.row or each.key in asked.row]
    is_full = not asked.row and not asked.ours and asked.effort is FULL

    console.print(f"Python {sys.version.split()[0]} on {machine()}", style="dim")
    for peer in field.peers:
        if peer.module is None:
            console.print(f"{peer.name}: {peer.absence}", style="yellow", markup=False)
    console.print()

    results = []
    for row in rows:
        results.append(await run_row(row, field, asked.effort))
        report.print_row(console, results[-1])
    grown = []
    for growth in growths:
        grown.append(await run_growth(growth, asked.effort))
        report.print_growth(console, grown[-1])
    share = _SMOKE_SHARE if asked.effort is SMOKE else 1.0
    counted = [await run_count(each, share=share) for each in COUNTS if not asked.row or each.key in asked.row]
    if results:
        report.print_summary(console, results)
    if counted:
        report.print_counts(console, counted)

    written = as_json(results, grown, counted, ("resilio-toolkit", "anyio", *DISTRIBUTIONS.values()))
    if asked.json or is_full:
        _write(asked.json or RESULTS / "latest.json", json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    if asked.plot or is_full:
        from benchmarks.plot import draw  # noqa: PLC0415 -- matplotlib takes a second to import, and more to install

        draw(written, asked.plot or RESULTS / "latest.svg")
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
