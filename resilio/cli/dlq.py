"""``resilio dlq``: looking at dead letters. What changes them is in the modules beside this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resilio.cli.console import output, say, write_json
from resilio.cli.dlq_carry import export_letters, import_letters, move
from resilio.cli.dlq_change import delete, edit, purge
from resilio.cli.dlq_replay import replay
from resilio.cli.letter_views import letter_view, letters_table, stats_view
from resilio.cli.letters import count, filtered, find, in_loop, matching, on_a_queue, opened

if TYPE_CHECKING:
    from resilio.deadletters.letter_filter import LetterFilter

__all__ = ("dlq",)


@click.group()
def dlq() -> None:
    """Look at dead letters, replay them, tidy them up.

    Every command takes --queue; without it the environment says which queue, as it does for the application.
    Ids may be cut, as long as only one letter begins like that.
    """


@dlq.command("list")
@on_a_queue
@filtered
@click.option("--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@click.option("--all", "is_all", is_flag=True, help="All of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@in_loop
async def list_letters(
    *,
    where: LetterFilter,
    limit: int,
    is_all: bool,
    as_json: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> None:
    """List letters, those that came first at the top."""
    async with opened(queue, region, codec) as letters:
        if as_json:
            async for letter in matching(letters, where, limit=None if is_all else limit):
                write_json(letter.to_dict())
            return
        found = [letter async for letter in matching(letters, where, limit=None if is_all else limit)]
        if not found:
            say("no letters" if where.is_empty else "no letter is like that")
            return
        console = output()
        console.print(letters_table(found, console.width))
        if len(found) == limit and not is_all and (total := await count(letters, where)) > limit:
            say(f"{limit} of {total} letters; --limit or --all shows more")


@dlq.command()
@click.argument("letter_id", metavar="ID")
@on_a_queue
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@in_loop
async def show(*, letter_id: str, as_json: bool, queue: str | None, region: str | None, codec: str | None) -> None:
    """Show one letter: its message, its error, where it came from and what replaying it came to."""
    async with opened(queue, region, codec) as letters:
        letter = await find(letters, letter_id)
    if as_json:
        write_json(letter.to_dict(), indent=2)
    else:
        output().print(letter_view(letter))


@dlq.command()
@on_a_queue
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@in_loop
async def stats(*, as_json: bool, queue: str | None, region: str | None, codec: str | None) -> None:
    """Count letters by status and by group, and tell how old the oldest is."""
    async with opened(queue, region, codec) as letters:
        found = await letters.stats()
        if as_json:
            write_json({"location": letters.location, **found.to_dict()}, indent=2)
        else:
            output().print(stats_view(found, letters.location))


for _command in (replay, edit, delete, export_letters, import_letters, move, purge):
    dlq.add_command(_command)
