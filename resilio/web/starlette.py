"""Starlette with problem details: exception handlers, a middleware, a lifespan and a health endpoint.

**Usage.** ::

    from resilio.web.starlette import health_endpoint, install, lifespan

    letters, admin = DeadLetterQueue(), AdminNotifier()
    app = Starlette(
        routes=[Route("/health", health_endpoint([HealthCheck.of_circuit(breaker)])), ...],
        lifespan=lifespan(letters, admin),
    )
    install(app, ErrorHandler(notifier=admin, dead_letters=letters))

**What a client sees.** Problem details (RFC 9457) as ``application/problem+json``, or a small page where ``Accept``
asks for HTML more than for JSON; in the language that ``Accept-Language`` asks for, of those that there are texts in.
The statuses are those of `resilio.web.problem.status_of`; 503 and 429 carry ``Retry-After`` where that is known. Of an
unexpected error only the id of its report is told.

**What is reported.** Each error once, by the `ErrorHandler`: the id in the answer is the one in the log, the alert and
the dead letter. What the application chose to answer by an ``HTTPException`` below 500 is no error.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from resilio.alerting.optional import require

require("starlette", extra="web", what="resilio.web.starlette")

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.websockets import WebSocket

from resilio._core.colour import name_of
from resilio.errors import ResilioError
from resilio.reporting.handler import ErrorHandler
from resilio.web.error_context import (
    INTERNAL_ERROR,
    TRY_AGAIN_LATER,
    ErrorContextMiddleware,
    asked_of,
    cause_of,
    is_client_gone,
)
from resilio.web.health import HealthEndpoint
from resilio.web.problem_answers import Answer, ProblemAnswers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from starlette.applications import Starlette
    from starlette.requests import Request

    from resilio.alerting.health_checks import HealthCheck

    Handler = Callable[[Request, Exception], Awaitable[Response]]

__all__ = ("ErrorContextMiddleware", "exception_handlers", "health_endpoint", "install", "lifespan", "response_of")

_CLIENT_GONE = 499


def install(app: Starlette, handler: ErrorHandler | None = None, *, type_base: str | None = None) -> ErrorHandler:
    """Let an application answer its errors with problem details: its exception handlers and a middleware.

    Args:
        app: A Starlette application that has not started; for FastAPI see `resilio.web.fastapi`.
        handler: Reports errors, and has the words for them; one of its own by default.
        type_base: Where problem types are explained: with ``"https://errors.example.com/"`` an open circuit has the
            type ``https://errors.example.com/circuit_open``. By default all are ``about:blank``.

    Returns:
        The handler in use.

    Raises:
        TypeError: ``handler`` is no `ErrorHandler`.
        RuntimeError: The application has started already.

    Middlewares that are added afterwards are outside of it: a CORS middleware puts its headers on errors as well.

        >>> from starlette.applications import Starlette
        >>> install(Starlette()).messages.locale
        'en'
    """
    handler = ErrorHandler() if handler is None else handler
    for kind, answer in exception_handlers(handler, type_base=type_base).items():
        app.add_exception_handler(kind, answer)
    app.add_middleware(ErrorContextMiddleware, handler=handler, type_base=type_base)
    return handler


def exception_handlers(
    handler: ErrorHandler | None = None, *, type_base: str | None = None
) -> dict[type[Exception], Handler]:
    """What ``Starlette(exception_handlers=...)`` takes; for applications that want no middleware.

    Args:
        handler: As for `install`.
        type_base: As for `install`.

    Returns:
        Handlers for ``HTTPException``, `ResilioError` and any other ``Exception``.
    """
    answers = ProblemAnswers(handler, type_base=type_base)

    async def answer(connection: Request | WebSocket, error: Exception) -> Response:
        error = cause_of(error)
        if is_client_gone(error):
            return Response(status_code=_CLIENT_GONE)  # nobody hears it
        if isinstance(connection, WebSocket):
            report = await answers.report(error, asked_of(connection.scope))
            code = TRY_AGAIN_LATER if report.retryable else INTERNAL_ERROR
            await connection.close(code=code, reason=report.error_id)
            return cast("Response", None)  # there is none to be sent
        return response_of(await answers.of_error(error, asked_of(connection.scope)))

    return {HTTPException: answer, ResilioError: answer, Exception: answer}


def response_of(answer: Answer) -> Response:
    """An answer as Starlette sends it."""
    return Response(answer.body, answer.status, headers=dict(answer.headers))


def health_endpoint(
    checks: Iterable[HealthCheck], *, details: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that answers 200 if every component is well, else 503.

        Route("/health", health_endpoint([HealthCheck.of_circuit(breaker), HealthCheck.of_queue(letters)]))

    The body says of each component whether it is well. What the checks found besides is shown if ``details`` allows it
    and the client asks for it by ``?details=true``, without secrets.

    Args:
        checks: What is looked at, side by side, each within its own timeout.
        details: Whether details may be shown.

    Raises:
        TypeError: One of ``checks`` is no `HealthCheck`.
        ValueError: Two have the same component.
    """
    endpoint = HealthEndpoint(checks, details=details)

    async def health(request: Request) -> Response:
        wanted = request.query_params.get("details", "").lower() in ("1", "true", "yes")
        status, body = await endpoint.look(asks_details=wanted)
        return Response(body, status, headers={"Cache-Control": "no-store"}, media_type="application/json")

    return health


def lifespan(
    *resources: AbstractAsyncContextManager[Any] | AbstractContextManager[Any],
    tasks: Iterable[Callable[[], Awaitable[object]]] = (),
    within: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
    handler: ErrorHandler | None = None,
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Open queues, notifiers and clients when an application starts, and close them in reverse when it ends.

        app = Starlette(lifespan=lifespan(letters, admin, client, tasks=[alerts.run]))

    Args:
        resources: What is entered, in this order; context managers of either kind.
        tasks: Async functions without arguments that run as long as the application does, such as ``alerts.run``. One
            that fails is reported, and ends alone.
        within: A lifespan of your own, inside of all that; what it yields is the application's state.
        handler: Reports tasks that fail.

    Raises:
        TypeError: One of ``resources`` is no context manager.
    """
    for place, each in enumerate(resources, 1):
        if not any(hasattr(type(each), name) for name in ("__aenter__", "__enter__")):
            msg = f"lifespan opens context managers, and number {place} is none: {each!r}"
            raise TypeError(msg)
    running = tuple(tasks)

    async def run(task: Callable[[], Awaitable[object]], reports: ErrorHandler) -> None:
        async with reports.guard(name_of(task), suppress=True):
            await task()

    @asynccontextmanager
    async def opened(app: Any) -> AsyncGenerator[Any]:
        async with AsyncExitStack() as stack:
            for each in resources:
                if isinstance(each, AbstractAsyncContextManager) or hasattr(type(each), "__aenter__"):
                    await stack.enter_async_context(each)  # type: ignore[arg-type]
                else:
                    stack.enter_context(each)
            if running:
                group = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(group.cancel_scope.cancel)
                for task in running:
                    group.start_soon(run, task, handler or ErrorHandler())
            yield None if within is None else await stack.enter_async_context(within(app))

    return opened
