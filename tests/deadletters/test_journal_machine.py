from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from test_dead_letter_machine import GROUPS, WHO, JournalMachine, StoreMachine

from resilio.deadletters import journal_chores, journal_compaction, journal_log, journal_snapshot
from resilio.deadletters.journal import Journal
from resilio.deadletters.store import ClaimNext, Release


def aside_of(job: Any) -> Any:
    """The file that a chore is writing beside the journal."""
    return None if job.gi_frame is None else job.gi_frame.f_locals.get("aside")


def let_go(journal: Journal) -> None:
    """Close a journal and leave everything else for others to do."""
    journal._chores.abandon()
    journal._log.forget()
    journal._log.file.close()


class SlicedMachine(JournalMachine):
    """The journal, with everything that is done a little at a time begun early and left half done."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        for module, name, value in (
            (journal_chores, "SMALL", 0),
            (journal_chores, "LARGE", 0),
            (journal_chores, "MANY_LINES", 3),
            (journal_compaction, "_BLOCK", 2),
            (journal_compaction, "_PIECE", 150),
            (journal_snapshot, "_BLOCK", 2),
            (journal_snapshot, "_SHARE", 10_000),
            (journal_log, "_MUCH", 0),  # all is read without the lock, and from the snapshot if it fits
        ):
            self.stack.enter_context(patch.object(module, name, value))
        self.stack.enter_context(patch.object(Journal, "close", let_go))

    @rule(target=StoreMachine.ids, who=WHO, group=GROUPS)
    def send_many(self, who: int, group: str) -> Any:
        return self.send(who, list(range(8)), group, None)

    @rule(who=WHO)
    def claim_and_give_back(self, who: int) -> None:
        """Lines that are dead at once."""
        for _ in range(5):
            token = self.token()
            claims, _none = self.stores[who].commit([ClaimNext(2, 30.0, token), Release(token)])
            assert isinstance(claims, list)
            for claim in claims:
                self.known[claim.letter.id].token = None

    @rule(who=WHO, steps=st.integers(5, 50))
    def tidy(self, who: int, steps: int) -> None:
        journal = self.stores[who]
        assert isinstance(journal, Journal)
        for _ in range(steps):
            journal.tidy(is_idle=True)

    @invariant()
    def somebody_tidies_now_and_then(self) -> None:
        self.turns += 1
        self.tidy(self.turns % 2, 2)

    @rule(who=WHO)
    def another_process_is_killed(self, who: int) -> None:
        """Nothing of what it was at is finished, and its locks are gone."""
        journal = self.stores[who]
        assert isinstance(journal, Journal)
        job = journal._chores._job
        if job is not None:
            aside = aside_of(job)
            if aside is not None:
                aside._path = ""  # the file stays where it is
            job.close()
        journal._chores._job = None
        journal._log.file.close()
        self.stores[who] = self.opened()


TestJournalInSlicesAgainstADict = pytest.mark.slow("Hypothesis plays many games")(SlicedMachine.TestCase)
TestJournalInSlicesAgainstADict.settings = settings(max_examples=25, stateful_step_count=40)
