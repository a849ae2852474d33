from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from letter_kit import hand_clock

from resilio.deadletters import journal_log
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.journal import Journal
from resilio.deadletters.letter import LetterStatus, new_body
from resilio.deadletters.store import Add, Book, Claim, ClaimNext, ClaimOne, Purge, Release, Remove


@dataclass
class Known:
    """What the model knows of a letter."""

    message: Any
    attempts: int = 0
    parked: bool = False
    token: str | None = None
    until: float = 0.0

    def status(self, now: float) -> LetterStatus:
        if self.token is not None and self.until > now:
            return LetterStatus.CLAIMED
        return LetterStatus.PARKED if self.parked else LetterStatus.WAITING


WHO = st.integers(0, 2)


class JournalMachine(RuleBasedStateMachine):
    """Three openings of one file, side by side with a dict."""

    ids: Bundle[str] = Bundle("ids")
    claims: Bundle[tuple[str, str]] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "letters.jsonl"
        self.time = self.stack.enter_context(hand_clock())
        self.stack.enter_context(patch.object(journal_log, "_FEW_LINES", 6))  # written anew every few lines
        self.journals = [Journal(self.path) for _ in range(3)]
        self.known: dict[str, Known] = {}
        self.count = 0

    def teardown(self) -> None:
        for journal in self.journals:
            journal.close()
        self.stack.close()

    @property
    def now(self) -> float:
        return self.time.now.timestamp()

    def token(self) -> str:
        self.count += 1
        return f"token{self.count}"

    # -- what a queue does ---------------------------------------------------------------------------------------------

    @rule(target=ids, who=WHO, messages=st.lists(st.none() | st.text("ab\n\x00é🐈") | st.integers(), max_size=4))
    def send(self, who: int, messages: list[Any]) -> Any:
        ids = []
        for message in messages:
            self.count += 1
            ids.append(f"{self.count:04}")
            self.known[ids[-1]] = Known(message)
        batch = [Add(each, new_body(each, self.known[each].message, {}, self.time.now)) for each in ids]
        self.journals[who].commit(batch)
        return multiple(*ids)

    @rule(who=WHO, letter_id=ids)
    def send_again(self, who: int, letter_id: str) -> None:
        if letter_id in self.known:
            self.journals[who].commit([Add(letter_id, new_body(letter_id, "another", {}, self.time.now))])

    @rule(target=claims, who=WHO, limit=st.integers(1, 4), seconds=st.sampled_from([0.5, 30.0]))
    def claim_next(self, who: int, limit: int, seconds: float) -> Any:
        token = self.token()
        [found] = self.journals[who].commit([ClaimNext(limit, seconds, token)])
        assert isinstance(found, list)
        free = {key for key, each in self.known.items() if each.status(self.now) is LetterStatus.WAITING}
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
        known.token, known.until = token, self.now + seconds

    @rule(target=claims, who=WHO, letter_id=ids, held=st.none() | claims)
    def claim_one(self, who: int, letter_id: str, held: tuple[str, str] | None) -> Any:
        token = self.token()
        held_token = None if held is None else held[1]
        [found] = self.journals[who].commit([ClaimOne(letter_id, 30.0, token, held_token)])
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
        self.journals[who].commit([Release(claim[1])])
        for each in self.known.values():
            if each.token == claim[1]:
                each.token = None

    @rule(who=WHO, claim=consumes(claims))
    def settle(self, who: int, claim: tuple[str, str]) -> None:
        there = self.known.pop(claim[0], None) is not None
        assert self.journals[who].commit([Remove(claim[0])]) == [there]

    @rule(who=WHO, claim=consumes(claims), park_at=st.none() | st.integers(1, 3))
    def fail(self, who: int, claim: tuple[str, str], park_at: int | None) -> None:
        letter_id, token = claim
        [attempts] = self.journals[who].commit([Book(letter_id, token, {"e": 1}, self.time.now, park_at)])
        known = self.known.get(letter_id)
        if known is None:
            assert attempts is None
            return
        known.attempts += 1
        assert attempts == known.attempts
        known.parked = park_at is not None and known.attempts >= park_at
        if known.token == token:
            known.token = None

    @rule(who=WHO)
    def purge(self, who: int) -> None:
        assert self.journals[who].commit([Purge()]) == [len(self.known)]
        self.known.clear()

    # -- what the world does -------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.time.advance(seconds)

    @rule(who=WHO)
    def reopen(self, who: int) -> None:
        self.journals[who].close()
        self.journals[who] = Journal(self.path)

    @rule(who=WHO, torn=st.sampled_from([b"\x00" * 30, b'{"op":"put","letter":{"id":"torn"', b'{"op":"rem', b"x"]))
    def another_process_dies_while_it_writes(self, who: int, torn: bytes) -> None:
        self.journals[who].stats()
        with self.path.open("ab") as file:
            file.write(torn)

    @rule(who=WHO, garbage=st.sampled_from([b"garbage\n", b"\xff\xfe\n", b"\n", b"{}\n"]))
    def somebody_appends_a_line_by_hand(self, who: int, garbage: bytes) -> None:
        self.journals[who].stats()
        with self.path.open("ab") as file:
            file.write(garbage)

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def every_opening_agrees_with_the_model(self) -> None:
        expected = [(key, each.message, each.attempts, each.status(self.now)) for key, each in self.known.items()]
        for journal in (self.journals[self.count % 3], Journal(self.path)):
            found = journal.peek(1000)
            assert [(each.id, each.message, each.attempts, each.status) for each in found] == expected
            stats = journal.stats()
            statuses = [each[3] for each in expected]
            assert stats.total == len(expected)
            assert stats.waiting == statuses.count(LetterStatus.WAITING)
            assert stats.claimed == statuses.count(LetterStatus.CLAIMED)
            assert stats.parked == statuses.count(LetterStatus.PARKED)


TestJournalAgainstADict = pytest.mark.slow("Hypothesis plays many games")(JournalMachine.TestCase)
TestJournalAgainstADict.settings = settings(max_examples=15, stateful_step_count=30)
