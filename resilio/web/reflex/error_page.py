"""The page for errors that nobody caught."""

from __future__ import annotations

import re

import reflex as rx

__all__ = ("ErrorPageState", "error_page")

# What our reports are called. The address is the client's to write: nothing else of it is shown.
_REFERENCE = re.compile(r"err-[0-9a-f]{16}")


class ErrorPageState(rx.State):
    """What the error page knows: the reference in its address."""

    @rx.var
    def error_reference(self) -> str:
        """The report's id that the address names; empty if it names none."""
        given = str(self.router.url.query_parameters.get("reference", ""))
        return given if _REFERENCE.fullmatch(given) else ""


def error_page() -> rx.Component:
    """A page that says that something did not work, with the report's id: ``app.add_page(error_page, route="/error")``.

    `backend_exception_handler` sends the user there.

    Returns:
        The page.
    """
    page: rx.Component = rx.center(
        rx.vstack(
            rx.icon("triangle_alert", size=40, color=rx.color("red", 9)),
            rx.heading("This did not work", size="7", align="center"),
            rx.text(
                "Something on our side did not work, and what you asked for has not been done. Please try again. ",
                rx.cond(
                    ErrorPageState.error_reference != "",
                    "If it happens again, tell us this reference.",
                    "If it happens again, tell us what you were doing.",
                ),
                size="3",
                align="center",
            ),
            rx.cond(
                ErrorPageState.error_reference != "",
                rx.code(ErrorPageState.error_reference, size="3", class_name="resilio-error-reference"),
            ),
            # A plain link: it loads the start anew, whatever is left of the application in the browser.
            rx.button(rx.el.a("Back to the start", href="/"), as_child=True, size="3", variant="soft"),
            spacing="4",
            align="center",
            max_width="30rem",
            role="alert",
            class_name="resilio-error-page",
        ),
        min_height="80vh",
        padding="1.5rem",
    )
    return page
