"""The error handler for code without an event loop; `resilio.sync` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from resilio._core import portal
from resilio._core.colour import Colour, colour_of
from resilio._core.drive import drive
from resilio.reporting.handler import NO_MESSAGE, ErrorHandlerBase, is_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resilio.reporting.report import ErrorReport

__all__ = ("ErrorHandler",)


class ErrorHandler(ErrorHandlerBase):
    """One place for an error to go; the blocking twin of `resilio.ErrorHandler`.

        handler = ErrorHandler(notifier=AdminNotifier(), dead_letters=DeadLetterQueue())

        with handler.guard("answer", message=message, suppress=True):
            answer(message)

    Takes the same arguments. Safe to share between threads. A notifier or queue from `resilio` works as well: it is
    called on the background event loop.
    """

    __slots__ = ()

    def handle(
        self,
        error: BaseException,
        operation: str = "",
        /,
        *,
        message: Any = NO_MESSAGE,
        fingerprint: str | None = None,
        **context: object,
    ) -> ErrorReport:
        """Report an error: for an ``except`` block that goes on by itself. Arguments and result as of the async method.

        Raises:
            BaseException: ``error`` itself, if it is no failure but Ctrl-C, exit or cancellation. Otherwise nothing.
        """
        return drive(self._handle(_deliver, error, operation, message, fingerprint, context))

    def guard(
        self,
        operation: str,
        /,
        *,
        message: Any = NO_MESSAGE,
        suppress: bool = False,
        fingerprint: str | None = None,
        **context: object,
    ) -> Guard:
        """Report what a block raises: ``with handler.guard("answer", message=message):``; as the async method.

        Raises:
            ValueError: There is a ``message`` and the handler has no ``dead_letters``.
        """
        self._check_guard(message)
        return Guard(self, operation, message, suppress, fingerprint, context)


class Guard:
    """A guarded block; what `ErrorHandler.guard` returns. ``report`` is what became of its error, None without one."""

    __slots__ = ("_arguments", "_handler", "_suppress", "report")

    def __init__(
        self,
        handler: ErrorHandler,
        operation: str,
        message: Any,
        suppress: bool,  # noqa: FBT001 -- made in one place
        fingerprint: str | None,
        context: Mapping[str, object],
    ) -> None:
        self.report: ErrorReport | None = None
        self._handler = handler
        self._suppress = suppress
        self._arguments = (operation, message, fingerprint, context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if not is_failure(error):
            return False
        self.report = drive(self._handler._handle(_deliver, error, *self._arguments))  # noqa: SLF001 -- one of us
        return self._suppress


async def _deliver(fn: Callable[..., Any], /, *args: object) -> object:
    if colour_of(fn) is Colour.COROUTINE:
        return portal.call(fn, *args)
    return fn(*args)
