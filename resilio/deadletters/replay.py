"""Replaying a letter: run the reprocessor on a claim, and delete the letter or write the failed attempt down."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio

from resilio._core import clock, events
from resilio._core.cancellation import is_interruption
from resilio.deadletters.attempt import Attempt
from resilio.deadletters.error_info import brief, describe
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.events import LetterReplayed, ReplayFailed
from resilio.deadletters.store import GIVE_BACK_WITHIN

if TYPE_CHECKING:
    from resilio.deadletters.attempt import Reprocessor
    from resilio.deadletters.replay_heart import Heart
    from resilio.deadletters.replay_rules import ReplayDelay
    from resilio.deadletters.store import Claim, Store

__all__ = ("Replayer",)


class Replayer:
    """Replays letters of one store. Keeps nothing between calls.

    Args:
        store: Where the letters are.
        reprocessor: What handles their messages.
        seconds: For how long a letter is claimed. A cancellation waits as long for a plain reprocessor that runs.
        max_attempts: After so many failures a letter is parked; None for never.
        delay: How long a letter rests after a failure.
    """

    __slots__ = ("_delay", "_max_attempts", "_reprocessor", "seconds", "store")

    def __init__(
        self, store: Store, reprocessor: Reprocessor, *, seconds: float, max_attempts: int | None, delay: ReplayDelay
    ) -> None:
        self.store: Store = store
        self.seconds: float = seconds
        self._reprocessor = reprocessor
        self._max_attempts = max_attempts
        self._delay = delay

    async def replay(self, claim: Claim, heart: Heart) -> Attempt:
        """Replay one letter that is claimed; when this returns or raises, it is not claimed any more.

        Cancelled while the reprocessor runs, it gives the claim back; cancelled later, what was done is written down.

        Raises:
            DeadLetterQueueError: The letter was handled but could not be removed.
            BaseException: The run was interrupted; the claim was given back.
        """
        attempt = Attempt()
        is_concluding = False
        held = heart.hold(claim)
        try:
            try:
                await attempt.run(self._reprocessor, claim.letter, patience=self.seconds)
            finally:
                heart.drop(held)
            is_concluding = True
            await self._conclude(held.claim, attempt)
        except BaseException as error:
            if is_interruption(error) and not isinstance(error, GeneratorExit):
                # If the disk refuses now, or takes too long, the claim runs out by itself.
                with suppress(DeadLetterQueueError), anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    if attempt.is_done and not is_concluding:
                        await self._conclude(held.claim, attempt)
                    else:  # behind a conclusion that is under way, this only waits for it
                        await self.store.release(held.claim.token)
            raise
        return attempt

    async def _conclude(self, claim: Claim, attempt: Attempt) -> None:
        if attempt.error is None:
            await self._remove(claim)
        else:
            await self._book(claim, attempt, attempt.error)

    async def _remove(self, claim: Claim) -> None:
        letter, location = claim.letter, self.store.location
        try:
            await self.store.settle(claim)
        except DeadLetterQueueError as trouble:
            msg = f"the letter {letter.id} was reprocessed but could not be removed, and will come again: {trouble}"
            raise DeadLetterQueueError(msg, location=location) from trouble
        if events.listeners:
            events.emit(LetterReplayed(location=location, message_id=letter.id, attempts=letter.attempts))

    async def _book(self, claim: Claim, attempt: Attempt, error: BaseException) -> None:
        letter = claim.letter
        now = clock.utcnow()
        attempts: int | None = letter.attempts + 1
        is_booked = True
        try:
            attempts = await self.store.book(
                claim,
                describe(error, now),
                failed_at=now,
                park_at=self._max_attempts,
                not_before=now + timedelta(seconds=self._delay.after(letter.attempts + 1)),
            )
        except DeadLetterQueueError as trouble:
            is_booked = False
            error.add_note(f"this failed attempt could not be written down: {trouble}")
        if attempts is None:  # somebody has deleted it meanwhile
            return
        attempt.is_parked = is_booked and self._max_attempts is not None and attempts >= self._max_attempts
        if events.listeners:
            events.emit(
                ReplayFailed(
                    location=self.store.location,
                    message_id=letter.id,
                    attempts=attempts,
                    error=brief(error),
                    parked=attempt.is_parked,
                    booked=is_booked,
                )
            )
