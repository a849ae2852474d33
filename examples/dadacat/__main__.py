"""``python -m examples.dadacat``: a day in the life of a message service, and what its promises were worth.

Exit codes: 0 if every promise was kept, 1 if one was broken, 2 for arguments or files that cannot be used, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeVar

import anyio
import structlog
from rich.console import Console

from examples.dadacat import messages
from examples.dadacat.check import promises
from examples.dadacat.day import FALLBACKS, Day, UnusableLettersError, live_through
from examples.dadacat.serving import listen, url_of
from examples.dadacat.view import View

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

N = TypeVar("N", int, float)

SHIPPED = Path(__file__).with_name("messages.jsonl")
MOST_MESSAGES_PER_SECOND = 50
MOST_SKIPPED_SHOWN = 20
SECONDS = 20.0
SECONDS_TO_WATCH = 60.0
KEPT, BROKEN, INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    folder = Path(mkdtemp(prefix="dadacat-"))
    with ExitStack() as stack:
        tidying = stack.enter_context(ExitStack())
        tidying.callback(shutil.rmtree, folder)
        try:
            inbound, skipped = messages.read(options.input)
            listener = stack.enter_context(listen(options.port))
            dashboard = None if options.dashboard is None else stack.enter_context(listen(options.dashboard))
            log = stack.enter_context((options.log or folder / "log").open("a", encoding="utf-8"))
        except (OSError, ValueError) as error:
            parser.error(str(error))
        _report(options.input, skipped)
        if not inbound:
            parser.error(f"{options.input} holds no message that can be used")
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(log), processors=_LOG_PROCESSORS)
        if options.dlq is None:
            tidying.pop_all()  # from here on, letters may wait there
        try:
            code = _live(options, inbound, len(skipped), options.dlq or folder / "letters.jsonl", listener, dashboard)
        except UnusableLettersError as error:
            parser.error(str(error))
        if options.dlq is None and code == KEPT:
            shutil.rmtree(folder)
    return code


def _live(
    options: argparse.Namespace,
    inbound: list[messages.Message],
    skipped: int,
    letters: Path,
    listener: socket.socket,
    dashboard: socket.socket | None,
) -> int:
    seed = random.randrange(100_000) if options.seed is None else options.seed
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"DadaCat, a day of {len(inbound)} messages, seed {seed}"
    seconds = options.seconds or (SECONDS if dashboard is None else SECONDS_TO_WATCH)
    if dashboard is not None:
        title = f"{title}; dashboard: {url_of(dashboard)}"
    view = View(console, len(inbound), title)
    story = view.story
    seconds = max(seconds, len(inbound) / MOST_MESSAGES_PER_SECOND)
    day = Day(inbound, seconds, seed, letters, story, dashboard=dashboard)
    try:
        with view.showing():
            endpoint = anyio.run(live_through, day, listener)
    except KeyboardInterrupt:
        waiting = len(day.ledger.older) + story.counts["dead letters"] - story.counts["replayed"]
        console.print(f"Stopped after {story.elapsed:.1f} s, {waiting} dead letters are waiting.", soft_wrap=True)
        if waiting:
            console.print(f"Replay them with --dlq {letters}", soft_wrap=True)
        return INTERRUPTED
    if options.lose_a_reply:
        day.ledger.replies.popitem()
    kept = list(promises(day.ledger, FALLBACKS))
    facts = {
        "input": f"{options.input}: {len(inbound)} messages" + (f", {skipped} lines skipped" if skipped else ""),
        "endpoint": ", ".join(f"{count} {what}" for what, count in endpoint.served.most_common()),
        "circuit": f"opened: {story.counts['opened']}, failed probes: {story.counts['failed probes']}",
        "took": f"{story.elapsed:.1f} s; repeat this day with --seed {seed}",
    }
    code = KEPT if all(each.kept for each in kept) else BROKEN
    if code == BROKEN:
        facts["letters"] = str(letters)
    view.summary(kept, facts)
    return code


def _report(path: Path, skipped: Sequence[messages.Skipped]) -> None:
    for each in skipped[:MOST_SKIPPED_SHOWN]:
        print(f"{path}, line {each.line}: skipped: {each.reason}", file=sys.stderr)
    if len(skipped) > MOST_SKIPPED_SHOWN:
        print(f"{path}: and {len(skipped) - MOST_SKIPPED_SHOWN} more lines skipped", file=sys.stderr)


def _between(least: int, most: int, kind: Callable[[str], N]) -> Callable[[str], N]:
    def number(text: str) -> N:
        found = kind(text)
        if not least <= found <= most:
            msg = f"must be {least} to {most}, not {text}"
            raise argparse.ArgumentTypeError(msg)
        return found

    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.dadacat",
        description="Plays inbound text messages to a service whose model has a bad day, and checks what came of it.",
    )
    option = parser.add_argument
    option("--input", type=Path, default=SHIPPED, help="messages as JSON lines or .csv (default: the shipped ones)")
    option("--seed", type=int, help="repeats the faults of an earlier day (default: a new one)")
    option("--seconds", type=_between(4, 600, float), help="how long the day lasts (default: 20, to watch 60)")
    option("--port", type=_between(0, 65_535, int), default=0, help="the service's port (default: a free one)")
    port = _between(0, 65_535, int)
    watch = "serve a dashboard, to watch the day in a browser and to replay the letters by hand"
    option("--dashboard", nargs="?", type=port, const=0, metavar="PORT", help=watch)
    option("--dlq", type=Path, help="the file of dead letters (default: a temporary one)")
    option("--log", type=Path, help="the file that notifications are written to (default: a temporary one)")
    # Shows what a broken promise looks like: one reply is lost on its way.
    option("--lose-a-reply", action="store_true", help=argparse.SUPPRESS)
    return parser


_LOG_PROCESSORS = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
)


if __name__ == "__main__":
    sys.exit(main())
