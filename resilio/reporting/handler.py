"""One place for an error to go: it becomes a report, which is logged, counted, told and kept."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeGuard

import anyio.to_thread

from resilio._core import events
from resilio._core.cancellation import is_interruption
from resilio._core.colour import Colour, colour_of, is_awaitable
from resilio.errors import ErrorSeverity
from resilio.reporting.causes import text_of
from resilio.reporting.events import ErrorReported
from resilio.reporting.log_lines import tell
from resilio.reporting.operations import LoggedOperation, current_context, log_operation
from resilio.reporting.reporter import Reporter, messages_kept, set_report
from resilio.reporting.tracker import ErrorTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from types import TracebackType

    from resilio.reporting.messages import ErrorMessageProvider
    from resilio.reporting.redaction import Redactor
    from resilio.reporting.report import ErrorReport

__all__ = ("NO_MESSAGE", "ErrorHandler", "ErrorHandlerBase", "HandlesLetters", "Notifies")

NO_MESSAGE: Final[Any] = type("NoMessage", (), {"__repr__": lambda _: "NO_MESSAGE"})()
"""Stands for a message that was not given: None is a message."""

_LOGGER: Final = "resilio.reporting"


class Notifies(Protocol):
    """Whom a handler tells; an `AdminNotifier` is one. Async or plain."""

    def send_notification(
        self, message: str, details: dict[str, Any] | None, severity: ErrorSeverity, error_type: str | None, /
    ) -> object:
        """Tell somebody. What it returns is awaited if it can be."""


class HandlesLetters(Protocol):
    """Where a handler keeps messages; a `DeadLetterQueue` is one. Async or plain."""

    def send_to_dlq(self, message: Any, error_info: Any, /) -> object:
        """Keep a message; return the letter's id. What it returns is awaited if it can be."""


class Deliver(Protocol):
    """How a handler calls its notifier and its queue, from its own side of the colours."""

    def __call__(self, fn: Callable[..., object], /, *args: object) -> Coroutine[Any, Any, object]:
        """Call ``fn`` with ``args`` and return its result."""


class ErrorHandlerBase:
    """What both colours of the handler have in common: everything but the waiting."""

    __slots__ = ("_dead_letters", "_log", "_notifier", "_notify_from", "_reporter", "_tracker")

    def __init__(
        self,
        *,
        notifier: Notifies | None = None,
        dead_letters: HandlesLetters | None = None,
        tracker: ErrorTracker | None = None,
        messages: ErrorMessageProvider | None = None,
        redactor: Redactor | None = None,
        notify_from: ErrorSeverity | str = ErrorSeverity.ERROR,
        in_app: Iterable[str] = (),
        log: bool = True,
    ) -> None:
        _check_method("notifier", notifier, "send_notification")
        _check_method("dead_letters", dead_letters, "send_to_dlq")
        if isinstance(in_app, str):
            msg = f"in_app must be several packages, such as [{in_app!r}], not one text"
            raise TypeError(msg)
        self._notifier = notifier
        self._dead_letters = dead_letters
        self._tracker = ErrorTracker() if tracker is None else tracker
        self._notify_from = ErrorSeverity(notify_from)
        self._log = log
        self._reporter = Reporter(
            messages=messages, redactor=redactor, in_app=tuple(in_app), first_seen=self._tracker.first_seen
        )

    @property
    def tracker(self) -> ErrorTracker:
        """Counts what this handler handles."""
        return self._tracker

    @property
    def messages(self) -> ErrorMessageProvider:
        """The words for the user that this handler uses."""
        return self._reporter.messages

    def operation(self, name: str, /, **context: object) -> LoggedOperation:
        """`log_operation` with this handler's tracker."""
        return log_operation(name, tracker=self._tracker, **context)

    async def _handle(
        self,
        deliver: Deliver,
        error: BaseException,
        operation: str,
        message: Any,
        fingerprint: str | None,
        context: Mapping[str, object],
    ) -> ErrorReport:
        if not isinstance(error, BaseException):
            error = Exception(text_of(error))  # a slip in an `except` block is no reason to lose what it says
        if is_interruption(error):
            raise error
        around = dict(current_context())
        within = around.pop("operation", None)
        if within is not None and operation:
            around["within"] = within
        report, is_new = self._reporter.report(
            error, operation or text_of(within or ""), {**around, **context}, explicit=fingerprint
        )
        if is_new:
            self._tracker.track_report(report)
        why_not_kept = None
        try:
            if message is not NO_MESSAGE:
                report, why_not_kept = await self._keep(deliver, error, report, message)
        finally:
            if is_new:  # even if we are cancelled while the message is written
                self._write(report)
                if events.listeners:
                    events.emit(ErrorReported(report=report))
        if is_new:
            await self._notify(deliver, report, why_not_kept)
        return report

    async def _keep(
        self, deliver: Deliver, error: BaseException, report: ErrorReport, message: Any
    ) -> tuple[ErrorReport, str | None]:
        kept = messages_kept(error)
        if kept.holds(message):
            return report, None  # the same message, on its way up
        if self._dead_letters is None:
            why = "there is no dead letter queue"
        else:
            try:
                message_id = await deliver(self._dead_letters.send_to_dlq, message, report)
            except Exception as failure:
                why = f"{type(failure).__name__}: {text_of(failure)}"
            else:
                kept.add(message)
                if report.message_id is None:
                    report = dataclasses.replace(report, message_id=text_of(message_id))
                    set_report(error, report)
                    self._tracker.replace_report(report)
                return report, None
        why = self._reporter.clean(why)
        tell(
            "critical",
            "a message could not be kept as a dead letter",
            {"error_id": report.error_id, "operation": report.operation, "reason": why},
            logger=_LOGGER,
        )
        return report, why

    async def _notify(self, deliver: Deliver, report: ErrorReport, why_not_kept: str | None) -> None:
        if self._notifier is None or report.severity < self._notify_from:
            return
        details = report.to_dict()
        if why_not_kept is not None:
            details["dead_letter_error"] = why_not_kept
        told = f"{report.operation or 'An operation'} failed: {report.error_type}: {report.error_message}"
        try:
            await deliver(
                self._notifier.send_notification, told.removesuffix(": "), details, report.severity, report.error_type
            )
        except Exception as failure:
            why = self._reporter.clean(f"{type(failure).__name__}: {text_of(failure)}")
            tell(
                "error",
                "an error could not be told to the notifier",
                {"error_id": report.error_id, "reason": why},
                logger=_LOGGER,
            )

    def _write(self, report: ErrorReport) -> None:
        if not self._log:
            return
        fields: dict[str, object] = {
            "error_id": report.error_id,
            "operation": report.operation,
            "error_type": report.error_type,
            "error_message": report.error_message,
            "category": report.category,
            "code": report.code,
            "fingerprint": report.fingerprint,
            "location": report.location,
            "retryable": report.retryable,
            "context": dict(report.context),
        }
        if report.causes:
            fields["causes"] = [f"{each.error_type}: {each.error_message}" for each in report.causes]
        if report.notes:
            fields["notes"] = list(report.notes)
        if report.message_id is not None:
            fields["message_id"] = report.message_id
        tell(report.severity.lower(), "operation failed", fields, logger=_LOGGER)

    def _check_guard(self, message: Any) -> None:
        if message is not NO_MESSAGE and self._dead_letters is None:
            msg = "message needs a handler with dead_letters, which would keep it"
            raise ValueError(msg)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._tracker!r}>"


class ErrorHandler(ErrorHandlerBase):
    """One place for an error to go: it becomes a report, which is logged, counted, told and kept.

        handler = ErrorHandler(notifier=AdminNotifier(), dead_letters=DeadLetterQueue())

        async with handler.guard("answer", message=message, suppress=True):
            await answer(message)

    Args:
        notifier: Whom to tell: an `AdminNotifier`, or what has its ``send_notification``.
        dead_letters: Keeps messages: a `DeadLetterQueue`, or what has its ``send_to_dlq``.
        tracker: Counts the errors; one of its own by default.
        messages: The words for the user; those of the package by default.
        redactor: Takes the secrets out; `Redactor()` by default.
        notify_from: The least severity that is told to the notifier.
        in_app: The application's packages, such as ``["shop"]``, for fingerprints. By default all that is neither the
            standard library nor installed as a library.
        log: Whether each report is logged: through structlog, stdlib logging, or to stderr.

    Raises:
        TypeError: ``notifier`` or ``dead_letters`` lacks its method, or ``in_app`` is one text.
        ValueError: ``notify_from`` is no severity.

    Safe to build at import time and to share between event loops, threads, asyncio and trio. A notifier or queue from
    `resilio.sync` works as well: it is called in a worker thread.
    """

    __slots__ = ()

    async def handle(
        self,
        error: BaseException,
        operation: str = "",
        /,
        *,
        message: Any = NO_MESSAGE,
        fingerprint: str | None = None,
        **context: object,
    ) -> ErrorReport:
        """Report an error: for an ``except`` block that goes on by itself.

        The error is classified, fingerprinted and redacted, counted by the tracker, worded for the user, logged, told
        to the notifier if it is bad enough, and kept with the message it spoiled. An error object that was reported
        before is none of this again; it gets the report it has. A message is kept in any case, once.

        Args:
            error: What was raised. It gets an attribute that holds the report; the handler keeps nothing of it.
            operation: What was being done; by default, what the `log_operation` around it says.
            message: The message it spoiled, to be kept as a dead letter.
            fingerprint: What to count it under; by default, its types and where it came from.
            context: What else is known. ``locale="de"`` chooses the language of the message to the user.

        Returns:
            The report. ``report.message_id`` is the letter's id.

        Raises:
            BaseException: ``error`` itself, if it is no failure but cancellation, Ctrl-C or exit. Otherwise nothing:
                a notifier or a queue that fails is logged, and told in the notification.

        Cancellation arrives where the queue and the notifier wait; the error is counted by then.

            >>> async def main() -> None:
            ...     handler = ErrorHandler(log=False)
            ...     try:
            ...         raise ConnectionError("no route")
            ...     except ConnectionError as error:
            ...         report = await handler.handle(error, "fetch", source="crm")
            ...     print(report.user_message)
            >>> import anyio; anyio.run(main)
            Unable to connect to data source. Please check your connection
        """
        return await self._handle(_deliver, error, operation, message, fingerprint, context)

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
        """Report what a block raises: ``async with handler.guard("answer", message=message):``.

        Args:
            operation: What the block does.
            message: Kept as a dead letter if the block fails.
            suppress: Whether the block's error ends here. Cancellation, Ctrl-C and exit never do.
            fingerprint: As for `handle`.
            context: As for `handle`.

        Returns:
            A context manager whose ``report`` is what became of the error, None if there was none.

        Raises:
            ValueError: There is a ``message`` and the handler has no ``dead_letters``.
        """
        self._check_guard(message)
        return Guard(self, operation, message, suppress, fingerprint, context)


class Guard:
    """A guarded block; what `ErrorHandler.guard` returns.

    Attributes:
        report: What became of the block's error; None if there was none.
    """

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        if not is_failure(error):
            return False
        self.report = await self._handler._handle(_deliver, error, *self._arguments)  # noqa: SLF001 -- one of us
        return self._suppress


def is_failure(error: BaseException | None) -> TypeGuard[Exception]:
    """Tell whether a block failed: it raised, and was neither cancelled nor told to end."""
    return isinstance(error, Exception) and not is_interruption(error)


async def _deliver(fn: Callable[..., object], /, *args: object) -> object:
    if colour_of(fn) is Colour.COROUTINE:
        result = fn(*args)
    else:
        result = await anyio.to_thread.run_sync(fn, *args)  # it may block
    return await result if is_awaitable(result) else result


def _check_method(name: str, thing: object, method: str) -> None:
    if thing is not None and (isinstance(thing, type) or not callable(getattr(thing, method, None))):
        msg = f"{name} must be an object with a method {method}(), not {thing!r}"
        raise TypeError(msg)
