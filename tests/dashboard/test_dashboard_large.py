"""Much to show: pages stay small, and nothing is read that is not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from dashboard_kit import asking, said_on

from resilio import DeadLetter, DeadLetterQueue
from resilio._core import clock
from resilio.deadletters.letter import new_body, next_id
from resilio.deadletters.store import Add
from resilio.deadletters.threaded_store import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx
    from dashboard_kit import Service

LETTERS = 100_000
GROUPS = 512
MOST_BYTES = 100_000


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

    async def _groups(browser: httpx.AsyncClient, page: int) -> list[dict[str, object]]:
        answer = await browser.get("/api/errors", params={"page": page})
        found: list[dict[str, object]] = answer.json()["groups"]
        return found

    anyio.run(look)


@pytest.mark.slow("100 000 letters are made")
@pytest.mark.parametrize("file", ["letters.jsonl", "letters.db"])
def test_a_page_of_100_000_letters_is_small_and_reads_one_page(
    service: Service, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many letters there are, a page reads those that it shows and one more, and the counts read none."""
    now = clock.utcnow()
    error = {"error_type": "ConnectTimeout", "error_message": "no answer in ten seconds " * 10}
    ids = [next_id(now) for _ in range(LETTERS)]
    letters = [
        Add(each, new_body(each, {"n": n, "text": "z" * 300}, error, now, group="g")) for n, each in enumerate(ids)
    ]
    service.queue = DeadLetterQueue(local_file_path=tmp_path / file)
    store = service.queue._inner_store()
    assert isinstance(store, ThreadedStore)
    for begin in range(0, LETTERS, 10_000):
        store._blocking.commit(letters[begin : begin + 10_000])
    read = 0
    make = DeadLetter.from_dict

    def counted(data: Mapping[str, Any]) -> DeadLetter:
        nonlocal read
        read += 1
        return make(data)

    monkeypatch.setattr(DeadLetter, "from_dict", counted)

    async def look() -> None:
        nonlocal read
        async with asking(service.dashboard()) as browser:
            for url in ("/letters", f"/letters?after={ids[70_000]}", "/letters?error=ConnectTimeout&status=waiting"):
                read = 0
                page = await browser.get(url)
                assert page.text.count('name="id"') == 50
                assert len(page.content) < MOST_BYTES
                assert read <= 3 * 51  # a journal reads on by the hundred
                assert "100\u202f000</strong> letters" in page.text
            read = 0
            assert len((await browser.get("/")).content) < MOST_BYTES
            assert read == 0
        await service.queue.aclose()

    anyio.run(look)
