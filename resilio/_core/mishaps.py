"""What goes wrong in code that was handed to us, and must not change the caller's outcome."""

from __future__ import annotations


def log_exception(message: str, *args: object) -> None:
    """Log ``message % args`` with the traceback of the error that is being handled, to the logger ``resilio``."""
    import logging  # noqa: PLC0415 -- half as long to import as a breaker

    logging.getLogger("resilio").exception(message, *args, stacklevel=2)  # noqa: LOG004 -- the caller handles one
