"""What each operation comes to: its outcome, and the lines that make it so. To be called under the journal's lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from resilio._core import clock
from resilio.deadletters import lines
from resilio.deadletters.errors import MessageClaimedError, MessageNotFoundError
from resilio.deadletters.journal_log import NewLetter
from resilio.deadletters.letter import LetterBody, LetterStatus, attempt_line, longer
from resilio.deadletters.store import (
    Add,
    Book,
    Claim,
    ClaimNext,
    ClaimOne,
    Edit,
    Extend,
    Park,
    Prune,
    Purge,
    Release,
    Remove,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resilio.deadletters.journal_log import JournalLog
    from resilio.deadletters.store import Operation, Outcome

_IN_A_LINE: Final = 1000  # ids


def perform(log: JournalLog, operations: Sequence[Operation]) -> list[Outcome]:
    """Do them in order, and return their outcomes. What that writes is not durable yet.

    Raises:
        OSError: The disk refused; those before may be written.
    """
    outcomes: list[Outcome] = []
    letters: dict[str, NewLetter] = {}
    keys: dict[str, str] = {}  # of these
    index = log.index
    for operation in operations:
        if isinstance(operation, Add):
            letter_id, body, key = operation
            if letter_id in index.letters or letter_id in letters:
                outcomes.append(letter_id)
                continue
            if key is not None:
                known = index.keys.get(key) or keys.get(key)
                if known is not None:
                    outcomes.append(known)
                    continue
                keys[key] = letter_id
            letters[letter_id] = _new_letter(letter_id, body, key)
            outcomes.append(letter_id)
            continue
        if letters:  # all others look at what those before them have left
            log.write_letters(letters.values())
            letters.clear()
            keys.clear()
        new: list[bytes] = []
        outcomes.append(_decide(log, operation, new))
        if new:
            log.write(new)
    if letters:
        log.write_letters(letters.values())
    return outcomes


def _new_letter(letter_id: str, body: bytes, key: str | None) -> NewLetter:
    line = lines.put_line(body, key)
    if isinstance(body, LetterBody):
        return NewLetter(line, lines.Put(letter_id, body.group, body.failed_at.timestamp(), key))
    return NewLetter(line, lines.put_of(line[:-1]) or lines.Put(letter_id, "", 0.0, key))


def _decide(log: JournalLog, operation: Operation, new: list[bytes]) -> Outcome:
    decide = _DECISIONS.get(type(operation))
    if decide is None:
        msg = f"unknown operation {operation!r}"
        raise TypeError(msg)
    return decide(log, operation, new)


# -- claims ------------------------------------------------------------------------------------------------------------


def _claim_next(log: JournalLog, wanted: ClaimNext, new: list[bytes]) -> list[Claim]:
    where = wanted.where
    if where.status not in (None, LetterStatus.WAITING):
        return []
    # A letter that is free is waiting.
    means = None if where.is_empty else partial(log.means, replace(where, status=None))
    letter_ids = log.index.next_free(wanted.limit, clock.utcnow().timestamp(), means)
    return _claim(log, letter_ids, wanted.seconds, wanted.token, new)


def _claim(log: JournalLog, letter_ids: Sequence[str], seconds: float, token: str, new: list[bytes]) -> list[Claim]:
    until = clock.utcnow() + timedelta(seconds=seconds)
    letters = [log.load(each) for each in letter_ids]
    claims = [
        Claim(replace(letter, status=LetterStatus.CLAIMED), token, until) for letter in letters if letter is not None
    ]
    if claims:
        new.append(_claim_line([each.letter.id for each in claims], token, until))
    return claims


def _claim_line(letter_ids: Sequence[str], token: str, until: datetime) -> bytes:
    return lines.line("claim", ids=letter_ids, token=token, until=until.isoformat(timespec="microseconds"))


def _claim_one(log: JournalLog, wanted: ClaimOne, new: list[bytes]) -> Claim | Exception:
    letter_id, location = wanted.letter_id, log.file.path
    if letter_id in log.index.letters:
        past = log.index.past(letter_id)
        left = past.available - clock.utcnow().timestamp()
        if past.token not in (None, wanted.held) and left > 0:
            until = datetime.fromtimestamp(past.available, UTC)
            return MessageClaimedError(
                f"the letter {letter_id} is claimed until {until.isoformat()}",
                message_id=letter_id,
                until=until,
                retry_after=left,
                location=location,
            )
        claims = _claim(log, [letter_id], wanted.seconds, wanted.token, new)
        if claims:
            return claims[0]
    msg = f"there is no letter {letter_id} in {location}"
    return MessageNotFoundError(msg, message_id=letter_id, location=location)


def _release(log: JournalLog, wanted: Release, new: list[bytes]) -> None:
    held = log.index.held_by(wanted.token)
    if held:
        new.append(lines.line("release", ids=held, token=wanted.token))


def _extend(log: JournalLog, wanted: Extend, new: list[bytes]) -> datetime | None:
    held = log.index.held_by(wanted.token)
    if not held:
        return None
    until = clock.utcnow() + timedelta(seconds=wanted.seconds)
    new.append(_claim_line(held, wanted.token, until))
    return until


# -- changes -----------------------------------------------------------------------------------------------------------


def _remove(log: JournalLog, wanted: Remove, new: list[bytes]) -> bool:
    is_there = wanted.letter_id in log.index.letters
    if is_there:
        new.append(lines.line("remove", ids=[wanted.letter_id]))
    return is_there


def _edit(log: JournalLog, wanted: Edit, new: list[bytes]) -> bool:
    is_there = wanted.letter_id in log.index.letters
    if is_there:
        new.append(lines.line("edit", id=wanted.letter_id, message=wanted.message))
    return is_there


def _park(log: JournalLog, wanted: Park, new: list[bytes]) -> bool:
    is_there = wanted.letter_id in log.index.letters
    if is_there:
        new.append(lines.line("park", id=wanted.letter_id, parked=wanted.is_parked))
    return is_there


def _book(log: JournalLog, failed: Book, new: list[bytes]) -> int | None:
    letter = log.load(failed.letter_id) if failed.letter_id in log.index.letters else None
    if letter is None:
        return None
    attempts = letter.attempts + 1
    due = failed.not_before
    new.append(
        lines.line(
            "attempt",
            id=failed.letter_id,
            attempts=attempts,
            last_failed_at=failed.failed_at.isoformat(timespec="microseconds"),
            parked=failed.park_at is not None and attempts >= failed.park_at,
            not_before=None if due is None else due.isoformat(timespec="microseconds"),
            token=failed.token,
            error_info=failed.error_info,
            history=longer(letter.history, attempt_line(attempts, failed.failed_at, failed.error_info)),
        )
    )
    return attempts


def _prune(log: JournalLog, wanted: Prune, new: list[bytes]) -> list[str]:
    ids = _past_their_time(log, wanted.older_than, wanted.at_most)
    new += [lines.line("remove", ids=ids[start : start + _IN_A_LINE]) for start in range(0, len(ids), _IN_A_LINE)]
    return ids


def _past_their_time(log: JournalLog, older_than: datetime | None, at_most: int | None) -> list[str]:
    """The letters that are to go: parked ones first, of each kind those that came first."""
    index = log.index
    failed = index.columns.failed
    limit = 0.0 if older_than is None else older_than.timestamp()
    is_any_past = older_than is not None and bool(index.letters) and min(failed) < limit
    beyond = 0 if at_most is None else max(len(index.letters) - at_most, 0)
    if not is_any_past and not beyond:
        return []
    now = clock.utcnow().timestamp()
    claimed = {each for held in index.held.values() for each, past in held.items() if past.available > now}
    parked = [each for each in index.letters if each in index.parked and each not in claimed] if index.parked else []
    others = (each for each in index.letters if each not in index.parked and each not in claimed)
    if not is_any_past:
        found = parked[:beyond]
        return [*found, *islice(others, beyond - len(found))]
    in_order = [*parked, *others]
    found = [each for each in in_order if failed[index.letters[each]] < limit]
    beyond -= len(found)
    if beyond > 0:
        gone = set(found)
        found += islice((each for each in in_order if each not in gone), beyond)
    return found


def _purge(log: JournalLog, _: Purge, new: list[bytes]) -> int:
    count = len(log.index.letters)
    if count:
        new.append(lines.line("purge"))
    return count


_DECISIONS: Final[dict[type, Callable[[JournalLog, Any, list[bytes]], Outcome]]] = {
    ClaimNext: _claim_next,
    ClaimOne: _claim_one,
    Release: _release,
    Extend: _extend,
    Remove: _remove,
    Book: _book,
    Edit: _edit,
    Park: _park,
    Prune: _prune,
    Purge: _purge,
}
