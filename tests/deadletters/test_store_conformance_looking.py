"""What every store must tell of its letters, and let go of, whatever it is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from store_kit import START, body, fill, ids, ids_of, needs

from resilio.deadletters.letter import DeadLetter, LetterStatus
from resilio.deadletters.letter_filter import LetterFilter

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from letter_kit import HandClock
    from store_kit import StoreKind

    from resilio.deadletters.store import Store

pytestmark = pytest.mark.anyio


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
