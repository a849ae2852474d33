"""Errors in Reflex applications: a state mixin, what shows its errors, and what handles those that nobody caught.

    class State(ErrorStateMixin, rx.State):
        @rx.event
        @handles_errors("source_connection", retryable=True)
        async def connect(self, source: str): ...

    def index() -> rx.Component:
        return rx.vstack(error_display(State), rx.button("Connect", on_click=State.connect("crm")))

    app = rx.App(backend_exception_handler=backend_exception_handler())
    app.add_page(error_page, route="/error")

Needs the extra ``reflex``.
"""

from __future__ import annotations

from resilio.alerting.optional import require

require("reflex", extra="reflex", what="resilio.web.reflex")

# Only now, for each of them imports Reflex.
from resilio.web.reflex.display import error_display
from resilio.web.reflex.error_page import error_page
from resilio.web.reflex.state import ErrorStateMixin
from resilio.web.reflex.toast import error_toast
from resilio.web.reflex.unhandled import backend_exception_handler, frontend_exception_handler
from resilio.web.state.handlers import handles_errors

__all__ = (
    "ErrorStateMixin",
    "backend_exception_handler",
    "error_display",
    "error_page",
    "error_toast",
    "frontend_exception_handler",
    "handles_errors",
)
