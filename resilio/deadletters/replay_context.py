"""What a reprocessor may ask about the letter whose message it handles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resilio.deadletters.letter import DeadLetter

__all__ = ("ReplayContext",)


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """The letter that is being replayed, for a reprocessor that takes two arguments.

        async def charge(message, context):
            await payments.post(message, headers={"Idempotency-Key": context.idempotency_key})

        dlq = DeadLetterQueue(reprocessor=charge)

    A reprocessor gets it if it has a second positional parameter without a default.

    Attributes:
        letter: The letter; ``letter.message`` is what the reprocessor gets as its first argument.
        attempt: Which replay this is, from 1.

    A frozen value: safe to hand around.
    """

    letter: DeadLetter
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """Thirty-two hexadecimal digits: the same for every replay of this letter, by any process, on any queue.

        Replay is at least once. Whoever receives what the reprocessor sends can tell by this key that it has had it
        already. A letter whose message was edited has another key, since it asks for something else.
        """
        told = json.dumps([self.letter.id, self.letter.message], sort_keys=True, default=_stable)
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def _stable(value: Any) -> Any:
    """What JSON lacks as text that is the same in every process."""
    return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)
