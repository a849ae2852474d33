"""One line in the application's own log, whatever the application logs with.

| the application configured | where the line goes |
|---|---|
| structlog | through its processors |
| stdlib logging | to the logger of that name: the fields in the text, and on the record for JSON formatters |
| neither | to stderr, as structlog draws it for a console |

The choice is made anew for each line: libraries are often imported before logging is configured.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from resilio._core import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

# What structlog, its usual processors and logging's records call their own; a field of that name gets an underscore.
_RESERVED = frozenset(
    {
        *logging.makeLogRecord({}).__dict__,
        *("asctime", "event", "level", "level_number", "logger", "message", "positional_args", "self", "timestamp"),
        *("_from_structlog", "_logger", "_name", "_record", "extra"),
    }
)


def write(level: str, message: str, fields: Mapping[str, object], *, logger: str = "resilio") -> None:
    """Write one line.

    Args:
        level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
        message: What happened.
        fields: Structured data. A name that a logging library needs for itself gets an underscore at its end.
        logger: The logger's name.

    Raises:
        Exception: Whatever the application's logging raises.
    """
    import structlog  # noqa: PLC0415 -- 90 ms to import

    fields = _renamed(fields)
    if structlog.is_configured():
        bound = structlog.get_logger(logger).bind(**fields)
        # The asynchronous loggers of structlog need asyncio and a thread pool for what is one call.
        getattr(getattr(bound, "sync_bl", bound), level)(message)
    elif logging.getLogger(logger).hasHandlers():
        text = " ".join((_one_line(message), *(f"{name}={_shown(value)}" for name, value in fields.items())))
        logging.getLogger(logger).log(logging.getLevelNamesMapping()[level.upper()], "%s", text, extra=fields)
    else:
        console = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.dev.ConsoleRenderer(colors=sys.stderr is not None and sys.stderr.isatty()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        now = clock.utcnow().isoformat(sep=" ", timespec="seconds")
        getattr(console.bind(timestamp=now, **fields), level)(_one_line(message))


def _renamed(fields: Mapping[str, object]) -> dict[str, object]:
    renamed: dict[str, object] = {}
    for key, value in fields.items():
        name = str(key)
        while name in _RESERVED or name in renamed:
            name += "_"
        renamed[name] = value
    return renamed


def _one_line(message: str) -> str:
    # A message may quote a user; it must not be able to forge a line.
    return " ".join(message.splitlines()) if message else message


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
