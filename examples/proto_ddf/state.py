"""The state behind the page, as in the architecture document: generating an application, connecting to a source."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator  # noqa: TC003 -- Reflex evaluates the annotations of its handlers
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.to_thread
import reflex as rx

from examples.proto_ddf.connection import load_records, switch_source
from examples.proto_ddf.generator import check_name, write_app
from examples.proto_ddf.ports import PORT_REGISTRY
from resilio import BackoffStrategy, ErrorHandler, ErrorMessageProvider, ValidationError, errors, log_operation
from resilio.web.reflex import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from examples.proto_ddf.ports import PortPair

OUTPUT = Path(os.environ.get("PROTO_DDF_OUTPUT", "generated"))

messages = ErrorMessageProvider()
messages.register(
    "validation", "project_name_taken", "There is a project called {value} already. Please choose another name"
)
messages.register("validation", "selected_source_required", "Please select a data source")
handler = ErrorHandler(messages=messages)

try_twice = BackoffStrategy(
    max_retries=1, base_delay=1.0, jitter=None, retry_exceptions=(errors.SystemError,), reraise=True
)


class State(ErrorStateMixin, rx.State):
    """What the page shows: one for each visitor."""

    error_handler: ClassVar = handler

    project_name: str = ""
    generation_status: str = "idle"
    generation_message: str = ""

    selected_source: str = ""
    integration_status: str = "idle"
    integration_message: str = ""
    source_records: list[dict[str, Any]] = []  # noqa: RUF012 -- Reflex copies it for each visitor
    source_is_up: bool = True

    @rx.event
    def name_project(self, name: str) -> None:
        """Take over what was typed."""
        self.project_name = name

    @rx.event
    @handles_errors("app_generation")
    async def generate_app(self) -> AsyncIterator[None]:
        """Generate an application, and handle each kind of error in its own way; the decorator offers another try."""
        self.generation_status, self.generation_message = "running", ""
        yield
        try:
            check_name(self.project_name)
            ports = await try_twice.execute(anyio.to_thread.run_sync, PORT_REGISTRY.reserve_pair, self.project_name)
            with log_operation("code_generation", app_name=self.project_name):
                await self._generate_app_code(ports)
        except ValidationError as error:
            await self.handle_error(error, "app_generation", validation_field=error.field, validation_value=error.value)
            self.generation_status = "error"
        except errors.SystemError as error:
            await self.handle_error(error, "app_generation", system_component=error.component)
            self.generation_status = "error"
        except Exception as error:
            await self.handle_error(error, "app_generation")
            self.generation_status = "error"
        else:
            self.generation_status = "success"
            self.generation_message = (
                f"Successfully generated {self.project_name} on ports {ports.frontend} and {ports.backend}!"
            )

    async def _generate_app_code(self, ports: PortPair) -> None:
        try:
            await anyio.to_thread.run_sync(write_app, self.project_name, ports, OUTPUT)
        except BaseException:
            PORT_REGISTRY.release(ports)
            raise

    @rx.event
    def select_source(self, source: str) -> None:
        """Take over what was chosen."""
        self.selected_source = source

    @rx.event(background=True)
    @handles_errors("source_connection", retryable=True)
    async def connect_source(self) -> None:
        """Connect to the data source. In the background: retries take their time, and the page stays alive."""
        async with self:
            source = self.selected_source
            self.integration_status, self.integration_message = "connecting", ""
        try:
            records = await load_records(source)
        except Exception:
            async with self:
                self.integration_status = "error"
            raise
        async with self:
            self.source_records = records
            self.integration_status = "success"
            self.integration_message = f"Connected to {source}"

    @rx.event
    async def flip_source(self, up: bool) -> None:  # noqa: FBT001 -- a switch's event
        """Break the data source, or repair it."""
        await switch_source(up=up)
        self.source_is_up = up

    @rx.event
    def cause_trouble(self) -> None:
        """Fail in a way that nobody thought of."""
        secret = "db-password=hunter2"  # noqa: S105 -- must not be seen in a browser
        msg = f"nobody caught this, and {secret}"
        raise RuntimeError(msg)


class SyncState(ErrorStateMixin, rx.State):
    """Something that runs beside the page's main business, so that its errors pop up as toasts."""

    error_handler: ClassVar = handler
    error_toasts: ClassVar = True

    synced: int = 0

    @rx.event(background=True)
    @handles_errors("record_sync", retryable=True)
    async def sync_records(self, source: str) -> None:
        """Fetch the records once more."""
        records = await load_records(source)
        async with self:
            self.synced += len(records)
