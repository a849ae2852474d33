"""What a state shows of an error, and for how long; on plain objects, without any framework."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest

from resilio import (
    CircuitBreakerOpenError,
    ErrorHandler,
    ErrorMessageProvider,
    ErrorSeverity,
    IntegrationError,
    ValidationError,
    errors,
)
from resilio._core import clock
from resilio.web.state import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from resilio.testing import VirtualClock

pytestmark = pytest.mark.anyio


class State(ErrorStateMixin):
    """A state that keeps its counts to itself and its log quiet."""

    error_handler: ClassVar = ErrorHandler(log=False)
    user_id = "tzara"


def too_short() -> ValidationError:
    """What a name of two characters is refused with."""
    return ValidationError("Too short", field="project_name", value="ab", min_length=3)


async def test_the_error_is_shown_with_its_words_and_its_reference() -> None:
    """Message, type, id and category; the report that is returned has the same id."""
    state = State()
    report = await state.handle_error(too_short(), "app_generation")
    assert state.error_message == "Project name must be at least 3 characters"
    assert (state.error_type, state.error_category) == ("ValidationError", "validation")
    assert state.error_id == report.error_id
    assert state.error_context["operation"] == "app_generation"
    assert state.error_context["title"] == "The project name is too short"
    assert state.error_context["user_id"] == report.context["user_id"] == "tzara"


async def test_only_what_the_handler_gave_is_shown_of_the_context_and_no_secret() -> None:
    """The error's own text and fields stay on the server; what is given is redacted."""
    state = State()
    error = IntegrationError("token=abc123def456 refused", system="crm", operation="connect", host="10.0.0.7")
    await state.handle_error(error, "source_connection", source_type="crm", api_key="sk-not-for-browsers")
    shown = repr(dict(state.error_context)) + state.error_message
    assert state.error_context["source_type"] == "crm"
    for kept_back in ("abc123def456", "10.0.0.7", "sk-not-for-browsers"):
        assert kept_back not in shown


@pytest.mark.parametrize(
    ("error", "category", "code"),
    [
        (too_short(), "validation", "project_name_too_short"),
        (ValidationError("project_name: too short", field="email", value="x"), "validation", "validation_error"),
        (errors.SystemError("No ports", component="port_registry"), "system", "port_unavailable"),
        (errors.SystemError("words: disk, port", component="x", code="cats_asleep"), "system", "cats_asleep"),
        (IntegrationError("no", system="crm", operation="connection_test"), "integration", "connection_failed"),
        (CircuitBreakerOpenError("open", breaker="crm"), "integration", "circuit_open"),
        (TimeoutError(), "integration", "timeout"),
        (KeyError("x"), "general", "general_error"),
    ],
    ids=["too-short", "no-words", "ports", "own-code", "integration", "circuit", "builtin", "general"],
)
async def test_category_and_code_come_from_the_error_not_from_its_words(
    error: Exception, category: str, code: str
) -> None:
    """The two hooks of the reference answer from class, fields and the error's own code."""
    state = State()
    assert (state._categorize_error(error), state._get_error_code(error)) == (category, code)
    await state.handle_error(error, "test")
    assert (state.error_category, state.error_context["code"]) == (category, code)


async def test_a_subclass_may_know_a_better_code() -> None:
    """The message is looked up under what the hooks say."""
    messages = ErrorMessageProvider()
    messages.register("validation", "cat_unknown", "We do not know a cat called {value}.")

    class Cats(State):
        error_handler: ClassVar = ErrorHandler(log=False, messages=messages)

        def _get_error_code(self, error: Exception) -> str:
            return "cat_unknown" if isinstance(error, ValidationError) else super()._get_error_code(error)

    state = Cats()
    await state.handle_error(ValidationError("?", field="cat", value="Tzara"), "feed")
    assert state.error_message == "We do not know a cat called Tzara."


async def test_the_users_language_is_a_matter_of_context() -> None:
    """`locale` chooses the language of the message."""
    state = State()
    await state.handle_error(TimeoutError(), "fetch", locale="de-AT")
    assert "bitte" in state.error_message.lower()


async def test_a_state_that_names_no_handler_shares_one(caplog: pytest.LogCaptureFixture) -> None:
    """It counts and logs."""

    class Default(ErrorStateMixin):
        pass

    state = Default()
    report = await state.handle_error(too_short(), "app_generation")
    assert state._handler() is ErrorStateMixin()._handler()
    assert state._handler().tracker.first_seen(report.fingerprint) is not None
    assert state.error_id == report.error_id


# -- clearing ----------------------------------------------------------------------------------------------------------


async def test_the_message_clears_by_itself_after_five_seconds(virtual_clock: VirtualClock) -> None:
    """Not before; then every field is empty."""
    state = State()
    await state.handle_error(too_short(), "app_generation")
    await clock.sleep(4.9)
    assert state.error_message
    await clock.sleep(0.2)
    assert (state.error_message, state.error_type, state.error_id, state.error_category) == ("", "", "", "")
    assert dict(state.error_context) == {}
    assert state.retry_possible is False


async def test_a_timer_never_clears_a_newer_error(virtual_clock: VirtualClock) -> None:
    """Each message has five seconds of its own, also when the very same error object is shown twice."""
    state, error = State(), too_short()
    await state.handle_error(error, "app_generation")
    await clock.sleep(3)
    await state.handle_error(error, "app_generation")
    await clock.sleep(4)
    assert state.error_message
    await clock.sleep(1.1)
    assert state.error_message == ""


@pytest.mark.parametrize("never", [None, 0])
async def test_a_state_may_keep_its_messages(never: float | None, virtual_clock: VirtualClock) -> None:
    """`error_clear_after` of None or 0 means until somebody clears it."""

    class Patient(State):
        error_clear_after: ClassVar = never

    state = Patient()
    await state.handle_error(too_short(), "app_generation")
    await clock.sleep(3600)
    assert state.error_message
    state.clear_error()
    assert state.error_message == ""


async def test_a_state_says_how_long_it_shows_a_message(virtual_clock: VirtualClock) -> None:
    """In seconds, or as a timedelta."""

    class Hasty(State):
        error_clear_after: ClassVar = timedelta(milliseconds=500)

    state = Hasty()
    await state.handle_error(too_short(), "app_generation")
    await clock.sleep(0.6)
    assert state.error_message == ""


@pytest.mark.parametrize(("value", "kind"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError)])
def test_what_is_no_duration_is_refused_with_the_class(value: Any, kind: type[Exception]) -> None:
    """By the setting's name, not when the first error comes."""
    with pytest.raises(kind, match="error_clear_after must be"):
        type("Odd", (State,), {"error_clear_after": value})


async def test_the_timer_dies_with_the_state(virtual_clock: VirtualClock) -> None:
    """A state that nobody holds any more is not kept alive for five seconds."""
    state = State()
    await state.handle_error(too_short(), "app_generation")
    alive = weakref.ref(state)
    del state
    gc.collect()
    assert alive() is None
    await clock.sleep(6)  # and nothing happens then


def test_a_loop_that_ends_early_takes_its_timers_along(anyio_backend: tuple[str, dict[str, Any]]) -> None:
    """No warning, no task left behind; the message stays for whoever shows it next."""
    state = State()
    name, options = anyio_backend
    anyio.run(state.handle_error, too_short(), "app_generation", backend=name, backend_options=options)
    assert state.error_message


async def test_a_subclass_whose_clearing_fails_harms_nobody(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop goes on, and the failure is logged."""

    class Broken(State):
        def _take_error_away(self) -> None:
            msg = "a watcher failed"
            raise RuntimeError(msg)

    state = Broken()
    await state.handle_error(too_short(), "app_generation")
    await clock.sleep(6)
    assert "what was to be done later failed" in caplog.text


# -- keeping -----------------------------------------------------------------------------------------------------------


async def test_a_state_pickles_and_copies_with_its_error_and_its_other_try() -> None:
    """Also while the timer runs; the copy can try again."""
    state = Source()
    await state.connect("crm", timeout=3)
    copies: list[Source] = [pickle.loads(pickle.dumps(state)), copy.deepcopy(state)]  # noqa: S301 -- our own
    for each in copies:
        assert each.error_message == state.error_message
        assert each.error_id == state.error_id
        assert await each.retry_operation() == ("crm", 3)


class Source(State):
    """A source that fails once."""

    failures = 1

    @handles_errors("source_connection")
    async def connect(self, source: str, *, timeout: float) -> tuple[str, float]:  # noqa: ASYNC109 -- just a name
        if self.failures:
            self.failures -= 1
            msg = "no route"
            raise ConnectionError(msg)
        return source, timeout


# -- whom it tells -----------------------------------------------------------------------------------------------------


class Notifier:
    """Notes what it is told, and what the state showed by then."""

    def __init__(self, *, failing: bool = False) -> None:
        self.told: list[tuple[str, str]] = []
        self.failing = failing
        self.state: State | None = None

    async def send_notification(self, _message: str, details: Any, _severity: ErrorSeverity, _type: str | None) -> None:
        await anyio.lowlevel.checkpoint()
        if self.failing:
            msg = "the mail server is down"
            raise ConnectionError(msg)
        self.told.append((details["error_id"], self.state.error_id if self.state else ""))


async def test_one_record_is_shown_counted_and_told_and_the_user_sees_it_first() -> None:
    """The id on the page is the id in the notification; when that is sent, the page shows it already."""
    notifier = Notifier()

    class Told(State):
        error_handler: ClassVar = ErrorHandler(log=False, notifier=notifier, notify_from="WARNING")

    state = notifier.state = Told()
    await state.handle_error(too_short(), "app_generation")
    assert notifier.told == [(state.error_id, state.error_id)]
    assert Told.error_handler.tracker.get_error_summary()["total_errors"] == 1


async def test_a_notifier_that_fails_changes_nothing_for_the_user() -> None:
    """The error is shown all the same."""

    class Told(State):
        error_handler: ClassVar = ErrorHandler(log=False, notifier=Notifier(failing=True), notify_from="WARNING")

    state = Told()
    await state.handle_error(too_short(), "app_generation")
    assert state.error_message
