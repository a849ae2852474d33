"""Making a report of an error, once for each error object.

The report is left on the error, as an attribute: whoever reports the same object again, further up, finds it there. A
report refers to no error, so that this makes no circle.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock, dice
from resilio.errors import ErrorSeverity, ResilioError, ValidationError
from resilio.reporting.causes import causes_of, notes_of, text_of
from resilio.reporting.classification import Classification, classify
from resilio.reporting.context import environment
from resilio.reporting.fingerprint import fingerprint, in_app_location
from resilio.reporting.messages import ErrorMessageProvider
from resilio.reporting.redaction import Redactor
from resilio.reporting.report import ErrorReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

__all__ = ("Reporter", "id_of", "messages_kept", "report_of", "set_report")

_REPORT: Final = "__resilio_report__"
_ID: Final = "__resilio_error_id__"
_MESSAGES: Final = "__resilio_messages__"
_FIRST_FRAMES: Final = 10
_LAST_FRAMES: Final = 20
_LONGEST_MESSAGE: Final = 2_048
_LONGEST_NAME: Final = 200
_OWN_FIELDS: Final = ("component", "system", "field", "value", "breaker", "limiter", "bulkhead", "attempts", "seconds")

_marking = threading.Lock()


class Reporter:
    """Makes reports: classifies, fingerprints, redacts, and words the message.

    Args:
        messages: The words for the user.
        redactor: What takes the secrets out.
        in_app: The application's packages, for fingerprints.
        first_seen: Tells when a fingerprint was first seen; None if it never was.
    """

    __slots__ = ("_first_seen", "_in_app", "_messages", "_redactor")

    def __init__(
        self,
        *,
        messages: ErrorMessageProvider | None = None,
        redactor: Redactor | None = None,
        in_app: tuple[str, ...] = (),
        first_seen: Callable[[str], datetime | None] | None = None,
    ) -> None:
        self._messages = ErrorMessageProvider() if messages is None else messages
        self._redactor = Redactor() if redactor is None else redactor
        self._in_app = in_app
        self._first_seen = first_seen

    def report(
        self, error: BaseException, operation: str, context: Mapping[str, object], *, explicit: str | None = None
    ) -> tuple[ErrorReport, bool]:
        """The report of an error, and whether it was made just now. Never raises an ``Exception``.

        Args:
            error: It gets an attribute that holds the report.
            operation: What was being done.
            context: What else is known.
            explicit: The fingerprint, if the caller has one.
        """
        known = report_of(error)
        if known is not None:
            return known, False
        made = self.make(error, operation, context, explicit=explicit)
        with _marking:
            known = report_of(error)  # another thread may have been quicker
            if known is not None:
                return known, False
            set_report(error, made)
        return made, True

    def make(
        self, error: BaseException, operation: str, context: Mapping[str, object], *, explicit: str | None = None
    ) -> ErrorReport:
        """A report of an error, whether it has one or not; it is not left on the error. Otherwise as `report`."""
        try:
            return self._made(error, operation, context, explicit)
        except Exception as failure:
            return _bare(error, operation, failure)

    @property
    def messages(self) -> ErrorMessageProvider:
        """The words for the user."""
        return self._messages

    def clean(self, text: str) -> str:
        """A text without secrets, cut."""
        walk = self._redactor.walk()
        cleaned: str = walk.scrubbed(walk.text(text, longest=_LONGEST_MESSAGE))
        return cleaned

    def _made(
        self, error: BaseException, operation: str, context: Mapping[str, object], explicit: str | None
    ) -> ErrorReport:
        kind = classify(error)
        walk = self._redactor.walk()
        known = walk.entries({**_own_context(error), **context})
        if isinstance(error, ValidationError) and "value" in known and self._redactor.is_sensitive(error.field):
            walk.secret(error.value)
            known["value"] = "[redacted]"

        def clean(text: str, longest: int) -> str:
            return walk.text(text, longest=longest)

        message = clean(text_of(error), _LONGEST_MESSAGE)
        causes = causes_of(error, clean)
        notes = notes_of(error, clean)
        operation = clean(text_of(operation), _LONGEST_NAME)
        # What came to light as a secret in one place is taken out of all the others.
        known = walk.scrubbed(known)
        operation = walk.scrubbed(operation)
        location = in_app_location(error, self._in_app)
        print_ = fingerprint(error, explicit=explicit, location=location)
        now = clock.utcnow()
        locale = context.get("locale")
        return ErrorReport(
            error_id=id_of(error),
            fingerprint=print_,
            error_type=type(error).__name__,
            error_message=walk.scrubbed(message),
            category=kind.category,
            code=kind.code,
            severity=kind.severity,
            operation=operation,
            retryable=kind.retryable,
            message=self._messages.message_for(
                kind.category,
                kind.code,
                {"error_type": type(error).__name__, "operation": operation, **known},
                locale=locale if isinstance(locale, str) else None,
            ),
            timestamp=now,
            first_seen=(self._first_seen and self._first_seen(print_)) or now,
            context=known,
            causes=walk.scrubbed(causes),
            notes=walk.scrubbed(notes),
            members=len(error.exceptions) if isinstance(error, BaseExceptionGroup) else 0,
            location=location,
            traceback=_traceback(error),
            environment=environment(),
        )


def report_of(error: BaseException) -> ErrorReport | None:
    """The report that was made of this error object; None if there is none."""
    found = getattr(error, _REPORT, None)
    return found if isinstance(found, ErrorReport) else None


def set_report(error: BaseException, report: ErrorReport) -> None:
    """Leave the report on the error, if the error lets us."""
    _mark(error, _REPORT, report)


def id_of(error: BaseException) -> str:
    """The id of this error object's report, which may be yet to be made."""
    found = getattr(error, _ID, None)
    if isinstance(found, str):
        return found
    made = f"err-{dice.randbytes(8).hex()}"
    _mark(error, _ID, made)
    return made


class KeptMessages:
    """The messages that an error spoiled and that are safe; they are let go of with the error."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages: list[Any] = []

    def holds(self, message: Any) -> bool:
        """Tell whether this very message is safe."""
        return any(each is message for each in self._messages)

    def add(self, message: Any) -> None:
        """Take note that it is safe."""
        self._messages.append(message)

    def __reduce__(self) -> tuple[type[KeptMessages], tuple[()]]:
        return KeptMessages, ()  # an error pickles, whatever the message was


def messages_kept(error: BaseException) -> KeptMessages:
    """The messages that this error object spoiled and that are safe."""
    found = getattr(error, _MESSAGES, None)
    if not isinstance(found, KeptMessages):
        found = KeptMessages()
        _mark(error, _MESSAGES, found)
    return found


def _mark(error: BaseException, name: str, value: object) -> None:
    try:
        object.__setattr__(error, name, value)  # past a `__setattr__` of its own: frozen dataclasses have one
    except (AttributeError, TypeError):
        return  # an error without a place for it is reported anew each time


def _own_context(error: BaseException) -> dict[str, object]:
    if not isinstance(error, ResilioError):
        return {}
    own = {name: getattr(error, name) for name in _OWN_FIELDS if getattr(error, name, None) is not None}
    return {**own, **error.context}


def _traceback(error: BaseException) -> tuple[str, ...]:
    # Without the source lines: to read those from the disk takes a hundred times as long, and they may hold anything.
    frames: list[Any] = []
    step = error.__traceback__
    while step is not None:
        frames.append(step)
        step = step.tb_next
    left_out = len(frames) - _FIRST_FRAMES - _LAST_FRAMES
    shown = frames if left_out <= 0 else frames[:_FIRST_FRAMES] + frames[-_LAST_FRAMES:]
    lines = [
        f'File "{each.tb_frame.f_code.co_filename}", line {each.tb_lineno}, in {each.tb_frame.f_code.co_qualname}'
        for each in shown
    ]
    if left_out > 0:
        lines.insert(_FIRST_FRAMES, f"... {left_out} more ...")
    return tuple(lines)


def _bare(error: BaseException, operation: object, failure: Exception) -> ErrorReport:
    """The report of an error that defies description: its class, and what went wrong with the rest."""
    name = type(error).__name__
    now = clock.utcnow()
    general = Classification("general", "general_error", ErrorSeverity.ERROR, retryable=False)
    return ErrorReport(
        error_id=id_of(error),
        fingerprint=fingerprint(Exception(), explicit=f"{type(error).__module__}.{type(error).__qualname__}"),
        error_type=name,
        error_message=f"(this error cannot be described: {type(failure).__name__})",
        category=general.category,
        code=general.code,
        severity=general.severity,
        operation=operation[:_LONGEST_NAME] if type(operation) is str else "",
        retryable=general.retryable,
        message=ErrorMessageProvider().message_for(general.category, general.code),
        timestamp=now,
        first_seen=now,
    )
