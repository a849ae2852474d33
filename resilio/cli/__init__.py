"""The ``resilio`` command: dead letters, a check-up, a simulator and the dashboard, in a terminal.

What an operator does from a shell belongs here, as thin commands over the objects of the rooms below; nothing here
decides anything about a policy or a letter. ``resilio --help`` says what there is.

| exit code | means |
|---|---|
| 0 | done |
| 1 | done in part: letters failed again, the check-up found something |
| 2 | the command was not understood |
| 3 | it could not be done, or was not confirmed; nothing was changed that is not told |
| 130 | interrupted; claims were given back |
| 141 | whoever read the output went away |
| 143 | terminated; claims were given back |

The extra ``cli`` brings what it is drawn with.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code; the code above says what it means.

    Args:
        arguments: Without the program's name; by default those of the process.

        >>> main(["--version"])
        resilio 0...
        0
    """
    from resilio.alerting.optional import MissingExtraError, require  # noqa: PLC0415 -- a command should start at once

    try:
        require("click", extra="cli", what="the resilio command")
        require("rich", extra="cli", what="the resilio command")
    except MissingExtraError as error:
        sys.stderr.write(f"resilio: {error}\n")
        return 3
    from resilio.cli.application import run  # noqa: PLC0415 -- only now is it known that it can be

    return run(sys.argv[1:] if arguments is None else arguments)
