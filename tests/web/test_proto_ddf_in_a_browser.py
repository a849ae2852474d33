"""The example application, built for production and driven in a real browser."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from chromium import PATIENCE, SCREENSHOTS, chromium
from playwright.async_api import expect

from examples.proto_ddf.__main__ import free_port, scratch_folder, serving
from examples.proto_ddf.source import DataSource

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

DESKTOP, PHONE = (1280, 900), (390, 844)


def wait_until_served(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the application is built and answers."""
    with httpx.Client() as client:
        for _ in range(1_500):
            assert process.poll() is None, "the application has ended"
            try:
                if client.get(url).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    pytest.fail("the application is not served")


class Visit:
    """One visitor's page.

    Attributes:
        page: The page, as Playwright drives it.
        problems: What the browser's console called an error.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.callout = page.locator(".resilio-error")
        self.toast = page.locator("[data-sonner-toast]")

    async def start(self) -> None:
        """Open the first page and wait until it is alive: what is clicked before is lost."""
        await self.page.goto(self.url)
        await self.page.locator("#ready").wait_for(state="attached")

    async def click(self, name: str) -> None:
        """Click the button of that name."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def keep(self, name: str) -> None:
        """Keep a screenshot; the width is part of its name."""
        width = (self.page.viewport_size or {"width": 0})["width"]
        await self.page.wait_for_timeout(400)  # for what slides in
        await self.page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png")


@asynccontextmanager
async def visiting(url: str, size: tuple[int, int]) -> AsyncIterator[Visit]:
    """A browser of its own for one visitor; what it shows when a step fails is kept."""
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        visit = Visit(page, url)
        try:
            await visit.start()
            yield visit
        except BaseException:
            await visit.keep("failed")
            raise


async def a_bad_name_shows_its_message_and_clears_by_itself(visit: Visit) -> None:
    """Message, type and reference, no offer to try the same again; gone after five seconds."""
    await visit.page.locator("#project-name").fill("ab")
    await visit.click("Generate")
    await expect(visit.callout).to_contain_text("Project name must be at least 3 characters")
    await expect(visit.callout).to_contain_text("ValidationError")
    await expect(visit.callout).to_contain_text(re.compile(r"err-[0-9a-f]{16}"))
    await expect(visit.page.get_by_role("button", name="Try Again")).to_have_count(0)
    await visit.keep("bad-name")
    await expect(visit.callout).to_have_count(0)
    await expect(visit.page.locator("#generation-status")).to_have_text("error")


async def a_good_name_generates_an_application(visit: Visit, output: Path) -> None:
    """The application is on the disk, and the old message does not stand beside the success."""
    await visit.page.locator("#project-name").fill("ab")
    await visit.click("Generate")
    await expect(visit.callout).to_be_visible()
    await visit.page.locator("#project-name").fill("felt-mice")
    await visit.click("Generate")
    await expect(visit.page.locator("#generation-message")).to_contain_text("Successfully generated felt-mice")
    await expect(visit.callout).to_have_count(0)
    assert (output / "felt-mice" / "main.py").exists()


async def try_again_succeeds_after_the_source_comes_back(visit: Visit, source: DataSource) -> None:
    """The source is down, the user is told and offered another try, which connects."""
    await visit.page.get_by_role("combobox").click()
    await visit.page.get_by_role("option", name="warehouse").click()
    await visit.page.locator("#source-switch").click()
    await expect(visit.page.locator("#source-switch")).not_to_be_checked()
    await visit.click("Connect")
    await expect(visit.callout).to_contain_text("tried several times")
    await expect(visit.page.locator("#integration-status")).to_have_text("error")
    await visit.keep("source-down")
    source.is_up = True
    await visit.click("Try Again")
    await expect(visit.page.locator("#integration-message")).to_have_text("Connected to warehouse")
    await expect(visit.callout).to_have_count(0)
    await expect(visit.page.get_by_text("felt mice: 12")).to_be_visible()
    await visit.keep("connected")


async def a_toast_offers_another_try(visit: Visit, source: DataSource) -> None:
    """The toast's button sends the event again."""
    source.is_up = False
    await visit.click("Sync")
    await expect(visit.toast).to_contain_text("tried several times")
    await expect(visit.toast).to_contain_text(re.compile(r"Reference err-[0-9a-f]{16}"))
    await visit.keep("toast")
    source.is_up = True
    await visit.toast.get_by_role("button", name="Try Again").click()
    await expect(visit.page.locator("#synced")).to_have_text("Synced: 2")
    await expect(visit.toast).to_have_count(0)


async def a_message_clears_also_when_the_user_leaves_the_page(visit: Visit) -> None:
    """It may be read on the next page, and is gone from both soon after."""
    await visit.page.locator("#project-name").fill("no spaces please")
    await visit.click("Generate")
    await expect(visit.callout).to_contain_text("Use letters, numbers, and hyphens only")
    await visit.page.locator("#to-about").click()
    await visit.page.wait_for_url("**/about")
    await expect(visit.callout).to_have_count(0)
    await visit.page.locator("#to-start").click()
    await visit.page.locator("#ready").wait_for(state="attached")
    await expect(visit.callout).to_have_count(0)


async def dismiss_takes_the_message_away(visit: Visit) -> None:
    """At once, without waiting for the timer."""
    await visit.page.locator("#project-name").fill("")
    await visit.click("Generate")
    await expect(visit.callout).to_contain_text("Please provide a project name")
    await visit.click("Dismiss")
    await expect(visit.callout).to_have_count(0, timeout=3_000)


async def what_nobody_caught_leads_to_the_error_page(visit: Visit) -> None:
    """The page gives the reference and nothing of the exception; the way back works."""
    await visit.click("Cause trouble")
    await visit.page.wait_for_url("**/error?reference=err-*")
    page = visit.page.locator(".resilio-error-page")
    await expect(page).to_contain_text("This did not work")
    await expect(page.locator(".resilio-error-reference")).to_have_text(re.compile(r"err-[0-9a-f]{16}"))
    content = await visit.page.content()
    assert "hunter2" not in content
    assert "RuntimeError" not in content
    await visit.keep("error-page")
    await visit.page.goto(f"{visit.url}error?reference=call-0900-123")  # anybody may write a link
    await expect(page).to_contain_text("This did not work")
    await expect(page).not_to_contain_text("0900")
    await visit.page.get_by_role("link", name="Back to the start").click()
    await visit.page.locator("#ready").wait_for(state="attached")


async def journey(url: str, source: DataSource, output: Path) -> None:
    """Everything that a visitor may meet, at a desk and on a phone."""
    async with visiting(url, DESKTOP) as visit:
        await a_bad_name_shows_its_message_and_clears_by_itself(visit)
        await a_good_name_generates_an_application(visit, output)
        await try_again_succeeds_after_the_source_comes_back(visit, source)
        await a_toast_offers_another_try(visit, source)
        await a_message_clears_also_when_the_user_leaves_the_page(visit)
        await dismiss_takes_the_message_away(visit)
        await what_nobody_caught_leads_to_the_error_page(visit)
        assert visit.problems == []
    async with visiting(url, PHONE) as visit:
        await try_again_succeeds_after_the_source_comes_back(visit, source)
        await a_toast_offers_another_try(visit, source)
        await what_nobody_caught_leads_to_the_error_page(visit)
        assert visit.problems == []


@pytest.mark.slow("builds a front end and drives a browser")
def test_a_visitor_meets_errors_and_gets_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built once for production, then one journey: message, clearing, another try, toast, navigation, error page."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # the build would take twice as long
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    SCREENSHOTS.mkdir(exist_ok=True)
    with (
        scratch_folder() as built,  # pytest's would be kept, with all its packages
        DataSource() as source,
        tempfile.TemporaryFile() as log,
        serving(source.url, built, port, output=log) as process,
    ):
        try:
            wait_until_served(url, process)
            asyncio.run(journey(url, source, built / "generated"))
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-6000:])
            raise
