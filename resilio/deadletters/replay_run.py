"""Replaying many letters in one run: so many at once, so fast, and no further than makes sense."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import anyio

from resilio._core import clock
from resilio._core.colour import is_awaitable
from resilio._core.mishaps import log_exception
from resilio.deadletters.error_info import brief
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.replay_heart import beating
from resilio.deadletters.replay_rules import FailureWatch, Pace
from resilio.deadletters.store import GIVE_BACK_WITHIN
from resilio.deadletters.together import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from resilio.deadletters.attempt import Attempt
    from resilio.deadletters.letter_filter import LetterFilter
    from resilio.deadletters.replay import Replayer
    from resilio.deadletters.replay_heart import Heart
    from resilio.deadletters.replay_rules import StopWhenFailing
    from resilio.deadletters.store import Claim

__all__ = ("ReplayEnd", "ReplayProgress", "ReplayRun", "ReplaySummary")

_MOST_ERRORS: Final = 100


class ReplayEnd(StrEnum):
    """Why a run over many letters came to its end."""

    DONE = "done"
    """No letter was left that was meant, free and due."""
    LIMIT = "limit"
    """It had replayed as many as it was told to."""
    FAILING = "failing"
    """Too many replays failed: what made the letters fail has not gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a run over many letters came to.

    Attributes:
        replayed: Letters whose reprocessor succeeded; they are gone.
        failed: Letters whose reprocessor raised; they stay.
        parked: How many of the failed ones have used up their attempts with that.
        errors: Of the first hundred that failed, the id and the error as text.
        ended: Why the run came to its end.
        why: The same in words, as for ``"failing"``: which of the failures were too many.
    """

    replayed: int = 0
    failed: int = 0
    parked: int = 0
    errors: Mapping[str, str] = field(default_factory=dict)
    ended: ReplayEnd = ReplayEnd.DONE
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayProgress:
    """How far a run over many letters has come, told after each letter.

    Attributes:
        replayed: Letters whose reprocessor succeeded so far.
        failed: Letters whose reprocessor raised so far.
        parked: How many of the failed ones have used up their attempts.
        waiting: How many letters were waiting in the queue when the run began, whether meant or not.
        message_id: The letter that was replayed just now.
        error: Why that failed, as text; empty if it succeeded.
    """

    replayed: int
    failed: int
    parked: int
    waiting: int
    message_id: str
    error: str


class ReplayRun:
    """One run. Each letter that was there when it began is tried once at most.

    Args:
        replayer: What replays a single letter.
        where: Which letters.
        began_at: When the run began, UTC: letters that failed later are left for the next.
        fence: An id that is made now: letters of this process that come later sort behind it.
        limit: How many letters at most; None for all.
        at_once: How many at the same time.
        rate: How many a second at most; None for as fast as they come.
        on_progress: Called after each letter; what it raises is logged, and changes nothing.
        rule: When to stop because too many fail; None for never.
    """

    def __init__(
        self,
        replayer: Replayer,
        where: LetterFilter,
        *,
        began_at: datetime,
        fence: str,
        limit: int | None,
        at_once: int,
        rate: float | None,
        on_progress: Callable[[ReplayProgress], object] | None,
        rule: StopWhenFailing | None,
    ) -> None:
        self._replayer = replayer
        self._store = replayer.store
        self._began_at = began_at
        self._fence = fence
        self._limit = limit
        self._at_once = at_once if limit is None else min(at_once, limit)
        self._pace = Pace(rate)
        self._on_progress = on_progress
        self._watch = FailureWatch(rule)
        # A letter fails again only in another run. Times on disk have microseconds, and a test's clock may stand still.
        until = began_at + timedelta(microseconds=1)
        self._where = replace(where, until=until if where.until is None else min(where.until, until))

        self._started = 0
        self._replayed = self._failed = self._parked = self._waiting = 0
        self._errors: dict[str, str] = {}
        self._tried: set[str] = set()  # those that failed; the others are gone
        self._aside: list[str] = []  # tokens of letters that are none of this run's, claimed so as to get past them
        self._why = ""
        self._trouble: DeadLetterQueueError | None = None

    async def run(self) -> ReplaySummary:
        """Replay, and sum up.

        Raises:
            DeadLetterQueueError: The store failed. What ran already was brought to its end first.

        Cancelled, it gives back the claims of all letters at hand.
        """
        try:
            if self._on_progress is not None:
                self._waiting = (await self._store.stats()).waiting
            async with beating(self._store, self._replayer.seconds) as heart:
                await self._work_together(heart)
        finally:
            if self._aside:
                with anyio.move_on_after(GIVE_BACK_WITHIN, shield=True), suppress(DeadLetterQueueError):
                    for token in self._aside:
                        await self._store.release(token)
        if self._trouble is not None:
            self._trouble.add_note(f"before that, {self._replayed} letters were replayed and {self._failed} failed")
            raise self._trouble
        return self._summary()

    async def _work_together(self, heart: Heart) -> None:
        if self._at_once == 1:
            await self._work(heart)
            return
        async with tasks() as group:
            for _ in range(self._at_once):
                group.start_soon(self._work, heart)

    async def _work(self, heart: Heart) -> None:
        while self._may_start():
            self._started += 1
            claim = None
            try:
                claim = await self._next()
            except DeadLetterQueueError as trouble:
                self._trouble = self._trouble or trouble
            finally:
                if claim is None:
                    self._started -= 1
            if claim is None:
                return
            await self._replay(claim, heart)

    def _may_start(self) -> bool:
        is_stopped = self._why or self._trouble is not None
        return not is_stopped and (self._limit is None or self._started < self._limit)

    async def _next(self) -> Claim | None:
        """Claim a letter; None if there is none, or the run has been stopped. Cancelled, it has claimed none."""
        wait = self._pace.wait(clock.monotonic())
        if wait > 0:
            await clock.sleep(wait)
        while not self._why and self._trouble is None:
            claims = await self._store.claim(1, seconds=self._replayer.seconds, where=self._where)
            if not claims:
                return None
            if self._is_ours(claims[0]):
                return claims[0]
            self._aside.append(claims[0].token)
        return None

    def _is_ours(self, claim: Claim) -> bool:
        letter = claim.letter
        is_new = letter.first_failed_at >= self._began_at and letter.id > self._fence
        return not is_new and letter.id not in self._tried

    async def _replay(self, claim: Claim, heart: Heart) -> None:
        letter_id = claim.letter.id
        try:
            attempt = await self._replayer.replay(claim, heart)
        except DeadLetterQueueError as trouble:
            self._trouble = self._trouble or trouble
            return
        error = self._count(letter_id, attempt)
        if self._on_progress is not None:
            await self._tell(self._on_progress, letter_id, error)

    def _count(self, letter_id: str, attempt: Attempt) -> str:
        why = self._watch.see(failed=attempt.error is not None)
        self._why = self._why or why
        if attempt.error is None:
            self._replayed += 1
            return ""
        self._failed += 1
        self._parked += attempt.is_parked
        self._tried.add(letter_id)
        error = brief(attempt.error)
        if len(self._errors) < _MOST_ERRORS:
            self._errors[letter_id] = error
        return error

    async def _tell(self, on_progress: Callable[[ReplayProgress], Any], letter_id: str, error: str) -> None:
        progress = ReplayProgress(
            replayed=self._replayed,
            failed=self._failed,
            parked=self._parked,
            waiting=self._waiting,
            message_id=letter_id,
            error=error,
        )
        try:
            told = on_progress(progress)
            if is_awaitable(told):
                await told
        except Exception:
            log_exception("on_progress %r failed on %r", on_progress, progress)

    def _summary(self) -> ReplaySummary:
        ended, why = ReplayEnd.DONE, "no letter is left that is meant, free and due"
        if self._why:
            ended, why = ReplayEnd.FAILING, self._why
        elif self._limit is not None and self._started >= self._limit:
            ended, why = ReplayEnd.LIMIT, f"{self._limit} letters were tried"
        return ReplaySummary(
            replayed=self._replayed,
            failed=self._failed,
            parked=self._parked,
            errors=self._errors,
            ended=ended,
            why=why,
        )
