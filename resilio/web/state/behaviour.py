"""What every state with errors does, whatever framework keeps its fields.

Has no fields and no annotations of its own: a framework that turns annotations into fields must find each only where it
is declared, in the mixin. The hooks at the end say how a framework locks, clears and tells.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from resilio._core import durations
from resilio.reporting.classification import classify
from resilio.web.state.handler_call import current_call
from resilio.web.state.telling import reported, shared_handler, tell, tell_now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from resilio._core.durations import Duration
    from resilio.reporting.handler import ErrorHandlerBase
    from resilio.reporting.plain import PlainValue
    from resilio.reporting.report import ErrorReport
    from resilio.web.state.handler_call import FailedCall, HandlerCall

__all__ = ("ErrorStateBehaviour",)


class ErrorStateBehaviour:
    """Handling, showing and clearing of errors; the fields come with the mixins."""

    if TYPE_CHECKING:  # the fields; each mixin declares them in its framework's way
        error_message: str
        error_type: str
        error_id: str
        error_category: str
        retry_possible: bool
        error_context: Any
        error_handler: ClassVar[ErrorHandlerBase | None]
        error_clear_after: ClassVar[Duration | None]
        _failed_call: FailedCall | None
        _errors_shown: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if vars(cls).get("error_clear_after") is not None:
            durations.seconds("error_clear_after", cls.error_clear_after)
        super().__init_subclass__(**kwargs)

    async def handle_error(self, error: Exception, operation: str, /, **context: object) -> ErrorReport:
        """Report an error and show it: for an ``except`` block of a handler.

        The user sees it before anybody else is told. In a handler under `handles_errors`, another try can be offered.
        A plain handler cannot await this: it lets the error pass to `handles_errors`.

        Args:
            error: What was raised.
            operation: What was being done: ``"app_generation"``.
            context: What else is known. Goes into the report and, redacted, into ``error_context``.

        Returns:
            The report.

        Raises:
            BaseException: ``error`` itself, if it is no failure but cancellation.
        """
        known = self._with_user(context)
        report, is_to_be_told = reported(self._handler(), error, operation, known)
        async with self._error_lock():
            self._show_error(report, error, known)
        await self._after_error()
        if is_to_be_told:
            await self._tell_error(report)
        return report

    def _handle_error_now(self, error: Exception, operation: str, context: Mapping[str, object]) -> object:
        """`handle_error` for a plain handler, which can wait for nobody. Returns what the handler is to return."""
        known = self._with_user(context)
        report, is_to_be_told = reported(self._handler(), error, operation, known)
        self._show_error(report, error, known)
        after = self._after_error_now()
        if is_to_be_told:
            tell_now(self._handler(), report)
        return after

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _categorize_error(self, error: Exception) -> str:
        """The error's category: ``validation``, ``system``, ``integration``, ``general``, or the error's own."""
        return classify(error).category

    def _get_error_code(self, error: Exception) -> str:
        """The code that the words for the user stand under: the error's own, or what its class and fields say."""
        return classify(error).code

    def _show_error(self, report: ErrorReport, error: Exception, context: Mapping[str, object]) -> None:
        category, code = self._categorize_error(error), self._get_error_code(error)
        message = report.message
        if (category, code) != (report.category, report.code):  # a subclass knows better
            locale = context.get("locale")
            message = self._handler().messages.message_for(
                category, code, report.context, locale=locale if isinstance(locale, str) else None
            )
        call = current_call()
        failed = None
        if (
            call is not None
            and call.owner is self.__class__
            and call.may_be_repeated(category=category, retryable=report.retryable)
        ):
            failed = self._to_call_again(call)
        shown: dict[str, PlainValue] = {
            **{name: report.context[name] for name in context if name in report.context},
            "operation": report.operation,
            "category": category,
            "code": code,
            "severity": str(report.severity),
            "title": message.title,
            "detail": message.detail,
            "action": message.action,
            "retry_possible": failed is not None,
            "timestamp": report.timestamp.isoformat(),
        }
        self.error_message = message.text
        self.error_type = report.error_type
        self.error_id = report.error_id
        self.error_category = category
        self.retry_possible = failed is not None
        self.error_context = shown
        self._failed_call = failed
        self._errors_shown = self._errors_shown + 1

    def _take_error_away(self) -> None:
        """Show nothing. What failed can still be tried again: the click may be on its way."""
        self.error_message = self.error_type = self.error_id = self.error_category = ""
        self.retry_possible = False
        self.error_context = {}

    def _clear_shown(self, number: int) -> None:
        """Take an error away, unless another is shown by now."""
        if self._errors_shown == number and self.error_message:
            self._take_error_away()

    def _forget_error(self) -> None:
        self._take_error_away()
        self._failed_call = None

    def _is_of(self, call: HandlerCall) -> bool:
        """Tell whether there is anything of the call's last failure."""
        failed = self._failed_call
        return bool(
            (failed is not None and failed[0] == call.name)
            or (self.error_message and self.error_context.get("operation") == call.operation)
        )

    async def _forget_error_of(self, call: HandlerCall) -> None:
        if self._is_of(call):
            async with self._error_lock():
                self._forget_error()

    def _forget_error_of_now(self, call: HandlerCall) -> None:
        if self._is_of(call):
            self._forget_error()

    def _take_failed_call(self) -> FailedCall | None:
        """What is to be called again, once; None if nothing is. Nothing is shown any more."""
        failed = self._failed_call
        self._forget_error()
        return failed

    def _seconds_shown(self) -> float:
        """How long an error is shown; 0 for until somebody clears it."""
        after = self.error_clear_after
        return 0.0 if after is None else durations.seconds("error_clear_after", after)

    # -- who reports ---------------------------------------------------------------------------------------------------

    def _handler(self) -> ErrorHandlerBase:
        return self.error_handler or shared_handler()

    def _with_user(self, context: Mapping[str, object]) -> dict[str, object]:
        user = getattr(self, "user_id", None)
        return {"user_id": user if isinstance(user, (str, int)) and user != "" else "anonymous", **context}

    # -- what a framework does in its own way --------------------------------------------------------------------------

    def _error_lock(self) -> AbstractAsyncContextManager[object]:
        """Held while fields are set."""
        return nullcontext()

    def _to_call_again(self, call: HandlerCall) -> FailedCall | None:
        """What to keep for another try; None if there cannot be one."""
        return call.again() if callable(getattr(self, call.name, None)) else None

    async def _tell_error(self, report: ErrorReport) -> None:
        """Tell the notifier."""
        await tell(self._handler(), report)

    async def _after_error(self) -> None:
        """See to it that the error is cleared."""
        self._after_error_now()

    def _after_error_now(self) -> object:
        """The same from plain code; what it returns is what the handler returns."""
        raise NotImplementedError
