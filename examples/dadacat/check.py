"""What was promised, and whether it was kept: judged by what came out of the service, not by what it says of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from examples.dadacat import dada
from examples.dadacat.service import speakable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from examples.dadacat.messages import Message


@dataclass(slots=True)
class Ledger:
    """What the outside world saw of a day.

    Attributes:
        inbound: The messages sent to the service, by SID.
        replies: What their webhooks were answered with, by SID.
        letters: The messages of the dead letters, after the day and before the replay.
        older: The SIDs of letters that were there before the day.
        late: The answers that came later, by SID of the message they answer.
        left: How many letters the replay left over.
        forged: The status a forged webhook was answered with.
        trouble: What the driver could not make sense of.
    """

    inbound: dict[str, Message] = field(default_factory=dict)
    replies: dict[str, list[str]] = field(default_factory=dict)
    letters: list[Message] = field(default_factory=list)
    older: set[str] = field(default_factory=set)
    late: dict[str, list[str]] = field(default_factory=dict)
    left: int = 0
    forged: int = 0
    trouble: list[str] = field(default_factory=list)

    def live(self, fallbacks: Collection[str]) -> dict[str, str]:
        """The replies that are none of the ``fallbacks``, by SID."""
        return {sid: text for sid, texts in self.replies.items() for text in texts if text not in fallbacks}


@dataclass(frozen=True, slots=True)
class Promise:
    """One invariant of the day.

    Attributes:
        text: What was promised.
        kept: Whether it was kept.
        detail: The numbers, or an example of what is wrong.
    """

    text: str
    kept: bool
    detail: str


def promises(ledger: Ledger, fallbacks: Collection[str]) -> Iterator[Promise]:
    """Check a whole day, replay included.

    Args:
        ledger: What was seen.
        fallbacks: The lines the cat says when it has no answer.
    """
    sids = set(ledger.inbound)
    live = ledger.live(fallbacks)
    letters = Counter(each.sid for each in ledger.letters)
    new = {sid: count for sid, count in letters.items() if sid not in ledger.older}

    yield _each_once("every message got exactly one reply", sids, _lengths(ledger.replies))
    adds_up = len(live) + sum(new.values()) == len(sids)
    yield Promise(
        "live replies + dead letters = messages",
        adds_up,
        f"{len(live)} + {sum(new.values())} {'=' if adds_up else '≠'} {len(sids)}",
    )
    yield _each_once("every message without a live reply is one dead letter", sids - set(live), new)
    yield _matching("every live reply answers its own message", live.items(), ledger.inbound)
    yield Promise("no letter is left after the replay", ledger.left == 0, f"{ledger.left} left")
    yield _each_once("every dead letter was answered exactly once", set(letters), _lengths(ledger.late))
    yield _matching(
        "every late answer answers its own message",
        ((sid, text) for sid, texts in ledger.late.items() for text in texts),
        {each.sid: each for each in ledger.letters},
    )
    yield Promise("a forged webhook was refused", ledger.forged == 403, f"status {ledger.forged}")  # noqa: PLR2004
    yield Promise("nothing else went wrong", not ledger.trouble, "; ".join(ledger.trouble[:3]))


def _lengths(found: dict[str, list[str]]) -> dict[str, int]:
    return {sid: len(texts) for sid, texts in found.items()}


def _each_once(text: str, expected: set[str], found: dict[str, int]) -> Promise:
    wrong = [f"{sid} {found.get(sid, 0)} times" for sid in sorted(expected) if found.get(sid, 0) != 1]
    wrong += [f"{sid} unexpectedly" for sid in sorted(set(found) - expected)]
    return Promise(text, not wrong, _detail(len(expected), wrong))


def _matching(text: str, answers: Iterable[tuple[str, str]], messages: dict[str, Message]) -> Promise:
    checked, wrong = 0, []
    for sid, given in answers:
        checked += 1
        message = messages.get(sid)
        if message is None or given != speakable(dada.answer(message.body)):
            wrong.append(sid)
    return Promise(text, not wrong, _detail(checked, wrong))


def _detail(checked: int, wrong: list[str]) -> str:
    return f"{len(wrong)} wrong: {', '.join(wrong[:3])}" if wrong else f"{checked} of them"
