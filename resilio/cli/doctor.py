"""``resilio doctor``: is this deployment sound, and what is to be done if not."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from resilio import settings
from resilio.alerting.notifier import AdminNotifier
from resilio.cli.channel_checks import check_channels, send_test
from resilio.cli.checks import Finding, Verdict
from resilio.cli.console import output, printable, write_json
from resilio.cli.exits import CommandFailedError, ExitCode
from resilio.cli.letters import in_loop, is_url, on_a_queue, opened
from resilio.cli.loading import load
from resilio.cli.queue_checks import check_queue
from resilio.cli.settings_checks import check_installation, check_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from resilio.deadletters.queue import DeadLetterQueue

__all__ = ("doctor",)

_SIGNS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.NOTE: ("·", "dim"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.PROBLEM: ("✗", "bold red"),
}


@click.command()
@on_a_queue
@click.option("--notifier", metavar="MODULE:NAME", help="The AdminNotifier to check; else what SNS_TOPIC_ARN makes.")
@click.option("--send-test", "sends", is_flag=True, help="Send a test notification over every channel.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="The findings as a JSON object.")
@in_loop
async def doctor(
    *,
    notifier: str | None,
    sends: bool,
    strict: bool,
    as_json: bool,
    queue: str | None,
    region: str | None,
    codec: str | None,
) -> int:
    """Check settings, queue, channels and installation, and say what to do.

    Nothing is written and nobody is told, unless --send-test says so. Exit codes: 0 sound, 1 a problem was found.
    """
    findings = [*check_settings()]
    findings += [each async for each in _queue(queue, region, codec)]
    findings += [each async for each in _channels(notifier, sends=sends)]
    findings += check_installation(_needed(queue))
    bad = {Verdict.PROBLEM, Verdict.WARNING} if strict else {Verdict.PROBLEM}
    is_sound = not any(each.verdict in bad for each in findings)
    if as_json:
        write_json({"sound": is_sound, "findings": [each.to_dict() for each in findings]}, indent=2)
    else:
        _print(findings)
    return ExitCode.DONE if is_sound else ExitCode.IN_PART


async def _queue(queue: str | None, region: str | None, codec: str | None) -> AsyncIterator[Finding]:
    try:
        async with opened(queue, region, codec, may_be_new=True) as letters:
            async for each in check_queue(letters, _file_of(letters, queue)):
                yield each
    except (CommandFailedError, ImportError, ValueError) as error:
        yield Finding(area="queue", name="where", verdict=Verdict.PROBLEM, told=str(error), advice="see --queue")


def _file_of(letters: DeadLetterQueue, queue: str | None) -> Path | None:
    if queue is None:
        return letters.local_file_path if letters.queue_url is None else None
    return None if is_url(queue) else Path(queue).absolute()


async def _channels(name: str | None, *, sends: bool) -> AsyncIterator[Finding]:
    try:
        notifier = AdminNotifier() if name is None else load("--notifier", name)
    except (ImportError, ValueError) as error:
        advice = "see SNS_TOPIC_ARN, and the installation below"
        yield Finding(area="channels", name="SNS", verdict=Verdict.PROBLEM, told=str(error), advice=advice)
        return
    if not isinstance(notifier, AdminNotifier):
        msg = f"{name} is no AdminNotifier, but {notifier!r}"
        raise click.BadParameter(msg, param_hint="'--notifier'")
    async for each in check_channels(notifier):
        yield each
    if sends:
        async for each in send_test(notifier):
            yield each


def _needed(queue: str | None) -> dict[str, str]:
    needed: dict[str, str] = {}
    if settings.SNS_TOPIC_ARN.read() is not None:
        needed["aws"] = "SNS_TOPIC_ARN"
    if (queue is not None and is_url(queue)) or (queue is None and settings.DLQ_QUEUE_URL.read() is not None):
        needed["aws"] = "the SQS queue"
    return needed


def _print(findings: Sequence[Finding]) -> None:
    console = output()
    for area, several in groupby(findings, key=lambda each: each.area):
        console.print(Text(f"\n{area}", style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=3, justify="right")
        table.add_column(no_wrap=True, min_width=12)
        table.add_column(overflow="fold")
        for each in several:
            sign, style = _SIGNS[each.verdict]
            told = Text(printable(each.told), style="" if each.verdict is not Verdict.NOTE else "dim")
            if each.advice:
                told.append(f"\n→ {printable(each.advice)}", style="cyan")
            table.add_row(Text(sign, style=style), Text(each.name), told)
        console.print(table)
    count = {verdict: sum(each.verdict is verdict for each in findings) for verdict in Verdict}
    if count[Verdict.PROBLEM] or count[Verdict.WARNING]:
        numbers = f"\n{_several(count[Verdict.PROBLEM], 'problem')}, {_several(count[Verdict.WARNING], 'warning')}"
        console.print(Text(numbers, style="red" if count[Verdict.PROBLEM] else "yellow"))
    else:
        console.print(Text("\nall is well", style="green"))


def _several(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
