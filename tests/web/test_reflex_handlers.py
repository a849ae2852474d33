"""Errors of Reflex's event handlers, run by Reflex's own event processor."""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
import reflex as rx
from reflex_kit import Client

from resilio import ErrorHandler, IntegrationError, ValidationError
from resilio._core import clock
from resilio.web.reflex import ErrorStateMixin, handles_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from resilio.testing import VirtualClock

QUIET = ErrorHandler(log=False)


def unreachable(source: str = "crm") -> IntegrationError:
    """A failure that may pass."""
    return IntegrationError("password=hunter2 refused", system=source, operation="connect", retryable=True)


class Handlers(ErrorStateMixin, rx.State):
    """A handler of each kind that Reflex knows; each does what the list says next, and notes its argument."""

    error_handler: ClassVar = QUIET
    calls: list[str] = []  # noqa: RUF012 -- Reflex copies it
    status: str = ""
    failures: int = 1

    def _next(self, source: str) -> None:
        self.calls.append(source)
        if self.failures > 0:
            self.failures -= 1
            raise unreachable(source)
        self.status = f"connected to {source}"

    @rx.event
    @handles_errors("source_connection")
    async def by_coroutine(self, source: str) -> None:
        await asyncio.sleep(0)
        self._next(source)

    @rx.event
    @handles_errors("source_connection")
    def by_function(self, source: str) -> None:
        self._next(source)

    @rx.event
    @handles_errors("source_connection")
    async def by_async_generator(self, source: str) -> AsyncIterator[None]:
        self.status = "connecting"
        yield
        self._next(source)

    @rx.event
    @handles_errors("source_connection")
    def by_generator(self, source: str) -> Iterator[None]:
        self.status = "connecting"
        yield
        self._next(source)

    @rx.event(background=True)
    @handles_errors("source_connection")
    async def in_background(self, source: str) -> None:
        async with self:
            self.status = "connecting"
        async with self:
            self._next(source)

    @handles_errors("source_connection")
    @rx.event(background=True)
    async def in_background_the_other_way_round(self, source: str) -> None:
        async with self:
            self._next(source)

    @rx.event(background=True)
    @handles_errors("source_connection")
    async def in_background_with_updates(self, source: str) -> AsyncIterator[None]:
        async with self:
            self.status = "connecting"
        yield
        async with self:
            self._next(source)

    @rx.event(background=True)
    async def by_hand(self) -> None:
        async with self:
            try:
                self._next("crm")
            except IntegrationError as error:
                await self.handle_error(error, "by_hand", source_type="crm")
                self.status = "error"


EVERY_KIND = (
    "by_coroutine",
    "by_function",
    "by_async_generator",
    "by_generator",
    "in_background",
    "in_background_the_other_way_round",
    "in_background_with_updates",
)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EVERY_KIND)
async def test_the_browser_sees_the_error_of_a_handler_of_any_kind(name: str, virtual_clock: VirtualClock) -> None:
    """Message, type, id, category and the offer of another try reach the browser; nothing reaches Reflex's handler."""
    async with Client() as client:
        await client.fire(getattr(Handlers, name), source="crm")
        shown = client.shown
        assert shown["error_message"] == "Unable to connect to data source. Please check your connection"
        assert shown["error_type"] == "IntegrationError"
        assert shown["error_id"].startswith("err-")
        assert shown["error_category"] == "integration"
        assert shown["retry_possible"] is True
        assert shown["error_context"]["operation"] == "source_connection"
        assert "hunter2" not in repr(client.deltas)
        assert client.unhandled == []


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EVERY_KIND)
async def test_try_again_sends_the_same_event_with_the_same_arguments(name: str, virtual_clock: VirtualClock) -> None:
    """The message goes, the handler runs again, and a second click does nothing."""
    async with Client() as client:
        await client.fire(getattr(Handlers, name), source="warehouse")
        await client.fire(Handlers.retry_operation)
        assert client.shown["error_message"] == ""
        await clock.sleep(0.1)
        assert client.shown["status"] == "connected to warehouse"
        await client.fire(Handlers.retry_operation)
        await clock.sleep(0.1)
        assert list((await client.state(Handlers)).calls) == ["warehouse", "warehouse"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EVERY_KIND)
async def test_the_message_clears_after_five_seconds(name: str, virtual_clock: VirtualClock) -> None:
    """Not before, and the browser is told."""
    async with Client() as client:
        await client.fire(getattr(Handlers, name), source="crm")
        await clock.sleep(4.9)
        assert client.shown["error_message"]
        await clock.sleep(0.2)
        assert client.shown["error_message"] == ""
        assert client.shown["error_context"] == {}
        assert client.shown["retry_possible"] is False


@pytest.mark.asyncio
async def test_an_error_handled_by_hand_inside_the_lock_is_shown_and_clears(virtual_clock: VirtualClock) -> None:
    """`await self.handle_error(...)` in an `except` block, under `async with self`; nothing has to be returned."""
    async with Client() as client:
        await client.fire(Handlers.by_hand)
        assert (client.shown["status"], client.shown["error_context"]["source_type"]) == ("error", "crm")
        assert client.shown["retry_possible"] is False
        await clock.sleep(5.1)
        assert client.shown["error_message"] == ""


class Slow(ErrorStateMixin, rx.State):
    """Two handlers, of which the one that is started first fails last."""

    error_handler: ClassVar = QUIET

    @rx.event(background=True)
    @handles_errors("slow")
    async def slow(self) -> None:
        await clock.sleep(3)
        raise unreachable("slow")

    @rx.event
    @handles_errors("quick")
    async def quick(self) -> None:
        msg = "Too short"
        raise ValidationError(msg, field="project_name", value="ab", min_length=3)


@pytest.mark.asyncio
async def test_a_timer_never_clears_a_newer_error(virtual_clock: VirtualClock) -> None:
    """The second error of the same handler is shown for five seconds of its own."""
    async with Client() as client:
        await client.fire(Slow.quick)
        first = client.shown["error_id"]
        await clock.sleep(3)
        await client.fire(Slow.quick)
        await clock.sleep(4)
        assert client.shown["error_message"]
        assert client.shown["error_id"] != first
        await clock.sleep(1.1)
        assert client.shown["error_message"] == ""


@pytest.mark.asyncio
async def test_the_error_of_an_earlier_click_that_comes_later_clears_too(virtual_clock: VirtualClock) -> None:
    """Reflex drops the timer of the older chain; the newer one's looks after that error as well."""
    async with Client() as client:
        await client.send(Slow.slow)
        await clock.sleep(0.5)
        await client.fire(Slow.quick)
        await clock.sleep(4)
        assert client.shown["error_type"] == "IntegrationError"
        await clock.sleep(10)
        assert client.shown["error_message"] == ""


class OnLoad(ErrorStateMixin, rx.State):
    """A page whose data cannot be loaded."""

    error_handler: ClassVar = QUIET

    @rx.event
    @handles_errors("load")
    async def load(self) -> None:
        raise unreachable("database")


@pytest.mark.asyncio
async def test_leaving_a_page_that_could_not_load_clears_its_message_at_once(virtual_clock: VirtualClock) -> None:
    """A navigation cancels the unfinished chain of the page before, and the timer with it: it clears as it goes."""
    async with Client() as client:
        load = client.pages(("loads", OnLoad.load), ("empty", None))
        await client.fire(load, page="/loads")
        await clock.sleep(1)
        assert client.shown["error_message"]
        await client.fire(load, page="/empty")
        await clock.sleep(1)
        assert client.shown["error_message"] == ""


@pytest.mark.asyncio
async def test_a_cancelled_handler_shows_nothing(virtual_clock: VirtualClock) -> None:
    """Cancellation is no failure."""
    async with Client() as client:
        sent = await client.send(Slow.slow)
        await clock.sleep(1)
        sent.cancel()
        await clock.sleep(5)
        assert not client.shown.get("error_message")
        assert client.unhandled == []


@pytest.mark.asyncio
async def test_a_new_call_takes_away_what_its_last_failure_left(virtual_clock: VirtualClock) -> None:
    """The user corrects the input and clicks again: no old message stands beside the success."""
    async with Client() as client:
        await client.fire(Handlers.by_coroutine, source="crm")
        await client.fire(Handlers.by_coroutine, source="crm")
        assert client.shown["error_message"] == ""
        assert client.shown["status"] == "connected to crm"
        await client.fire(Handlers.retry_operation)
        assert list((await client.state(Handlers)).calls) == ["crm", "crm"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", EVERY_KIND)
async def test_a_state_with_an_error_pickles(name: str, virtual_clock: VirtualClock) -> None:
    """Reflex keeps states on disk and in Redis: what failed is kept as plain values."""
    async with Client() as client:
        await client.fire(getattr(Handlers, name), source="crm")
        state = await client.state(Handlers)
        copied: Any = pickle.loads(pickle.dumps(state))  # noqa: S301 -- our own
        assert copied._failed_call == (name, (), {"source": "crm"})
        assert copied.error_message == state.error_message


class Notifier:
    """Takes its time, and notes what it is told."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.told: list[str] = []

    async def send_notification(self, _message: str, details: Any, _severity: object, _type: str | None) -> None:
        await anyio.to_thread.run_sync(self.may_go_on.wait, 30)
        self.told.append(details["error_id"])


NOTIFIER = Notifier()


class Told(ErrorStateMixin, rx.State):
    """A state whose errors are told to somebody slow."""

    error_handler: ClassVar = ErrorHandler(log=False, notifier=NOTIFIER)

    @rx.event
    @handles_errors("connect")
    async def connect(self) -> None:
        raise unreachable()

    @rx.event
    @handles_errors("connect")
    def connect_plainly(self) -> None:
        raise unreachable()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["connect", "connect_plainly"])
async def test_the_user_does_not_wait_for_the_notifier(name: str) -> None:
    """The message is in the browser while the mail is on its way, under the same id."""
    NOTIFIER.may_go_on.clear()
    NOTIFIER.told.clear()
    async with Client() as client:
        await client.fire(getattr(Told, name))
        assert client.shown["error_message"]
        assert NOTIFIER.told == []
        NOTIFIER.may_go_on.set()
        for _ in range(3_000):
            if NOTIFIER.told:
                break
            await asyncio.sleep(0.01)
        assert NOTIFIER.told == [client.shown["error_id"]]


class Uploads(ErrorStateMixin, rx.State):
    """A handler that another one gives what cannot be kept."""

    error_handler: ClassVar = QUIET

    @rx.event
    @handles_errors("upload", retryable=True)
    async def store(self, file: object) -> None:
        raise unreachable()

    @rx.event
    async def upload(self) -> None:
        store: Any = self.store
        await store(threading.Lock())


@pytest.mark.asyncio
async def test_what_cannot_be_pickled_is_no_other_try(virtual_clock: VirtualClock) -> None:
    """The error of a handler that another one calls is shown and clears; the state still pickles."""
    async with Client() as client:
        await client.fire(Uploads.upload)
        assert client.shown["error_message"]
        assert client.shown["retry_possible"] is False
        assert pickle.dumps(await client.state(Uploads))
        await clock.sleep(5.1)
        assert client.shown["error_message"] == ""


@pytest.mark.asyncio
async def test_a_handler_can_be_called_by_hand_in_a_test() -> None:
    """On a state of one's own, without Reflex's events: shown, and nothing waits for a timer."""
    state = Handlers()
    handler: Any = Handlers.by_coroutine
    await handler.fn(state, "crm")
    assert state.error_message == "Unable to connect to data source. Please check your connection"
    assert state.retry_possible is True
