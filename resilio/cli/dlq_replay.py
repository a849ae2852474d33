"""``resilio dlq replay``: giving letters to the reprocessor again."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from resilio.cli.console import errors, output, preview, row_text, say, write_json
from resilio.cli.exits import ExitCode
from resilio.cli.letters import count, filtered, find, in_loop, matching, on_a_queue, opened
from resilio.cli.loading import load
from resilio.deadletters.errors import DeadLetterQueueError, MessageClaimedError, MessageNotFoundError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.replay_rules import StopWhenFailing
from resilio.deadletters.replay_run import ReplayEnd, ReplaySummary

if TYPE_CHECKING:
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.queue import DeadLetterQueue
    from resilio.deadletters.replay_run import ReplayProgress

__all__ = ("replay",)


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@on_a_queue
@click.option(
    "--reprocessor",
    "-r",
    metavar="MODULE:FUNCTION",
    envvar="RESILIO_REPROCESSOR",
    help="What handles a message, async or plain; looked for in this folder first. Or RESILIO_REPROCESSOR.",
)
@filtered
@click.option("--limit", "-n", type=click.IntRange(min=1), help="How many letters at most.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="How many a second at most.")
@click.option("--concurrency", "-c", type=click.IntRange(min=1), default=1, show_default=True, help="How many at once.")
@click.option("--keep-going", is_flag=True, help="Go on although most of them fail.")
@click.option("--dry-run", is_flag=True, help="Only tell which letters would be replayed.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a JSON object.")
@in_loop
async def replay(
    *,
    ids: tuple[str, ...],
    reprocessor: str | None,
    where: LetterFilter,
    limit: int | None,
    rate: float | None,
    concurrency: int,
    keep_going: bool,
    dry_run: bool,
    as_json: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> int:
    """Give letters to the reprocessor again: those with these IDs, or all that wait and are like the options say.

    A letter goes when its reprocessor succeeds and stays when that fails. When most of them fail the run stops by
    itself. Ctrl-C gives back what is at hand; nothing is lost, whatever interrupts it.

    Exit codes: 0 all replayed, 1 some failed again.
    """
    if ids and not where.is_empty:
        msg = "give either IDs or options that say which letters, not both"
        raise click.UsageError(msg)
    if reprocessor is None and not dry_run:
        msg = "say what handles a message: --reprocessor module:function"
        raise click.UsageError(msg)
    handle = None if reprocessor is None else load("--reprocessor", reprocessor)
    if handle is not None and not callable(handle):
        msg = f"{reprocessor} is no function, but {handle!r}"
        raise click.BadParameter(msg, param_hint="'--reprocessor'")
    async with opened(queue, region, codec, reprocessor=handle) as letters:
        if dry_run:
            return await _tell(letters, ids, where, limit, as_json=as_json)
        if ids:
            summary = await _by_id(letters, ids)
        else:
            rule = None if keep_going else StopWhenFailing()
            summary = await _all(letters, where, limit, rate, concurrency, rule)
    _report(summary, as_json=as_json)
    return ExitCode.IN_PART if summary.failed or summary.ended is ReplayEnd.FAILING else ExitCode.DONE


async def _tell(
    letters: DeadLetterQueue, ids: tuple[str, ...], where: LetterFilter, limit: int | None, *, as_json: bool
) -> int:
    if ids:
        found = [(await find(letters, each)).id for each in ids]
    else:
        free = (each async for each in matching(letters, where) if each.status is LetterStatus.WAITING)
        found = [each.id async for each in free][:limit]
    if as_json:
        write_json({"dry_run": True, "would_replay": len(found), "ids": found}, indent=2)
        return ExitCode.DONE
    for each in found:
        click.echo(each)
    say(f"would replay {len(found)} letters; some of them may still rest after a failed replay")
    return ExitCode.DONE


async def _by_id(letters: DeadLetterQueue, ids: tuple[str, ...]) -> ReplaySummary:
    failed: dict[str, str] = {}
    for given in ids:
        letter = await find(letters, given)
        try:
            await letters.reprocess_message(letter.id)
        except (MessageClaimedError, MessageNotFoundError) as error:  # somebody else has it, or had: the rest goes on
            failed[letter.id] = str(error)
        except DeadLetterQueueError:
            raise
        except Exception as error:  # the reprocessor's
            failed[letter.id] = f"{type(error).__name__}: {error}"
    return ReplaySummary(
        replayed=len(ids) - len(failed), failed=len(failed), errors=failed, why="the letters named were tried"
    )


async def _all(
    letters: DeadLetterQueue,
    where: LetterFilter,
    limit: int | None,
    rate: float | None,
    concurrency: int,
    rule: StopWhenFailing | None,
) -> ReplaySummary:
    console = errors()
    total = await _waiting(letters, where) if console.is_terminal else 0
    with Progress(
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=total if limit is None else min(total, limit), failed="")

        def advance(told: ReplayProgress) -> None:
            failed = f"{told.failed} failed" if told.failed else ""
            progress.update(bar, completed=told.replayed + told.failed, failed=failed)

        return await letters.reprocess_all(
            where,
            limit=limit,
            rate=rate,
            max_concurrency=concurrency,
            on_progress=advance,
            stop_when_failing=rule,
        )


async def _waiting(letters: DeadLetterQueue, where: LetterFilter) -> int:
    if where.is_empty:
        return (await letters.stats()).waiting
    if where.status not in {None, LetterStatus.WAITING}:
        return 0
    return await count(letters, changed(where, status=LetterStatus.WAITING))


def _report(summary: ReplaySummary, *, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {
            "replayed": summary.replayed,
            "failed": summary.failed,
            "parked": summary.parked,
            "ended": summary.ended.value,
            "why": summary.why,
            "errors": dict(summary.errors),
        }
        write_json(told, indent=2)
        return
    console = output()
    parked = f", {summary.parked} of them parked" if summary.parked else ""
    console.print(f"{summary.replayed} replayed, {summary.failed} failed{parked}: {summary.why}")
    for letter_id, error in list(summary.errors.items())[:10]:
        console.print(row_text(f"  {letter_id}  {preview(error)}", "red"))
    if len(summary.errors) > 10:  # noqa: PLR2004 -- what was printed above
        console.print(f"  and {summary.failed - 10} more")
