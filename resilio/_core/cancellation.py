"""What is never a failure: cancellation and the interpreter's wish to end."""

from __future__ import annotations

import sys
from asyncio import CancelledError

_ENDINGS = (CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


def is_interruption(error: BaseException) -> bool:
    """Tell whether ``error`` ends a call from outside: cancellation (asyncio, trio), Ctrl-C, exit, a closed generator.

    A group counts as soon as one of its members does: whoever is cancelled must not go on.
    """
    if isinstance(error, _ENDINGS):
        return True
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(is_interruption(each) for each in error.exceptions)
    trio = sys.modules.get("trio")
    return trio is not None and isinstance(error, trio.Cancelled)
