"""What every store must do, whatever it is made of."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from store_kit import KINDS, START, body, needs

from resilio.deadletters.encoder import Encoder
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.letter import DeadLetter, LetterStatus, new_body
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from letter_kit import HandClock
    from store_kit import StoreKind

    from resilio.deadletters.store import Claim, Store

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest, anyio_backend: tuple[str, dict[str, object]], time: HandClock) -> StoreKind:
    """Each of the stores, on each backend that it works on; the clock is moved by hand."""
    found: StoreKind = request.param
    if anyio_backend[0] == "trio":
        needs(found, "on_trio")
    return found


@pytest.fixture
def opened(kind: StoreKind, folder: Path) -> AbstractAsyncContextManager[Store]:
    """The store, to be opened by the test."""
    return kind.opened(folder)


async def fill(store: Store, *letter_ids: str, **keys: Any) -> None:
    """Keep letters, one after the other."""
    for each in letter_ids:
        assert await store.add(each, body(each, {"n": each}, **keys)) == each


async def ids(store: Store, **where: Any) -> list[str]:
    """The ids of the letters that are meant."""
    return [each.id for each in await store.peek(1000, where=LetterFilter(**where))]


def ids_of(claims: Sequence[Claim]) -> list[str]:
    """The ids of claimed letters."""
    return [each.letter.id for each in claims]


async def the(store: Store, letter_id: str) -> DeadLetter:
    """A letter that must be there."""
    letter = await store.get(letter_id)
    assert letter is not None
    return letter


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


# -- failed attempts ---------------------------------------------------------------------------------------------------


async def test_a_failed_attempt_is_written_down(opened: AbstractAsyncContextManager[Store]) -> None:
    """The letter counts it, says why it failed last and when, and keeps a line of history for each."""
    async with opened as store:
        await fill(store, "a")
        for number in (1, 2):
            claim = await store.claim_one("a", seconds=30)
            at = START + timedelta(seconds=number)
            info = {"error_type": f"E{number}", "error_message": f"m{number}", "more": number}
            assert await store.book(claim, info, failed_at=at, park_at=None) == number
        letter = await the(store, "a")
        assert (letter.attempts, letter.status, letter.message) == (2, "waiting", {"n": "a"})
        assert letter.error_info == {"error_type": "E2", "error_message": "m2", "more": 2}
        assert (letter.first_failed_at, letter.last_failed_at) == (START, START + timedelta(seconds=2))
        assert [dict(each) for each in letter.history] == [
            {
                "attempt": number,
                "failed_at": f"2026-01-01T00:00:0{number}.000000+00:00",
                "error_type": f"E{number}",
                "error_message": f"m{number}",
            }
            for number in (1, 2)
        ]


async def test_a_letter_that_failed_goes_to_the_end(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Those that have waited longer are next."""
    needs(kind, "has_order", "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b", "c")
        for _ in range(2):
            [claim] = await store.claim(1, seconds=30)
            await store.book(claim, {}, failed_at=time.now, park_at=None)
            time.advance(1)
        assert ids_of(await store.claim(9, seconds=30)) == ["c", "a", "b"]


async def test_of_a_long_history_the_first_and_the_last_lines_stay(opened: AbstractAsyncContextManager[Store]) -> None:
    """And it says how many are left out."""
    async with opened as store:
        await fill(store, "a")
        for number in range(25):
            claim = await store.claim_one("a", seconds=30)
            await store.book(claim, {"error_type": f"E{number}"}, failed_at=START, park_at=None)
        letter = await the(store, "a")
        assert letter.attempts == 25
        assert len(letter.history) == 21
        assert dict(letter.history[10]) == {"left_out": 5}
        assert letter.history[-1]["error_type"] == "E24"


async def test_a_letter_that_has_used_up_its_attempts_is_parked(opened: AbstractAsyncContextManager[Store]) -> None:
    """Nobody is handed it but who asks for it by its id, and then it is parked again or removed."""
    async with opened as store:
        await fill(store, "a", "b")
        claim = await store.claim_one("a", seconds=30)
        assert await store.book(claim, {}, failed_at=START, park_at=2) == 1
        assert (await the(store, "a")).status is LetterStatus.WAITING
        claim = await store.claim_one("a", seconds=30)
        assert await store.book(claim, {}, failed_at=START, park_at=2) == 2
        assert (await the(store, "a")).status is LetterStatus.PARKED
        assert ids_of(await store.claim(9, seconds=30)) == ["b"]
        claim = await store.claim_one("a", seconds=30)
        assert (await the(store, "a")).status is LetterStatus.CLAIMED
        await store.release(claim.token)
        assert (await the(store, "a")).status is LetterStatus.PARKED
        assert await store.settle(await store.claim_one("a", seconds=30))


async def test_a_letter_is_not_handed_out_before_its_time(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """But to a call with its id; what that gives back is free at once."""
    needs(kind, "obeys_clock")
    async with opened as store:
        await fill(store, "a")
        claim = await store.claim_one("a", seconds=30)
        due = time.now + timedelta(seconds=100)
        await store.book(claim, {}, failed_at=time.now, park_at=None, not_before=due)
        assert (await the(store, "a")).status is LetterStatus.WAITING
        time.advance(99)
        assert await store.claim(1, seconds=30) == []
        claim = await store.claim_one("a", seconds=0.5)
        time.advance(1)
        [claim] = await store.claim(1, seconds=30)
        await store.book(claim, {}, failed_at=time.now, park_at=None, not_before=time.now + timedelta(seconds=100))
        claim = await store.claim_one("a", seconds=30)
        await store.release(claim.token)
        assert ids_of(await store.claim(1, seconds=30)) == ["a"]


async def test_a_claim_that_has_passed_to_somebody_else_is_left_alone(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """The failed attempt of the one who was too slow counts all the same."""
    needs(kind, "obeys_clock", "keeps_to_claims")
    async with opened as store:
        await fill(store, "a")
        slow = await store.claim_one("a", seconds=30)
        time.advance(31)
        other = await store.claim_one("a", seconds=30)
        await store.release(slow.token)
        assert await store.book(slow, {"error_type": "Slow"}, failed_at=time.now, park_at=None) == 1
        letter = await the(store, "a")
        assert (letter.status, letter.attempts) == ("claimed", 1)
        assert await store.book(other, {}, failed_at=time.now, park_at=None) == 2
        assert (await the(store, "a")).status is LetterStatus.WAITING


async def test_of_a_letter_that_is_gone_nothing_is_booked(opened: AbstractAsyncContextManager[Store]) -> None:
    """Somebody deleted it meanwhile."""
    async with opened as store:
        await fill(store, "a")
        claim = await store.claim_one("a", seconds=30)
        assert await store.delete("a")
        assert await store.book(claim, {}, failed_at=START, park_at=None) is None
        assert await ids(store) == []


async def test_a_letter_from_another_queue_brings_its_past_along(opened: AbstractAsyncContextManager[Store]) -> None:
    """Attempts, times and history count; it is waiting, whatever it was there."""
    async with opened as store:
        old = START - timedelta(days=9)
        line = {"attempt": 3, "failed_at": START.isoformat(), "error_type": "X", "error_message": "m"}
        letter = DeadLetter(
            id="a",
            message=1,
            error_info={"error_type": "X"},
            first_failed_at=old,
            last_failed_at=START,
            attempts=3,
            status=LetterStatus.PARKED,
            group="g",
            history=(line,),
        )
        await store.add("a", json.dumps(letter.to_dict()).encode())
        found = await the(store, "a")
        assert (found.attempts, found.status, found.group) == (3, "waiting", "g")
        assert (found.first_failed_at, found.last_failed_at) == (old, START)
        assert await ids(store, error="X", group="g", since=START) == ["a"]
        claim = await store.claim_one("a", seconds=30)
        assert await store.book(claim, {}, failed_at=START, park_at=None) == 4
        assert [each["attempt"] for each in (await the(store, "a")).history] == [3, 4]


# -- editing and parking -----------------------------------------------------------------------------------------------


async def test_another_message_changes_nothing_else(opened: AbstractAsyncContextManager[Store]) -> None:
    """Attempts, errors and times stay."""
    async with opened as store:
        await fill(store, "a", "b", group="g")
        claim = await store.claim_one("a", seconds=30)
        await store.book(claim, {"error_type": "X"}, failed_at=START, park_at=None)
        for message in ("new", {"a": "lone \ud800"}, None, {"__json__": "x"}, ["x" * 10_000]):
            before = await the(store, "a")
            assert await store.edit("a", message)
            assert dict(await the(store, "a")) == {**dict(before), "message": message}
            claim = await store.claim_one("a", seconds=30)
            assert claim.letter.message == message
            await store.book(claim, {}, failed_at=START, park_at=None)
            assert (await the(store, "a")).message == message
        assert (await the(store, "b")).message == {"n": "b"}
        assert not await store.edit(NOBODY, "new")


async def test_editing_leaves_a_claim_alone(opened: AbstractAsyncContextManager[Store], kind: StoreKind) -> None:
    """Who has the letter goes on having it."""
    needs(kind, "keeps_to_claims")
    async with opened as store:
        await fill(store, "a")
        claim = await store.claim_one("a", seconds=30)
        assert await store.edit("a", "new")
        assert (await the(store, "a")).status is LetterStatus.CLAIMED
        assert await store.extend(claim, seconds=30) is not None


async def test_a_letter_can_be_parked_and_taken_up_again(opened: AbstractAsyncContextManager[Store]) -> None:
    """Taken up, it is waiting, due at once, and has all its attempts before it; its history stays."""
    async with opened as store:
        await fill(store, "a", "b")
        assert await store.park("b", parked=True)
        assert ids_of(await store.claim(9, seconds=30)) == ["a"]
        assert (await the(store, "b")).status is LetterStatus.PARKED
        claim = await store.claim_one("b", seconds=30)
        far = START + timedelta(days=1)
        await store.book(claim, {"error_type": "X"}, failed_at=START, park_at=1, not_before=far)
        assert await store.park("b", parked=False)
        letter = await the(store, "b")
        assert (letter.status, letter.attempts, len(letter.history)) == ("waiting", 0, 1)
        [claim] = await store.claim(9, seconds=30)
        assert claim.letter.id == "b"
        assert await store.book(claim, {}, failed_at=START, park_at=2) == 1
        assert not await store.park(NOBODY, parked=True)
        assert not await store.park(NOBODY, parked=False)


async def test_parking_leaves_a_claim_alone(opened: AbstractAsyncContextManager[Store], kind: StoreKind) -> None:
    """It is parked once the claim is given back."""
    needs(kind, "keeps_to_claims")
    async with opened as store:
        await fill(store, "a")
        claim = await store.claim_one("a", seconds=30)
        assert await store.park("a", parked=True)
        assert (await the(store, "a")).status is LetterStatus.CLAIMED
        await store.release(claim.token)
        assert (await the(store, "a")).status is LetterStatus.PARKED


# -- looking -----------------------------------------------------------------------------------------------------------


async def test_letters_are_shown_page_by_page(opened: AbstractAsyncContextManager[Store], kind: StoreKind) -> None:
    """In the order in which they came; a page begins after the last letter of the one before, though it be gone."""
    needs(kind, "has_order")
    async with opened as store:
        await fill(store, *(f"{number}" for number in range(9)))
        first = await store.peek(4)
        assert [each.id for each in first] == ["0", "1", "2", "3"]
        assert [each.id for each in await store.peek(4, after="3")] == ["4", "5", "6", "7"]
        await store.delete("3")
        assert [each.id for each in await store.peek(4, after="3")] == ["4", "5", "6", "7"]
        assert [each.id for each in await store.peek(4, after="7")] == ["8"]
        assert await store.peek(4, after="8") == []
        assert {each.status for each in await store.peek(9)} == {LetterStatus.WAITING}


async def _zoo(store: Store, time: HandClock) -> list[DeadLetter]:
    """Letters that differ in everything that can be asked for, a minute after the first came."""
    time.advance(60)
    for number in range(12):
        await store.add(
            f"{number:02}",
            body(
                f"{number:02}",
                {"n": number, "text": ("Straße", "plain")[number % 2]},
                error=f"E{number % 3}",
                group=f"g{number % 4}",
                at=START + timedelta(seconds=number),
                headers={"h": f"v{number}"},
            ),
        )
    for letter_id, park_at in (("01", 1), ("04", None), ("05", 1)):
        claim = await store.claim_one(letter_id, seconds=30)
        info = {"error_type": "Late", "error_message": "x"}
        await store.book(claim, info, failed_at=START + timedelta(seconds=50), park_at=park_at)
    await store.claim_one("07", seconds=30)
    await store.claim_one("05", seconds=30)
    return await store.peek(100)


WHERES: list[dict[str, Any]] = [
    {"error": "E1"},
    {"error": "Late"},
    {"error": "e1"},
    {"group": "g2"},
    {"group": ""},
    {"status": "waiting"},
    {"status": "claimed"},
    {"status": "parked"},
    {"since": START + timedelta(seconds=6)},
    {"until": START + timedelta(seconds=6)},
    {"since": START + timedelta(seconds=2), "until": START + timedelta(seconds=5)},
    {"error": "E0", "group": "g3"},
    {"error": "Late", "status": "waiting"},
    {"group": "g1", "since": START + timedelta(seconds=6)},
    {"text": "STRASSE"},
    {"text": "straße"},
    {"text": '"n": 1,'},
    {"text": "V11"},
    {"text": "late"},
    {"text": "nowhere"},
    {"text": "plain", "status": "parked"},
    {"text": ""},
]


async def test_a_filter_finds_what_it_means(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Looking and claiming agree with the filter's own word, letter by letter."""
    async with opened as store:
        everything = await _zoo(store, time)
        assert len(everything) == 12
        for asked in WHERES:
            where = LetterFilter(**asked)
            meant = [each for each in everything if where.matches(each)]
            expected = [each.id for each in meant]
            assert await ids(store, **asked) == expected, asked
            assert [each.id for each in await store.peek(1, where=where)] == expected[:1], asked
            if len(expected) > 1:
                assert [each.id for each in await store.peek(9, after=expected[0], where=where)] == expected[1:10]
            claims = await store.claim(100, seconds=30, where=where)
            assert sorted(ids_of(claims)) == [each.id for each in meant if each.status is LetterStatus.WAITING], asked
            assert await store.claim(100, seconds=30, where=where) == []
            for token in {each.token for each in claims}:
                await store.release(token)


FOLDED = [("Straße", "STRASSE"), ("\u212aelvin", "kelvin"), ("ﬁsh", "FISH"), ("ÀÉ", "àé"), ("a\nb", "A\\NB")]


async def test_upper_and_lower_case_are_the_same_in_every_script(opened: AbstractAsyncContextManager[Store]) -> None:
    """A search folds cases as Python does, whatever the store searches in."""
    async with opened as store:
        await store.add("other", body("other", "other"))
        for number, (written, asked) in enumerate(FOLDED):
            await store.add(f"{number}", body(f"{number}", {"text": written}))
            assert await ids(store, text=asked) == [f"{number}"]
            [claim] = await store.claim(9, seconds=30, where=LetterFilter(text=asked))
            assert claim.letter.id == f"{number}"


async def test_a_filtered_claim_keeps_the_order(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """Given back before fresh before failed, within the filter as without."""
    needs(kind, "has_order", "obeys_clock")
    async with opened as store:
        await fill(store, "a", "b", "c", "d", group="g")
        await fill(store, "e", group="other")
        failed, kept = await store.claim_one("a", seconds=30), await store.claim_one("c", seconds=30)
        await store.book(failed, {}, failed_at=time.now, park_at=None)
        await store.release(kept.token)
        time.advance(1)
        where = LetterFilter(group="g")
        found = [ids_of(await store.claim(1, seconds=30, where=where))[0] for _ in range(4)]
        assert found[-1] == "a"
        assert sorted(found) == ["a", "b", "c", "d"]
        assert await store.claim(1, seconds=30, where=where) == []


async def test_statistics_say_what_lies_there(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """By status, by age, by group; a letter that is claimed and parked counts as claimed."""
    needs(kind, "counts_exactly")
    async with opened as store:
        empty = await store.stats()
        assert (empty.total, empty.oldest_failed_at, empty.oldest_age, dict(empty.groups)) == (0, None, None, {})
        await _zoo(store, time)
        time.advance(10)
        stats = await store.stats()
        assert (stats.total, stats.waiting, stats.claimed, stats.parked) == (12, 9, 2, 1)
        assert (stats.oldest_failed_at, stats.oldest_age) == (START, 70.0)
        assert dict(stats.groups) == {"g0": 3, "g1": 3, "g2": 3, "g3": 3}
        assert stats.bytes > 0
        for each in ("00", "01", "04"):
            await store.delete(each)
        stats = await store.stats()
        assert (stats.total, stats.waiting, stats.claimed, stats.parked) == (9, 7, 2, 0)
        assert sorted(stats.groups.items()) == [("g0", 1), ("g1", 2), ("g2", 3), ("g3", 3)]
        assert sorted(list(stats.groups)[:2]) == ["g2", "g3"]
        assert stats.oldest_failed_at == START + timedelta(seconds=2)


# -- going -------------------------------------------------------------------------------------------------------------


async def test_a_letter_can_be_deleted_whoever_has_it(opened: AbstractAsyncContextManager[Store]) -> None:
    """The second time it was not there."""
    async with opened as store:
        await fill(store, "a", "b")
        await store.claim_one("a", seconds=30)
        assert await store.delete("a")
        assert not await store.delete("a")
        assert await ids(store) == ["b"]


async def test_what_is_past_its_time_is_pruned(
    opened: AbstractAsyncContextManager[Store], kind: StoreKind, time: HandClock
) -> None:
    """By when it failed last; parked letters first, claimed ones never."""
    needs(kind, "has_order")
    async with opened as store:
        await _zoo(store, time)
        assert await store.prune(older_than=START, at_most=None) == []
        assert await store.prune(older_than=START + timedelta(seconds=8), at_most=None) == ["00", "02", "03", "06"]
        assert await ids(store) == ["01", "04", "05", "07", "08", "09", "10", "11"]
        assert await store.prune(older_than=None, at_most=8) == []
        assert await store.prune(older_than=None, at_most=5) == ["01", "04", "08"]
        assert await store.prune(older_than=START + timedelta(seconds=10), at_most=3) == ["09", "10"]
        assert await store.prune(older_than=None, at_most=0) == ["11"]
        assert await ids(store) == ["05", "07"]


async def test_everything_can_be_deleted(opened: AbstractAsyncContextManager[Store], time: HandClock) -> None:
    """Claimed and parked letters too; the next letter comes as to an empty queue."""
    async with opened as store:
        await _zoo(store, time)
        assert await store.purge() == 12
        assert await store.purge() == 0
        assert await store.claim(9, seconds=30) == []
        await fill(store, "new")
        assert await ids(store) == ["new"]
        assert ids_of(await store.claim(9, seconds=30)) == ["new"]
        assert await store.delete("new")
        stats = await store.stats()
        assert (stats.total, stats.waiting, stats.claimed, stats.parked) == (0, 0, 0, 0)
