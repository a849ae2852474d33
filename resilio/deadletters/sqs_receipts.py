"""What a store remembers of the letters that SQS handed to it: the receipts that still hold, and what is gone.

SQS cannot look a message up: without its receipt a letter is found only by receiving others until it comes. And SQS may
hand out a message that was deleted; what is known to be gone is deleted again and shown to nobody.

Only memory: no clock, no I/O. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from resilio.deadletters.letter import LetterStatus

if TYPE_CHECKING:
    from datetime import datetime

    from resilio.deadletters.letter import DeadLetter
    from resilio.deadletters.sqs_envelope import Received

__all__ = ("Receipt", "Receipts", "Verdict")

_MOST: Final = 20_000  # of each kind: about what SQS lets one consumer hold
MARGIN: Final = 1.0  # seconds before its end from which a receipt is not relied on


@dataclass(slots=True)
class Receipt:
    """SQS's receipt for a letter.

    Attributes:
        found: The message as it came.
        token: The claim under which somebody has it; None if it is only held back.
        received: When it came, on the monotonic clock.
        ends: When the receipt runs out, on the monotonic clock.
        until: The same as a time of day, UTC.
    """

    found: Received
    token: str | None
    received: float
    ends: float
    until: datetime

    @property
    def letter(self) -> DeadLetter:
        """The letter."""
        return self.found.letter

    def holds(self, now: float) -> bool:
        """Tell whether SQS still keeps the letter for us."""
        return now < self.ends - MARGIN


class Verdict(Enum):
    """What to do with a message that SQS hands out."""

    NEW = "nobody has it"
    GONE = "its letter was deleted, or has a newer version"
    OURS = "it is handed out already"


class Receipts:
    """The receipts of one store. Past 20 000, the oldest are forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._receipts: OrderedDict[str, Receipt] = OrderedDict()
        # By SQS's ids and not by ours: a letter may be deleted here, and moved back in from another queue.
        self._gone: OrderedDict[str, None] = OrderedDict()

    def judge(self, found: Received, now: float) -> Verdict:
        """Say what is to be done with a message."""
        letter_id = found.letter.id
        with self._lock:
            if found.sqs_id in self._gone:
                return Verdict.GONE
            held = self._receipts.get(letter_id)
            if held is None or not held.holds(now) or held.found.revision < found.revision:
                return Verdict.NEW
            if held.found.revision > found.revision or held.found.sqs_id != found.sqs_id:
                return Verdict.GONE
            # The same message once more, though we hold it: the newest receipt is the one that counts.
            held.found = found
            return Verdict.OURS if held.token is not None else Verdict.NEW

    def put(self, receipt: Receipt) -> None:
        """Remember a receipt."""
        with self._lock:
            self._receipts[receipt.letter.id] = receipt
            self._receipts.move_to_end(receipt.letter.id)
            if len(self._receipts) > _MOST:
                self._receipts.popitem(last=False)

    def get(self, letter_id: str, now: float) -> Receipt | None:
        """The receipt of a letter, if it still holds."""
        with self._lock:
            found = self._receipts.get(letter_id)
            return found if found is not None and found.holds(now) else None

    def last(self, letter_id: str, token: str) -> Receipt | None:
        """The receipt under which a claim had a letter, whether it holds or not."""
        with self._lock:
            found = self._receipts.get(letter_id)
            return found if found is not None and found.token == token else None

    def under(self, token: str, now: float) -> list[Receipt]:
        """All receipts of one claim that still hold."""
        with self._lock:
            return [each for each in self._receipts.values() if each.token == token and each.holds(now)]

    def all(self, now: float) -> list[Receipt]:
        """All that still hold."""
        with self._lock:
            return [each for each in self._receipts.values() if each.holds(now)]

    def forget(self, receipt: Receipt) -> None:
        """Drop a receipt that was given back, or that SQS does not know any more."""
        with self._lock:
            if self._receipts.get(receipt.letter.id) is receipt:
                del self._receipts[receipt.letter.id]

    def mark_gone(self, found: Received) -> None:
        """Remember that a message was deleted."""
        with self._lock:
            self._gone[found.sqs_id] = None
            self._gone.move_to_end(found.sqs_id)
            if len(self._gone) > _MOST:
                self._gone.popitem(last=False)
            held = self._receipts.get(found.letter.id)
            if held is not None and held.found.sqs_id == found.sqs_id:
                del self._receipts[found.letter.id]

    def is_gone(self, sqs_id: str) -> bool:
        """Tell whether a message was deleted."""
        with self._lock:
            return sqs_id in self._gone

    def count(self, now: float) -> tuple[int, int]:
        """How many are held back because they are parked, and how many because they are not due."""
        parked = waiting = 0
        with self._lock:
            for each in self._receipts.values():
                if each.token is None and now < each.ends:
                    if each.letter.status is LetterStatus.PARKED:
                        parked += 1
                    else:
                        waiting += 1
        return parked, waiting
