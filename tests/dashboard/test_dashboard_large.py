"""Much to show: pages stay small, and nothing is read that is not shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest

from dashboard_kit import asking, said_on
from resilio import DeadLetterQueue, LetterFilter
from resilio._core import clock
from resilio.deadletters.letter import new_body, next_id
from resilio.deadletters.letter_filter import EVERY_LETTER
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from dashboard_kit import Service
    from resilio.deadletters.letter import DeadLetter

LETTERS = 100_000
GROUPS = 512
MOST_BYTES = 100_000


class CountingStore(MemoryStore):
    """A store that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__("in memory")
        self.read = 0

    async def peek(
        self, limit: int, *, after: str | None = None, where: LetterFilter = EVERY_LETTER
    ) -> list[DeadLetter]:
        found = await super().peek(limit, after=after, where=where)
        self.read += len(found)
        return found


@pytest.mark.slow("512 groups are made")
def test_a_page_of_512_groups_is_small(service: Service) -> None:
    """All groups that a tracker tells apart are reached by small pages, in one order."""
    for number in range(GROUPS + 100):
        kind = type(f"Error{number:03}", (ValueError,), {})
        for _ in range(2 if number < GROUPS else 1):
            service.fail(kind("x" * 400), note="y" * 500)

    async def look() -> None:
        async with asking(service.dashboard()) as browser:
            first = await browser.get("/errors")
            assert "512 of 512 groups, page 1 of 11" in said_on(first)
            pages = [first] + [await browser.get("/errors", params={"page": page}) for page in range(2, 12)]
            assert all(len(page.content) < MOST_BYTES for page in pages)
            assert len((await browser.get("/")).content) < MOST_BYTES
            names = [group["fingerprint"] for page in range(1, 12) for group in (await _groups(browser, page))]
            assert len(set(names)) == GROUPS

    async def _groups(browser: object, page: int) -> list[dict[str, object]]:
        answer = await browser.get("/api/errors", params={"page": page})  # type: ignore[attr-defined]
        found: list[dict[str, object]] = answer.json()["groups"]
        return found

    anyio.run(look)


@pytest.mark.slow("100 000 letters are made")
def test_a_page_of_100_000_letters_is_small_and_reads_one_page(service: Service) -> None:
    """However many letters there are, a page reads those that it shows and one more, and the counts read none."""
    store = CountingStore()
    now = clock.utcnow()
    error = {"error_type": "ConnectTimeout", "error_message": "no answer in ten seconds " * 10}

    async def fill() -> list[str]:
        ids = [next_id(now) for _ in range(LETTERS)]
        for number, letter_id in enumerate(ids):
            body = new_body(letter_id, {"n": number, "text": "z" * 300}, error, now, group="g")
            await store.add(letter_id, body)
        return ids

    async def look() -> None:
        ids = await fill()
        service.queue = DeadLetterQueue(store=store)
        async with asking(service.dashboard()) as browser:
            for url in ("/letters", f"/letters?after={ids[70_000]}", "/letters?error=ConnectTimeout&status=waiting"):
                store.read = 0
                page = await browser.get(url)
                assert len(page.content) < MOST_BYTES
                assert store.read == 51
                assert f"100\u202f000</strong> letters" in page.text
            store.read = 0
            assert len((await browser.get("/")).content) < MOST_BYTES
            assert store.read == 0
            listed = await browser.get("/api/letters", params={"limit": 200})
            assert len(json.loads(listed.content)["letters"]) == 200

    anyio.run(look)
