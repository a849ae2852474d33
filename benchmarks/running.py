"""Running rows: who takes part, whether they do what the row is about, and how long they take."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import limits, limits_of_reports, our_reports, ours
from benchmarks.measuring import Contestant, Lap, measure
from benchmarks.results import Kind, RowResult
from benchmarks.rows import Row, StartUpRow

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from benchmarks.drivers import Operation
    from benchmarks.measuring import Batch, Effort
    from benchmarks.peers import Field

    Adapter = Callable[[Operation], Operation]

BARE = "bare"
LIMIT = "limit"
OURS = "resilio"


async def run_row(row: Row | StartUpRow, field: Field, effort: Effort) -> RowResult:
    """Measure a row with everybody who can take part in it."""
    if isinstance(row, StartUpRow):
        return await _run_start_up(row, field, effort)
    adapters: list[tuple[Kind, str, Adapter]] = []
    probe, own = _adapter((limits, limits_of_reports), row.key), _adapter((ours, our_reports), row.key)
    if probe is not None:
        adapters.append((Kind.LIMIT, LIMIT, probe))
    if own is None:
        msg = f"resilio has no contestant in the row {row.key!r}"
        raise LookupError(msg)
    adapters.append((Kind.OURS, OURS, own))
    missing = {}
    for kind, peers in ((Kind.REFERENCE, field.references), (Kind.PEER, field.peers)):
        for peer in peers:
            adapter = peer.adapter(row.key)
            if adapter is not None:
                adapters.append((kind, peer.name, adapter))
            elif kind is Kind.PEER:
                missing[peer.name] = peer.lack(row.key)

    bare = Contestant(BARE, row.driver(row.unprotected()))
    kinds = {BARE: Kind.BARE}
    contestants = [] if row.is_above_none else [bare]
    for kind, name, adapter in adapters:
        try:
            operation = adapter(row.protected())
            await row.check(operation)
        except Exception as error:
            if kind is not Kind.PEER:
                raise
            missing[name] = f"does not do it: {type(error).__name__}: {error}"
            continue
        kinds[name] = kind
        contestants.append(Contestant(name, row.driver(operation)))

    timings = await measure(
        contestants,
        effort if row.count is None else effort.for_long(),
        count=row.count,
        floor=bare if row.is_above_none else None,
    )
    return RowResult(row, tuple((kinds[each.name], each) for each in timings), missing)


def _adapter(modules: tuple[ModuleType, ...], key: str) -> Adapter | None:
    return next((getattr(each, key) for each in modules if hasattr(each, key)), None)


# -- what happens once in a process ------------------------------------------------------------------------------------

_PROGRAM = """\
import json
from time import process_time
import anyio
start = process_time()
{import_line}
imported = process_time()
{first_line}
print(json.dumps({{"import": imported - start, "first breaker": process_time() - imported}}))
"""


async def _run_start_up(row: StartUpRow, field: Field, effort: Effort) -> RowResult:
    contestants = [Contestant(OURS, _in_new_process(ours.IMPORT, ours.FIRST_BREAKER, row))]
    kinds, missing = {OURS: Kind.OURS}, {}
    for peer in field.peers if row.has_peers else ():
        import_line, first_line = peer.line("IMPORT"), peer.line("FIRST_BREAKER")
        if import_line is None or ("first breaker" in row.parts and first_line is None):
            missing[peer.name] = peer.lack(row.key)
            continue
        kinds[peer.name] = Kind.PEER
        contestants.append(Contestant(peer.name, _in_new_process(import_line, first_line or "", row)))
    timings = await measure(contestants, effort.for_long(), count=1)
    return RowResult(row, tuple((kinds[each.name], each) for each in timings), missing)


def _in_new_process(import_line: str, first_line: str, row: StartUpRow) -> Batch:
    program = _PROGRAM.format(import_line=import_line, first_line=first_line)

    async def batch(count: int) -> Lap:
        seconds = 0.0
        for _ in range(count):
            done = subprocess.run(  # noqa: ASYNC221, S603 -- nobody else is to run meanwhile; the program is ours
                [sys.executable, "-c", program], check=True, capture_output=True, text=True
            )
            took = json.loads(done.stdout)
            seconds += sum(took[part] for part in row.parts)
        return Lap(seconds)

    return batch
