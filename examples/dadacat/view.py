"""What you see: a moving picture on a terminal, plain lines elsewhere, and the summary at the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import HORIZONTALS, SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.dadacat.story import Story
from resilio import CircuitState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, OverflowMethod, RenderableType

    from examples.dadacat.check import Promise
    from examples.dadacat.story import Moment

_COUNTS = ("live", "retries", "timeouts", "rejected", "dead letters", "notified", "replayed")
_CIRCUIT = {
    CircuitState.CLOSED: (" closed ", "black on green"),
    CircuitState.HALF_OPEN: (" half-open ", "black on yellow"),
    CircuitState.OPEN: (" open ", "bold white on red"),
}
_CUT: OverflowMethod = "ellipsis"
_LINES_ABOVE_TIMELINE = 18


class View:
    """Shows a story while it happens.

    Args:
        console: Where to; what is no terminal gets one line for each moment.
        messages: How many messages will be played.
        title: What stands above.
    """

    def __init__(self, console: Console, messages: int, title: str) -> None:
        self._console = console
        self._messages = messages
        self._title = title
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self.story = Story(self._tell)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show what happens while the block runs."""
        if not self._moves:
            self._console.print(self._title)
            yield
            return
        # On a screen of its own: how wide a terminal draws some of the messages is anybody's guess.
        with Live(console=self._console, get_renderable=self._picture, refresh_per_second=10, screen=True):
            yield

    def summary(self, promises: Sequence[Promise], facts: Mapping[str, str]) -> None:
        """Show what it all came to."""
        if self._moves:  # elsewhere each moment was printed as it happened
            self._console.print(self._title, style="bold")
            for moment in self.story.moments:
                self._console.print(_line(moment), soft_wrap=True)
        self._console.print(self._table())
        for name, value in facts.items():
            self._console.print(Text.assemble((f"  {name:<10}", "dim"), value), soft_wrap=True)
        self._console.print()
        for promise in promises:
            mark = ("   kept ", "green") if promise.kept else (" BROKEN ", "bold white on red")
            detail = f"  ({promise.detail})" if promise.detail else ""
            self._console.print(Text.assemble(mark, " ", promise.text, (detail, "dim")), soft_wrap=True)

    @property
    def _moments_shown(self) -> int:
        return max(3, min(12, self._console.height - _LINES_ABOVE_TIMELINE))

    @property
    def _answered(self) -> int:
        return self.story.counts["live"] + self.story.counts["dead letters"]

    def _tell(self, moment: Moment) -> None:
        if not self._moves:
            progress = (f"  ({self._answered}/{self._messages} answered)", "dim")
            self._console.print(Text.assemble(_line(moment), progress), soft_wrap=True)

    def _picture(self) -> RenderableType:
        story = self.story
        counts = Text("   ").join(Text.assemble((str(story.counts[what]), "bold"), f" {what}") for what in _COUNTS)
        dead = story.counts["dead letters"]
        rows: list[RenderableType] = [
            Text.assemble(("endpoint  ", "dim"), (f"{story.phase:<20}", "bold"), ("circuit  ", "dim"), self._circuit()),
            Text(),
            _bar("answered", self._answered, self._messages, "green"),
            _bar("replayed", story.counts["replayed"], dead, "magenta"),
            Text(),
            counts,
            Text(),
            *(_exchange(*each) for each in story.exchanges),
            Text(),
            *(_line(moment) for moment in story.moments[-self._moments_shown :]),
        ]
        return Panel(Group(*rows), HORIZONTALS, title=self._title, subtitle=f"{story.elapsed:.1f} s", padding=(1, 2))

    def _circuit(self) -> Text:
        state = self.story.circuit
        text = Text.assemble(_CIRCUIT.get(state, (state.name, "")))
        if state is CircuitState.OPEN:
            text.append(f"  tries again in {self.story.tries_again_in:.1f} s", style="red")
        return text

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, show_footer=True, header_style="bold", footer_style="bold")
        table.add_column("endpoint", "all day", no_wrap=True)
        for what in _COUNTS:
            table.add_column(what, str(self.story.counts[what]), justify="right")
        for phase, counts in self.story.by_phase.items():
            table.add_row(phase, *(str(counts[what] or "") for what in _COUNTS))
        return table


def _line(moment: Moment) -> Text:
    return Text.assemble((f"{moment.at:6.1f} s  ", "dim"), (moment.text, moment.style), no_wrap=True, overflow=_CUT)


def _exchange(message: str, reply: str) -> Text:
    quoted = (("“", "dim"), (_shown(message, 40), "italic"), ("”  ", "dim"))
    return Text.assemble(*quoted, _shown(reply, 70), no_wrap=True, overflow=_CUT)


def _shown(text: str, longest: int) -> str:
    """The beginning of what somebody wrote, harmless to a terminal."""
    return "".join(each if each.isprintable() else "·" for each in text[:longest])


def _bar(name: str, done: int, total: int, style: str) -> Table:
    row = Table.grid(padding=(0, 1))
    row.add_row(
        Text(name, style="dim"),
        ProgressBar(total=max(total, 1), completed=done, width=60, complete_style=style, finished_style=style),
        f"{done}/{total}",
    )
    return row
