"""resilio's contestants in the rows about errors that are reported and told, one function a row."""

from __future__ import annotations

import dataclasses
from itertools import cycle
from typing import TYPE_CHECKING, Any

import resilio
from benchmarks import work
from resilio import ErrorSeverity

if TYPE_CHECKING:
    from benchmarks.drivers import Operation

_NEVER = 1e9  # seconds until there is room for another message
_KINDS = 1_000


class _Nowhere:
    """A channel that throws everything away."""

    async def deliver(self, notification: resilio.Notification) -> None:
        """Throw it away."""


def report_error(fn: Operation) -> Operation:
    handler = resilio.ErrorHandler(log=False)

    async def guarded(number: int) -> Any:
        try:
            return await fn(number)
        except ConnectionError as error:
            await handler.handle(error, "fetch", source="crm", attempt=3)
            return number

    return guarded


def redact_text(fn: Operation) -> Operation:
    async def guarded(number: int) -> Any:
        resilio.redact(work.KIBIBYTE)
        return await fn(number)

    return guarded


def track_report(fn: Operation) -> Operation:
    tracker = resilio.ErrorTracker()
    report = tracker.track_error(ValueError("no cat"))
    reports = cycle([dataclasses.replace(report, fingerprint=f"v1:{each:016x}") for each in range(_KINDS)])

    async def guarded(number: int) -> Any:
        tracker.track_report(next(reports))
        return await fn(number)

    return guarded


def notify(fn: Operation) -> Operation:
    return _telling(fn, resilio.Route(_Nowhere(), policy=None, limit=None))


def notify_guarded(fn: Operation) -> Operation:
    return _telling(fn, resilio.Route(_Nowhere(), limit=resilio.StormLimit(burst=10**9)))


def notify_held(fn: Operation) -> Operation:
    return _telling(fn, resilio.Route(_Nowhere(), policy=None, limit=resilio.StormLimit(burst=1, interval=_NEVER)))


def notify_duplicate(fn: Operation) -> Operation:
    return _telling(fn, resilio.Route(_Nowhere()), dedup_key="v1:0123456789abcdef")


def _telling(fn: Operation, route: resilio.Route, dedup_key: str | None = None) -> Operation:
    notifier = resilio.AdminNotifier(channel=route, dedup_window=_NEVER)

    async def guarded(number: int) -> Any:
        await notifier.send_notification(
            "fetch failed: ConnectionError: no route",
            {"source": "crm", "attempt": 3},
            ErrorSeverity.ERROR,
            "ConnectionError",
            dedup_key=dedup_key,
        )
        return await fn(number)

    return guarded
