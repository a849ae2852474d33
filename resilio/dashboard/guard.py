"""The door: every request is identified, every answer carries the headers that keep a browser from being misused."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from resilio._core import logs
from resilio.dashboard.access import Identity, Role
from resilio.dashboard.requests import SCOPE_KEY, Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from resilio.dashboard.access import AuthHook

__all__ = ("CONTENT_SECURITY_POLICY", "Guard")

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_A_YEAR: Final = "public, max-age=31536000, immutable"
_READING: Final = frozenset({"GET", "HEAD"})
_NOBODY: Final = Identity("nobody", Role.NONE)


class Guard:
    """Stands before the routes. Sends on nobody whom the hook does not know, and no form of another site.

    Args:
        app: The routes.
        auth: The hook; None lets everybody in.
        everybody: Who somebody is without a hook.
        error: Makes the answer for a refusal.
    """

    def __init__(
        self, app: ASGIApp, *, auth: AuthHook | None, everybody: Identity, error: Callable[[int, str, Asked], Response]
    ) -> None:
        self._app = app
        self._auth = auth
        self._everybody = everybody
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
                return
            await self._app(scope, receive, send)
            return
        inner = _inner_path(scope)
        is_static = inner.startswith("/static/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                is_kept = is_static and message["status"] == 200  # noqa: PLR2004 -- found
                headers["Cache-Control"] = _FOR_A_YEAR if is_kept else "no-store"
            await send(message)

        # What is inside knows nothing of where it is mounted: all its links are relative.
        inside = {**scope, "path": inner, "raw_path": inner.encode(), "root_path": ""}
        asked = Asked(_NOBODY, inner.startswith("/api/"), "../" * (inner.count("/") - 1))
        answer = _moved(scope, inner) or self._refuse_other_sites(scope, inner, asked)
        if answer is None and not is_static:
            found = await self._identify(Request(scope), asked)
            if isinstance(found, Response):
                answer = found
            else:
                asked = replace(asked, identity=found)
        inside[SCOPE_KEY] = asked
        await (self._app if answer is None else answer)(inside, receive, with_headers)

    def _refuse_other_sites(self, scope: Scope, inner: str, asked: Asked) -> Response | None:
        headers = Request(scope).headers
        site = headers.get("sec-fetch-site", "")
        if site == "same-origin":
            return None
        if scope["method"] in _READING:
            # A link from elsewhere may lead here; a script from elsewhere may not read what is here, even if the
            # application around this one sends headers that would let it.
            if site not in {"cross-site", "same-site"} or headers.get("sec-fetch-mode") == "navigate":
                return None
            why = "Only the dashboard's own pages may read this from within a browser."
        else:
            why = (
                "An action must come from the dashboard itself, and the browser must say so, as browsers do over HTTPS "
                "and on localhost (Sec-Fetch-Site: same-origin)."
            )
        _log("refused", f"{scope['method']} {inner}", "nobody", f"it came from {site or 'an unknown site'}")
        return self._error(403, why, asked)

    async def _identify(self, request: Request, asked: Asked) -> Identity | Response:
        if self._auth is None:
            return self._everybody
        found: Any = self._auth(request)
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, Response):
            return found
        if found is None:
            response = self._error(401, "Please log in.", asked)
            challenge = getattr(self._auth, "challenge", None)
            if challenge:
                response.headers["WWW-Authenticate"] = challenge
            return response
        if not isinstance(found, Identity):
            msg = f"auth must return an Identity, a Response or None, not {found!r} ({type(found).__name__})"
            raise TypeError(msg)
        if not found.role.reads:
            _log("refused", f"{request.method} {request.url.path}", found.name, "no role here")
            return self._error(403, "You may not look at this dashboard.", asked)
        return found


def _log(action: str, what: str, who: str, outcome: str) -> None:
    logs.write(
        "warning",
        "dashboard action",
        {"who": who, "action": action, "what": what, "outcome": outcome},
        logger="resilio",
    )


def _inner_path(scope: Scope) -> str:
    """The path below where the dashboard is mounted, without a slash at its end, which some frameworks add."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return f"/{path.strip('/')}"


def _moved(scope: Scope, inner: str) -> Response | None:
    """Where the page really is: the first ends in a slash, the others do not, so that relative links mean the same."""
    if scope["method"] not in _READING:
        return None
    raw = scope.get("raw_path")
    outer = unquote(raw.partition(b"?")[0].decode("latin-1")) if raw else scope.get("root_path", "") + scope["path"]
    ends_in_slash = outer.endswith("/")
    name = quote(outer.rstrip("/").rpartition("/")[2])
    query = f"?{scope['query_string'].decode('latin-1')}" if scope.get("query_string") else ""
    if inner == "/" and not ends_in_slash and name:
        return RedirectResponse(f"{name}/{query}", 308)
    if inner != "/" and ends_in_slash and not inner.startswith(("/static/", "/api/")):
        return RedirectResponse(f"../{name}{query}", 308)
    return None


def error_answer(render: Callable[..., str]) -> Callable[[int, str, Asked], Response]:
    """What makes the answer to a request that is refused or has failed: a page, or JSON."""

    def answer(status: int, why: str, asked: Asked) -> Response:
        if asked.is_api:
            return JSONResponse({"error": why, "status": status}, status)
        page = render("message.html", status=status, why=why, page="", identity=asked.identity, base=asked.base)
        return Response(page, status, media_type="text/html")

    return answer
