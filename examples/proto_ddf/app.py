"""The application: its page, the page for errors that nobody caught, and what becomes of those."""

from __future__ import annotations

from typing import Any

import reflex as rx

from examples.proto_ddf.source import RECORDS
from examples.proto_ddf.state import State, SyncState, handler
from resilio.web.reflex import backend_exception_handler, error_display, error_page, frontend_exception_handler


def _card(title: str, *children: rx.Component) -> rx.Component:
    card: rx.Component = rx.card(
        rx.vstack(rx.heading(title, size="4"), *children, spacing="3", width="100%"), width="100%"
    )
    return card


def _status(status: rx.Var[str] | str, message: rx.Var[str] | str, name: str) -> rx.Component:
    row: rx.Component = rx.hstack(
        rx.badge(
            status,
            color_scheme=rx.match(status, ("success", "green"), ("error", "red"), ("idle", "gray"), "blue"),
            id=f"{name}-status",
        ),
        rx.text(message, size="2", id=f"{name}-message"),
        align="center",
        wrap="wrap",
    )
    return row


def generation() -> rx.Component:
    """The form that generates an application."""
    return _card(
        "Generate an application",
        rx.hstack(
            rx.input(
                placeholder="Project name",
                value=State.project_name,
                on_change=State.name_project,
                id="project-name",
                flex="1",
                min_width="12rem",
            ),
            rx.button("Generate", on_click=State.generate_app, loading=State.generation_status == "running"),
            width="100%",
            wrap="wrap",
        ),
        _status(State.generation_status, State.generation_message, "generation"),
    )


def source() -> rx.Component:
    """The data source, and the switch that breaks it."""
    sync: Any = SyncState.sync_records  # mypy cannot read the type that Reflex gives its handlers
    return _card(
        "Connect a data source",
        rx.hstack(
            rx.select(
                list(RECORDS), placeholder="Data source", on_change=State.select_source, value=State.selected_source
            ),
            rx.button("Connect", on_click=State.connect_source, loading=State.integration_status == "connecting"),
            rx.button("Sync", on_click=sync("warehouse"), variant="soft"),
            rx.spacer(),
            rx.hstack(
                rx.switch(checked=State.source_is_up, on_change=State.flip_source, id="source-switch"),
                rx.text(rx.cond(State.source_is_up, "Source is up", "Source is down"), size="2"),
                align="center",
            ),
            width="100%",
            align="center",
            wrap="wrap",
        ),
        _status(State.integration_status, State.integration_message, "integration"),
        rx.foreach(
            State.source_records,
            lambda record: rx.text(record["item"].to(str), ": ", record["count"].to(str), size="2"),
        ),
        rx.text("Synced: ", SyncState.synced, size="1", color_scheme="gray", id="synced"),
    )


def index() -> rx.Component:
    """The page."""
    page: rx.Component = rx.container(
        rx.vstack(
            rx.heading("Proto-DDF", size="7"),
            error_display(State),
            generation(),
            source(),
            rx.hstack(
                rx.link("About", href="/about", id="to-about"),
                rx.button("Cause trouble", on_click=State.cause_trouble, variant="ghost", color_scheme="gray"),
                spacing="5",
            ),
            rx.cond(State.is_hydrated, rx.box(id="ready")),
            spacing="4",
        ),
        size="2",
        padding_y="2rem",
    )
    return page


def about() -> rx.Component:
    """Another page, to leave the first one for."""
    page: rx.Component = rx.container(
        rx.vstack(
            rx.heading("About", size="7"),
            error_display(State),
            rx.text("Proto-DDF shows what becomes of errors where users meet them."),
            rx.link("Back", href="/", id="to-start"),
            spacing="4",
        ),
        size="2",
        padding_y="2rem",
    )
    return page


app = rx.App(
    backend_exception_handler=backend_exception_handler(handler),
    frontend_exception_handler=frontend_exception_handler(handler),
)
app.add_page(index, route="/", title="Proto-DDF")
app.add_page(about, route="/about", title="About Proto-DDF")
app.add_page(error_page, route="/error", title="This did not work")
