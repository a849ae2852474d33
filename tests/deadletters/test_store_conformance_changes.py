"""What every store must do with a letter that failed again, or is edited or parked, whatever it is made of."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from store_kit import NOBODY, START, fill, ids, ids_of, needs, the

from resilio.deadletters.letter import DeadLetter, LetterStatus

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from letter_kit import HandClock
    from store_kit import StoreKind

    from resilio.deadletters.store import Store

pytestmark = pytest.mark.anyio


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
