"""Reporting an error in two steps: at once for the user, and then for whoever else is to be told.

`ErrorHandler.handle` tells the notifier before it returns, and an e-mail takes its time: the user would look at nothing
meanwhile. These functions are the same handler's work, with the user served first.
"""

# ruff: noqa: SLF001 -- a third way to drive the handler, beside its own two colours
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from resilio._core import portal
from resilio._core.drive import drive, in_event_loop
from resilio.reporting import blocking_handler, handler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilio.reporting.handler import ErrorHandlerBase
    from resilio.reporting.report import ErrorReport

__all__ = ("reported", "shared_handler", "tell", "tell_now")


@cache
def shared_handler() -> handler.ErrorHandler:
    """The handler of those that name none: it counts and logs, and tells nobody."""
    return handler.ErrorHandler()


def reported(
    errors: ErrorHandlerBase, error: Exception, operation: str, context: Mapping[str, object]
) -> tuple[ErrorReport, bool]:
    """The error's report, counted and logged, and whether the notifier is yet to be told. Waits for nothing."""
    is_to_be_told = False

    async def note(_fn: Callable[..., object], /, *_: object) -> object:
        nonlocal is_to_be_told
        is_to_be_told = True
        return None

    report = drive(errors._handle(note, error, operation, handler.NO_MESSAGE, None, context))
    return report, is_to_be_told


async def tell(errors: ErrorHandlerBase, report: ErrorReport) -> None:
    """Tell the notifier, and wait for it. Never raises an ``Exception``."""
    await errors._notify(handler._deliver, report, None)


def tell_now(errors: ErrorHandlerBase, report: ErrorReport) -> None:
    """The same from plain code: an event loop that runs here is not kept waiting."""
    if in_event_loop():
        portal.post(errors._notify, handler._deliver, report, None)
    else:
        drive(errors._notify(blocking_handler._deliver, report, None))
