"""What an operator does with dead letters: replay, edit, set aside, discard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from dashboard_kit import OURS, asking, nonce_on, said_on

from resilio import MessageNotFoundError
from resilio.dashboard.editing import EditError, as_text, edited

if TYPE_CHECKING:
    import httpx
    from dashboard_kit import Service

pytestmark = pytest.mark.anyio


async def test_a_letter_is_replayed_and_the_page_after_says_so(service: Service) -> None:
    """A form without any script replays a letter; the answer leads to a page that tells what came of it."""
    [letter] = await service.lose({"n": 1})
    async with asking(service.dashboard()) as browser:
        nonce = nonce_on(await browser.get("/letter", params={"id": letter}))
        answer = await browser.post("/do/letter", data={"do": "replay", "id": letter, "nonce": nonce})
        assert answer.status_code == 303
        page = await browser.get(answer.headers["Location"])
        repeated = await browser.get("/letter", params={"id": letter})
    assert service.handled == [{"n": 1}]
    assert "done 1 replayed, 0 failed" in said_on(page)
    assert repeated.status_code == 404


async def test_a_double_click_replays_once(service: Service) -> None:
    """The same form twice, at once or later, is one replay; so is the letter in two tabs, by its claim."""
    service.broken = True
    [letter] = await service.lose({"n": 1})
    async with asking(service.dashboard()) as browser:
        nonce = nonce_on(await browser.get("/letter", params={"id": letter}))
        form = {"do": "replay", "id": letter, "nonce": nonce}
        answers: list[httpx.Response] = []

        async def click() -> None:
            answers.append(await browser.post("/do/letter", data=form))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(click)
            tasks.start_soon(click)
        await click()
    assert len({each.headers["Location"] for each in answers}) == 1
    assert (await service.queue.get(letter)).attempts == 1


async def test_two_tabs_handle_a_letter_once(service: Service) -> None:
    """Of two forms for one letter at once, one replays it, and the other says that it is taken."""
    [letter] = await service.lose({"n": 1})
    begun, go_on = anyio.Event(), anyio.Event()
    handled: list[Any] = []

    async def slowly(message: Any) -> None:
        begun.set()
        await go_on.wait()
        handled.append(message)

    service.queue = type(service.queue)(local_file_path=service.folder / "letters.jsonl", reprocessor=slowly)
    async with asking(service.dashboard()) as browser:
        form = {"do": "replay", "id": letter}
        async with anyio.create_task_group() as tasks:

            async def first() -> None:
                await browser.post("/do/letter", data={**form, "nonce": "one"})

            tasks.start_soon(first)
            await begun.wait()
            second = await browser.post("/do/letter", data={**form, "nonce": "two"}, follow_redirects=True)
            go_on.set()
    assert "somebody else replays it just now" in second.text
    assert handled == [{"n": 1}]


async def test_selected_letters_are_replayed_and_no_other(service: Service) -> None:
    """Ticked letters are replayed, parked ones, too; those that fail stay."""
    one, two, three = await service.lose({"n": 1}, {"n": 2}, {"n": 3})
    await service.queue.park(two)
    async with asking(service.dashboard()) as browser:
        nonce = nonce_on(await browser.get("/letters"))
        form = {"do": "replay-selected", "id": [one, two], "nonce": nonce, "rate": "100"}
        page = await browser.post("/do/letters", data=form, follow_redirects=True)
        empty = await browser.post("/do/letters", data={"do": "replay-selected", "nonce": "x"})
    assert service.handled == [{"n": 1}, {"n": 2}]
    assert "2 selected letters" in said_on(page)
    assert (await service.queue.get(three)).attempts == 0
    assert (empty.status_code, "No letter is selected" in empty.text) == (422, True)


async def test_all_that_match_are_replayed_bounded_and_no_other(service: Service) -> None:
    """The filter of the page decides; at most a thousand go at once; rates beyond what is allowed are refused."""
    await service.lose(*({"kind": kind} for kind in ("crimson", "blue", "crimson")))
    async with asking(service.dashboard()) as browser:
        page = await browser.get("/letters", params={"text": "crimson"})
        form = {"do": "replay-matching", "text": "crimson", "nonce": nonce_on(page), "rate": "150"}
        told = await browser.post("/do/letters", data=form, follow_redirects=True)
        fast = await browser.post("/do/letters", data={**form, "rate": "1e9"})
        many = await browser.post("/api/letters/replay", json={"limit": 5000})
        more = await browser.post("/api/letters/replay", json={"ids": [str(each) for each in range(1001)]})
        without = await browser.post("/do/letters", data={**form, "nonce": ""})
    assert service.handled == [{"kind": "crimson"}] * 2
    assert "2 replayed, 0 failed" in said_on(told)
    assert [each.status_code for each in (fast, many, more, without)] == [422, 422, 422, 422]


async def test_a_replay_that_fails_stops_by_itself_and_says_why(service: Service) -> None:
    """Against a backend that is down a replay gives up early, and its page has the letters that failed."""
    service.broken = True
    await service.lose(*({"n": number} for number in range(30)))
    async with asking(service.dashboard()) as browser:
        nonce = nonce_on(await browser.get("/letters"))
        form = {"do": "replay-matching", "nonce": nonce, "rate": "200"}
        page = await browser.post("/do/letters", data=form, follow_redirects=True)
    said = said_on(page)
    assert "failing" in said
    assert "replays in a row have failed" in said
    assert "no answer to" in said


async def test_a_replay_can_be_stopped(service: Service) -> None:
    """Stopping lets the letters at hand end and leaves the others."""
    ids = await service.lose(*({"n": number} for number in range(10)))
    begun, go_on = anyio.Event(), anyio.Event()

    async def slowly(message: Any) -> None:
        begun.set()
        await go_on.wait()

    service.queue = type(service.queue)(local_file_path=service.folder / "letters.jsonl", reprocessor=slowly)
    async with asking(service.dashboard()) as browser:
        async with anyio.create_task_group() as tasks:

            async def replay() -> None:
                await browser.post("/api/letters/replay", json={"ids": ids, "nonce": "it", "rate": 200})

            tasks.start_soon(replay)
            await begun.wait()
            again = await browser.post("/api/letters/replay", json={"ids": ids, "nonce": "it", "rate": 200})
            stopped = await browser.post("/do/stop", data={"id": again.json()["id"]})
            go_on.set()
        ended = await browser.get(f"/api/replays/{again.json()['id']}")
    assert stopped.status_code == 303
    assert (ended.json()["state"], ended.json()["replayed"]) == ("stopped", 1)
    assert (await service.queue.stats()).total == 9


async def test_a_message_is_edited_then_replayed_and_keeps_its_secrets(service: Service) -> None:
    """What was changed is new; what reads [redacted] and was left has its value still."""
    original = {"to": "ada", "api_key": "sk-4711-very-secret", "lines": [{"token": "t-0815-secret", "n": 1}]}
    [letter] = await service.lose(original)
    async with asking(service.dashboard()) as browser:
        shown = as_text((await service.queue.get(letter)).message)
        assert "4711" not in shown
        assert "0815" not in shown
        text = shown.replace('"ada"', '"grace"').replace('"n": 1', '"n": 2')
        nonce = nonce_on(await browser.get("/letter", params={"id": letter}))
        form = {"do": "edit-replay", "id": letter, "message": text, "nonce": nonce}
        wrong = await browser.post("/do/letter", data={**form, "message": "{"})
        moved = await browser.post("/do/letter", data={**form, "message": '{"to": "[redacted]"}'})
        page = await browser.post("/do/letter", data=form, follow_redirects=True)
    assert (wrong.status_code, moved.status_code) == (422, 422)
    assert "message.to holds [redacted]" in moved.text
    assert "1 replayed" in said_on(page)
    assert service.handled == [
        {"to": "grace", "api_key": "sk-4711-very-secret", "lines": [{"token": "t-0815-secret", "n": 2}]}
    ]


def test_edited_messages_are_the_original_where_nothing_was_touched() -> None:
    """Untouched, a message is the very same, whatever it holds; taken away and added keys are."""
    message = {"password": "hunter2", "count": 3, "more": ["a", "b"]}
    assert edited(as_text(message), message) == message
    assert edited('{"password": "[redacted]", "new": 1}', message) == {"password": "hunter2", "new": 1}
    assert edited('{"password": "[redacted]", "more": ["a"]}', message) == {"password": "hunter2", "more": ["a"]}
    assert edited("5", message) == 5
    with pytest.raises(EditError, match=r"message\.count"):
        edited('{"count": "[redacted]"}', message)


async def test_large_messages_cannot_be_edited_half(service: Service) -> None:
    """Of a message that is not shown whole, nobody can save the shown half."""
    [letter] = await service.lose({"text": ["x" * 100] * 1000})
    async with asking(service.dashboard()) as browser:
        page = await browser.get("/letter", params={"id": letter})
        answer = await browser.post("/do/letter", data={"do": "edit", "id": letter, "message": "{}"})
    assert "too large" in page.text
    assert answer.status_code == 409
    assert len(page.content) < 60_000


async def test_letters_are_parked_requeued_and_discarded_with_a_reason(service: Service) -> None:
    """Setting aside, taking up again and discarding do what the queue does; discarding wants to know why."""
    one, two, three = await service.lose({"n": 1}, {"n": 2}, {"n": 3})
    async with asking(service.dashboard()) as browser:
        parked = await browser.post("/do/letter", data={"do": "park", "id": one}, follow_redirects=True)
        assert str((await service.queue.get(one)).status) == "parked"
        await browser.post("/do/letter", data={"do": "requeue", "id": one})
        assert str((await service.queue.get(one)).status) == "waiting"
        without = await browser.post("/do/letter", data={"do": "discard", "id": one, "reason": " "})
        await browser.post("/do/letter", data={"do": "discard", "id": one, "reason": "a duplicate"})
        many = await browser.post(
            "/do/letters", data={"do": "discard-selected", "id": [one, two], "reason": "both"}, follow_redirects=True
        )
        gone = await browser.post("/do/letter", data={"do": "discard", "id": one, "reason": "again"})
    assert "The letter is parked" in parked.text
    assert without.status_code == 422
    assert "1 letters were discarded" in many.text
    assert gone.status_code == 404
    for letter in (one, two):
        with pytest.raises(MessageNotFoundError):
            await service.queue.get(letter)
    assert await service.queue.get(three)


async def test_a_queue_without_a_reprocessor_offers_no_replay(service: Service) -> None:
    """Where nothing could handle a message, the page says so, and a request is refused."""
    service.queue = type(service.queue)(local_file_path=service.folder / "letters.jsonl")
    [letter] = await service.lose({"n": 1})
    async with asking(service.dashboard()) as browser:
        page = await browser.get("/letter", params={"id": letter})
        answer = await browser.post("/do/letter", data={"do": "replay", "id": letter, "nonce": "1"}, headers=OURS)
    assert "without a reprocessor" in page.text
    assert answer.status_code == 409
