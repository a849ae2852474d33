"""Looking through a queue that cannot be looked through: receive letters, keep what is wanted, give the others back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import anyio

from resilio._core import clock
from resilio.deadletters.errors import DeadLetterQueueError
from resilio.deadletters.sqs_envelope import opened
from resilio.deadletters.sqs_receipts import Verdict
from resilio.deadletters.store import GIVE_BACK_WITHIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from resilio.deadletters.sqs_envelope import Received
    from resilio.deadletters.sqs_lanes import Lane
    from resilio.deadletters.sqs_receipts import Receipts

__all__ = ("Bounds", "Scan")

_MOST: Final = 10
_SPARE: Final = 10.0  # seconds for which letters stay hidden beyond the scan, to deal with them and give them back


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far to look.

    Attributes:
        letters: At most so many letters.
        seconds: At most so long.
        wait: Seconds for which SQS waits for a letter before it says that there is none.
    """

    letters: int
    seconds: float
    wait: int


class Scan:
    """One look through a queue; while the block runs, others do not see what was found, afterwards they do.

        async with Scan(lane, receipts, bounds) as scan:
            found = await scan.until(lambda each: each.letter.id == wanted)
            scan.keep(found)                                    # this one is not given back

    Attributes:
        found: The letters seen, in the order in which they came.
        is_complete: Whether SQS had no more to show.
        hidden_for: Seconds for which the letters are hidden when the scan does not end properly.
    """

    def __init__(self, lane: Lane, receipts: Receipts, bounds: Bounds) -> None:
        self._lane = lane
        self._receipts = receipts
        self._bounds = bounds
        self._kept: set[str] = set()
        self.found: list[Received] = []
        self.is_complete: bool = False
        self.hidden_for: float = bounds.seconds + bounds.wait + _SPARE

    async def __aenter__(self) -> Self:
        await self._lane.scanning.acquire()
        return self

    async def until(self, is_enough: Callable[[Received], bool] = lambda _: False) -> Received | None:
        """Look until a letter is enough, and return that one; None if none was, as far as the bounds go."""
        end = clock.monotonic() + self._bounds.seconds
        seen: set[str] = set()
        while len(seen) < self._bounds.letters and clock.monotonic() < end:
            most = min(_MOST, self._bounds.letters - len(seen))
            messages = await self._lane.receive(most, seconds=self.hidden_for, wait=self._bounds.wait)
            if not messages:
                self.is_complete = True
                return None
            found = [opened(each) for each in messages]
            enough = None
            gone = []
            for each in found:
                if each.sqs_id in seen:  # it came again within the scan: only its newest receipt counts
                    self.found = [earlier for earlier in self.found if earlier.sqs_id != each.sqs_id]
                seen.add(each.sqs_id)
                verdict = self._receipts.judge(each, clock.monotonic())
                if verdict is Verdict.GONE:
                    gone.append(each.handle)
                elif verdict is Verdict.NEW:
                    self.found.append(each)
                    if enough is None and is_enough(each):
                        enough = each
            if gone:
                await self._lane.delete_all(gone)
            if enough is not None:
                return enough
        return None

    @property
    def seen(self) -> int:
        """How many letters were seen."""
        return len(self.found)

    def keep(self, *found: Received) -> None:
        """Do not give these back when the block ends."""
        self._kept.update(each.handle for each in found)

    async def __aexit__(self, *_: object) -> None:
        handles = [each.handle for each in self.found if each.handle not in self._kept]
        try:
            if handles:
                # If SQS does not take them back just now, they come back by themselves.
                with suppress(DeadLetterQueueError), anyio.move_on_after(GIVE_BACK_WITHIN, shield=True):
                    await self._lane.give_back(handles)
        finally:
            self._lane.scanning.release()
