"""What the commands on dead letters have in common: which queue, which letters, and asking before destroying."""

from __future__ import annotations

import functools
import re
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import click

from resilio._core import clock
from resilio.cli.exits import CommandFailedError
from resilio.cli.loading import load
from resilio.deadletters.errors import MessageNotFoundError
from resilio.deadletters.letter import LetterStatus
from resilio.deadletters.letter_filter import LetterFilter
from resilio.deadletters.opening import local_store
from resilio.deadletters.queue import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import Store

__all__ = (
    "confirmed",
    "count",
    "filtered",
    "find",
    "in_loop",
    "is_url",
    "matching",
    "on_a_queue",
    "opened",
    "store_at",
    "yes",
)

F = TypeVar("F", bound="Callable[..., Any]")

_PAGE: Final = 500
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

yes: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


# -- which queue -------------------------------------------------------------------------------------------------------


def on_a_queue(command: F) -> F:
    """Give a command the options that say which queue."""
    for option in (
        click.option("--codec", metavar="MODULE:NAME", help="What opens sealed letters, such as a FernetCodec."),
        click.option("--region", help="The region of an SQS queue."),
        click.option(
            "--queue",
            "-q",
            metavar="PATH|URL",
            help="A journal, an SQLite file (.db, .sqlite), or an SQS queue's URL. By default what DLQ_QUEUE_URL and "
            "DLQ_LOCAL_FILE_PATH say.",
            shell_complete=_files,
        ),
    ):
        command = option(command)
    return command


def _files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 -- only while completing

    return [CompletionItem(incomplete, type="file")]


def is_url(place: str) -> bool:
    """Whether a place is a remote queue, rather than a file."""
    return place.startswith(("http://", "https://"))


def store_at(place: str, region: str | None, *, may_be_new: bool) -> Store:
    """The store at a path or URL.

    Raises:
        CommandFailedError: There is no such file, and it is not to be made.
    """
    if is_url(place):
        from resilio.deadletters.sqs_store import SqsStore  # noqa: PLC0415 -- only for those who use it

        return SqsStore(place, region=region)
    path = Path(place).absolute()
    if not may_be_new and not path.exists():
        msg = f"there is no file {place}"
        raise CommandFailedError(msg)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent}"
        raise CommandFailedError(msg)
    return local_store(path)


@asynccontextmanager
async def opened(
    queue: str | None,
    region: str | None,
    codec: str | None,
    *,
    may_be_new: bool = False,
    **arguments: Any,
) -> AsyncGenerator[DeadLetterQueue]:
    """The queue that the options say, closed afterwards.

    Raises:
        CommandFailedError: There is no such file.
        click.BadParameter: The codec cannot be loaded.
    """
    if codec is not None:
        arguments["codec"] = load("--codec", codec)
    if queue is not None:  # the environment has no say in it then
        made = DeadLetterQueue(store=store_at(queue, region, may_be_new=may_be_new), **arguments)
    else:
        made = DeadLetterQueue(region=region, **arguments)
        path = made.local_file_path
        if not may_be_new and made.queue_url is None and path is not None and not path.exists():
            msg = f"there is no file {path}; say which with --queue, or set DLQ_QUEUE_URL or DLQ_LOCAL_FILE_PATH"
            raise CommandFailedError(msg)
    try:
        yield made
    finally:
        await made.aclose()


def in_loop(command: Callable[..., Awaitable[object]]) -> Callable[..., object]:
    """Run an async command in an event loop of its own."""

    @functools.wraps(command)
    def run(**options: Any) -> object:
        return anyio.run(functools.partial(command, **options))

    return run


# -- which letters -----------------------------------------------------------------------------------------------------


def _moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    """A time: ISO 8601, in UTC if it has no offset, or a length of time before now."""
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip()):
        return clock.utcnow() - timedelta(seconds=float(ago[1]) * _UNITS[ago[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"{text!r} is neither a time such as 2026-11-22T14:30 nor an age such as 90m, 2h or 7d"
        raise click.BadParameter(msg) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def filtered(command: F) -> F:
    """Give a command the options that say which letters."""
    for option in (
        click.option("--text", metavar="TEXT", help="Only those with TEXT in id, message, error or headers."),
        click.option("--until", callback=_moment, metavar="TIME", help="Only those that failed last before TIME."),
        click.option(
            "--since",
            callback=_moment,
            metavar="TIME",
            help="Only those that failed last since TIME: 2h, 7d or 2026-11-22T14:30 (UTC).",
        ),
        click.option(
            "--status", type=click.Choice([each.value for each in LetterStatus]), help="Only those with this status."
        ),
        click.option("--group", metavar="GROUP", help="Only those of this group, as `resilio dlq stats` shows them."),
        click.option("--error", metavar="CLASS", help="Only those with this class of error, such as ConnectTimeout."),
    ):
        command = option(command)

    @functools.wraps(command)
    def gathered(**options: Any) -> object:
        names = ("error", "group", "status", "since", "until", "text")
        return command(where=LetterFilter(**{name: options.pop(name) for name in names}), **options)

    return gathered  # type: ignore[return-value]


async def matching(
    queue: DeadLetterQueue, where: LetterFilter, *, limit: int | None = None
) -> AsyncIterator[DeadLetter]:
    """The letters that are meant, in the order in which they came."""
    after: str | None = None
    left = limit
    while left is None or left > 0:
        wanted = _PAGE if left is None else min(_PAGE, left)
        page = await queue.peek(wanted, after=after, where=where)
        for letter in page:
            yield letter
        if len(page) < wanted:
            return
        left = None if left is None else left - len(page)
        after = page[-1].id


async def count(queue: DeadLetterQueue, where: LetterFilter) -> int:
    """How many letters are meant."""
    if where.is_empty:
        return (await queue.stats()).total
    number = 0
    async for _ in matching(queue, where):  # none of them is kept
        number += 1
    return number


async def find(queue: DeadLetterQueue, given: str) -> DeadLetter:
    """The letter with this id, or the only one whose id begins like this.

    Raises:
        CommandFailedError: There is none, or there are several.
    """
    try:
        return await queue.get(given)
    except MessageNotFoundError as error:
        found = [
            letter async for letter in matching(queue, LetterFilter(text=given)) if letter.id.startswith(given.lower())
        ]
        if len(found) == 1:
            return found[0]
        if found:
            msg = f"{len(found)} letters have an id that begins with {given}; say more of it"
            raise CommandFailedError(msg) from error
        msg = f"there is no letter {given} in {queue.location}"
        raise CommandFailedError(msg) from error


# -- asking ------------------------------------------------------------------------------------------------------------


def confirmed(question: str, *, is_sure: bool) -> None:
    """Return when it is meant.

    Raises:
        CommandFailedError: It is not, or nobody can be asked.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        msg = "nobody can be asked here: say --yes if it is meant; nothing was changed"
        raise CommandFailedError(msg)
    if not click.confirm(question, err=True):
        msg = "nothing was changed"
        raise CommandFailedError(msg)
