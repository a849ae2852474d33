"""Replaying letters: claim, run the reprocessor, and delete the letter or write the failed attempt down."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from resilio._core import clock, events
from resilio._core.cancellation import is_interruption
from resilio.deadletters.attempt import Attempt
from resilio.deadletters.error_info import brief, describe
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LetterReplayed, ReplayFailed
from resilio.deadletters.store import GIVE_BACK_WITHIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resilio.deadletters.attempt import Reprocessor
    from resilio.deadletters.store import Claim, Store

__all__ = ("ReplaySummary", "Replayer")

_MOST_ERRORS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a run over many letters came to.

    Attributes:
        replayed: Letters whose reprocessor succeeded; they are gone.
        failed: Letters whose reprocessor raised; they stay.
        parked: How many of the failed ones have used up their attempts with that.
        errors: Of the first hundred that failed, the id and the error as text.
    """

    replayed: int = 0
    failed: int = 0
    parked: int = 0
    errors: Mapping[str, str] = field(default_factory=dict)


class Replayer:
    """Replays letters of one store. Keeps nothing between calls.

    Args:
        store: Where the letters are.
        reprocessor: What handles their messages.
        patience: Seconds that a cancellation waits for a plain reprocessor which runs already.
        max_attempts: After so many failures a letter is parked; None for never.
    """

    __slots__ = ("_max_attempts", "_patience", "_reprocessor", "_store")

    def __init__(self, store: Store, reprocessor: Reprocessor, *, patience: float, max_attempts: int | None) -> None:
        self._store = store
        self._reprocessor = reprocessor
        self._patience = patience
        self._max_attempts = max_attempts

    async def replay(self, claim: Claim) -> Attempt:
        """Replay one letter that is claimed; when this returns or raises, it is not claimed any more.

        Raises:
            DeadLetterQueueError: The letter was handled but could not be removed.
            BaseException: The run was interrupted; the claim was given back.
        """
        attempt = Attempt()
        is_concluding = False
        try:
            await attempt.run(self._reprocessor, claim.letter.message, patience=self._patience)
            is_concluding = True
            await self._conclude(claim, attempt)
        except BaseException as error:
            if is_interruption(error) and not isinstance(error, GeneratorExit):
                # If the disk refuses now, or takes too long, the claim runs out by itself.
                with suppress(DeadLetterQueueError), anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    if attempt.is_done and not is_concluding:
                        await self._conclude(claim, attempt)
                    else:  # behind a conclusion that is under way, this only waits for it
                        await self._store.release(claim.token)
            raise
        return attempt

    async def replay_waiting(self, limit: int | None, *, seconds: float) -> ReplaySummary:
        """Replay the letters that are waiting now, one after the other, each once and for at most ``seconds``."""
        waiting = (await self._store.stats()).waiting
        seen: set[str] = set()
        failed = parked = 0
        errors: dict[str, str] = {}
        while len(seen) < (waiting if limit is None else min(limit, waiting)):
            claims = await self._store.claim(1, seconds=seconds)
            if not claims:
                break
            claim = claims[0]
            letter = claim.letter
            if letter.id in seen:  # it failed in this run and went to the end of the line: the line is through
                await self._store.release(claim.token)
                break
            seen.add(letter.id)
            attempt = await self.replay(claim)
            if attempt.error is not None:
                failed += 1
                parked += self._is_parked_after(letter.attempts + 1)
                if len(errors) < _MOST_ERRORS:
                    errors[letter.id] = brief(attempt.error)
        return ReplaySummary(replayed=len(seen) - failed, failed=failed, parked=parked, errors=errors)

    async def _conclude(self, claim: Claim, attempt: Attempt) -> None:
        if attempt.error is None:
            await self._remove(claim)
        else:
            await self._book(claim, attempt.error)

    async def _remove(self, claim: Claim) -> None:
        letter, location = claim.letter, self._store.location
        try:
            await self._store.settle(claim)
        except DeadLetterQueueError as trouble:
            msg = f"the letter {letter.id} was reprocessed but could not be removed, and will come again: {trouble}"
            raise DeadLetterQueueError(msg, location=location) from trouble
        if events.listeners:
            events.emit(LetterReplayed(location=location, message_id=letter.id, attempts=letter.attempts))

    async def _book(self, claim: Claim, error: BaseException) -> None:
        letter = claim.letter
        now = clock.utcnow()
        attempts: int | None = letter.attempts + 1
        is_booked = True
        try:
            attempts = await self._store.book(claim, describe(error, now), failed_at=now, park_at=self._max_attempts)
        except DeadLetterQueueError as trouble:
            is_booked = False
            error.add_note(f"this failed attempt could not be written down: {trouble}")
        if events.listeners and attempts is not None:
            events.emit(
                ReplayFailed(
                    location=self._store.location,
                    message_id=letter.id,
                    attempts=attempts,
                    error=brief(error),
                    parked=is_booked and self._is_parked_after(attempts),
                    booked=is_booked,
                )
            )

    def _is_parked_after(self, attempts: int) -> bool:
        return self._max_attempts is not None and attempts >= self._max_attempts
