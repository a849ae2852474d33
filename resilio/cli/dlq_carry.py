"""``resilio dlq export``, ``import`` and ``move``: letters on their way to somewhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from resilio.cli.console import busy, say, write_json
from resilio.cli.letters import confirmed, count, filtered, in_loop, on_a_queue, opened, store_at, yes
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from resilio.deadletters.letter_filter import LetterFilter

__all__ = ("export_letters", "import_letters", "move")


@click.command("export")
@click.argument("target", metavar="FILE", default="-")
@on_a_queue
@filtered
@click.option("--opened", "is_opened", is_flag=True, help="Write sealed letters readable; needs --codec.")
@in_loop
async def export_letters(
    *, target: str, where: LetterFilter, is_opened: bool, queue: str | None, region: str | None, codec: str | None
) -> None:
    """Write letters to FILE, or to stdout, as JSON lines that `import` reads. The letters stay.

    FILE appears once it is whole, readable by you alone.
    """
    async with opened(queue, region, codec) as letters:
        place: Any = sys.stdout if target == "-" else target
        with busy("exporting"):
            number = await letters.export_to(place, where, opened=is_opened)
    sys.stdout.flush()
    say(f"wrote {number} letters{'' if target == '-' else f' to {target}'}")


@click.command("import")
@click.argument("source", metavar="FILE", default="-")
@on_a_queue
@click.option("--json", "as_json", is_flag=True, help="The outcome as a JSON object.")
@in_loop
async def import_letters(
    *, source: str, as_json: bool, queue: str | None, region: str | None, codec: str | None
) -> None:
    """Keep the letters that `export` wrote to FILE, or that come on stdin, with ids, attempts and history.

    A letter that is there already is left as it is: importing twice does no harm.
    """
    async with opened(queue, region, codec, may_be_new=True) as letters:
        with busy("importing"):
            number = await letters.import_from(sys.stdin if source == "-" else source)
        place = letters.location
    if as_json:
        write_json({"imported": number, "location": place}, indent=2)
    else:
        say(f"read {number} letters into {place}")


@click.command()
@on_a_queue
@click.option("--to", "target", metavar="PATH|URL", required=True, help="The other queue; a file may be new.")
@filtered
@click.option("--dry-run", is_flag=True, help="Only tell how many letters would be moved.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a JSON object.")
@yes
@in_loop
async def move(
    *,
    target: str,
    where: LetterFilter,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> None:
    """Move letters to another queue, with ids, attempts and history. Claimed ones stay.

    Interrupted, a letter may lie in both queues, never in none; moving again makes one of it.
    """
    async with opened(queue, region, codec) as letters:
        if dry_run:
            number = await count(letters, where)
        else:
            if where.is_empty:
                confirmed(f"Move every letter from {letters.location} to {target}?", is_sure=yes)
            other = DeadLetterQueue(store=store_at(target, region, may_be_new=True))
            try:
                with busy("moving"):
                    number = await letters.move(where, to=other)
            finally:
                await other.aclose()
    if as_json:
        write_json({"dry_run": dry_run, "moved": 0 if dry_run else number, "letters": number, "to": target}, indent=2)
    else:
        say(f"{'would move' if dry_run else 'moved'} {number} letters to {target}")
