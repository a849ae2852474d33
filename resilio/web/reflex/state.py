"""The mixin for Reflex states: the fields are vars, the timer is a background event inside the state's lock."""

from __future__ import annotations

import inspect
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import reflex as rx
from reflex.event import Event, EventHandler, EventSpec
from reflex.istate.proxy import StateProxy
from reflex_base.event.context import EventContext
from reflex_base.utils.exceptions import ImmutableStateError

from resilio._core import clock
from resilio._core.durations import Duration  # noqa: TC001 -- Reflex evaluates annotations
from resilio.reporting.handler import ErrorHandlerBase  # noqa: TC001 -- the same
from resilio.web.reflex.toast import error_toast
from resilio.web.state.behaviour import ErrorStateBehaviour
from resilio.web.state.telling import tell_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resilio.reporting.report import ErrorReport
    from resilio.web.state.handler_call import FailedCall, HandlerCall

__all__ = ("ErrorStateMixin",)

_SETTINGS = ("error_handler", "error_clear_after", "error_toasts")


class ErrorStateMixin(ErrorStateBehaviour, rx.State, mixin=True):
    """Gives a Reflex state the vars that a page shows of an error, and what fills and clears them.

        class State(ErrorStateMixin, rx.State):  # both: with the mixin alone it would be another mixin
            @rx.event
            @handles_errors("source_connection", retryable=True)
            async def connect(self, source: str): ...

    An error is shown for ``error_clear_after`` seconds. The timer never clears a newer error, and clears its own also
    when the user leaves the page. What failed is kept, picklable, on the server: a browser can ask for another try of
    it, and can name neither the handler nor its arguments. `handle_error` is no event.

    Attributes:
        error_message: What the user is told; empty if there is nothing to tell.
        error_type: The error's class.
        error_id: The report's id, which the log, the alert and the dead letter have too.
        error_category: ``validation``, ``system``, ``integration``, ``general``, or the error's own.
        error_context: What may be shown besides, by name, redacted; see `resilio.web.state.ErrorStateMixin`. Goes to
            the browser.
        retry_possible: Whether `retry_operation` would do something.
        error_handler: Reports the errors; a plain `ErrorHandler` by default.
        error_clear_after: Seconds, or a ``timedelta``, until a message clears; None or 0 for never.
        error_toasts: Whether each error pops up as a toast, too.

    The last three are settings of your class, not vars: ``error_clear_after: ClassVar = 10.0``.

    Raises:
        TypeError: A class sets one of the settings without ``ClassVar``, and so would send it to the browser; or
            ``error_clear_after`` is no duration.
        ValueError: ``error_clear_after`` is negative, infinite or NaN.

    Errors of background handlers (``@rx.event(background=True)``) are shown under the state's lock, which is taken if
    the handler does not hold it.
    """

    error_message: str = ""
    error_type: str = ""
    error_id: str = ""
    error_category: str = ""
    error_context: dict[str, Any] = {}  # noqa: RUF012 -- Reflex copies it for each state
    retry_possible: bool = False

    error_handler: ClassVar[ErrorHandlerBase | None] = None
    error_clear_after: ClassVar[Duration | None] = 5.0
    error_toasts: ClassVar[bool] = False

    _failed_call: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None
    _errors_shown: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        annotations = inspect.get_annotations(cls)
        for name in _SETTINGS:
            if name in vars(cls) and "ClassVar" not in str(annotations.get(name)):
                msg = f"{cls.__qualname__}.{name} is a setting, not a var: declare it as {name}: ClassVar = ..."
                raise TypeError(msg)
        super().__init_subclass__(**kwargs)

    @rx.event
    def clear_error(self) -> None:
        """Show no error any more, and offer no other try."""
        self._forget_error()

    @rx.event
    def retry_operation(self) -> Event | None:
        """Send the event that failed again, with the same arguments; nothing if there is none.

        What was shown is cleared first, so that a second click does nothing.
        """
        failed = self._take_failed_call()
        return None if failed is None else _event_of(self.__class__, failed)

    @rx.event(background=True, supersedes=True)
    async def clear_error_later(self, number: int) -> None:
        """Clear the error of that number after ``error_clear_after`` seconds; sent by the server, harmless otherwise.

        Reflex cancels it when the page that it was sent from is left, and lets a newer click's timer take its place.
        """
        seconds = self._seconds_shown()
        if not seconds:
            return
        try:
            while True:
                await clock.sleep(seconds)
                async with self:
                    self._clear_shown(number)
                    if not self.error_message:
                        return
                    # Shown by a slower handler of an earlier click, whose own timer Reflex took for outdated.
                    number = self._errors_shown
        except BaseException:
            async with self:
                self._clear_shown(number)
            raise

    # -- in Reflex's way -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _error_lock(self) -> AsyncIterator[None]:
        proxy = _proxy(self)
        if proxy is None:
            yield  # Reflex holds the lock for us
            return
        try:
            await proxy.__aenter__()
        except ImmutableStateError:  # this task holds it
            yield
            return
        try:
            yield
        finally:
            await proxy.__aexit__(*sys.exc_info())

    def _to_call_again(self, call: HandlerCall) -> FailedCall | None:
        failed = call.again()
        return None if failed is None or _event_of(self.__class__, failed) is None else failed

    async def _tell_error(self, report: ErrorReport) -> None:
        # A handler holds the state's lock: what it shows, and the user's next click, would wait for the notifier.
        tell_now(self._handler(), report)

    async def _after_error(self) -> None:
        try:
            context = EventContext.get()
        except LookupError:  # called by hand, as in a test
            return
        # Not returned to Reflex as the handler's result: an `except` block of the user's would have to pass it on.
        for event in Event.from_event_type(self._events_after_error()):
            if event.name.startswith("_"):
                await context.emit_event(event)
            else:
                await context.enqueue(event)

    def _after_error_now(self) -> list[EventSpec]:
        return self._events_after_error()

    def _events_after_error(self) -> list[EventSpec]:
        # `self.__class__`, not `type(self)`: in a background handler `self` is a proxy.
        later: Any = self.__class__.clear_error_later  # the handler, whatever the decorator's type says
        events: list[EventSpec] = [later(self._errors_shown)] if self._seconds_shown() else []
        if self.error_toasts:
            events.append(error_toast(self))
        return events


def _proxy(state: object) -> StateProxy | None:
    return state if isinstance(state, StateProxy) else None


def _event_of(state: type[rx.State], failed: FailedCall) -> Event | None:
    """The event that calls a handler; None if Reflex knows no such handler."""
    name, args, kwargs = failed
    handler = getattr(state, name, None)
    if not isinstance(handler, EventHandler):
        return None
    bound = inspect.signature(handler.fn).bind(None, *args, **kwargs)  # as it was called
    _, *names = bound.arguments
    (event,) = Event.from_event_type(handler)
    return replace(event, payload={each: bound.arguments[each] for each in names})
