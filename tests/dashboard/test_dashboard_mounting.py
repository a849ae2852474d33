"""The dashboard below any path of any framework: with and without a slash at the end, every link leads somewhere."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import anyio
import pytest
from dashboard_kit import PAGES, asking
from starlette.applications import Starlette
from starlette.routing import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard_kit import Service
    from starlette.types import ASGIApp, Receive, Scope, Send


def _alone(app: Starlette) -> tuple[ASGIApp, str]:
    return app, "/"


def _in_starlette(app: Starlette) -> tuple[ASGIApp, str]:
    return Starlette(routes=[Mount("/admin", routes=[Mount("/ops", app)])]), "/admin/ops/"


def _in_fastapi(app: Starlette) -> tuple[ASGIApp, str]:
    from fastapi import FastAPI  # noqa: PLC0415 -- heavy

    outer = FastAPI()
    outer.mount("/ops", app)
    return outer, "/ops/"


def _in_litestar(app: Starlette) -> tuple[ASGIApp, str]:
    from litestar import Litestar, asgi  # noqa: PLC0415 -- heavy

    made: Any = Litestar([asgi("/admin/ops", is_mount=True, copy_scope=True)(app)])
    return made, "/admin/ops/"


def _in_reflex(app: Starlette) -> tuple[ASGIApp, str]:
    # What `rx.App(api_transformer=...)` does with an application of one's own: Reflex's is mounted at its root.
    outer = Starlette(routes=[Mount("/ops", app)])
    outer.mount("", Starlette())
    top = Starlette()
    top.mount("", outer)
    return top, "/ops/"


FRAMEWORKS: dict[str, Callable[[Starlette], tuple[ASGIApp, str]]] = {
    "alone": _alone,
    "starlette": _in_starlette,
    "fastapi": _in_fastapi,
    "litestar": _in_litestar,
    "reflex": _in_reflex,
}


@pytest.mark.slow("frameworks are imported, and some eighty pages are asked for")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_link_of_every_page_leads_somewhere(service: Service, framework: str) -> None:
    """Wherever it is mounted, all pages, styles, scripts, streams and forms are found where the pages point to."""
    anyio.run(_follow_every_link, service, framework)


async def _follow_every_link(service: Service, framework: str) -> None:
    service.fail(ValueError("x"))
    [letter] = await service.lose({"n": 1})
    app, root = FRAMEWORKS[framework](service.dashboard())
    seen: set[str] = set()
    async with asking(app) as browser:
        for page in (*PAGES, f"letter?id={letter}", "circuit?name=openai-api", "nothing/at/all"):
            for slash in ("", "/"):
                path, _, query = page.partition("?")
                url = f"{root}{path}{slash if path else ''}{'?' + query if query else ''}"
                answer = await browser.get(url, follow_redirects=True)
                assert answer.status_code == (404 if "nothing" in page else 200), url
                links = re.findall(r'(?:href|src|hx-sse:connect)="([^"#]*)"', answer.text)
                assert len(links) > 8
                seen |= {urljoin(str(answer.url), html.unescape(link)) for link in links}
                for form in re.findall(r'<form method="post" action="([^"]*)"', answer.text):
                    target = urljoin(str(answer.url), form)
                    assert (await browser.get(target)).status_code == 405, target
        if framework not in {"alone", "reflex"}:  # beside a mount at its root, a mount needs the slash
            bare = await browser.get(root.rstrip("/"), follow_redirects=True)
            assert (bare.status_code, bare.url.path) == (200, root)
        for link in sorted(seen):
            assert link.startswith(f"http://test{root}")
            if "/live?" not in link:
                assert (await browser.get(link)).status_code == 200, link
        form = {"do": "park", "id": letter}
        done = await browser.post(f"{root}do/letter", data=form, follow_redirects=True)
        assert (done.status_code, done.url.path) == (200, f"{root}letter")
        assert (await browser.get(f"{root}api/overview")).status_code == 200


@pytest.mark.slow("some pages are asked for")
def test_behind_a_proxy_that_takes_a_prefix_away_links_still_lead_there(service: Service) -> None:
    """Links are relative, so a prefix that only the browser knows of does no harm."""

    async def ask() -> None:
        inside, root = _in_starlette(service.dashboard())

        async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["path"].startswith("/outer")
            short = scope["path"].removeprefix("/outer")
            await inside({**scope, "path": short, "raw_path": short.encode()}, receive, send)

        async with asking(proxy) as browser:
            first = await browser.get(f"/outer{root}")
            [styles] = re.findall(r'href="([^"]*dashboard.css[^"]*)"', first.text)
            assert (await browser.get(urljoin(str(first.url), styles))).status_code == 200
            form = {"do": "reset", "name": "openai-api"}
            done = await browser.post(f"/outer{root}do/circuit", data=form, follow_redirects=True)
            assert (done.status_code, done.url.path) == (200, f"/outer{root}circuit")

    anyio.run(ask)
