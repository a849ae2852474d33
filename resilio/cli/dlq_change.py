"""``resilio dlq edit``, ``delete`` and ``purge``: changing letters, and throwing them away."""

from __future__ import annotations

import difflib
import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import track
from rich.text import Text

from resilio.cli.console import busy, errors, output, printable, say, write_json
from resilio.cli.exits import CommandFailedError
from resilio.cli.letters import confirmed, filtered, find, in_loop, matching, on_a_queue, opened, yes
from resilio.deadletters.encoder import Encoder
from resilio.deadletters.encoding import unwrapped
from resilio.deadletters.errors import MessageNotFoundError

if TYPE_CHECKING:
    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.queue import DeadLetterQueue

__all__ = ("delete", "edit", "purge")

_TAGGED: Final = "__tagged__"  # what the encoder puts around a message that is more than JSON


@click.command()
@click.argument("letter_id", metavar="ID")
@on_a_queue
@click.option(
    "--set",
    "changes",
    metavar="PATH=VALUE",
    multiple=True,
    help="Put VALUE (JSON, or else text) at PATH of the message: --set user.phone=+1555 --set items.0.count=2",
)
@click.option("--message", metavar="JSON", help="The whole message; - reads it from stdin.")
@click.option("--editor", is_flag=True, help="Open the message in $EDITOR.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@in_loop
async def edit(
    *,
    letter_id: str,
    changes: tuple[str, ...],
    message: str | None,
    editor: bool,
    dry_run: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> None:
    """Put another message into a letter, for a replay that can succeed. Nothing else of it changes."""
    if (bool(changes) + (message is not None) + editor) != 1:
        msg = "say how: --set path=value (as often as you like), --message JSON, or --editor"
        raise click.UsageError(msg)
    async with opened(queue, region, codec, encoder=Encoder()) as letters:
        letter = await find(letters, letter_id)
        before, is_tagged = _as_json(letter)
        after = json.loads(json.dumps(before))
        if editor:
            after = _edited(before)
        elif message is not None:
            text = sys.stdin.read() if message == "-" else message
            after = _parsed("--message", text)
        for change in changes:
            after = _changed(after, change)
        if after == before:
            say("the message is the same as before")
            return
        _show_difference(before, after)
        if dry_run:
            say("nothing was changed")
            return
        await letters.edit(letter.id, _untagged(after) if is_tagged else after)
        say(f"letter {letter.id} has another message now")


def _as_json(letter: DeadLetter) -> tuple[Any, bool]:
    """The message, and whether it holds tags such as ``{"$datetime": ...}`` for what JSON has not."""
    told = letter.to_dict()["message"]
    if isinstance(told, dict) and list(told) == [_TAGGED] and told != letter.message:
        return told[_TAGGED], True
    return letter.message, False


def _untagged(message: Any) -> Any:
    try:
        return unwrapped({_TAGGED: message})
    except (TypeError, ValueError) as error:
        msg = f"the message has a tag that cannot be read: {error}"
        raise CommandFailedError(msg) from error


def _edited(before: Any) -> Any:
    text = click.edit(json.dumps(before, ensure_ascii=False, indent=2) + "\n", extension=".json")
    return before if text is None else _parsed("--editor", text)


def _parsed(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"is no JSON: {error}"
        raise click.BadParameter(msg, param_hint=f"'{option}'") from error


def _changed(message: Any, change: str) -> Any:
    path, equals, text = change.partition("=")
    if not (path and equals):
        msg = f"should be path=value, such as user.phone=+1555, not {change!r}"
        raise click.BadParameter(msg, param_hint="'--set'")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *way, last = path.split(".")
    place = message
    try:
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if isinstance(place, list):
            place[int(last)] = value
        elif isinstance(place, dict):
            place[last] = value
        else:
            raise TypeError(type(place).__name__)  # noqa: TRY301 -- told with the others
    except (KeyError, IndexError, TypeError, ValueError) as error:
        msg = f"the message has no place {path!r}"
        raise click.BadParameter(msg, param_hint="'--set'") from error
    return message


def _show_difference(before: Any, after: Any) -> None:
    old, new = (json.dumps(each, ensure_ascii=False, indent=2).splitlines() for each in (before, after))
    styles = {"+": "green", "-": "red"}
    console = output()
    for line in list(difflib.unified_diff(old, new, lineterm="", n=1))[2:]:
        if not line.startswith("@@"):
            console.print(Text(printable(line), style=styles.get(line[:1], "dim")), soft_wrap=True)


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@on_a_queue
@filtered
@click.option("--reason", metavar="TEXT", help="Why, for whoever reads the log.")
@click.option("--dry-run", is_flag=True, help="Only tell which letters would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a JSON object.")
@yes
@in_loop
async def delete(
    *,
    ids: tuple[str, ...],
    where: LetterFilter,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> None:
    """Delete letters for good: those with these IDs, or all that are like the options say."""
    if bool(ids) is not where.is_empty:
        msg = "say which letters: IDs, or options such as --error (all of them: `resilio dlq purge`)"
        raise click.UsageError(msg)
    async with opened(queue, region, codec) as letters:
        found = [(await find(letters, each)).id for each in ids] or [each.id async for each in matching(letters, where)]
        if dry_run:
            for each in () if as_json else found:
                click.echo(each)
        elif found:
            confirmed(f"Delete {_letters(len(found))} from {letters.location} for good?", is_sure=yes)
            await _delete(letters, found, reason)
        done = "would delete" if dry_run else "deleted"
        if as_json:
            write_json({"dry_run": dry_run, "deleted": 0 if dry_run else len(found), "ids": found}, indent=2)
        else:
            say(f"{done} {_letters(len(found))}")


async def _delete(letters: DeadLetterQueue, ids: list[str], reason: str | None) -> None:
    console = errors()
    for each in track(ids, "deleting", console=console, transient=True, disable=not console.is_terminal):
        try:
            await (letters.delete(each) if reason is None else letters.discard(each, reason))
        except MessageNotFoundError:
            say(f"letter {each} had gone already")


@click.command()
@on_a_queue
@click.option("--dry-run", is_flag=True, help="Only tell how many letters would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a JSON object.")
@yes
@in_loop
async def purge(
    *, dry_run: bool, as_json: bool, yes: bool, queue: str | None, region: str | None, codec: str | None
) -> None:
    """Delete every letter of a queue for good, claimed and parked ones, too."""
    async with opened(queue, region, codec) as letters:
        total = (await letters.stats()).total
        if not dry_run:
            confirmed(f"Delete all {_letters(total)} in {letters.location} for good?", is_sure=yes)
            with busy("purging"):
                total = await letters.purge(confirm=True)
    if as_json:
        write_json({"dry_run": dry_run, "deleted": 0 if dry_run else total, "letters": total}, indent=2)
    else:
        say(f"{'would delete' if dry_run else 'deleted'} {_letters(total)}")


def _letters(number: int) -> str:
    return "1 letter" if number == 1 else f"{number} letters"
