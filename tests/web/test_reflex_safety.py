"""What a forged event can do in a Reflex state with errors: nothing that its user could not do anyway."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import reflex as rx
from reflex_base.registry import RegistrationContext
from reflex_kit import Client

from resilio import ErrorHandler, IntegrationError
from resilio._core import clock
from resilio.web.reflex import ErrorStateMixin, handles_errors
from resilio.web.state import ErrorStateMixin as PlainErrorStateMixin

if TYPE_CHECKING:
    from resilio.testing import VirtualClock

QUIET = ErrorHandler(log=False)
STATE_KIND: Any = type(rx.State)

WITHOUT_REFLEX = """
import sys
sys.modules["reflex"] = None
try:
    import resilio.web.reflex
except ImportError as error:
    print(type(error).__name__, error)
"""
MISSING = (
    "MissingExtraError resilio.web.reflex needs reflex, which is not installed: pip install 'resilio-toolkit[reflex]'"
)
IMPORTS = [("import sys, resilio.web.state; print('reflex' in sys.modules)", "False"), (WITHOUT_REFLEX, MISSING)]


class Account(ErrorStateMixin, rx.State):
    """An account whose owner may pay once, and nobody may empty."""

    error_handler: ClassVar = QUIET
    paid: list[int] = []  # noqa: RUF012 -- Reflex copies it

    @rx.event
    @handles_errors("payment", retryable=False)
    async def pay(self, amount: int) -> None:
        self.paid.append(amount)
        msg = "the till is closed"
        raise IntegrationError(msg, system="till", operation="pay", retryable=True)

    @handles_errors("emptying", retryable=True)
    async def _empty(self) -> None:
        raise ConnectionError

    @rx.event
    async def clean(self) -> None:
        """Calls what is no event."""
        await self._empty()


def events_of(state: type[rx.State]) -> set[str]:
    """The names of the events that a browser may send to a state."""
    prefix = f"{state.get_full_name()}."
    return {each.removeprefix(prefix) for each in RegistrationContext.get().event_handlers if each.startswith(prefix)}


def test_the_mixin_adds_three_events_and_no_more() -> None:
    """Dismissing, trying again and the timer; `handle_error` and the hooks are none."""
    assert events_of(Account) == {"pay", "clean", "setvar", "clear_error", "retry_operation", "clear_error_later"}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["handle_error", "_show_error", "_forget_error", "_empty", "_tell_error"])
async def test_no_forged_event_reaches_what_is_not_for_browsers(name: str) -> None:
    """Reflex knows no such event: nothing runs, nothing is shown."""
    async with Client() as client:
        sent = await client.send(f"{Account.get_full_name()}.{name}", error="x", operation="x")
        await asyncio.wait({sent}, timeout=0.05)
        assert (await client.state(Account)).error_message == ""
        assert not client.shown.get("error_message")


@pytest.mark.asyncio
async def test_a_forged_retry_repeats_nothing_that_was_not_offered() -> None:
    """What must not be done twice is not kept for another try at all."""
    async with Client() as client:
        await client.fire(Account.retry_operation)
        await client.fire(Account.pay, amount=5)
        assert client.shown["error_message"]
        await client.fire(Account.retry_operation)
        await client.fire(Account.retry_operation, name="pay", args=[5])
        assert list((await client.state(Account)).paid) == [5]


@pytest.mark.asyncio
async def test_what_is_no_event_is_never_offered_for_another_try() -> None:
    """A private method that failed could not be sent by name."""
    async with Client() as client:
        await client.fire(Account.clean)
        assert client.shown["error_context"]["operation"] == "emptying"
        assert client.shown["retry_possible"] is False


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [0, -1, 10**9, "x", None])
async def test_forged_timers_can_no_more_than_dismiss_and_come_to_an_end(
    number: Any, virtual_clock: VirtualClock
) -> None:
    """A browser can send the timer's event with any number, as often as it likes: they do not pile up, and they end."""
    async with Client() as client:
        await client.fire(Account.pay, amount=5)
        for _ in range(20):
            await client.send(Account.clear_error_later, number=number)
        await clock.sleep(1)
        assert len(client._processor._tasks) <= 2
        await clock.sleep(11)
        assert client.shown["error_message"] == ""
        assert client._processor._tasks == {}
        assert client.unhandled == []


class Patient(ErrorStateMixin, rx.State):
    """Keeps its messages."""

    error_handler: ClassVar = QUIET
    error_clear_after: ClassVar = None

    @rx.event
    @handles_errors("fail")
    def fail(self) -> None:
        raise ConnectionError


@pytest.mark.asyncio
async def test_a_state_may_keep_its_messages(virtual_clock: VirtualClock) -> None:
    """Until the user dismisses them; a forged timer does not change that."""
    async with Client() as client:
        await client.fire(Patient.fail)
        await client.fire(Patient.clear_error_later, number=1)
        await clock.sleep(3600)
        assert client.shown["error_message"]
        await client.fire(Patient.clear_error)
        assert client.shown["error_message"] == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"error_handler": QUIET},
        {"error_clear_after": 3.0},
        {"error_toasts": True, "__annotations__": {"error_toasts": bool}},
    ],
    ids=["handler", "seconds", "annotated"],
)
def test_a_setting_that_would_become_a_var_is_refused(settings: dict[str, Any]) -> None:
    """Reflex makes a var of every attribute that is no ClassVar, and would send it to the browser."""
    (name, *_) = settings
    with pytest.raises(TypeError, match=f"declare it as {name}: ClassVar"):
        STATE_KIND("Bad", (ErrorStateMixin, rx.State), {"__module__": "m", "__qualname__": "Bad", **settings})


@pytest.mark.slow("starts interpreters")
@pytest.mark.parametrize(("code", "says"), IMPORTS, ids=["state-without-reflex", "missing-extra"])
def test_reflex_is_loaded_for_reflex_only(code: str, says: str) -> None:
    """The plain mixin imports nothing of it; without it, the error names the extra."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout.strip() == says


def test_both_mixins_have_the_same_fields_and_methods() -> None:
    """What works on one works on the other."""
    plain = {name for name in dir(PlainErrorStateMixin) if not name.startswith("_")}
    assert plain <= {name for name in dir(Account) if not name.startswith("_")}
