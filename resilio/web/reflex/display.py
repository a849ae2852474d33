"""The error that a state shows, as a callout on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import reflex as rx

if TYPE_CHECKING:
    from resilio.web.reflex.state import ErrorStateMixin

__all__ = ("error_display",)


def error_display(state: type[ErrorStateMixin]) -> rx.Component:
    """A callout with what the user is told: message, error type, reference, and "Try Again" if that is possible.

    Nothing while there is no error.

        rx.vstack(error_display(State), rx.button("Connect", on_click=State.connect("crm")))

    Args:
        state: The state's class.

    Returns:
        The component, as wide as the place that it stands in. Screen readers read it out when it appears.
    """
    callout: rx.Component = rx.cond(
        state.error_message != "",
        rx.callout.root(
            rx.callout.icon(rx.icon("triangle_alert", size=20)),
            rx.vstack(
                rx.text(state.error_message, size="3", weight="medium", class_name="resilio-error-message"),
                rx.text(
                    "Error type: ",
                    state.error_type,
                    " · Reference: ",
                    rx.code(state.error_id, variant="ghost", color_scheme="gray"),
                    size="1",
                    color_scheme="gray",
                    class_name="resilio-error-reference",
                ),
                rx.hstack(
                    rx.cond(
                        state.retry_possible,
                        rx.button("Try Again", on_click=state.retry_operation, variant="soft", size="2"),
                    ),
                    rx.button("Dismiss", on_click=state.clear_error, variant="ghost", size="2"),
                    align="center",
                    spacing="4",
                ),
                spacing="2",
                align="start",
            ),
            color_scheme="red",
            size="3",
            role="alert",
            width="100%",
            class_name="resilio-error",
        ),
    )
    return callout
