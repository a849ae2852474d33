from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilio._core import clock
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import new_body
from resilio.deadletters.store import Add, Book, Claim, ClaimNext, ClaimOne, Purge, Release, Remove
from resilio.testing.machines.by_hand import HandClock
from resilio.testing.memory_store import MemoryStore

if TYPE_CHECKING:
    from resilio.deadletters.store import Operation

IDS = st.sampled_from(["a", "b", "c", "d"])
TURNS = st.integers(0, 5)
MOVES = st.one_of(
    st.tuples(st.just("add"), IDS),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("claim_one"), IDS, st.none() | TURNS),
    st.tuples(st.just("release"), TURNS),
    st.tuples(st.just("settle"), TURNS),
    st.tuples(st.just("book"), TURNS, st.none() | st.integers(1, 2)),
    st.tuples(st.just("delete"), IDS),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 10.0, 40.0])),
    st.tuples(st.just("purge")),
)


class Both:
    """The store in memory and the journal, asked for the same things."""

    def __init__(self, path: Path, time: HandClock) -> None:
        self.memory = MemoryStore(str(path))
        self.journal = Journal(path)
        self.time = time
        self.claims: list[tuple[Claim, Claim]] = []

    def commit(self, operation: Operation) -> Any:
        return self.journal.commit([operation])[0]

    async def move(self, what: str, *how: Any) -> None:
        if what == "wait":
            self.time.now += how[0]
        elif what in {"release", "settle", "book"}:
            if self.claims:
                turn, *rest = how
                await getattr(self, what)(self.claims[turn % len(self.claims)], *rest)
        else:
            await getattr(self, what)(*how)
        await self.compare()

    async def add(self, letter_id: str) -> None:
        body = new_body(letter_id, {"n": letter_id}, {"error_type": "E"}, clock.utcnow())
        await self.memory.add(letter_id, body)
        self.commit(Add(letter_id, body))

    async def claim(self, limit: int) -> None:
        ours = await self.memory.claim(limit, seconds=30)
        theirs = self.commit(ClaimNext(limit, 30, f"token{len(self.claims)}"))
        self.same(ours, theirs)

    async def claim_one(self, letter_id: str, held: int | None) -> None:
        pair = self.claims[held % len(self.claims)] if self.claims and held is not None else None
        ours: Claim | Exception
        try:
            ours = await self.memory.claim_one(letter_id, seconds=30, held=None if pair is None else pair[0].token)
        except (MessageClaimedError, MessageNotFoundError) as error:
            ours = error
        held_token = None if pair is None else pair[1].token
        theirs = self.commit(ClaimOne(letter_id, 30, f"token{len(self.claims)}", held_token))
        if isinstance(ours, Claim):
            self.same([ours], [theirs])
        else:
            assert type(theirs) is type(ours)
            assert str(theirs) == str(ours)
            assert theirs.__dict__ == ours.__dict__

    def same(self, ours: list[Claim], theirs: list[Claim]) -> None:
        assert [replace(each, token="") for each in ours] == [replace(each, token="") for each in theirs]
        assert len({each.token for each in ours}) <= 1
        self.claims += zip(ours, theirs, strict=True)

    async def release(self, pair: tuple[Claim, Claim]) -> None:
        await self.memory.release(pair[0].token)
        self.commit(Release(pair[1].token))

    async def settle(self, pair: tuple[Claim, Claim]) -> None:
        assert await self.memory.settle(pair[0]) == self.commit(Remove(pair[1].letter.id))

    async def book(self, pair: tuple[Claim, Claim], park_at: int | None) -> None:
        now = clock.utcnow()
        ours = await self.memory.book(pair[0], {"error_type": "Again"}, failed_at=now, park_at=park_at)
        assert ours == self.commit(Book(pair[1].letter.id, pair[1].token, {"error_type": "Again"}, now, park_at))

    async def delete(self, letter_id: str) -> None:
        assert await self.memory.delete(letter_id) == self.commit(Remove(letter_id))

    async def purge(self) -> None:
        assert await self.memory.purge() == self.commit(Purge())

    async def compare(self) -> None:
        for after in (None, "b", "bb"):
            assert [dict(each) for each in await self.memory.peek(3, after=after)] == [
                dict(each) for each in self.journal.peek(3, after=after)
            ]
        stats = await self.memory.stats()
        assert replace(stats, bytes=0) == replace(self.journal.stats(), bytes=0)
        for letter_id in "ad":
            ours, theirs = await self.memory.get(letter_id), self.journal.get(letter_id)
            assert (ours and dict(ours)) == (theirs and dict(theirs))


@pytest.mark.slow("writes many journals to the disk")
@settings(max_examples=60)
@given(moves=st.lists(MOVES, min_size=5, max_size=30))
def test_the_store_in_memory_does_what_the_journal_does(moves: list[tuple[Any, ...]]) -> None:
    """Letters, claims, attempts, errors and counts are the same after any sequence of operations."""

    async def play(path: Path, time: HandClock) -> None:
        both = Both(path, time)
        for move in moves:
            await both.move(*move)
        both.journal.close()

    time = HandClock()
    with tempfile.TemporaryDirectory() as folder, clock.installed(time):
        asyncio.run(play(Path(folder, "letters.jsonl"), time))
