"""What surrounds a request: the context that its errors are reported with, and the answer where nobody else gave one.

Pure ASGI, so that streams, background tasks and cancellation stay what they are, and any framework can use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from resilio._core import dice
from resilio.reporting.operations import context_around
from resilio.web.problem import status_of
from resilio.web.problem_answers import Asked, ProblemAnswers, leaf_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from resilio.reporting.handler import ErrorHandler

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Scope = MutableMapping[str, Any]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ("INTERNAL_ERROR", "TRY_AGAIN_LATER", "ErrorContextMiddleware", "asked_of", "cause_of", "is_client_gone")

_REQUEST_ID: Final = re.compile(r"\A[\w.:/+=-]{1,128}\Z", re.ASCII)
_UNEXPECTED: Final = 500
_CLIENT_GONE: Final = frozenset({"ClientDisconnect", "WebSocketDisconnect"})

TRY_AGAIN_LATER: Final = 1013
INTERNAL_ERROR: Final = 1011
"""What a WebSocket is closed with: RFC 6455, section 7.4, and its registry."""


class ErrorContextMiddleware:
    """Opens a report context for each request, and sees to errors that nothing inside has answered.

    Whatever is reported while a request is handled, background tasks included, knows its ``method``, ``path`` and
    ``request_id`` (the header ``X-Request-ID``, or one made up; it is in the response as well).

    An error that comes out is reported once. If the response has not begun, it is answered with problem details. If it
    has, it stays as it is: a broken stream is cut off, so that its reader notices. A WebSocket is closed with 1013 if
    another try may help, else with 1011, and the report's id. An error that is understood ends here; an unexpected one,
    of status 500, is raised again, as Starlette does, so that the server logs its traceback and test clients show it. A
    client that has gone away is no error.

    Args:
        app: The ASGI application.
        handler: Reports errors, and has the words for them; one of its own by default.
        type_base: As for `resilio.web.starlette.install`.

    Safe to share between event loops, as the application is.
    """

    __slots__ = ("_answers", "_app")

    def __init__(self, app: App, handler: ErrorHandler | None = None, *, type_base: str | None = None) -> None:
        self._app = app
        self._answers = ProblemAnswers(handler, type_base=type_base)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; see ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        progress = _Progress(send, request_id)
        context = {"method": scope.get("method", "WEBSOCKET"), "path": scope["path"], "request_id": request_id}
        with context_around(context):
            try:
                await self._app(scope, receive, progress.send)
            except Exception as error:
                if is_client_gone(error):
                    return
                if not await self._sees_to(cause_of(error), scope, progress):
                    raise

    async def _sees_to(self, error: Exception, scope: Scope, progress: _Progress) -> bool:
        """Report and answer; tell whether the error ends here."""
        asked = asked_of(scope)
        if scope["type"] == "websocket":
            report = await self._answers.report(error, asked)
            if not progress.is_complete:
                code = TRY_AGAIN_LATER if report.retryable else INTERNAL_ERROR
                await progress.send({"type": "websocket.close", "code": code, "reason": report.error_id})
        elif progress.has_begun or getattr(scope.get("app"), "debug", False):
            during = "a background task" if progress.is_complete else "the response" if progress.has_begun else None
            await self._answers.report(error, asked, during=during)
            return False
        else:
            answer = await self._answers.of_error(error, asked)
            headers = [
                (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in answer.headers.items()
            ]
            headers.append((b"content-length", str(len(answer.body)).encode()))
            await progress.send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await progress.send({"type": "http.response.body", "body": answer.body})
        return status_of(leaf_of(error)) != _UNEXPECTED


class _Progress:
    """How far a response has come."""

    __slots__ = ("_request_id", "_send", "has_begun", "is_complete")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self.has_begun = False
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", self._request_id)]}
        elif message["type"] in ("http.response.body", "websocket.close"):
            self.is_complete = not message.get("more_body", False)
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    return given if _REQUEST_ID.match(given) else dice.randbytes(8).hex()


def _header(scope: Scope, name: bytes) -> str:
    values = [value for each, value in scope.get("headers", ()) if each.lower() == name]
    return b", ".join(values).decode("latin-1")


def asked_of(scope: Scope) -> Asked:
    """What an ASGI scope says that matters to the answer of an error."""
    method, path = str(scope.get("method", "WEBSOCKET")), str(scope.get("path", ""))
    return Asked(
        operation=f"{method} {_template(scope) or path}",
        method=method,
        path=path,
        accept=_header(scope, b"accept"),
        accept_language=_header(scope, b"accept-language"),
    )


def _template(scope: Scope) -> str | None:
    """The path as it was declared, ``/cats/{name}``: one operation, whatever the cat."""
    declared = getattr(scope.get("route"), "path", None)
    if isinstance(declared, str):
        mounted_at = str(scope.get("root_path", "")).removeprefix(str(scope.get("app_root_path", "")))
        return f"{mounted_at}{declared}"
    endpoint = scope.get("endpoint")  # Starlette did not always name the route
    return None if endpoint is None else _declared(getattr(scope.get("app"), "routes", ()), endpoint, 5)


def _declared(routes: Iterable[Any], endpoint: object, deepest: int) -> str | None:
    for route in routes if deepest else ():
        path = getattr(route, "path", "")
        if getattr(route, "endpoint", None) is endpoint:
            return str(path)
        below = _declared(getattr(route, "routes", None) or (), endpoint, deepest - 1)
        if below is not None:
            return f"{path}{below}"
    return None


def cause_of(error: Exception) -> Exception:
    """The error itself; what Starlette raises in place of one that came after the response had begun, is none."""
    cause = error.__cause__
    if type(error) is RuntimeError and isinstance(cause, Exception) and "response already started" in str(error):
        return cause
    return error


def is_client_gone(error: BaseException) -> bool:
    """Tell whether an error says no more than that nobody waits for the response any more."""
    cause = leaf_of(cause_of(error) if isinstance(error, Exception) else error)
    return any(kind.__name__ in _CLIENT_GONE for kind in type(cause).__mro__)
