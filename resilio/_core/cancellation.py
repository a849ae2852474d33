"""What is never a failure: cancellation and the interpreter's wish to end."""

from __future__ import annotations

import sys

_ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def is_interruption(error: BaseException) -> bool:
    """Tell whether ``error`` ends a call from outside: cancellation (asyncio, trio), Ctrl-C, exit, a closed generator.

    A group counts as soon as one of its members does: whoever is cancelled must not go on.
    """
    if isinstance(error, _ENDINGS) or _is_cancelled(error, "asyncio.exceptions", "CancelledError"):
        return True
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return any(is_interruption(each) for each in error.exceptions)
    return _is_cancelled(error, "trio", "Cancelled")


def _is_cancelled(error: BaseException, module: str, name: str) -> bool:
    # Who has not imported the library cannot be cancelled by it; asyncio alone would be half of a breaker's import.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(error, kind)
