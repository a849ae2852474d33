"""The dashboard in a real browser: every page, an action on each, by mouse, by keyboard and without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from browser import browse, needs_chromium, tab
from dashboard_kit import HOSTILE, served

if TYPE_CHECKING:
    from dashboard_kit import Service
    from playwright.async_api import Browser, Dialog

pytestmark = [needs_chromium, pytest.mark.slow("starts a browser")]


def bad_day(service: Service) -> list[str]:
    """Make something of everything; return the ids of the letters."""
    for number in range(12):
        service.fail(ConnectionError("the model is asleep"), attempt=number)
    service.fail(ValueError(HOSTILE), field=HOSTILE)
    service.open_circuit()

    async def lose() -> list[str]:
        messages = [{"n": number, "text": HOSTILE, "api_key": "k-4711-secret"} for number in range(12)]
        ids = await service.lose(*messages)
        await service.alerts.check()
        return ids

    return anyio.run(lose)


@pytest.mark.parametrize("look", ["desk-light", "phone-dark"])
def test_every_page_is_clean_fits_and_is_accessible(service: Service, look: str) -> None:
    """On a desk and on a dark phone: no console error, no violation, nothing too wide, nothing that axe minds."""
    app = service.dashboard()
    [letter, *_] = bad_day(service)
    device, scheme = look.split("-")
    fingerprint = service.tracker.top_errors(1)[0].fingerprint
    pages = {
        "overview": "",
        "errors": "errors",
        "error": f"error?group={fingerprint}",
        "circuits": "circuits",
        "circuit": "circuit?name=openai-api",
        "letters": "letters",
        "letter": f"letter?id={letter}",
        "alerts": "alerts",
        "health": "health",
    }

    async def visit(browser: Browser) -> None:
        async with tab(browser, url, phone=device == "phone", color_scheme=scheme) as found:
            for name, path in pages.items():
                await found.open(path)
                await found.check(f"{name}-{look}")

    with served(app) as url:
        browse(visit)


def test_an_operator_acts_on_circuits_alerts_and_errors(service: Service) -> None:
    """Reset a circuit and force it open, silence a rule, test a channel, search errors: by hand, and nothing runs."""
    app = service.dashboard()
    bad_day(service)
    dialogs: list[str] = []

    async def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        await dialog.dismiss()

    async def act(browser: Browser) -> None:
        async with tab(browser, url) as found:
            page = found.page
            page.on("dialog", note)
            await found.open("")
            await page.get_by_role("link", name="Open circuits").click()
            await page.get_by_role("link", name="openai-api").first.click()
            await page.get_by_role("button", name="Reset").click()
            await page.get_by_text("openai-api is closed now").wait_for()
            assert str(service.breaker.state) == "CLOSED"
            await page.get_by_role("button", name="Force open").click()  # not confirmed: the browser asks for the tick
            assert str(service.breaker.state) == "CLOSED"
            await page.get_by_label("until somebody resets it").check()
            await page.get_by_role("button", name="Force open").click()
            await page.get_by_text("openai-api is forced open now").wait_for()

            await found.open("alerts")
            await page.get_by_label("Rule").select_option("letters wait")
            await page.get_by_label("Why").fill("we know")
            await page.get_by_role("button", name="Silence").click()
            await page.get_by_text("letters wait is silenced").wait_for()
            await page.get_by_role("button", name="Send a test message").click()
            await page.get_by_text("delivered").wait_for()
            assert len(service.printer.printed) == 2  # the alert, and the test

            await found.open("errors")
            await page.get_by_label("Text").fill("asleep")
            await page.keyboard.press("Enter")
            await page.get_by_text("1 of 2 groups").wait_for()
            await found.check("acting-on-errors")
        assert dialogs == []

    with served(app) as url:
        browse(act)


def test_an_operator_replays_edits_and_discards(service: Service) -> None:
    """Selected letters, one that is edited first, and all that wait are replayed once each; one is discarded."""
    app = service.dashboard()
    ids = bad_day(service)

    async def act(browser: Browser) -> None:
        async with tab(browser, url) as found:
            page = found.page
            await found.open("letters")
            assert await page.get_by_role("button", name="Replay selected").is_disabled()
            await page.get_by_label(f"Select {ids[0]}").check()
            await page.get_by_label(f"Select {ids[1]}").check()
            await page.get_by_role("button", name="Replay selected (2)").click()
            await page.get_by_text("2 replayed, 0 failed").wait_for()
            assert [each["n"] for each in service.handled] == [0, 1]

            await found.open(f"letter?id={ids[2]}")
            await page.get_by_text("Edit the message…").click()
            field = page.get_by_label("Message, as JSON")
            await field.fill((await field.input_value()).replace('"n": 2', '"n": "two"'))
            await page.get_by_role("button", name="Save and replay").click()
            await page.get_by_text("1 replayed, 0 failed").wait_for()
            assert service.handled[-1] == {"n": "two", "text": HOSTILE, "api_key": "k-4711-secret"}

            await found.open(f"letter?id={ids[3]}")
            await page.get_by_text("Discard…").click()
            await page.get_by_role("textbox", name="Why").fill("a test")
            await page.get_by_role("button", name="Discard for good").click()
            await page.get_by_text("was discarded").wait_for()

            await found.open("letters")
            await page.get_by_role("button", name="Replay all that wait").dblclick()
            await page.get_by_text("8 replayed, 0 failed").wait_for()
            assert sorted(str(each["n"]) for each in service.handled) == sorted(map(str, [0, 1, "two", *range(4, 12)]))
            await found.check("replayed")

    with served(app) as url:
        browse(act)


def test_a_page_follows_what_happens(service: Service) -> None:
    """A circuit that opens is shown without a reload, keeps what has the focus, and the line says when it is lost."""
    app = service.dashboard()

    async def watch(browser: Browser) -> None:
        async with tab(browser, url) as found:
            page = found.page
            await found.open("")
            await page.get_by_text("The numbers").click()
            await page.get_by_text("The numbers").focus()
            service.open_circuit()
            await page.get_by_text("ConnectionError: asleep").wait_for()
            assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
            assert await page.locator("#plot canvas").count() == 1
            await found.check("live")
            server.close()
            await page.wait_for_selector("#line.lost")

    server = _Closing()
    with served(app) as url:
        server.app = app
        browse(watch)


class _Closing:
    """Ends the streams of an application, as the end of its server would, and lets no new one begin."""

    app: Any = None

    def close(self) -> None:
        async def refuse(*_: object) -> str:
            raise RuntimeError("closed")

        self.app.state.pictures.get = refuse


def test_reading_and_replaying_need_no_script(service: Service) -> None:
    """With scripts switched off a letter is found, looked at and replayed, and the page follows by itself."""
    app = service.dashboard()
    bad_day(service)

    async def act(browser: Browser) -> None:
        async with tab(browser, url, java_script_enabled=False) as found:
            page = found.page
            await page.goto(url)
            await page.get_by_role("link", name="Dead letters").first.click()
            await page.get_by_label("Text").fill('"n": 3')
            await page.get_by_role("button", name="Show").click()
            await page.locator("td.main a").first.click()
            await page.get_by_role("button", name="Replay").click()
            await page.get_by_text("1 replayed, 0 failed").wait_for()
            await page.goto(f"{url}/letters")
            await page.locator('input[name="id"]').first.check()
            await page.get_by_role("button", name="Replay selected").click()
            await page.get_by_text("1 replayed, 0 failed").wait_for()
        assert sorted(each["n"] for each in service.handled) == [0, 3]

    with served(app) as url:
        browse(act)
