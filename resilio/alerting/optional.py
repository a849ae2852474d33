"""What a channel needs from outside: libraries that come with an extra, and an event loop that they can use."""

from __future__ import annotations

import importlib.util
import sys

from resilio._core.drive import in_trio_run

__all__ = ("MissingExtraError", "refuse_trio", "require")


class MissingExtraError(ImportError):
    """A library that comes with an extra of this package is not installed.

    Attributes:
        extra: The extra's name.
    """

    def __init__(self, message: str, *, extra: str, library: str) -> None:
        super().__init__(message, name=library)
        self.extra = extra


def require(library: str, *, extra: str, what: str) -> None:
    """Raise unless ``library`` can be imported; it is looked for, not loaded.

    Raises:
        MissingExtraError: It is not installed; the message names the extra.
    """
    if sys.modules.get(library) is None and (library in sys.modules or importlib.util.find_spec(library) is None):
        msg = f"{what} needs {library}, which is not installed: pip install 'resilio-toolkit[{extra}]'"
        raise MissingExtraError(msg, extra=extra, library=library)


def refuse_trio(what: str, library: str) -> None:
    """Raise where trio runs, for a library that knows only asyncio.

    Raises:
        RuntimeError: This thread runs trio.
    """
    if in_trio_run():
        msg = (
            f"{what} needs asyncio, because {library} does, and this thread runs trio; take another channel, or "
            "resilio.sync.AdminNotifier from a worker thread"
        )
        raise RuntimeError(msg)
