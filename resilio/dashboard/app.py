"""The application: what belongs together, put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from resilio.alerting.alerts import Alerts
from resilio.alerting.health_checks import HealthCheck
from resilio.alerting.notifier import AdminNotifier
from resilio.dashboard.access import AuthHook, Identity, Role
from resilio.dashboard.api import Api
from resilio.dashboard.collector import Collector, Sources
from resilio.dashboard.fleet import Fleet
from resilio.dashboard.forms import Forms
from resilio.dashboard.guard import Guard, error_answer
from resilio.dashboard.live import Live, Pictures
from resilio.dashboard.operations import Operations
from resilio.dashboard.pages import Notes, Pages
from resilio.dashboard.rendering import STATIC, Renderer
from resilio.dashboard.replays import Replays
from resilio.dashboard.requests import asked
from resilio.dashboard.views import Views
from resilio.deadletters.queue import DeadLetterQueue
from resilio.reporting.tracker import ErrorTracker

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ("create_app",)


def create_app(
    *,
    tracker: ErrorTracker | None = None,
    queue: DeadLetterQueue | None = None,
    notifier: AdminNotifier | None = None,
    alerts: Alerts | None = None,
    health_checks: Iterable[HealthCheck] = (),
    auth: AuthHook | None = None,
    insecure_no_auth: bool = False,
    directory: str | os.PathLike[str] | None = None,
    title: str = "resilio",
) -> Starlette:
    """The dashboard, to be mounted below any path of any ASGI application, or served alone.

        app.mount("/ops", create_app(tracker=tracker, queue=letters, auth=basic_auth({"ada": (password, Role.ALL)})))

    The circuits are those of the process. What is not given has a page that says so.

    Args:
        tracker: Whose errors are shown.
        queue: Whose letters are shown; to be replayed from here it needs a ``reprocessor``.
        notifier: Whose channels are shown.
        alerts: Whose incidents are shown; running its checks is up to you.
        health_checks: What is looked at whenever somebody looks, at most every two seconds.
        auth: Says who asks, and what they may do; `basic_auth` makes one.
        insecure_no_auth: Whether everybody who reaches it may see and do everything: for a laptop.
        directory: Where the processes of one service, on one machine, tell each other what they know; it is made if it
            is not there. Each page shows all of them then, and an action on a circuit is handed to the process that has
            it. Without one, a page speaks for the process that answers.
        title: What stands in the head of every page.

    Returns:
        A Starlette application. It needs no lifespan. It may be made at import time, and serves any number of event
        loops. While it is there it listens to events, and a guarded call costs about a microsecond more.

    Raises:
        ValueError: There is neither ``auth`` nor ``insecure_no_auth=True``, or there are both; or two health checks
            have one component.
        TypeError: An argument is something else altogether; the message names it.
        OSError: ``directory`` cannot be made.
    """
    _check("tracker", tracker, ErrorTracker)
    _check("queue", queue, DeadLetterQueue)
    _check("notifier", notifier, AdminNotifier)
    _check("alerts", alerts, Alerts)
    if auth is None and insecure_no_auth is not True:
        msg = (
            "auth must be a hook such as basic_auth({'ada': (password, Role.ALL)}): the dashboard shows messages and "
            "can replay them; insecure_no_auth=True lets everybody in who reaches it"
        )
        raise ValueError(msg)
    if auth is not None and insecure_no_auth:
        msg = "auth and insecure_no_auth=True contradict each other: give one of them"
        raise ValueError(msg)
    if auth is not None and not callable(auth):
        msg = f"auth must be a function, not {auth!r}"
        raise TypeError(msg)
    sources = Sources(
        tracker=tracker, queue=queue, notifier=notifier, alerts=alerts, health_checks=_checked(health_checks)
    )
    return _assembled(sources, auth, directory, str(title))


def _assembled(
    sources: Sources, auth: AuthHook | None, directory: str | os.PathLike[str] | None, title: str
) -> Starlette:
    replays = Replays()
    collector = Collector(sources, replays)
    fleet = Fleet(collector, directory)
    views = Views(collector, fleet, replays)
    renderer = Renderer(title)
    notes = Notes()
    operations = Operations(collector, replays, fleet)
    pages = Pages(views, renderer, notes, collector)
    forms = Forms(operations, notes)
    pictures = Pictures(views, renderer)
    live = Live(pictures)
    answer = error_answer(renderer.render)
    api = Api(views, collector, operations, replays)
    everybody = Identity("everybody", Role.ALL)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 -- registered for it
        made = answer(error.status_code, error.detail, asked(request))
        made.headers.update(error.headers or {})
        return made

    async def broken(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- the server logs it
        return answer(500, "Something went wrong here; the log of the service has more.", asked(request))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        fleet.start()  # served alone; mounted, this never runs
        yield
        fleet.close()

    app = Starlette(
        routes=[
            Route("/", pages.overview),
            Route("/errors", pages.errors),
            Route("/error", pages.error),
            Route("/circuits", pages.circuits),
            Route("/circuit", pages.circuit),
            Route("/letters", pages.letters),
            Route("/letter", pages.letter),
            Route("/replay", pages.replay),
            Route("/alerts", pages.alerts),
            Route("/health", pages.health),
            Route("/live", live.stream),
            Route("/do/letters", forms.letters, methods=["POST"]),
            Route("/do/letter", forms.letter, methods=["POST"]),
            Route("/do/stop", forms.stop, methods=["POST"]),
            Route("/do/circuit", forms.circuit, methods=["POST"]),
            Route("/do/alerts", forms.alerts, methods=["POST"]),
            *api.routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HTTPException: refused, Exception: broken},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # the guard knows the address from outside
    # Around everything, even around what answers for a failure.
    app.middleware_stack = Guard(app.build_middleware_stack(), auth=auth, everybody=everybody, error=answer)
    app.state.pictures = pictures
    app.state.live = live
    app.state.fleet = fleet
    return app


def _check(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        found = f"{type(value).__module__}.{type(value).__qualname__}"
        msg = f"{name} must be a resilio.{kind.__name__}, not {value!r} ({found})"
        raise TypeError(msg)


def _checked(health_checks: Iterable[HealthCheck]) -> tuple[HealthCheck, ...]:
    checks = tuple(health_checks)
    for each in checks:
        _check("health_checks", each, HealthCheck)
    names = [each.component for each in checks]
    if len(set(names)) < len(names):
        msg = f"health_checks must have components of their own, not {names!r}"
        raise ValueError(msg)
    return checks
