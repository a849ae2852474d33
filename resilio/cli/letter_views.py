"""How letters and queues look in a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from resilio.cli.console import age, preview, printable, row_text, since, stamp
from resilio.deadletters.codec import is_sealed
from resilio.deadletters.letter import LetterStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.store import DeadLetterStats

__all__ = ("letter_view", "letters_table", "stats_view")

_STYLES = {LetterStatus.WAITING: "yellow", LetterStatus.CLAIMED: "cyan", LetterStatus.PARKED: "red"}
_SHORT_ID = 18  # the time and the counter, which letters of one process differ in
_WIDE = 120
_SEALED = "(sealed: --codec opens it)"


def letters_table(letters: Iterable[DeadLetter], width: int) -> Table:
    """One letter a line: short ids in a narrow terminal, whole ones in a wide one; either can be typed back."""
    is_wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("id", width=36 if is_wide else _SHORT_ID, no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("tries", justify="right", no_wrap=True)
    table.add_column("error", ratio=2, min_width=12, no_wrap=True)
    table.add_column("message", ratio=3, min_width=12, no_wrap=True)
    for letter in letters:
        table.add_row(
            row_text(letter.id if is_wide else letter.id[:_SHORT_ID]),
            row_text(since(letter.last_failed_at), "dim"),
            row_text(letter.status.value, _STYLES[letter.status]),
            row_text(str(letter.attempts)),
            row_text(_error_of(letter)),
            row_text(_SEALED, "dim") if is_sealed(letter.error_info) else row_text(preview(letter.message)),
        )
    return table


def _error_of(letter: DeadLetter) -> str:
    if is_sealed(letter.error_info):
        return ""
    told = letter.error_info
    kind, text = str(told.get("error_type", "")), preview(told.get("error_message", ""))
    return f"{kind}: {text}" if kind and text else kind or text


def letter_view(letter: DeadLetter) -> Group:
    """A letter with all that is known of it."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    told: dict[str, Text] = {
        "letter": Text(letter.id, style="bold"),
        "status": Text(letter.status.value, style=_STYLES[letter.status]),
        "failed": Text(f"{stamp(letter.last_failed_at)} ({since(letter.last_failed_at)} ago)"),
        "first": Text(f"{stamp(letter.first_failed_at)} ({since(letter.first_failed_at)} ago)"),
        "replays": Text(str(letter.attempts)),
        "group": Text(printable(letter.group)),
        "from": Text(printable(", ".join(f"{name} {value}" for name, value in letter.source.items() if value))),
    }
    if letter.deduplication_key:
        told["key"] = Text(printable(letter.deduplication_key))
    for name, text in told.items():
        if text:
            facts.add_row(name, text)
    for name, value in letter.headers.items():
        facts.add_row(row_text(f"header {name}"), Text(printable(value)))
    if is_sealed(letter.error_info):
        return Group(facts, *_section("message", Text(_SEALED, style="dim")))
    parts: list[RenderableType] = [facts, *_section("message", _json(letter.message))]
    error = dict(letter.error_info)
    head = ": ".join(printable(str(error.pop(name))) for name in ("error_type", "error_message") if error.get(name))
    if head:
        parts += _section("error", Text(head, style="red"))
    error.pop("timestamp", None)  # when it failed last, which is told above
    traceback = error.pop("traceback", None)
    if isinstance(traceback, str) and traceback:
        parts.append(_indented(_lines(traceback, style="dim")))
    if any(error.values()):
        parts.append(_indented(_json({name: value for name, value in error.items() if value})))
    if letter.history:
        parts += _section("history", _history(letter.history))
    return Group(*parts)


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), _indented(body)]


def _indented(body: RenderableType) -> Padding:
    return Padding(body, (0, 0, 0, 2), expand=False)


def _json(value: Any) -> Text:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=repr)
    return _lines(text)


def _lines(text: str, style: str = "") -> Text:
    return Text("\n".join(printable(line) for line in text.split("\n")), overflow="fold", style=style)


def _history(history: Iterable[Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for line in history:
        if "left_out" in line:
            table.add_row("", Text(f"({line['left_out']} more)", style="dim"), "")
            continue
        error = f"{line.get('error_type', '')}: {preview(line.get('error_message', ''))}"
        table.add_row(str(line.get("attempt", "")), str(line.get("failed_at", ""))[:19], Text(printable(error)))
    return table


def stats_view(stats: DeadLetterStats, location: str) -> Group:
    """A queue's numbers, and its groups as bars."""
    about = "about " if stats.is_approximate else ""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row("queue", Text(location, overflow="fold"))
    facts.add_row("letters", f"{about}{stats.total}")
    for status, number in (
        (LetterStatus.WAITING, stats.waiting),
        (LetterStatus.CLAIMED, stats.claimed),
        (LetterStatus.PARKED, stats.parked),
    ):
        facts.add_row(status.value, Text(f"{number}", style=_STYLES[status] if number else "dim"))
    facts.add_row("oldest", f"{age(stats.oldest_age)} ({stamp(stats.oldest_failed_at)})" if stats.total else "-")
    facts.add_row("size", _size(stats.bytes))
    if not stats.groups:
        return Group(facts)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("letters", justify="right")
    table.add_column("share", no_wrap=True)
    table.add_column("group", overflow="fold")
    most = max(stats.groups.values())
    for group, number in stats.groups.items():
        bar = "█" * max(round(number / most * 20), 1)
        table.add_row(str(number), Text(bar, style="red"), Text(printable(group) or "(none)"))
    return Group(facts, Text(""), table)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1_000:  # noqa: PLR2004 -- what a kilo is
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB"
