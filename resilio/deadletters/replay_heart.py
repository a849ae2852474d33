"""Keeping claims alive while reprocessors run, however long they take."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from resilio._core import clock, events
from resilio.deadletters.events import ClaimNotExtended
from resilio.deadletters.together import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from resilio.deadletters.store import Claim, Store

__all__ = ("Heart", "Held", "beating")

_BEATS: Final = 3  # in the time of one claim, so that two may fail


class Held:
    """A claim that is kept alive.

    Attributes:
        claim: The claim as it is now; a remote store may have given another token for it.
    """

    __slots__ = ("claim", "is_ours")

    def __init__(self, claim: Claim) -> None:
        self.claim: Claim = claim
        self.is_ours: bool = True


class Heart:
    """Extends the claims that it holds, again and again. Belongs to one run, in one event loop.

    Args:
        store: Where the letters are.
        seconds: For how long each claim is made.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._held: set[Held] = set()

    def hold(self, claim: Claim) -> Held:
        """Keep a claim alive until it is dropped."""
        held = Held(claim)
        self._held.add(held)
        return held

    def drop(self, held: Held) -> None:
        """Leave a claim as it is."""
        self._held.discard(held)

    async def beat(self) -> None:
        """Extend what is held, until this is cancelled.

        Cancelled in the middle, a claim is extended or not; whoever holds it gives it back.
        """
        while True:
            await clock.sleep(self._seconds / _BEATS)
            for held in list(self._held):
                await self._extend(held)

    async def _extend(self, held: Held) -> None:
        if held not in self._held or not held.is_ours:
            return
        try:
            longer = await self._store.extend(held.claim, seconds=self._seconds)
        except Exception as trouble:  # the reprocessor must not die of it; the next beat tries again
            self._tell(held, str(trouble))
            return
        if longer is not None:
            held.claim = longer
        elif held in self._held:
            # Somebody else has the letter, and handles it too: at least once. What this run does counts all the same.
            held.is_ours = False
            self._tell(held, "")

    def _tell(self, held: Held, error: str) -> None:
        if events.listeners:
            location, message_id = self._store.location, held.claim.letter.id
            events.emit(ClaimNotExtended(location=location, message_id=message_id, error=error))


@asynccontextmanager
async def beating(store: Store, seconds: float) -> AsyncGenerator[Heart]:
    """A heart that beats while the block runs."""
    heart = Heart(store, seconds)
    async with tasks() as group:
        group.start_soon(heart.beat)
        yield heart
        group.cancel_scope.cancel()
