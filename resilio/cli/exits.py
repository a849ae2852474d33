"""How a command ends: an exit code that scripts can use, and one line for what went wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from resilio.errors import ResilioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ("CommandFailedError", "ExitCode", "ended")


class ExitCode(IntEnum):
    """What a command tells its shell."""

    DONE = 0
    IN_PART = 1
    """Letters failed again, or the check-up found something."""
    USAGE = 2
    """The command was not understood."""
    NOT_DONE = 3
    """It could not be done, or was not confirmed."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class CommandFailedError(Exception):
    """A command cannot go on; the message is for whoever typed it."""


def ended(command: Callable[[], object], *, shows_traceback: Callable[[], bool]) -> int:
    """Run a command, tell what went wrong on stderr, and return the exit code.

    Args:
        command: What to run; an integer that it returns is the exit code, anything else is success.
        shows_traceback: Whether to tell where it went wrong as well; asked afterwards.
    """
    with _termination() as was_terminated:
        code = _ended(command, shows_traceback)
    return ExitCode.TERMINATED if was_terminated and code == ExitCode.INTERRUPTED else code


@contextmanager
def _termination() -> Iterator[list[int]]:
    """Let SIGTERM end a command as Ctrl-C does, so that claims are given back; the list says that it came."""
    came: list[int] = []

    def interrupt(number: int, _: object) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)  # for which event loops have a way to end well

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, former)


def _ended(command: Callable[[], object], shows_traceback: Callable[[], bool]) -> int:
    try:
        result = command()
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\nresilio: interrupted\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go; without this the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
    except Exception as error:
        if shows_traceback():
            traceback.print_exc()
        sys.stderr.write(f"resilio: {_one_line(error)}\n")
        return ExitCode.NOT_DONE
    return int(result) if isinstance(result, int) else ExitCode.DONE


def _one_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    if isinstance(error, click.ClickException):
        return " ".join(error.format_message().split())
    if isinstance(error, (CommandFailedError, ResilioError, ImportError, ValueError)) and text:
        return text
    if isinstance(error, OSError) and text:
        return f"{error.strerror or text}: {error.filename}" if error.filename else text
    hint = "RESILIO_DEBUG=1 shows where"
    return f"{type(error).__name__}: {text} ({hint})" if text else f"{type(error).__name__} ({hint})"
