"""Writing a log line where nothing may fail over it, and logging what the policies tell."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Final

from resilio._core import events, logs
from resilio.errors import ErrorSeverity
from resilio.reporting.events import ReportingEvent
from resilio.reporting.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio._core.events import Event, Subscription

__all__ = ("log_events", "tell")

_log = logging.getLogger("resilio")

# By name, for the classes live in rooms that this one knows nothing of. Any other event is worth an "info".
_LEVELS: Final = {
    "BulkheadRejected": "warning",
    "CallFailed": "debug",
    "CallRejected": "debug",
    "CallSucceeded": "debug",
    "CircuitStateChanged": "warning",
    "CompactionFailed": "error",
    "DamagedLineSetAside": "error",
    "FellBack": "warning",
    "Hedged": "debug",
    "JournalVanished": "critical",
    "LetterKept": "warning",
    "LettersPurged": "warning",
    "NotificationFailed": "error",
    "NotificationSent": "debug",
    "RateLimited": "debug",
    "RemoteQueueUnavailable": "error",
    "ReplayFailed": "error",
    "RetryGivenUp": "warning",
    "TimedOut": "warning",
    "TornTailRepaired": "warning",
}
_BOUNDARY: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def tell(level: str, message: str, fields: Mapping[str, object], *, logger: str) -> None:
    """Write one line, and never raise an ``Exception``: the logging of the application may be broken just now."""
    try:
        logs.write(level, message, fields, logger=logger)
    except Exception as error:
        try:
            _log.error("%s (logging it raised %s)", message, type(error).__name__)
        except Exception:  # nothing is left to tell it with
            return


def log_events(
    *kinds: type[Event], least: ErrorSeverity | str = ErrorSeverity.INFO, logger: str = "resilio.events"
) -> Subscription[Event]:
    """Write what the policies and the other rooms tell into the application's log, one line for each event.

    Lines go through structlog where the application configured it, else to stdlib logging where that is configured,
    else to stderr. The message is the event's name, ``circuit state changed``, its attributes are fields, without
    secrets. What an `ErrorHandler` and `log_operation` log by themselves is not logged again.

    Args:
        kinds: Classes of events; all by default.
        least: Events of less weight are left out: every single call of a policy is ``DEBUG``.
        logger: The logger's name.

    Returns:
        The subscription: a context manager with a ``cancel()`` method.

    Raises:
        ValueError: ``least`` is no severity.

    Safe from any thread.

        >>> with log_events(least="WARNING"):
        ...     pass
    """
    lowest = ErrorSeverity(least)

    def listen(event: Event) -> None:
        if isinstance(event, ReportingEvent):
            return
        level = _level(event)
        if ErrorSeverity(level.upper()) < lowest:
            return
        fields = {each.name: getattr(event, each.name) for each in dataclasses.fields(event) if each.name != "at"}
        shown = redact(fields)
        name = _BOUNDARY.sub(" ", type(event).__name__).lower()
        tell(level, name, shown if isinstance(shown, dict) else {"fields": shown}, logger=logger)

    return events.subscribe(listen, *kinds)


def _level(event: Event) -> str:
    # A circuit that closes again is good news.
    if type(event).__name__ == "CircuitStateChanged" and str(getattr(event, "after", "")).lower() == "closed":
        return "info"
    return next((_LEVELS[kind.__name__] for kind in type(event).__mro__ if kind.__name__ in _LEVELS), "info")
