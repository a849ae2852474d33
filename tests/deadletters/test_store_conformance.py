"""What every store must do with a letter that it keeps and hands out, whatever it is made of."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from store_kit import NOBODY, START, body, fill, ids, ids_of, needs, the

from resilio.deadletters.encoder import Encoder
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.letter import DeadLetter, LetterStatus, new_body

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from letter_kit import HandClock
    from store_kit import StoreKind

    from resilio.deadletters.store import Claim, Store

pytestmark = pytest.mark.anyio


# -- keeping -----------------------------------------------------------------------------------------------------------


async def test_a_letter_comes_back_as_it_was_given(opened: AbstractAsyncContextManager[Store]) -> None:
    """Message, error, times, group, source, headers, key: nothing is lost on the way."""
    async with opened as store:
        info = {"error_type": "E", "error_message": "boom", "more": [1, {"a": None}]}
        raw = new_body(
            "a",
            {"text": "ünï 🐈", "n": [1, 2.5, None, True]},
            info,
            START,
            group="g",
            source=b'{"host":"h","pid":7}',
            headers={"trace": "t"},
            deduplication_key="k",
        )
        assert await store.add("a", raw, deduplication_key="k") == "a"
        expected = DeadLetter(
            id="a",
            message={"text": "ünï 🐈", "n": [1, 2.5, None, True]},
            error_info=info,
            first_failed_at=START,
            last_failed_at=START,
            group="g",
            source={"host": "h", "pid": 7},
            headers={"trace": "t"},
            deduplication_key="k",
        )
        assert dict(await the(store, "a")) == dict(expected)
        assert [dict(each) for each in await store.peek(10)] == [dict(expected)]
        [claim] = await store.claim(10, seconds=30)
        assert dict(claim.letter) == dict(replace(expected, status=LetterStatus.CLAIMED))


async def test_an_id_that_is_there_is_kept_once(opened: AbstractAsyncContextManager[Store]) -> None:
    """A sender that tries again changes nothing."""
    async with opened as store:
        await store.add("a", body("a", "first"))
        assert await store.add("a", body("a", "second")) == "a"
        assert await ids(store) == ["a"]
        assert (await the(store, "a")).message == "first"
        assert (await store.stats()).total == 1


async def test_of_letters_with_one_key_the_first_is_kept(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind
) -> None:
    """The others are told its id; when it is gone, the key is free."""
    needs(kind, "knows_keys")
    async with opened as store:
        assert await store.add("a", body("a", key="k"), deduplication_key="k") == "a"
        assert await store.add("b", body("b", key="k"), deduplication_key="k") == "a"
        assert await store.add("c", body("c", key="other"), deduplication_key="other") == "c"
        assert await store.add("c", body("c", key="k"), deduplication_key="k") == "c"
        assert await store.delete("a")
        assert await store.add("d", body("d", key="k"), deduplication_key="k") == "d"
        assert sorted(await ids(store)) == ["c", "d"]


async def test_of_letters_with_one_key_that_come_at_once_one_is_kept(
    opened: AbstractAsyncContextManager[Store],
) -> None:
    """However they share a batch, all are told the same id."""
    async with opened as store:
        told: list[str] = []

        async def send(letter_id: str) -> None:
            told.append(await store.add(letter_id, body(letter_id, key="k"), deduplication_key="k"))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(send, f"{number}")
        assert await ids(store) == [told[0]]
        assert set(told) == {told[0]}


async def test_letters_outlive_the_store(kind: StoreKind, folder: Path) -> None:
    """Claims, attempts and edits too."""
    needs(kind, "lasts")
    async with kind.opened(folder) as store:
        await fill(store, "a", "b", "c")
        claim = await store.claim_one("a", seconds=30)
        await store.book(claim, {"error_type": "Again"}, failed_at=START, park_at=1)
        await store.claim_one("b", seconds=30)
        await store.edit("c", {"n": "new"})
    async with kind.opened(folder) as store:
        letters = await store.peek(10)
        assert [(each.id, each.status, each.attempts) for each in letters] == [
            ("a", "parked", 1),
            ("b", "claimed", 0),
            ("c", "waiting", 0),
        ]
        assert letters[0].error_info == {"error_type": "Again"}
        assert letters[2].message == {"n": "new"}


ODD = ["\x00\x1b\x7f\x85\u2028", "lone \ud800", "x\udfffy", "🐈\u200d⬛", 'quo"te', "__json__"]


async def test_every_text_survives(opened: AbstractAsyncContextManager[Store]) -> None:
    """Control characters, lone surrogates and emoji come back as they were, wherever they stand, and are found."""
    async with opened as store:
        for number, odd in enumerate(ODD):
            letter_id = f"{number}"
            info = {"error_type": odd, "error_message": odd}
            await store.add(letter_id, new_body(letter_id, {odd: odd}, info, START, group="g", headers={"h": odd}))
            letter = await the(store, letter_id)
            assert (letter.message, letter.error_info, letter.headers) == ({odd: odd}, info, {"h": odd})
            assert await ids(store, error=odd) == [letter_id]
            assert await ids(store, error=f"{odd}!") == []
            assert await ids(store, text=json.dumps(odd, ensure_ascii=False)[1:-1]) == [letter_id]


async def test_a_long_message_is_kept_whole(opened: AbstractAsyncContextManager[Store], kind: StoreKind) -> None:
    """Two hundred thousand characters come back to the last one, after a failed attempt too."""
    text = "0123456789" * 20_000
    async with opened as store:
        await store.add("a", body("a", text))
        claim = await store.claim_one("a", seconds=30)
        await store.book(claim, {"error_type": "E"}, failed_at=START, park_at=None)
        assert (await the(store, "a")).message == text


async def test_values_beyond_json_survive_with_an_encoder(opened: AbstractAsyncContextManager[Store]) -> None:
    """They come back as what they were from every way of reading, also when the letter was edited or failed."""
    message = {"photo": b"\xff\x00", "at": START, "seen": {1, (2, 3)}, "by": {(7, NOBODY): "seven"}}
    async with opened as store:
        await store.add("a", body("a", message, encoder=Encoder()))
        assert (await the(store, "a")).message == message
        [claim] = await store.claim(1, seconds=30)
        assert claim.letter.message == message
        await store.book(claim, {"error_type": "E"}, failed_at=START, park_at=None)
        assert [each.message for each in await store.peek(1)] == [message]
        assert await ids(store, text="xff") == ["a"]


# -- claims ------------------------------------------------------------------------------------------------------------


async def test_letters_are_handed_out_in_the_order_in_which_they_came(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind
) -> None:
    """First come, first served, whatever their ids; no letter twice."""
    needs(kind, "has_order")
    async with opened as store:
        await fill(store, "c", "a", "b")
        assert ids_of(await store.claim(2, seconds=30)) == ["c", "a"]
        assert ids_of(await store.claim(2, seconds=30)) == ["b"]
        assert await store.claim(2, seconds=30) == []


async def test_a_claim_names_itself_and_says_until_when(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Tokens differ; a claimed letter says so."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b")
        [first], [second] = await store.claim(1, seconds=30), await store.claim(1, seconds=60)
        assert first.token != second.token
        assert (first.until - time.now, second.until - time.now) == (timedelta(seconds=30), timedelta(seconds=60))
        assert first.letter.status is LetterStatus.CLAIMED
        assert await ids(store, status="claimed") == ["a", "b"]


async def test_a_claim_that_runs_out_frees_its_letter(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Letters that were never handed out go first."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b", "c")
        await store.claim(2, seconds=30)
        time.advance(29.9)
        assert await ids(store, status="claimed") == ["a", "b"]
        time.advance(0.2)
        assert await ids(store, status="waiting") == ["a", "b", "c"]
        assert (await store.stats()).claimed == 0
        assert ids_of(await store.claim(9, seconds=30)) == ["c", "a", "b"]


async def test_what_is_given_back_is_free_at_once(opened: AbstractAsyncContextManager[Store], kind: StoreKind) -> None:
    """And is handed out before what has never been; other claims stay."""
    needs(kind, "has_order")
    async with opened as store:
        await fill(store, "a", "b", "c")
        [first], [second] = await store.claim(1, seconds=30), await store.claim(1, seconds=30)
        await store.release(first.token)
        await store.release(first.token)
        assert await ids(store, status="claimed") == [second.letter.id]
        assert ids_of(await store.claim(9, seconds=30)) == ["a", "c"]


async def test_one_letter_can_be_asked_for(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """It is not there, or somebody has it, or it comes; who has it already may have it again."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b")
        with pytest.raises(MessageNotFoundError, match=NOBODY) as missing:
            await store.claim_one(NOBODY, seconds=30)
        assert missing.value.message_id == NOBODY
        assert missing.value.location == store.location
        claim = await store.claim_one("b", seconds=30)
        assert claim.letter.message == {"n": "b"}
        time.advance(10)
        with pytest.raises(MessageClaimedError) as taken:
            await store.claim_one("b", seconds=30)
        assert (taken.value.message_id, taken.value.until) == ("b", claim.until)
        assert taken.value.retry_after == pytest.approx(20)
        again = await store.claim_one("b", seconds=30, held=claim.token)
        assert again.token != claim.token
        assert again.until > claim.until
        time.advance(31)
        assert (await store.claim_one("b", seconds=30)).letter.id == "b"


async def test_a_claim_can_be_made_longer(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """As long as nobody else has got the letter."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b")
        claim = await store.claim_one("a", seconds=30)
        time.advance(20)
        longer = await store.extend(claim, seconds=30)
        assert longer is not None
        assert longer.until == time.now + timedelta(seconds=30)
        assert longer.letter == claim.letter
        time.advance(20)
        assert await ids(store, status="claimed") == ["a"]
        time.advance(11)
        other = await store.claim_one("a", seconds=30)
        assert await store.extend(longer, seconds=30) is None
        assert (await store.extend(other, seconds=30)) is not None
        await store.delete("a")
        assert await store.extend(other, seconds=30) is None


async def test_a_letter_that_was_dealt_with_is_gone(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Even when its claim has run out meanwhile; the second time it was not there."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b")
        first, second = await store.claim(2, seconds=30)
        assert await store.settle(first)
        assert not await store.settle(first)
        time.advance(31)
        assert await store.settle(second)
        assert await ids(store) == []
        assert await store.get("a") is None


async def test_a_cancelled_claim_gives_back(opened: AbstractAsyncContextManager[Store]) -> None:
    """However far it came, the letters are free when the cancellation is over."""
    async with opened as store:
        await fill(store, "a", "b", "c")
        for turns in range(8):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_claim_and_stay, store)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert await ids(store, status="claimed") == []


async def _claim_and_stay(store: Store) -> None:
    claims: list[Claim] = []
    try:
        claims = await store.claim(2, seconds=30)
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            for each in claims[:1]:
                await store.release(each.token)


async def test_many_claim_at_once_and_no_letter_is_handed_out_twice(
    opened: AbstractAsyncContextManager[Store],
) -> None:
    """A hundred letters among ten takers."""
    async with opened as store:
        taken: list[str] = []

        async def send(number: int) -> None:
            await store.add(f"{number:03}", body(f"{number:03}"))

        async def take() -> None:
            while claims := await store.claim(7, seconds=30):
                taken.extend(ids_of(claims))

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(send, number)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(take)
        assert sorted(taken) == [f"{number:03}" for number in range(100)]
