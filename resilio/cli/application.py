"""The command itself: what stands before every subcommand, and which there are."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import click

from resilio import __version__
from resilio.cli.exits import ended

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("application", "run")

_SHELLS = ("bash", "zsh", "fish")


class _Commands(click.Group):
    """Subcommands that are imported when they are asked for: `resilio --help` should not wait for what it names."""

    def __init__(self, homes: dict[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._homes = homes

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are useful."""
        return [*self._homes, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        if cmd_name not in self._homes:
            return super().get_command(ctx, cmd_name)
        module, name = self._homes[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(
    cls=_Commands,
    homes={
        "dlq": ("resilio.cli.dlq", "dlq"),
        "doctor": ("resilio.cli.doctor", "doctor"),
        "simulate": ("resilio.cli.simulate", "simulate"),
        "dashboard": ("resilio.cli.dashboard", "dashboard"),
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="resilio", message="%(prog)s %(version)s")
@click.option(
    "--traceback",
    is_flag=True,
    expose_value=False,  # `run` looks at it, for it must hold when the arguments themselves are wrong
    help="Show where an error came from. RESILIO_DEBUG=1 does the same.",
)
def application() -> None:
    """Dead letters, a check-up, a simulator and the dashboard of resilio.

    \b
    Exit codes: 0 done, 1 done in part, 2 not understood, 3 could not be done,
    130 interrupted, 143 terminated, 141 the reader of the output went away.
    """  # noqa: D301 -- a \b keeps click from filling a paragraph


@application.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the script that completes this command in your SHELL.

    \b
    bash:  echo 'eval "$(resilio completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(resilio completion zsh)"' >> ~/.zshrc
    fish:  resilio completion fish > ~/.config/fish/completions/resilio.fish
    """  # noqa: D301 -- a \b keeps click from filling a paragraph
    from click.shell_completion import get_completion_class  # noqa: PLC0415 -- rarely wanted

    name = shell or os.path.basename(os.environ.get("SHELL", ""))  # noqa: PTH119 -- only its name
    kind = get_completion_class(name)
    if kind is None or name not in _SHELLS:
        msg = f"say which shell: {', '.join(_SHELLS)}"
        raise click.UsageError(msg)
    click.echo(kind(application, {}, "resilio", "_RESILIO_COMPLETE").source())


def run(arguments: Sequence[str]) -> int:
    """Run the command, and return its exit code."""
    arguments = list(arguments)
    if os.environ.get("_RESILIO_COMPLETE"):
        application.main(arguments, prog_name="resilio")  # answers the shell, and ends
    wants_traceback = "--traceback" in arguments or bool(os.environ.get("RESILIO_DEBUG"))

    def command() -> object:
        with application.make_context("resilio", arguments) as context:
            return application.invoke(context)

    return ended(command, shows_traceback=lambda: wants_traceback)
