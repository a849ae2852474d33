"""What becomes of exceptions that no handler caught, on the server and in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import reflex as rx
from reflex.event import EventSpec
from reflex_base.event.context import EventContext

from resilio.errors import ErrorSeverity, ResilioError
from resilio.policies.rate_limiter import RateLimiter
from resilio.web.state.telling import reported, shared_handler, tell_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.reporting.handler import ErrorHandlerBase

__all__ = ("BrowserError", "backend_exception_handler", "frontend_exception_handler")

_LONGEST = 4_000

R = TypeVar("R")


class BrowserError(ResilioError):
    """An exception in the browser, in the browser's own words: whoever runs the browser may have written them."""

    category = "browser"
    code = "browser_error"
    severity = ErrorSeverity.WARNING


def backend_exception_handler(
    error_handler: ErrorHandlerBase | None = None, *, page: str | None = "/error"
) -> Callable[[Exception], EventSpec | None]:
    """What to do with exceptions that no event handler caught: ``rx.App(backend_exception_handler=...)``.

    Each becomes a report, and the user is shown its id, nothing else of it.

    Args:
        error_handler: Reports the errors; a plain `ErrorHandler` by default.
        page: Where the user is sent: the route of `error_page`. None for a toast on the page where it happened, which
            keeps what was typed there. What fails on the error page itself is a toast, too.

    Returns:
        The function for Reflex. It waits for nobody: the notifier is told in the background.

    Raises:
        ValueError: ``page`` does not begin with a slash.
    """
    if page is not None and not page.startswith("/"):
        msg = f"page must be a route such as '/error', not {page!r}"
        raise ValueError(msg)

    def resilio_backend_exception_handler(exception: Exception) -> EventSpec | None:
        where = _page()
        error_id = _report(error_handler, exception, "event", {"page": where})
        if page is not None and where.rstrip("/") != page.rstrip("/"):  # or a page that fails would lead to itself
            return rx.redirect(f"{page}?reference={quote(error_id)}")
        toast: EventSpec = rx.toast.error(
            "This did not work",
            description=f"Something on our side did not work. Please try again. Reference {error_id}",
            duration=10_000,
            id="resilio-unhandled",
            fallback_to_alert=True,
        )
        return toast

    return _annotated(resilio_backend_exception_handler, EventSpec | None)


def frontend_exception_handler(
    error_handler: ErrorHandlerBase | None = None, *, per_minute: int = 60
) -> Callable[[Exception], None]:
    """What to do with exceptions of the browser's own code: ``rx.App(frontend_exception_handler=...)``.

    Each becomes a report of category ``browser``. Its text is the client's: it is cut, and more than ``per_minute`` of
    them in this process are dropped.

    Args:
        error_handler: Reports the errors; a plain `ErrorHandler` by default.
        per_minute: How many are reported, of all clients.

    Returns:
        The function for Reflex.

    Raises:
        ValueError: ``per_minute`` is not positive.
    """
    limiter = RateLimiter(per_minute, per=60)

    def resilio_frontend_exception_handler(exception: Exception) -> None:
        if limiter.try_acquire():
            _report(error_handler, BrowserError(str(exception)[:_LONGEST]), "browser", {"page": _page()})

    return _annotated(resilio_frontend_exception_handler, None)


def _report(given: ErrorHandlerBase | None, error: Exception, operation: str, context: dict[str, object]) -> str:
    errors = given or shared_handler()
    report, is_to_be_told = reported(errors, error, operation, context)
    if is_to_be_told:
        tell_now(errors, report)
    return report.error_id


def _page() -> str:
    try:
        return str(EventContext.get().router_data.get("pathname", ""))
    except LookupError:
        return ""


def _annotated(handler: Callable[[Exception], R], returns: object) -> Callable[[Exception], R]:
    # Reflex looks at the annotations and evaluates those that are texts among its own names.
    handler.__annotations__ = {"exception": Exception, "return": returns}
    return handler
