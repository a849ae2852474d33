from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from letter_kit import hand_clock

from resilio.deadletters import journal_chores
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterStatus, new_body
from resilio.deadletters.letter_filter import EVERY_LETTER, LetterFilter
from resilio.deadletters.sqlite_store import SqliteStore
from resilio.deadletters.store import (
    Add,
    BlockingStore,
    Book,
    Claim,
    ClaimNext,
    ClaimOne,
    Edit,
    Extend,
    Park,
    Prune,
    Purge,
    Release,
    Remove,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Known:
    """What the model knows of a letter."""

    message: Any
    group: str
    key: str | None
    failed_at: float
    attempts: int = 0
    parked: bool = False
    token: str | None = None
    until: float = 0.0
    due: float = 0.0

    def status(self, now: float) -> LetterStatus:
        if self.token is not None and self.until > now:
            return LetterStatus.CLAIMED
        return LetterStatus.PARKED if self.parked else LetterStatus.WAITING


WHO = st.integers(0, 2)
MESSAGES = st.none() | st.text("ab\n\x00é🐈") | st.integers()
GROUPS = st.sampled_from(["", "g", "h"])


class StoreMachine(RuleBasedStateMachine):
    """Three openings of one file, side by side with a dict."""

    ids: Bundle[str] = Bundle("ids")
    claims: Bundle[tuple[str, str]] = Bundle("claims")
    make: Callable[[Path], BlockingStore]
    file = ""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / self.file
        self.time = self.stack.enter_context(hand_clock())
        self.stores = [self.opened() for _ in range(3)]
        self.known: dict[str, Known] = {}
        self.count = 0

    def opened(self) -> BlockingStore:
        return type(self).make(self.path)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.stack.close()

    @property
    def now(self) -> float:
        return self.time.now.timestamp()

    def token(self) -> str:
        self.count += 1
        return f"token{self.count}"

    # -- what a queue does ---------------------------------------------------------------------------------------------

    @rule(
        target=ids,
        who=WHO,
        messages=st.lists(MESSAGES, max_size=4),
        group=GROUPS,
        key=st.sampled_from([None, None, "k"]),
    )
    def send(self, who: int, messages: list[Any], group: str, key: str | None) -> Any:
        batch = []
        expected = []
        for message in messages:
            self.count += 1
            letter_id = f"{self.count:04}"
            batch.append(Add(letter_id, new_body(letter_id, message, {}, self.time.now, group=group), key))
            with_key = [known for known, each in self.known.items() if key is not None and each.key == key]
            expected.append(with_key[0] if with_key else letter_id)
            if not with_key:
                self.known[letter_id] = Known(message, group, key, self.now)
        assert self.stores[who].commit(batch) == expected
        return multiple(*expected)

    @rule(who=WHO, letter_id=ids)
    def send_again(self, who: int, letter_id: str) -> None:
        if letter_id in self.known:
            again = Add(letter_id, new_body(letter_id, "another", {}, self.time.now))
            assert self.stores[who].commit([again]) == [letter_id]

    @rule(
        target=claims,
        who=WHO,
        limit=st.integers(1, 4),
        seconds=st.sampled_from([0.5, 30.0]),
        group=st.none() | GROUPS,
        text=st.sampled_from([None, None, "A"]),
    )
    def claim_next(self, who: int, limit: int, seconds: float, group: str | None, text: str | None) -> Any:
        token = self.token()
        where = LetterFilter(group=group, text=text)
        meant = {each.id for each in self.stores[who].peek(1000, after=None, where=where)}
        [found] = self.stores[who].commit([ClaimNext(limit, seconds, token, where)])
        assert isinstance(found, list)
        free = {
            key
            for key, each in self.known.items()
            if key in meant and each.status(self.now) is LetterStatus.WAITING and each.due <= self.now
        }
        ids = [claim.letter.id for claim in found]
        assert len(set(ids)) == len(ids) == min(limit, len(free))
        assert set(ids) <= free
        for claim in found:
            self.claimed(claim, token, seconds)
        return multiple(*((each, token) for each in ids))

    def claimed(self, claim: Claim, token: str, seconds: float) -> None:
        known = self.known[claim.letter.id]
        assert claim.letter.message == known.message
        assert claim.letter.status is LetterStatus.CLAIMED
        known.token, known.until, known.due = token, self.now + seconds, 0.0

    @rule(target=claims, who=WHO, letter_id=ids, held=st.none() | claims)
    def claim_one(self, who: int, letter_id: str, held: tuple[str, str] | None) -> Any:
        token = self.token()
        held_token = None if held is None else held[1]
        [found] = self.stores[who].commit([ClaimOne(letter_id, 30.0, token, held_token)])
        known = self.known.get(letter_id)
        if known is None:
            assert isinstance(found, MessageNotFoundError)
        elif known.status(self.now) is LetterStatus.CLAIMED and known.token != held_token:
            assert isinstance(found, MessageClaimedError)
        else:
            assert isinstance(found, Claim)
            self.claimed(found, token, 30.0)
            return (letter_id, token)
        return multiple()

    @rule(who=WHO, claim=consumes(claims))
    def release(self, who: int, claim: tuple[str, str]) -> None:
        self.stores[who].commit([Release(claim[1])])
        for each in self.known.values():
            if each.token == claim[1]:
                each.token = None

    @rule(who=WHO, claim=consumes(claims))
    def settle(self, who: int, claim: tuple[str, str]) -> None:
        there = self.known.pop(claim[0], None) is not None
        assert self.stores[who].commit([Remove(claim[0])]) == [there]

    @rule(who=WHO, claim=claims, seconds=st.sampled_from([0.5, 30.0]))
    def extend(self, who: int, claim: tuple[str, str], seconds: float) -> None:
        held = [each for each in self.known.values() if each.token == claim[1]]
        [until] = self.stores[who].commit([Extend(claim[1], seconds)])
        assert (until is not None) == bool(held)
        for each in held:
            each.until = self.now + seconds

    @rule(
        who=WHO,
        claim=consumes(claims),
        park_at=st.none() | st.integers(1, 3),
        delay=st.sampled_from([None, None, 10.0]),
    )
    def fail(self, who: int, claim: tuple[str, str], park_at: int | None, delay: float | None) -> None:
        letter_id, token = claim
        due = None if delay is None else self.time.now + timedelta(seconds=delay)
        [attempts] = self.stores[who].commit([Book(letter_id, token, {"e": 1}, self.time.now, park_at, due)])
        known = self.known.get(letter_id)
        if known is None:
            assert attempts is None
            return
        known.attempts += 1
        assert attempts == known.attempts
        known.failed_at = self.now
        known.parked = park_at is not None and known.attempts >= park_at
        if known.token in {None, token}:
            known.token = None
            known.due = 0.0 if due is None else due.timestamp()

    @rule(who=WHO, letter_id=ids, message=MESSAGES)
    def edit(self, who: int, letter_id: str, message: Any) -> None:
        assert self.stores[who].commit([Edit(letter_id, message)]) == [letter_id in self.known]
        if letter_id in self.known:
            self.known[letter_id].message = message

    @rule(who=WHO, letter_id=ids, is_parked=st.booleans())
    def park(self, who: int, letter_id: str, is_parked: bool) -> None:  # noqa: FBT001 -- drawn by Hypothesis
        assert self.stores[who].commit([Park(letter_id, is_parked)]) == [letter_id in self.known]
        known = self.known.get(letter_id)
        if known is not None:
            known.parked = is_parked
            if not is_parked:
                known.attempts, known.due = 0, 0.0

    @rule(who=WHO, age=st.none() | st.sampled_from([0.0, 20.0]), at_most=st.none() | st.integers(0, 5))
    def prune(self, who: int, age: float | None, at_most: int | None) -> None:
        older_than = None if age is None else self.time.now - timedelta(seconds=age)
        free = [
            (not each.parked, number, key)
            for number, (key, each) in enumerate(self.known.items())
            if each.status(self.now) is not LetterStatus.CLAIMED
        ]
        in_order = [key for _, _, key in sorted(free)]
        past = [key for key in in_order if age is not None and self.known[key].failed_at < self.now - age]
        if at_most is not None:
            beyond = max(len(self.known) - len(past) - at_most, 0)
            past += [key for key in in_order if key not in past][:beyond]
        assert self.stores[who].commit([Prune(older_than, at_most)]) == [past]
        for key in past:
            del self.known[key]

    @rule(who=WHO)
    def purge(self, who: int) -> None:
        assert self.stores[who].commit([Purge()]) == [len(self.known)]
        self.known.clear()

    # -- what the world does -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @rule(who=WHO)
    def reopen(self, who: int) -> None:
        self.stores[who].close()
        self.stores[who] = self.opened()

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def every_opening_agrees_with_the_model(self) -> None:
        expected = [(key, each.message, each.attempts, each.status(self.now)) for key, each in self.known.items()]
        fresh = self.opened()
        for store in (self.stores[self.count % 3], fresh):
            found = store.peek(1000, after=None, where=EVERY_LETTER)
            assert [(each.id, each.message, each.attempts, each.status) for each in found] == expected
            stats = store.stats()
            statuses = [each[3] for each in expected]
            assert stats.total == len(expected)
            assert stats.waiting == statuses.count(LetterStatus.WAITING)
            assert stats.claimed == statuses.count(LetterStatus.CLAIMED)
            assert stats.parked == statuses.count(LetterStatus.PARKED)
            assert dict(stats.groups) == Counter(each.group for each in self.known.values() if each.group)
        fresh.close()


class JournalMachine(StoreMachine):
    """The journal, written anew every few lines, and ill-treated by others."""

    make = Journal
    file = "letters.jsonl"

    def __init__(self) -> None:
        super().__init__()
        self.stack.enter_context(patch.object(journal_chores, "FEW_LINES", 6))

    @rule(who=WHO, torn=st.sampled_from([b"\x00" * 30, b'{"op":"put","letter":{"id":"torn"', b'{"op":"rem', b"x"]))
    def another_process_dies_while_it_writes(self, who: int, torn: bytes) -> None:
        self.stores[who].stats()
        with self.path.open("ab") as file:
            file.write(torn)

    @rule(who=WHO, garbage=st.sampled_from([b"garbage\n", b"\xff\xfe\n", b"\n", b"{}\n"]))
    def somebody_appends_a_line_by_hand(self, who: int, garbage: bytes) -> None:
        self.stores[who].stats()
        with self.path.open("ab") as file:
            file.write(garbage)


class SqliteMachine(StoreMachine):
    """The database, and a person with a shell."""

    make = SqliteStore
    file = "letters.db"

    @rule(letter_id=consumes(StoreMachine.ids))
    def somebody_deletes_a_row_by_hand(self, letter_id: str) -> None:
        self.stores[0].stats()
        with closing(sqlite3.connect(self.path)) as shell, shell:
            shell.execute("DELETE FROM letters WHERE id = ?", [letter_id])
        self.known.pop(letter_id, None)


TestJournalAgainstADict = pytest.mark.slow("Hypothesis plays many games")(JournalMachine.TestCase)
TestJournalAgainstADict.settings = settings(max_examples=15, stateful_step_count=30)

TestSqliteAgainstADict = pytest.mark.slow("Hypothesis plays many games")(SqliteMachine.TestCase)
TestSqliteAgainstADict.settings = settings(max_examples=15, stateful_step_count=30)
