"""The mixin for state objects that no framework keeps: plain attributes, and a timer on the running event loop."""

from __future__ import annotations

import weakref
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from resilio._core import timer
from resilio._core.colour import is_awaitable
from resilio.web.state.behaviour import ErrorStateBehaviour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio._core.durations import Duration
    from resilio.reporting.handler import ErrorHandlerBase
    from resilio.reporting.plain import PlainValue
    from resilio.web.state.handler_call import FailedCall

__all__ = ("ErrorStateMixin",)

_NOTHING: Mapping[str, PlainValue] = MappingProxyType({})


class ErrorStateMixin(ErrorStateBehaviour):
    """Gives a state object the fields that a page shows of an error, and what fills and clears them.

        class State(ErrorStateMixin):
            @handles_errors("source_connection", retryable=True)
            async def connect(self, source: str) -> None: ...

    An error is shown for ``error_clear_after`` seconds, then cleared by the event loop that it was handled on; the
    timer never clears a newer error, and holds the state only weakly. Without an event loop, the next call of a handler
    that failed clears it.

    Attributes:
        error_message: What the user is told; empty if there is nothing to tell.
        error_type: The error's class.
        error_id: The report's id, which the log, the alert and the dead letter have too.
        error_category: ``validation``, ``system``, ``integration``, ``general``, or the error's own.
        error_context: What may be shown besides, by name, redacted: the operation, the message in parts
            (``title``, ``detail``, ``action``), ``code``, ``severity``, ``retry_possible``, ``timestamp``, and what
            `handle_error` was given. The error's own text is not among it.
        retry_possible: Whether `retry_operation` would do something.
        error_handler: Reports the errors; a plain `ErrorHandler` by default. Set it in your class.
        error_clear_after: Seconds, or a ``timedelta``, until a message clears; None or 0 for never. Set it in your
            class.

    Raises:
        TypeError: A class sets ``error_clear_after`` to what is no duration.
        ValueError: It is negative, infinite or NaN.

    A state belongs to one task at a time, as any object without a lock. It pickles and copies.

        >>> import anyio
        >>> from resilio import ErrorHandler, ValidationError
        >>> from resilio.web.state import handles_errors
        >>> class State(ErrorStateMixin):
        ...     error_handler = ErrorHandler(log=False)
        ...     @handles_errors("app_generation")
        ...     async def generate_app(self, name: str) -> None:
        ...         raise ValidationError("Too short", field="project_name", value=name, min_length=3)
        >>> state = State()
        >>> anyio.run(state.generate_app, "ab")
        >>> state.error_message
        'Project name must be at least 3 characters'
    """

    error_message: str = ""
    error_type: str = ""
    error_id: str = ""
    error_category: str = ""
    error_context: Mapping[str, PlainValue] = _NOTHING
    retry_possible: bool = False

    error_handler: ClassVar[ErrorHandlerBase | None] = None
    error_clear_after: ClassVar[Duration | None] = 5.0

    _failed_call: FailedCall | None = None
    _errors_shown: int = 0

    def clear_error(self) -> None:
        """Show no error any more, and offer no other try."""
        self._forget_error()

    async def retry_operation(self) -> object:
        """Call the handler that failed again, with the same arguments; nothing if there is none.

        What was shown is cleared first, so that a second click does nothing. A generator runs to its end.

        Returns:
            What the handler returns.
        """
        failed = self._take_failed_call()
        if failed is None:
            return None
        name, args, kwargs = failed
        result = getattr(self, name)(*args, **kwargs)
        if is_awaitable(result):
            return await result
        if hasattr(type(result), "__anext__"):
            async for _ in result:
                continue
            return None
        if hasattr(type(result), "__next__"):
            for _ in result:
                continue
            return None
        return result

    def _after_error_now(self) -> None:
        self._schedule_error_clear()

    def _schedule_error_clear(self) -> None:
        """Clear the error that is shown now after ``error_clear_after`` seconds."""
        seconds = self._seconds_shown()
        if seconds:
            timer.call_later(seconds, partial(_clear, weakref.ref(self), self._errors_shown))


def _clear(state: weakref.ref[ErrorStateMixin], number: int) -> None:
    alive = state()
    if alive is not None:
        alive._clear_shown(number)  # noqa: SLF001 -- our own timer
