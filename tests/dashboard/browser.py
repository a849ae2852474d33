"""A real browser on the dashboard, and what it complains of."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from chromium import CHROMIUM, PATIENCE, SCREENSHOTS, chromium

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from playwright.async_api import Browser, Page

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium here; where CI is set, there must be one"
)

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


class Tab:
    """A page in a browser, and the complaints that it caused: console errors, exceptions, violations of the policy."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self.root = root
        self.complaints: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(PATIENCE)

    async def open(self, path: str) -> None:
        """Go to a page, and wait until it is live, if it is one that gets live."""
        await self.page.goto(f"{self.root}/{path}")
        if await self.page.locator("#live").count():
            await self.page.wait_for_selector("#line.live")

    async def check(self, name: str) -> None:
        """Nothing was complained of, nothing is wider than the screen, axe finds nothing serious; keep a picture."""
        page = self.page
        self.complaints += await page.evaluate("window.violations")
        assert self.complaints == []
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=SCREENSHOTS / f"{name}.png")
        # The policy lets no script in but the dashboard's own: axe comes by the debugger's way.
        await page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8") + ";0")
        found: dict[str, Any] = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
        assert serious == [], name


@asynccontextmanager
async def tab(browser: Browser, root: str, *, phone: bool = False, **options: Any) -> AsyncGenerator[Tab]:
    """A tab of its own, as large as a desk's or a phone's."""
    size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
    context = await browser.new_context(viewport=size, **options)  # type: ignore[arg-type]
    await context.add_init_script(WATCH)
    try:
        yield Tab(await context.new_page(), root)
    finally:
        await context.close()


def browse(look: Callable[[Browser], Awaitable[None]]) -> None:
    """Run ``look`` with a browser, on an event loop of its own, and end the browser."""

    async def main() -> None:
        async with chromium() as browser:
            await look(browser)

    asyncio.run(main())
