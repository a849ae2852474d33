"""From an error to an answer, for any framework: reported once, worded in the client's language, as JSON or a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from resilio.errors import ResilioError, ValidationError
from resilio.reporting.handler import NO_MESSAGE, ErrorHandler
from resilio.web.negotiation import language, wants_html
from resilio.web.problem import PROBLEM_JSON, InvalidField, ProblemDetails, chosen_status, phrase_of, status_of, wait_of
from resilio.web.problem_page import PAGE_HEADERS, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.reporting.messages import UserMessage
    from resilio.reporting.report import ErrorReport

__all__ = ("Answer", "Asked", "ProblemAnswers", "leaf_of", "pointer")

_UNEXPECTED: Final = 500
_NO_BODY_BELOW: Final = 400
_GENERAL: Final = ("general", "general_error")
_LONGEST_STEP: Final = 100
_DEEPEST: Final = 20
_MOST_ERRORS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request says that matters to the answer of an error.

    Attributes:
        operation: What was being done: ``GET /cats/{name}``.
        method: Its method.
        path: Its path, without the query.
        accept: The header ``Accept``.
        accept_language: The header ``Accept-Language``.
    """

    operation: str
    method: str
    path: str
    accept: str = ""
    accept_language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response to be sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ProblemAnswers:
    """Makes answers of errors.

    Args:
        handler: Reports them, and has the words; one of its own by default.
        type_base: Where problem types are explained: with ``"https://errors.example.com/"`` an open circuit has the
            type ``https://errors.example.com/circuit_open``. By default all are ``about:blank``.

    Raises:
        TypeError: ``handler`` is no `ErrorHandler` of `resilio`, or ``type_base`` no text.

    Safe to share between threads and loops.
    """

    __slots__ = ("_type_base", "handler")

    def __init__(self, handler: ErrorHandler | None = None, *, type_base: str | None = None) -> None:
        if handler is not None and not isinstance(handler, ErrorHandler):
            msg = f"handler must be a resilio.ErrorHandler, not {handler!r}"
            raise TypeError(msg)
        if type_base is not None and not isinstance(type_base, str):
            msg = f"type_base must be a URI such as 'https://errors.example.com/', or None, not {type_base!r}"
            raise TypeError(msg)
        self.handler: ErrorHandler = ErrorHandler() if handler is None else handler
        self._type_base = type_base

    async def report(self, error: BaseException, asked: Asked, *, during: str | None = None) -> ErrorReport:
        """Report an error; one that was reported before keeps the report it has.

        Args:
            error: What was raised. Of a group that holds but one error, that one is reported.
            asked: By which request.
            during: Which part of it, if not while it was answered.
        """
        context = {"method": asked.method, "path": asked.path, **({} if during is None else {"during": during})}
        return await self.handler.handle(
            leaf_of(error), asked.operation, message=NO_MESSAGE, fingerprint=None, **context
        )

    async def of_error(self, error: Exception, asked: Asked) -> Answer:
        """Report an error and answer for it. Of an unexpected one, nothing but its report's id is in the answer."""
        cause = leaf_of(error)
        status = status_of(cause)
        if chosen_status(cause) is not None:
            return await self._of_chosen(cause, status, asked)
        report = await self.report(cause, asked)
        messages, locale = self.handler.messages, self._locale(asked)
        is_ours = isinstance(cause, ResilioError)
        category, code = _GENERAL if status == _UNEXPECTED and not is_ours else (report.category, report.code)
        known = {"error_type": report.error_type, "operation": report.operation, **report.context}
        words = messages.message_for(category, code, known, locale=locale)
        wait = wait_of(cause, status)
        detail = words.text
        if wait is not None:  # known better than by the words
            detail = (
                f"{words.detail} {messages.message_for('page', 'default', {'seconds': wait}, locale=locale).detail}"
            )
        problem = ProblemDetails(
            status=status,
            title=words.title if self._type_base else phrase_of(status),
            type=f"{self._type_base}{quote(code, safe='')}" if self._type_base else "about:blank",
            detail=detail,
            instance=quote(asked.path),
            code=code,
            error_id=report.error_id,
            retry_after=wait,
            errors=_field_of(cause, words),
        )
        return self.rendered(problem, asked, heading=words.title)

    async def _of_chosen(self, error: BaseException, status: int, asked: Asked) -> Answer:
        """Answer as the application itself says; below 500 that is no error."""
        headers = getattr(error, "headers", None)
        if status < _NO_BODY_BELOW:
            return Answer(status=status, headers=headers or {}, body=b"")
        error_id = (await self.report(error, asked)).error_id if status >= _UNEXPECTED else None
        return self.of_status(status, str(getattr(error, "detail", "")), asked, headers, error_id)

    def of_fields(self, errors: list[InvalidField], asked: Asked) -> Answer:
        """Answer for a request of which parts cannot be used. It is the client's mistake, and nothing is reported."""
        words = self.handler.messages.message_for("validation", "default", locale=self._locale(asked))
        code = "validation_error"
        problem = ProblemDetails(
            status=422,
            title=words.title if self._type_base else phrase_of(422),
            type=f"{self._type_base}{code}" if self._type_base else "about:blank",
            detail=words.text,
            instance=quote(asked.path),
            code=code,
            errors=tuple(errors[:_MOST_ERRORS]),
        )
        return self.rendered(problem, asked, heading=words.title)

    def of_status(
        self,
        status: int,
        detail: str,
        asked: Asked,
        headers: Mapping[str, str] | None = None,
        error_id: str | None = None,
    ) -> Answer:
        """Answer with a status that the application itself chose, and its own words."""
        phrase = phrase_of(status)
        problem = ProblemDetails(
            status=status,
            title=phrase,
            detail="" if detail == phrase else detail,
            instance=quote(asked.path),
            error_id=error_id,
        )
        return self.rendered(problem, asked, heading=phrase, headers=headers)

    def rendered(
        self, problem: ProblemDetails, asked: Asked, *, heading: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A problem as the client wants it: JSON, or a page where that is wanted more."""
        locale = self._locale(asked)
        sent = {"Cache-Control": "no-store", "Content-Language": locale, "Vary": "Accept, Accept-Language"}
        if problem.retry_after is not None:
            sent["Retry-After"] = str(problem.retry_after)
        given = {name: value for name, value in (headers or {}).items() if name.lower() not in _OURS}
        if wants_html(asked.accept):
            body = page(problem, heading, self.handler.messages, locale)
            return Answer(status=problem.status, headers={**given, **sent, **PAGE_HEADERS}, body=body)
        sent["Content-Type"] = PROBLEM_JSON
        return Answer(status=problem.status, headers={**given, **sent}, body=problem.to_json())

    def _locale(self, asked: Asked) -> str:
        messages = self.handler.messages
        return language(asked.accept_language, messages.locales, messages.locale)


_OURS: Final = frozenset({"content-type", "content-length", "content-language", "vary", "cache-control"})


def leaf_of(error: BaseException) -> BaseException:
    """The error itself; of a group that holds but one, that one."""
    for _ in range(_DEEPEST):
        if not (isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1):
            break
        error = error.exceptions[0]
    return error


def pointer(*steps: object) -> str:
    """A JSON pointer in a URI fragment (RFC 6901): names and indices, from the outside in.

    >>> pointer("cats", 0, "a/b")
    '#/cats/0/a~1b'
    """
    escaped = (str(each)[:_LONGEST_STEP].replace("~", "~0").replace("/", "~1") for each in steps)
    return "#" + "".join(f"/{quote(each, safe='~')}" for each in escaped)


def _field_of(error: BaseException, words: UserMessage) -> tuple[InvalidField, ...]:
    if not isinstance(error, ValidationError) or not isinstance(error.field, str):
        return ()
    return (InvalidField(pointer=pointer(*error.field.split(".")), detail=words.text),)
