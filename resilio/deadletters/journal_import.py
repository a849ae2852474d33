"""Taking over a file that holds a JSON array, which is how simpler programs keep their dead letters.

Nothing is dropped: an entry that looks like a letter becomes one, whatever else it holds goes into ``error_info`` under
``imported``, and any other entry is taken as a message. The file as it was stays beside the journal.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resilio.deadletters.durable import sync_directory
from resilio.deadletters.encoding import carry, dump, safe_repr
from resilio.deadletters.errors import NotOurFileError
from resilio.deadletters.letter import DeadLetter, LetterIds, moment

if TYPE_CHECKING:
    from datetime import datetime

_TAKEN: Final = frozenset(
    {"id", "message", "message_id", "error_info", "error", "attempts", "first_failed_at", "last_failed_at", "status"}
)
_LABELS: Final = frozenset({each.name for each in fields(DeadLetter)}) - _TAKEN


def letters_of_array(raw: bytes, location: str, now: datetime) -> list[tuple[str | None, bytes]]:
    """The array's entries as letters: their deduplication keys and their JSON.

    Raises:
        NotOurFileError: ``raw`` is no whole JSON array.
    """
    try:
        entries = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        msg = f"{location} begins like a JSON array but is none: {error}; it was left as it is"
        raise NotOurFileError(msg, location=location) from error
    ids = LetterIds()
    letters: dict[str, tuple[str | None, bytes]] = {}
    for entry in entries:
        letter = _letter(carry(entry, fallback=safe_repr), ids, now)
        while letter.id in letters:
            letter = DeadLetter(**{**letter, "id": ids.next(now)})
        letters[letter.id] = (letter.deduplication_key, dump(letter.to_dict()))
    return list(letters.values())


def keep_original(path: str) -> str:
    """Give the file a second name beside its own, durably, and return it."""
    for number in count(1):
        name = f"{path}.imported" if number == 1 else f"{path}.imported-{number}"
        try:
            os.link(path, name)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            with Path(path).open("rb") as source, Path(name).open("xb") as copy:
                shutil.copyfileobj(source, copy)
                copy.flush()
                os.fsync(copy.fileno())
        sync_directory(path)
        return name
    raise AssertionError


def _letter(entry: Any, ids: LetterIds, now: datetime) -> DeadLetter:
    plain = DeadLetter(ids.next(now), entry, {}, now, now)
    if not isinstance(entry, dict) or "message" not in entry:
        return plain
    found = entry.get("error_info", entry.get("error"))
    error_info = dict(found) if isinstance(found, Mapping) else {} if found is None else {"error_message": found}
    taken, labelled = _labelled(plain, entry)
    rest = {key: each for key, each in entry.items() if key not in taken}
    if rest:
        error_info["imported"] = rest
    letter_id = entry.get("id", entry.get("message_id"))
    attempts = entry.get("attempts")
    first = _moment(now, entry.get("first_failed_at"), entry.get("timestamp"), error_info.get("timestamp"))
    return replace(
        labelled,
        id=letter_id if isinstance(letter_id, str) and letter_id else plain.id,
        message=entry["message"],
        error_info=error_info,
        first_failed_at=first,
        last_failed_at=_moment(first, entry.get("last_failed_at")),
        attempts=attempts if isinstance(attempts, int) and attempts > 0 else 0,
    )


def _labelled(plain: DeadLetter, entry: Mapping[str, Any]) -> tuple[frozenset[str], DeadLetter]:
    """The names that are dealt with, and the letter with the labels of those letters that are ours."""
    labels = {name: entry[name] for name in _LABELS if name in entry}
    try:
        return _TAKEN | _LABELS, DeadLetter.from_dict({**plain.to_dict(), "message": None, **labels})
    except ValueError:  # another program's idea of a source or a group
        return _TAKEN, plain


def _moment(otherwise: datetime, *candidates: object) -> datetime:
    """The first of ``candidates`` that is a time."""
    for each in candidates:
        try:
            return moment(each)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
    return otherwise
