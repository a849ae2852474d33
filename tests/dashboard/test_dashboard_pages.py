"""The pages: what they show, with everything and with nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import PAGES, asking, said_on

from resilio import ErrorTracker
from resilio.dashboard import create_app

if TYPE_CHECKING:
    from dashboard_kit import Service

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_with_nothing_to_show_says_what_will_stand_there(page: str) -> None:
    """A dashboard that was given nothing has all its pages, and each tells what is missing."""
    async with asking(create_app(insecure_no_auth=True)) as browser:
        answer = await browser.get(f"/{page}")
    assert answer.status_code == 200
    wanted = {"": "No errors yet", "errors": "Nobody counts", "circuits": "Circuits", "letters": "There is no queue"}
    assert wanted.get(page, "Give create_app") in said_on(answer)


async def test_the_overview_tells_the_state_of_everything(service: Service) -> None:
    """Health, error rate, open circuits, letters and alerts stand on the first page, with what is behind them."""
    app = service.dashboard()
    service.fail(ValueError("order 17 has no customer"))
    service.open_circuit()
    await service.lose({"n": 1}, {"n": 2})
    await service.alerts.check()
    async with asking(app) as browser:
        said = said_on(await browser.get("/"))
    assert "1 unwell openai-api" in said
    assert "over five minutes, 1 in all" in said
    assert "Open circuits ▲ 1 openai-api" in said
    assert "2 waiting" in said
    assert "Alerts firing ▲ 1 letters wait" in said
    assert "ValueError order" in said
    assert "was closed ConnectionError: asleep" in said


async def test_errors_are_grouped_filtered_and_ordered(service: Service) -> None:
    """A group stands once with its count; filters and orders apply to all groups."""
    for _ in range(3):
        service.fail(TimeoutError("too slow"))
    service.fail(KeyError("sku"))
    async with asking(service.dashboard()) as browser:
        everything = await browser.get("/errors")
        filtered = await browser.get("/errors", params={"text": "SLOW"})
        latest = await browser.get("/errors", params={"sort": "last"})
        none = await browser.get("/errors", params={"status": "quiet"})
        wrong = await browser.get("/errors", params={"page": "many"})
    assert everything.text.index("TimeoutError") < everything.text.index("KeyError")
    assert "KeyError" not in filtered.text
    assert "1 of 2 groups" in said_on(filtered)
    assert latest.text.index("KeyError") < latest.text.index("TimeoutError")
    assert "No error is like that" in none.text
    assert wrong.status_code == 422
    assert "page must be a whole number" in wrong.text


async def test_a_group_shows_samples_causes_and_its_letters(service: Service) -> None:
    """The page of an error has the last occurrences with context and causes, and the messages that it spoiled."""
    try:
        try:
            raise OSError("network unreachable")
        except OSError as cause:
            raise ConnectionError("the model is asleep") from cause
    except ConnectionError as error:
        report = service.tracker.track_error(error, {"operation": "ask", "user": "ada", "password": "hunter2"})
    letter = await service.queue.send_to_dlq({"n": 1}, report)
    async with asking(service.dashboard()) as browser:
        page = await browser.get("/error", params={"group": report.fingerprint})
        missing = await browser.get("/error", params={"group": "none"})
    said = said_on(page)
    assert "OSError network unreachable" in said
    assert "ada" in page.text
    assert "hunter2" not in page.text
    assert letter in page.text
    assert missing.status_code == 404


async def test_letters_are_filtered_and_paged(service: Service) -> None:
    """A page has fifty letters; the next one goes on behind them; a filter holds on every page."""
    ids = await service.lose(*({"n": number, "kind": "odd" if number % 2 else "even"} for number in range(120)))
    async with asking(service.dashboard()) as browser:
        first = await browser.get("/letters")
        second = await browser.get("/letters", params={"after": ids[49]})
        odd = await browser.get("/letters", params={"text": '"odd"'})
        wrong = await browser.get("/letters", params={"status": "lost"})
        none = await browser.get("/letters", params={"error": "ValueError"})
    assert [each in first.text for each in ids] == [True] * 50 + [False] * 70
    assert f"after={ids[49]}" in first.text
    assert [each in second.text for each in ids[50:]] == [True] * 50 + [False] * 20
    assert ids[1] in odd.text
    assert ids[0] not in odd.text
    assert "text=%22odd%22" in odd.text
    assert wrong.status_code == 422
    assert "No letter is like that" in none.text


async def test_a_letter_shows_its_history_and_no_secret(service: Service) -> None:
    """A letter's page has the message without secrets, why it failed, and each replay that failed."""
    [letter] = await service.lose({"n": 1, "api_key": "sk-very-secret-4711"})
    service.broken = True
    with pytest.raises(ConnectionError):
        await service.queue.reprocess_message(letter)
    async with asking(service.dashboard()) as browser:
        page = await browser.get("/letter", params={"id": letter})
        missing = await browser.get("/letter", params={"id": "nobody"})
    assert "sk-very-secret" not in page.text
    assert "replay 1 ConnectionError no answer to" in said_on(page)
    assert missing.status_code == 404


async def test_errors_that_have_no_utf8_are_shown(service: Service) -> None:
    """A file's name from another world breaks no page and no stream."""
    service.fail(FileNotFoundError("\udcff\ud800.txt"))
    service.breaker.acquire().failure(FileNotFoundError("\udcff.txt"))
    async with asking(service.dashboard()) as browser:
        for page in (*PAGES, "circuit?name=openai-api", "api/errors", "api/circuits"):
            assert (await browser.get(f"/{page}")).status_code == 200


async def test_a_queue_out_of_order_leaves_the_rest_standing(service: Service) -> None:
    """What the queue raises is told on the pages; the others show what they have."""
    (service.folder / "letters.jsonl").mkdir()
    service.fail(ValueError("x"))
    async with asking(service.dashboard()) as browser:
        overview, letters = await browser.get("/"), await browser.get("/letters")
    assert (overview.status_code, letters.status_code) == (200, 200)
    assert "cannot be used" in overview.text
    assert "cannot be used" in letters.text
    assert "ValueError" in overview.text


def test_wrong_arguments_are_named() -> None:
    """Each argument of `create_app` that is not what it should be is named in a clear error."""
    with pytest.raises(ValueError, match="auth must be a hook"):
        create_app()
    with pytest.raises(ValueError, match="contradict"):
        create_app(auth=lambda _: None, insecure_no_auth=True)
    with pytest.raises(TypeError, match=r"queue must be a resilio\.DeadLetterQueue"):
        create_app(queue=ErrorTracker(), insecure_no_auth=True)  # type: ignore[arg-type]


@pytest.mark.slow("starts an interpreter")
def test_a_missing_library_is_one_clear_error() -> None:
    """Without the extra, the error names it; roles can be had all the same."""
    code = (
        "import sys; sys.modules['sse_starlette'] = None\n"
        "from resilio.dashboard import Role, basic_auth; basic_auth({'ada': ('secret', Role.ALL)})\n"
        "try: from resilio.dashboard import create_app\n"
        "except ImportError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "resilio-toolkit[dashboard]" in ran.stdout
